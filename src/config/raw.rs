//! The file as it is written, key by key, and its way into the domain types.

mod address;
mod lanes;
mod lookalike;
mod syntax;
#[cfg(test)]
mod tests;
mod typed;
mod upstreams;

use std::{
    ops::RangeInclusive,
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
use address::quoted;
use lanes::lanes;
use upstreams::upstreams;

/// Whole numbers are read as TOML has them, so that one out of its range is refused with that range.
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
    enrolment: RawEnrolment,
    #[serde(default)]
    recognition: RawRecognition,
    #[serde(default)]
    lane: Vec<RawLane>,
    #[serde(default)]
    upstream: Vec<RawUpstream>,
    #[serde(default)]
    control: RawControl,
    #[serde(default)]
    metrics: RawMetrics,
    #[serde(default)]
    alarms: RawAlarms,
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
    attendance_keep_years: Option<i64>,
    photo_keep_days: Option<i64>,
    photo_max_bytes: Option<i64>,
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
    require_training: Option<bool>,
    admin_group: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawEnrolment {
    min_face_px: Option<f32>,
    min_sharpness: Option<f32>,
    max_aside: Option<f32>,
    max_tilt_deg: Option<f32>,
    light: Option<(f32, f32)>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRecognition {
    threshold: Option<f32>,
    margin: Option<f32>,
    min_face_px: Option<f32>,
    frames_to_agree: Option<i64>,
    liveness: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLane {
    name: String,
    entry_side: Option<toml::Value>,
    fire_input: Option<toml::Value>,
    cool_down_s: Option<f64>,
    pass_within_s: Option<f64>,
    turnstile: toml::Table,
    #[serde(default)]
    camera: Vec<RawCamera>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCamera {
    direction: Direction,
    source: String,
    fps: Option<f32>,
    size: Option<(i64, i64)>,
    repeat: Option<i64>,
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
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    ack: Ack,
    version: Option<MqttVersion>,
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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    listen: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawAlarms {
    outbox_age_s: Option<f64>,
    link_down_s: Option<f64>,
    device_down_s: Option<f64>,
    undecided_s: Option<f64>,
    unknown_faces: Option<i64>,
    unknown_faces_within_s: Option<f64>,
}

const MIB: i64 = 1 << 20;

/// A complaint about one key, before its line is known.
struct Wrong {
    key: String,
    message: String,
}

type Checked<T> = Result<T, Wrong>;

fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Checked<T> {
    Err(Wrong { key: key.into(), message: message.into() })
}

/// Reads the bytes of a file. UTF-8, with a byte order mark before it or without.
pub(super) fn parse_bytes(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    let text = syntax::decode(bytes).map_err(|(line, message)| ConfigError::Wrong {
        path: path.to_owned(),
        line,
        key: "encoding".to_owned(),
        message,
    })?;
    Ok(Config { sha256: Sha256::digest(bytes).into(), ..parse(path, text)? })
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let located =
        |line, key, message| ConfigError::Wrong { path: path.to_owned(), line, key, message };
    let no_toml = |e: toml::de::Error| {
        let (line, message) = syntax::explain(text, &e);
        located(line, "syntax".to_owned(), message)
    };
    let tree = toml::de::DeTable::parse(text).map_err(no_toml)?;
    let raw: RawConfig = toml::de::Deserializer::parse(text).map_err(no_toml).and_then(|d| {
        serde_path_to_error::deserialize(d).map_err(|e| {
            let (key, message) = typed::explain(&e.path().to_string(), e.inner().message());
            let line = e.inner().span().map_or(1, |span| line_at(text, span.start));
            located(line, key, message)
        })
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    let built = build(raw, &base).and_then(|config| {
        escaped_by_mistake(tree.get_ref(), "")?;
        Ok(config)
    });
    let mut config =
        built.map_err(|w| located(line_of(text, tree.get_ref(), &w.key), w.key, w.message))?;
    config.path = path.to_owned();
    config.sha256 = Sha256::digest(text.as_bytes()).into();
    Ok(config)
}

/// No value has a use for a control character. A path of Windows in double quotes gets some.
fn escaped_by_mistake(table: &toml::de::DeTable<'_>, at: &str) -> Checked<()> {
    table.iter().try_for_each(|(name, value)| {
        let dot = if at.is_empty() { "" } else { "." };
        in_value(value.get_ref(), &format!("{at}{dot}{}", name.get_ref()))
    })
}

fn in_value(value: &toml::de::DeValue<'_>, key: &str) -> Checked<()> {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => match syntax::escaped_by_mistake(text) {
            Some(message) => wrong(key, message),
            None => Ok(()),
        },
        DeValue::Table(inner) => escaped_by_mistake(inner, key),
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(n, item)| in_value(item.get_ref(), &format!("{key}[{n}]"))),
        _ => Ok(()),
    }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count()
}

/// The line of a key in the text of a file.
pub(super) fn line(text: &str, key: &str) -> usize {
    let text = syntax::without_mark(text);
    toml::de::DeTable::parse(text).map_or(1, |tree| line_of(text, tree.get_ref(), key))
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
    let key = match raw.storage.key.as_deref().map(|text| Secret::parse(text, base)) {
        None => Secret::File(dir.join("key")),
        Some(Secret::Plain(_)) => {
            return wrong("storage.key", "give file:PATH or credential:NAME, never the key itself");
        }
        Some(secret) => secret,
    };
    let usual = Storage::usual(dir, key);
    let at_least = "the law asks for at least 3 years";
    let attendance_keep_years = match raw.storage.attendance_keep_years {
        Some(..3) => return wrong("storage.attendance_keep_years", at_least),
        given => whole(
            "storage.attendance_keep_years",
            given,
            usual.attendance_keep_years,
            3..=i64::from(u8::MAX),
        )?,
    };
    let photo_max_bytes = match raw.storage.photo_max_bytes {
        Some(few) if few < MIB => {
            let message =
                format!("{few} must be {MIB} or more; to keep no photo, set photo_keep_days = 0");
            return wrong("storage.photo_max_bytes", message);
        }
        given => whole("storage.photo_max_bytes", given, usual.photo_max_bytes, MIB..=i64::MAX)?,
    };
    let photo_keep_days = whole(
        "storage.photo_keep_days",
        raw.storage.photo_keep_days,
        usual.photo_keep_days,
        0..=i64::from(u16::MAX),
    )?;
    let recognition = recognition(raw.recognition)?;
    let models = base.join(raw.models.dir.unwrap_or_else(|| INSTALLED_MODELS.into()));
    let model = |name: Option<PathBuf>, default: &str| models.join(name.unwrap_or(default.into()));
    Ok(Config {
        path: PathBuf::new(),
        sha256: [0; 32],
        site: site(raw.site)?,
        storage: Storage { attendance_keep_years, photo_keep_days, photo_max_bytes, ..usual },
        models: ModelFiles {
            detector: model(raw.models.detector, "face_detection_yunet_2023mar_int8bq.onnx"),
            embedder: model(raw.models.embedder, "face_recognition_sface_2021dec_int8bq.onnx"),
        },
        roster: RosterRules {
            require_consent: raw.roster.require_consent.unwrap_or(true),
            require_training: raw.roster.require_training.unwrap_or(false),
            admin_group: group("roster.admin_group", raw.roster.admin_group)?,
        },
        enrolment: enrolment(raw.enrolment, recognition.min_face_px)?,
        recognition,
        lanes: lanes(raw.lane, raw.mode, base)?,
        mode: raw.mode,
        upstreams: upstreams(raw.upstream, base)?,
        control: Control {
            socket: base
                .join(raw.control.socket.unwrap_or_else(|| "/run/gatehouse/control.sock".into())),
            group: group("control.group", raw.control.group)?,
        },
        metrics: Metrics { listen: raw.metrics.listen.map(metrics_listen).transpose()? },
        alarms: alarms(raw.alarms)?,
    })
}

/// A group of the operating system, which must be there.
fn group(key: &str, name: Option<String>) -> Checked<Option<String>> {
    match name {
        Some(name) if !matches!(nix::unistd::Group::from_name(&name), Ok(Some(_))) => wrong(
            key,
            format!("there is no group {} on this machine{}", quoted(&name), hint(&name)),
        ),
        name => Ok(name),
    }
}

/// What an enrolment's look at a face must be; at least as large a face as the gate's.
fn enrolment(raw: RawEnrolment, gate_px: f32) -> Checked<FaceLimits> {
    let usual = FaceLimits::default();
    let within = |key: &str, given: Option<f32>, usual: f32, least: f32, most: f32| {
        let value = given.unwrap_or(usual);
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        wrong(format!("enrolment.{key}"), format!("{value} must be from {least} to {most}"))
    };
    let (dark, bright) = raw.light.unwrap_or(usual.light);
    if !(0.0 <= dark && dark < bright && bright <= 255.0) {
        let problem = format!("[{dark}, {bright}] must be two rising grey levels from 0 to 255");
        return wrong("enrolment.light", problem);
    }
    Ok(FaceLimits {
        min_face_px: within("min_face_px", raw.min_face_px, gate_px, 16.0, 2000.0)?,
        min_sharpness: within("min_sharpness", raw.min_sharpness, usual.min_sharpness, 0.0, 2.0)?,
        max_aside: within("max_aside", raw.max_aside, usual.max_aside, 0.05, 1.0)?,
        max_tilt_deg: within("max_tilt_deg", raw.max_tilt_deg, usual.max_tilt_deg, 5.0, 90.0)?,
        light: (dark, bright),
    })
}

fn metrics_listen(text: String) -> Checked<SocketAddr> {
    let key = "metrics.listen";
    let shown = address::shown(&text);
    match text.parse::<SocketAddr>() {
        Ok(address) if !address.ip().to_canonical().is_loopback() => wrong(
            key,
            format!(
                "{shown} would show this gate to its whole network without a password: listen on \
                 127.0.0.1, and let a proxy or an agent on this machine, or an SSH tunnel, pass it on"
            ),
        ),
        Ok(address) if address.port() != 0 => Ok(address),
        _ => wrong(
            key,
            format!("{shown} is no address and port, such as \"127.0.0.1:9464\"{}", hint(&text)),
        ),
    }
}

/// A name: of a project, a gateway, a lane, an upstream, a client. All become part of a topic, a file
/// name or a metric.
fn plain_name(key: String, text: String) -> Checked<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
        let message = format!(
            "{} is no name: a name is 1 to 64 characters of A-Z, a-z, 0-9, - and _, because it becomes part \
             of topics{}",
            quoted(&text),
            hint(&text)
        );
        return wrong(key, message);
    }
    Ok(text)
}

/// What a value has instead of what it must have, where that can be seen from it.
fn hint(text: &str) -> String {
    lookalike::in_value(text).map_or_else(String::new, |words| format!(" ({words})"))
}

/// A whole number within its bounds, which are within those of its type.
fn whole<T: TryFrom<i64>>(
    key: impl Into<String>,
    given: Option<i64>,
    usual: T,
    bounds: RangeInclusive<i64>,
) -> Checked<T> {
    let Some(value) = given else { return Ok(usual) };
    match T::try_from(value) {
        Ok(number) if bounds.contains(&value) => Ok(number),
        _ => {
            let (least, most) = bounds.into_inner();
            wrong(key, format!("{value} must be from {least} to {most}"))
        }
    }
}

fn site(raw: RawSite) -> Checked<Site> {
    let zone = raw.timezone.as_deref().unwrap_or("Asia/Shanghai");
    let Ok(timezone) = TimeZone::get(zone) else {
        return wrong(
            "site.timezone",
            format!("{} is no IANA time zone, such as Asia/Shanghai{}", quoted(zone), hint(zone)),
        );
    };
    let settled_on = match raw.settled_on {
        None => None,
        Some(text) => match text.parse::<Date>() {
            Ok(date) => Some(date),
            Err(_) => {
                return wrong(
                    "site.settled_on",
                    format!("{} is no date, such as 2026-10-31{}", quoted(&text), hint(&text)),
                );
            }
        },
    };
    let day_starts_at = raw.day_starts_at.as_deref().unwrap_or("04:00");
    let Ok(day_starts_at) = Time::strptime("%H:%M", day_starts_at) else {
        let (shown, hint) = (quoted(day_starts_at), hint(day_starts_at));
        return wrong("site.day_starts_at", format!("{shown} is no time, such as 04:00{hint}"));
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
    let frames_to_agree = whole("recognition.frames_to_agree", raw.frames_to_agree, 2, 1..=10)?;
    only("recognition.liveness", raw.liveness, "off")?;
    Ok(Recognition { threshold, margin, min_face_px, frames_to_agree })
}

fn alarms(raw: RawAlarms) -> Checked<AlarmLimits> {
    let within = |key: &str, given: Option<f64>, usual: f64, most: f64| {
        seconds(format!("alarms.{key}"), given, usual, most)
    };
    let unknown_faces = whole("alarms.unknown_faces", raw.unknown_faces, 10, 2..=1000)?;
    Ok(AlarmLimits {
        outbox_age: within("outbox_age_s", raw.outbox_age_s, 900.0, 604_800.0)?,
        link_down: within("link_down_s", raw.link_down_s, 60.0, 86_400.0)?,
        device_down: within("device_down_s", raw.device_down_s, 30.0, 3600.0)?,
        undecided: within("undecided_s", raw.undecided_s, 60.0, 3600.0)?,
        unknown_faces,
        unknown_faces_within: within(
            "unknown_faces_within_s",
            raw.unknown_faces_within_s,
            60.0,
            3600.0,
        )?,
    })
}

/// A switch of which this version has one position.
fn only(key: impl Into<String>, given: Option<String>, known: &str) -> Checked<()> {
    match given {
        Some(other) if other != known => {
            let other = quoted(&other);
            wrong(key, format!("{other} is not in this version; it has {known:?}"))
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
