//! The file as it is written, key by key, and its way into the domain types.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    site: RawSite,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    storage: RawStorage,
    #[serde(default)]
    models: RawModels,
    #[serde(default)]
    roster: RawRoster,
    #[serde(default)]
    recognition: RawRecognition,
    #[serde(default)]
    lane: Vec<RawLane>,
    #[serde(default)]
    upstream: Vec<RawUpstream>,
    #[serde(default)]
    control: RawControl,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSite {
    project_code: String,
    gateway_id: Option<String>,
    name: Option<String>,
    settled_on: Option<String>,
    timezone: Option<String>,
    day_starts_at: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawStorage {
    dir: Option<PathBuf>,
    key: Option<String>,
    attendance_keep_years: Option<u8>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawModels {
    dir: Option<PathBuf>,
    detector: Option<PathBuf>,
    embedder: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRoster {
    require_consent: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRecognition {
    threshold: Option<f32>,
    margin: Option<f32>,
    min_face_px: Option<f32>,
    frames_to_agree: Option<u32>,
    liveness: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLane {
    name: String,
    cool_down_s: Option<f64>,
    pass_within_s: Option<f64>,
    turnstile: RawTurnstile,
    #[serde(default)]
    camera: Vec<RawCamera>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTurnstile {
    driver: String,
    port: Option<PathBuf>,
    baud: Option<u32>,
    address: Option<u8>,
    release_coil: Option<PerDirection>,
    passage_input: Option<PerDirection>,
    pulse_ms: Option<u64>,
    pass_after_ms: Option<u64>,
    passes: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCamera {
    direction: Direction,
    source: String,
    fps: Option<f32>,
    #[serde(rename = "loop")]
    looped: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpstream {
    name: Option<String>,
    broker: OneOrMany,
    client_id: Option<String>,
    profile: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(default)]
    encoding: Encoding,
    ack: Option<String>,
    allow_plaintext: Option<bool>,
    remote_release: Option<bool>,
    photos: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawControl {
    socket: Option<PathBuf>,
    group: Option<String>,
}

/// A complaint about one key, before its line is known.
struct Wrong {
    key: String,
    message: String,
}

type Checked<T> = Result<T, Wrong>;

fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Checked<T> {
    Err(Wrong { key: key.into(), message: message.into() })
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let located =
        |line, key, message| ConfigError::Wrong { path: path.to_owned(), line, key, message };
    let at = |e: &toml::de::Error| e.span().map_or(1, |span| line_at(text, span.start));
    let tree = toml::de::DeTable::parse(text)
        .map_err(|e| located(at(&e), "syntax".to_owned(), one_line(e.message())))?;
    let raw: RawConfig = toml::de::Deserializer::parse(text)
        .map_err(|e| located(at(&e), "syntax".to_owned(), one_line(e.message())))
        .and_then(|d| {
            serde_path_to_error::deserialize(d).map_err(|e| {
                let key = e.path().to_string();
                located(at(e.inner()), key, one_line(e.inner().message()))
            })
        })?;
    let base = path.parent().unwrap_or(Path::new(""));
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    let mut config = build(raw, &base)
        .map_err(|w| located(line_of(text, tree.get_ref(), &w.key), w.key, w.message))?;
    config.path = path.to_owned();
    config.sha256 = Sha256::digest(text.as_bytes()).into();
    Ok(config)
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count()
}

/// The line of a key such as `lane[0].turnstile.port`, or of the nearest table around it.
fn line_of(text: &str, tree: &toml::de::DeTable<'_>, key: &str) -> usize {
    use toml::de::DeValue;
    let mut line = 1;
    let mut table = tree;
    for segment in key.split('.') {
        let (name, index) = match segment.split_once('[') {
            Some((name, rest)) => (name, rest.trim_end_matches(']').parse().unwrap_or(0)),
            None => (segment, 0_usize),
        };
        let Some((found, value)) = table.iter().find(|(k, _)| k.get_ref().as_ref() == name) else {
            break;
        };
        line = line_at(text, found.span().start);
        let value = match value.get_ref() {
            DeValue::Array(items) if segment.contains('[') => match items.get(index) {
                Some(item) => {
                    line = line_at(text, item.span().start);
                    item.get_ref()
                }
                None => break,
            },
            other => other,
        };
        match value {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    line
}

fn build(raw: RawConfig, base: &Path) -> Checked<Config> {
    let dir = base.join(raw.storage.dir.unwrap_or_else(|| "/var/lib/gatehouse".into()));
    let keep_years = raw.storage.attendance_keep_years.unwrap_or(3);
    if keep_years < 3 {
        return wrong("storage.attendance_keep_years", "the law asks for at least 3 years");
    }
    let key = match raw.storage.key.as_deref().map(|text| Secret::parse(text, base)) {
        None => Secret::File(dir.join("key")),
        Some(Secret::Plain(_)) => {
            return wrong("storage.key", "give file:PATH or credential:NAME, never the key itself");
        }
        Some(secret) => secret,
    };
    let models = base.join(raw.models.dir.unwrap_or_else(|| "/usr/share/gatehouse/models".into()));
    let model = |name: Option<PathBuf>, default: &str| models.join(name.unwrap_or(default.into()));
    Ok(Config {
        path: PathBuf::new(),
        sha256: [0; 32],
        site: site(raw.site)?,
        storage: Storage { dir, key, attendance_keep_years: keep_years },
        models: ModelFiles {
            detector: model(raw.models.detector, "face_detection_yunet_2023mar_int8bq.onnx"),
            embedder: model(raw.models.embedder, "face_recognition_sface_2021dec_int8bq.onnx"),
        },
        roster: RosterRules { require_consent: raw.roster.require_consent.unwrap_or(true) },
        recognition: recognition(raw.recognition)?,
        lanes: lanes(raw.lane, raw.mode, base)?,
        mode: raw.mode,
        upstreams: upstreams(raw.upstream, base)?,
        control: Control {
            socket: base
                .join(raw.control.socket.unwrap_or_else(|| "/run/gatehouse/control.sock".into())),
            group: match raw.control.group {
                Some(name) if !matches!(nix::unistd::Group::from_name(&name), Ok(Some(_))) => {
                    return wrong(
                        "control.group",
                        format!("there is no group {name:?} on this machine"),
                    );
                }
                group => group,
            },
        },
    })
}

/// Names that become part of a topic, a file name or a metric.
fn plain_name(key: String, text: String) -> Checked<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
        return wrong(
            key,
            format!("{text:?} must be 1 to 64 of A-Z a-z 0-9 - _, since it becomes part of topics"),
        );
    }
    Ok(text)
}

fn site(raw: RawSite) -> Checked<Site> {
    let zone = raw.timezone.as_deref().unwrap_or("Asia/Shanghai");
    let Ok(timezone) = TimeZone::get(zone) else {
        return wrong(
            "site.timezone",
            format!("{zone:?} is no IANA time zone, such as Asia/Shanghai"),
        );
    };
    let settled_on = match raw.settled_on {
        None => None,
        Some(text) => match text.parse::<Date>() {
            Ok(date) => Some(date),
            Err(_) => {
                return wrong(
                    "site.settled_on",
                    format!("{text:?} is no date, such as 2026-10-31"),
                );
            }
        },
    };
    let day_starts_at = raw.day_starts_at.as_deref().unwrap_or("04:00");
    let Ok(day_starts_at) = Time::strptime("%H:%M", day_starts_at) else {
        return wrong("site.day_starts_at", format!("{day_starts_at:?} is no time, such as 04:00"));
    };
    let project_code = plain_name("site.project_code".into(), raw.project_code)?;
    Ok(Site {
        name: raw.name.unwrap_or_else(|| project_code.clone()),
        project_code,
        gateway_id: match raw.gateway_id {
            None => None,
            Some(id) => Some(plain_name("site.gateway_id".into(), id)?),
        },
        settled_on,
        timezone,
        day_starts_at,
    })
}

fn recognition(raw: RawRecognition) -> Checked<Recognition> {
    let cosine = raw.threshold.unwrap_or(0.5);
    let Some(threshold) = MatchThreshold::new(cosine) else {
        return wrong("recognition.threshold", format!("{cosine} must be from 0.3 to 1"));
    };
    let margin = raw.margin.unwrap_or(0.05);
    if !(0.0..=0.5).contains(&margin) {
        return wrong("recognition.margin", format!("{margin} must be from 0 to 0.5"));
    }
    let min_face_px = raw.min_face_px.unwrap_or(48.0);
    if !(16.0..=2000.0).contains(&min_face_px) {
        return wrong(
            "recognition.min_face_px",
            format!("{min_face_px} must be from 16 to 2000: smaller faces cannot be told apart"),
        );
    }
    let frames_to_agree = raw.frames_to_agree.unwrap_or(2);
    if !(1..=10).contains(&frames_to_agree) {
        return wrong("recognition.frames_to_agree", format!("{frames_to_agree} must be 1 to 10"));
    }
    only("recognition.liveness", raw.liveness, "off")?;
    Ok(Recognition { threshold, margin, min_face_px, frames_to_agree })
}

/// A switch of which this version has one position.
fn only(key: impl Into<String>, given: Option<String>, known: &str) -> Checked<()> {
    match given {
        Some(other) if other != known => {
            wrong(key, format!("{other:?} is not in this version; it has {known:?}"))
        }
        _ => Ok(()),
    }
}

fn seconds(key: String, given: Option<f64>, default: f64, max: f64) -> Checked<Duration> {
    let value = given.unwrap_or(default);
    if !(0.1..=max).contains(&value) {
        return wrong(key, format!("{value} must be from 0.1 to {max} seconds"));
    }
    Ok(Duration::from_secs_f64(value))
}

fn lanes(raw: Vec<RawLane>, mode: Mode, base: &Path) -> Checked<Vec<Lane>> {
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
        let turnstile = turnstile(lane.turnstile, mode, base, &at("turnstile"))?;
        let pass_within = seconds(at("pass_within_s"), lane.pass_within_s, 8.0, 60.0)?;
        if let TurnstileDriver::ModbusRtu(board) = &turnstile
            && board.pulse > pass_within
        {
            let message = "is longer than pass_within_s: the gate would stay open for the next one";
            return wrong(at("turnstile.pulse_ms"), message);
        }
        lanes.push(Lane {
            cool_down: seconds(at("cool_down_s"), lane.cool_down_s, 5.0, 3600.0)?,
            pass_within,
            turnstile,
            name,
            cameras,
        });
    }
    for (i, lane) in lanes.iter().enumerate() {
        let TurnstileDriver::ModbusRtu(this) = &lane.turnstile else { continue };
        let shared = lanes[..i].iter().find(|other| {
            matches!(&other.turnstile, TurnstileDriver::ModbusRtu(o) if o.port == this.port)
        });
        if let Some(other) = shared {
            return wrong(
                format!("lane[{i}].turnstile.port"),
                format!(
                    "{} already serves lane {:?}; this version drives one lane a port",
                    this.port.display(),
                    other.name
                ),
            );
        }
    }
    Ok(lanes)
}

fn camera(raw: RawCamera, base: &Path, at: &str) -> Checked<Camera> {
    let Some(path) = raw.source.strip_prefix("replay:").filter(|p| !p.is_empty()) else {
        return wrong(
            format!("{at}.source"),
            format!("{:?} is not in this version; it has replay:DIR and replay:FILE", raw.source),
        );
    };
    let fps = raw.fps.unwrap_or(10.0);
    if !(0.1..=60.0).contains(&fps) {
        return wrong(format!("{at}.fps"), format!("{fps} must be from 0.1 to 60 frames a second"));
    }
    Ok(Camera {
        direction: raw.direction,
        source: CameraSource::Replay(base.join(path)),
        fps,
        looped: raw.looped.unwrap_or(false),
    })
}

fn turnstile(raw: RawTurnstile, mode: Mode, base: &Path, at: &str) -> Checked<TurnstileDriver> {
    match raw.driver.as_str() {
        "modbus-rtu" => {
            if raw.pass_after_ms.is_some() || raw.passes.is_some() {
                return wrong(at, "pass_after_ms and passes belong to driver = \"simulated\"");
            }
            let Some(port) = raw.port else {
                return wrong(
                    format!("{at}.port"),
                    "modbus-rtu needs one, such as \"/dev/ttyUSB0\"",
                );
            };
            let address = raw.address.unwrap_or(1);
            if !(1..=247).contains(&address) {
                return wrong(format!("{at}.address"), format!("{address} must be from 1 to 247"));
            }
            let baud = raw.baud.unwrap_or(9600);
            if !(1200..=921_600).contains(&baud) {
                return wrong(format!("{at}.baud"), format!("{baud} must be from 1200 to 921600"));
            }
            let pulse_ms = raw.pulse_ms.unwrap_or(500);
            if !(50..=10_000).contains(&pulse_ms) {
                return wrong(format!("{at}.pulse_ms"), format!("{pulse_ms} must be 50 to 10000"));
            }
            let defaults = PerDirection { entry: 0, exit: 1 };
            let pair = |key: &str, given: Option<PerDirection>| match given.unwrap_or(defaults) {
                pair if pair.entry == pair.exit => {
                    wrong(format!("{at}.{key}"), "entry and exit must differ")
                }
                pair => Ok(pair),
            };
            Ok(TurnstileDriver::ModbusRtu(ModbusRtu {
                port: base.join(port),
                baud,
                address,
                release_coil: pair("release_coil", raw.release_coil)?,
                passage_input: pair("passage_input", raw.passage_input)?,
                pulse: Duration::from_millis(pulse_ms),
            }))
        }
        "simulated" if mode != Mode::Bench => {
            wrong(format!("{at}.driver"), "\"simulated\" needs mode = \"bench\" at the file's top")
        }
        "simulated" => {
            let real = [
                ("port", raw.port.is_some()),
                ("baud", raw.baud.is_some()),
                ("address", raw.address.is_some()),
                ("release_coil", raw.release_coil.is_some()),
                ("passage_input", raw.passage_input.is_some()),
                ("pulse_ms", raw.pulse_ms.is_some()),
            ];
            if let Some((key, _)) = real.iter().find(|(_, given)| *given) {
                return wrong(format!("{at}.{key}"), "belongs to driver = \"modbus-rtu\"");
            }
            let after = Duration::from_millis(raw.pass_after_ms.unwrap_or(700));
            let pass_after = raw.passes.unwrap_or(true).then_some(after);
            Ok(TurnstileDriver::Simulated(SimulatedTurnstile { pass_after }))
        }
        other => wrong(
            format!("{at}.driver"),
            format!("{other:?} is not in this version; it has \"modbus-rtu\" and \"simulated\""),
        ),
    }
}

fn upstreams(raw: Vec<RawUpstream>, base: &Path) -> Checked<Vec<Upstream>> {
    let mut upstreams: Vec<Upstream> = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let at = |key: &str| format!("upstream[{i}].{key}");
        let name = plain_name(at("name"), raw.name.unwrap_or_else(|| format!("upstream{i}")))?;
        if upstreams.iter().any(|other| other.name == name) {
            return wrong(at("name"), format!("{name:?} stands twice"));
        }
        only(at("profile"), raw.profile, "native")?;
        only(at("ack"), raw.ack, "broker")?;
        for (key, on) in [("remote_release", raw.remote_release), ("photos", raw.photos)] {
            if on == Some(true) {
                return wrong(at(key), "is not in this version; it has false");
            }
        }
        if raw.password.is_some() && raw.username.is_none() {
            return wrong(at("password"), "needs a username, or it is never sent");
        }
        let (many, listed) = match raw.broker {
            OneOrMany::One(one) => (false, vec![one]),
            OneOrMany::Many(many) => (true, many),
        };
        if listed.is_empty() {
            return wrong(at("broker"), "name at least one, such as \"mqtt://127.0.0.1:1883\"");
        }
        let mut brokers = Vec::new();
        for (j, url) in listed.iter().enumerate() {
            let key = if many { at(&format!("broker[{j}]")) } else { at("broker") };
            brokers.push(broker(key, url, raw.allow_plaintext.unwrap_or(false))?);
        }
        upstreams.push(Upstream {
            name,
            brokers,
            client_id: match raw.client_id {
                None => None,
                Some(id) => Some(plain_name(at("client_id"), id)?),
            },
            encoding: raw.encoding,
            username: raw.username,
            password: raw.password.map(|text| Secret::parse(&text, base)),
        });
    }
    Ok(upstreams)
}

fn broker(key: String, url: &str, allow_plaintext: bool) -> Checked<Broker> {
    let Some(rest) = url.strip_prefix("mqtt://") else {
        return wrong(key, format!("{url:?} is not in this version; it has mqtt://HOST:PORT"));
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (rest, Some(1883)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let Some(port) = port.filter(|p| *p != 0) else {
        return wrong(key, format!("{url:?} has no port from 1 to 65535"));
    };
    if host.is_empty() || host.contains(['@', '/', ' ']) {
        return wrong(
            key,
            format!(
                "{url:?} must be mqtt://HOST:PORT; username and password have keys of their own"
            ),
        );
    }
    let loopback = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !loopback && !allow_plaintext {
        return wrong(
            key,
            format!(
                "{url:?} would carry names in plain text off this machine; set allow_plaintext = true where the link itself is private"
            ),
        );
    }
    Ok(Broker { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Config::parse(Path::new("/etc/g.toml"), text).unwrap_err().to_string()
    }

    const SITE: &str = "[site]\nproject_code = \"P1\"\n";

    #[test]
    fn a_minimal_file_takes_the_documented_defaults() {
        let config = Config::parse(Path::new("/etc/g.toml"), SITE).unwrap();
        assert_eq!(config.storage.database(), Path::new("/var/lib/gatehouse/gatehouse.db"));
        assert_eq!(config.recognition.threshold.cosine(), 0.5);
        assert_eq!(config.site.day_starts_at, Time::constant(4, 0, 0, 0));
        assert_eq!(config.mode, Mode::Field);
    }

    #[test]
    fn every_refusal_names_file_line_and_key() {
        let turnstile =
            |body: &str| format!("{SITE}[[lane]]\nname = \"north\"\n[lane.turnstile]\n{body}");
        for (text, expected) in [
            (
                "[site]\nproject_code = \"P1\"\ncolour = 1\n".to_owned(),
                "/etc/g.toml:3: site.colour: unknown field",
            ),
            (
                "[site]\nproject_code = 5\n".to_owned(),
                "/etc/g.toml:2: site.project_code: invalid type",
            ),
            (
                "[site]\nproject_code = \"P 1\"\n".to_owned(),
                "/etc/g.toml:2: site.project_code: \"P 1\" must be",
            ),
            ("[site\n".to_owned(), "/etc/g.toml:1: syntax:"),
            ("\n[storage]\n".to_owned(), "missing field `site`"),
            (
                format!("{SITE}[storage]\nattendance_keep_years = 2\n"),
                "/etc/g.toml:4: storage.attendance_keep_years: the law",
            ),
            (
                turnstile("driver = \"modbus-rtu\"\n"),
                "/etc/g.toml:5: lane[0].turnstile.port: modbus-rtu needs one",
            ),
            (
                turnstile("driver = \"simulated\"\n"),
                "/etc/g.toml:6: lane[0].turnstile.driver: \"simulated\" needs mode",
            ),
            (
                turnstile("driver = \"warp\"\n"),
                "/etc/g.toml:6: lane[0].turnstile.driver: \"warp\" is not in this version",
            ),
            (
                format!("{SITE}[[upstream]]\nbroker = \"mqtt://broker.example:1883\"\n"),
                "/etc/g.toml:4: upstream[0].broker: \"mqtt://broker.example:1883\" would carry",
            ),
        ] {
            let message = refusal(&text);
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
    }

    #[test]
    fn secrets_are_masked_and_read_where_they_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "hunter2\n").unwrap();
        let text = format!(
            "{SITE}[[upstream]]\nbroker = [\"mqtt://127.0.0.1\", \"mqtt://[::1]:1884\"]\nusername = \"u\"\npassword = \"file:pw\"\n\
             [[upstream]]\nbroker = \"mqtt://localhost\"\nusername = \"u\"\npassword = \"hunter2\"\n"
        );
        let config = Config::parse(&dir.path().join("g.toml"), &text).unwrap();
        for upstream in &config.upstreams {
            assert_eq!(**upstream.password.as_ref().unwrap().read().unwrap(), *"hunter2");
        }
        assert_eq!(config.upstreams[0].brokers[1], Broker { host: "::1".into(), port: 1884 });
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
