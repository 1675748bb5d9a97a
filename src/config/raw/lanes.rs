//! Lanes, their turnstiles and their cameras.

use std::collections::BTreeSet;

use super::*;
use crate::turnstile::{
    drivers,
    settings::{Keys, OF_THE_LANE},
};

pub(super) fn lanes(raw: Vec<RawLane>, mode: Mode, base: &Path) -> Checked<Vec<Lane>> {
    let mut names = BTreeSet::new();
    let mut lanes = Vec::new();
    for (i, lane) in raw.into_iter().enumerate() {
        let at = |key: &str| format!("lane[{i}].{key}");
        let name = plain_name(at("name"), lane.name)?;
        if !names.insert(name.clone()) {
            return wrong(at("name"), format!("{name:?} stands twice; each lane has its own name"));
        }
        let mut cameras: Vec<Camera> = Vec::new();
        for (j, raw) in lane.camera.into_iter().enumerate() {
            let camera = camera(raw, base, &format!("lane[{i}].camera[{j}]"))?;
            if cameras.iter().any(|c| c.direction == camera.direction) {
                let message = format!("a second {} camera; a side has one", camera.direction);
                return wrong(at(&format!("camera[{j}].direction")), message);
            }
            cameras.push(camera);
        }
        let pass_within = seconds(at("pass_within_s"), lane.pass_within_s, 8.0, 60.0)?;
        let bench = mode == Mode::Bench;
        let keys = Keys { table: lane.turnstile, base, pass_within, bench };
        let turnstile = turnstile(&at, keys, [lane.entry_side, lane.fire_input])?;
        lanes.push(Lane {
            cool_down: seconds(at("cool_down_s"), lane.cool_down_s, 5.0, 3600.0)?,
            pass_within,
            turnstile,
            name,
            cameras,
        });
    }
    for (i, lane) in lanes.iter().enumerate() {
        shares_its_line(i, lane, &lanes[..i])?;
    }
    Ok(lanes)
}

/// Lanes on one line speak one protocol at one speed, each at an address of its own.
fn shares_its_line(i: usize, lane: &Lane, before: &[Lane]) -> Checked<()> {
    let at = |key: &str| format!("lane[{i}].turnstile.{key}");
    let Some((line, address)) = lane.turnstile.place() else { return Ok(()) };
    for other in before {
        let Some((shared, taken)) = other.turnstile.place() else { continue };
        if shared.port != line.port {
            continue;
        }
        let (port, name) = (line.port.display(), &other.name);
        if shared.baud != line.baud {
            let speed = shared.baud;
            return wrong(at("baud"), format!("{port} runs at {speed} for lane {name:?}"));
        }
        if other.turnstile.word() != lane.turnstile.word() {
            let word = other.turnstile.word();
            let message = format!("{port} speaks {word:?} for lane {name:?}; use another port");
            return wrong(at("driver"), message);
        }
        if taken == address {
            let message = format!("{address} on {port} is lane {name:?}'s; set another address");
            return wrong(at("address"), message);
        }
    }
    Ok(())
}

/// Keys, and whether each was given: those that belong to others are refused by name.
type Given<'a> = [(&'a str, bool)];

fn belongs(at: &str, given: &Given<'_>, to: &str) -> Checked<()> {
    match given.iter().find(|(_, given)| *given) {
        Some((key, _)) => wrong(format!("{at}.{key}"), format!("belongs to {to}")),
        None => Ok(()),
    }
}

fn camera(raw: RawCamera, base: &Path, at: &str) -> Checked<Camera> {
    let source = source(&raw.source, base, &format!("{at}.source"))?;
    if let Some(message) = source.left_out() {
        return wrong(format!("{at}.source"), message);
    }
    let fps =
        raw.fps.unwrap_or(if matches!(source, CameraSource::Replay(_)) { 10.0 } else { 15.0 });
    if !(0.1..=60.0).contains(&fps) {
        return wrong(format!("{at}.fps"), format!("{fps} must be from 0.1 to 60 frames a second"));
    }
    if !matches!(source, CameraSource::Replay(_)) {
        let given = [("loop", raw.looped.is_some()), ("repeat", raw.repeat.is_some())];
        belongs(at, &given, "replay: sources")?;
    }
    if !matches!(source, CameraSource::V4l2(_)) {
        belongs(at, &[("size", raw.size.is_some())], "v4l2: sources")?;
    }
    if matches!(source, CameraSource::Http(_) | CameraSource::Rtsp(_)) {
        let message = "replay: and v4l2: sources; set the rate in the camera's own settings";
        belongs(at, &[("fps", raw.fps.is_some())], message)?;
    }
    let repeat = whole(format!("{at}.repeat"), raw.repeat, 1, 1..=10_000)?;
    let (width, height) = raw.size.unwrap_or((1280, 720));
    let size = match (u32::try_from(width), u32::try_from(height)) {
        (Ok(w @ 160..=4096), Ok(h @ 120..=4096)) => (w, h),
        _ => {
            let message =
                format!("[{width}, {height}] must be from [160, 120] to [4096, 4096] pixels");
            return wrong(format!("{at}.size"), message);
        }
    };
    let looped = raw.looped.unwrap_or(false);
    Ok(Camera { direction: raw.direction, source, fps, size, repeat, looped })
}

fn source(text: &str, base: &Path, at: &str) -> Checked<CameraSource> {
    let path = |scheme| text.strip_prefix(scheme).filter(|path| !path.is_empty());
    let file = match (path("replay:"), path("v4l2:")) {
        (Some(path), _) => Some(CameraSource::Replay(base.join(path))),
        (_, Some(path)) => Some(CameraSource::V4l2(base.join(path))),
        (None, None) => None,
    };
    if let Some(file) = file {
        if text.contains("://") {
            return wrong(
                at,
                "replay: and v4l2: take a path; an address begins with http:// or rtsp://",
            );
        }
        return Ok(file);
    }
    let rtsp = text.starts_with("rtsp://");
    if !rtsp && !text.starts_with("http://") {
        // All of it may be a secret.
        let kinds = "v4l2:/dev/video0, http://…, rtsp://…, replay:DIR, replay:FILE or replay:PIPE";
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|s| s.len() < 8 && s.bytes().all(|b| b.is_ascii_alphabetic()));
        let shown = scheme.map_or_else(|| "it".to_owned(), |scheme| format!("{scheme:?}"));
        return wrong(at, format!("{shown} is no kind of source; give {kinds}{}", hint(text)));
    }
    if let Some(message) = address::unclear(text) {
        return wrong(at, message);
    }
    let mut url = match url::Url::parse(text) {
        // In `rtsp:` a host is taken as it is, with a login whose : and @ are escaped.
        Ok(url) if url.host_str().is_some_and(|host| host.contains('%')) => {
            let remedy = "the : and the @ around a password stand as they are, a host is a name or an IP \
                          address";
            return wrong(at, format!("the address has a % in its host: {remedy}"));
        }
        Ok(url) if url.has_host() => url,
        Ok(_) => return wrong(at, "the address names no host"),
        Err(e) => return wrong(at, format!("no address of a camera: {e}")),
    };
    let login = login(&url).map_err(|message| Wrong { key: at.to_owned(), message })?;
    // Refused only where there is no host, and there is one.
    let _ = (url.set_username(""), url.set_password(None));
    let url = CameraUrl { url, login };
    Ok(if rtsp { CameraSource::Rtsp(url) } else { CameraSource::Http(url) })
}

fn login(url: &url::Url) -> Result<Option<Login>, String> {
    let decoded = |text: &str| {
        let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
        let remedy = "its user or password is not UTF-8 behind a %: write % as %25";
        decoded.map(String::from).map_err(|_| remedy.to_owned())
    };
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let user = decoded(url.username())?;
    let password = Zeroizing::new(decoded(url.password().unwrap_or_default())?);
    Ok(Some(Login { user, password }))
}

/// `[lane.turnstile]` with the keys of its driver that stand in `[[lane]]`.
fn turnstile(
    at: &impl Fn(&str) -> String,
    mut keys: Keys<'_>,
    of_the_lane: [Option<toml::Value>; 2],
) -> Checked<TurnstileDriver> {
    let place = |key: &str| match OF_THE_LANE.contains(&key) {
        true => at(key),
        false if key.is_empty() => at("turnstile"),
        false => at(&format!("turnstile.{key}")),
    };
    let explained = |path: &str, message: &str| {
        let (key, message) = typed::explain(path, message);
        Err(Wrong { key, message })
    };
    for (key, value) in OF_THE_LANE.into_iter().zip(of_the_lane) {
        if keys.table.contains_key(key) {
            let path = at(&format!("turnstile.{key}"));
            return explained(&path, &drivers::unknown(key));
        }
        keys.table.extend(value.map(|value| (key.to_owned(), value)));
    }
    TurnstileDriver::read(&keys).or_else(|wrong| explained(&place(&wrong.key), &wrong.message))
}
