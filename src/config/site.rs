//! The gateway and its site: names, folders, the roster's rules, and the groups that may command
//! it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Deserializer, de::Error};

use super::{
    Secret, address,
    liveness::LivenessModel,
    value::{self, formed, hint},
    written::Written,
};

/// The folder in which the package installs the models.
pub const INSTALLED_MODELS: &str = "/usr/share/gatehouse/models";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    #[serde(deserialize_with = "value::name")]
    pub project_code: String,
    /// `None`: the id is made with the database and kept in it.
    #[serde(default, deserialize_with = "value::name")]
    pub gateway_id: Option<String>,
    #[serde(default, deserialize_with = "value::line")]
    pub name: String,
    /// The day on which all wages of the project were settled. Retention counts from it (I2).
    #[serde(default, deserialize_with = "date")]
    pub settled_on: Option<Date>,
    #[serde(default = "shanghai", deserialize_with = "timezone")]
    pub timezone: TimeZone,
    /// A working day lasts from this time to the same time on the next calendar day.
    #[serde(default = "four_o_clock", deserialize_with = "time")]
    pub day_starts_at: Time,
}

impl Site {
    pub(super) fn complete(&mut self, written: &Written<'_>) {
        if !written.has("site.name") {
            self.name.clone_from(&self.project_code);
        }
    }
}

fn date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Date>, D::Error> {
    formed(from, |text| text.parse().ok(), "not a date, such as 2026-10-31").map(Some)
}

fn timezone<'de, D: Deserializer<'de>>(from: D) -> Result<TimeZone, D::Error> {
    formed(from, |text| TimeZone::get(text).ok(), "not an IANA time zone, such as Asia/Shanghai")
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
    formed(from, |text| Time::strptime("%H:%M", text).ok(), "not a time, such as 04:00")
}

/// Returns the default time zone. The binary contains all time zones, so the fallback is never
/// used.
fn shanghai() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::UTC)
}

fn four_o_clock() -> Time {
    Time::constant(4, 0, 0, 0)
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    pub dir: PathBuf,
    /// The place of the install's sealing key.
    #[serde(deserialize_with = "Secret::kept_apart")]
    pub key: Secret,
    /// The place of the key that signs tree heads.
    #[serde(deserialize_with = "Secret::kept_apart")]
    pub signing_key: Secret,
    /// Years after `site.settled_on`; at least 3.
    #[serde(deserialize_with = "years")]
    pub attendance_keep_years: u8,
    /// Number of days for which the photo of a passage is kept; 0: no photo is taken.
    #[serde(deserialize_with = "value::whole::<_, _, 0, 65_535>")]
    pub photo_keep_days: u16,
    /// Maximum size of all photos of passages together. The oldest are removed first.
    #[serde(deserialize_with = "photo_bytes")]
    pub photo_max_bytes: u64,
}

impl Default for Storage {
    fn default() -> Storage {
        // The paths of both keys are completed with the folder that the configuration names.
        let signing_key = Secret::File("signing.key".into());
        let usual = Storage::usual("/var/lib/gatehouse".into(), Secret::File("key".into()));
        Storage { signing_key, ..usual }
    }
}

impl Storage {
    /// Returns the settings of a folder and a key, with the default of every other key.
    pub fn usual(dir: PathBuf, key: Secret) -> Storage {
        Storage {
            key,
            signing_key: Secret::File(dir.join("signing.key")),
            dir,
            attendance_keep_years: 3,
            photo_keep_days: 30,
            photo_max_bytes: 1 << 30,
        }
    }

    pub fn database(&self) -> PathBuf {
        self.dir.join("gatehouse.db")
    }

    pub(super) fn complete(&mut self, written: &Written<'_>) {
        written.absolute(&mut self.dir);
        let Storage { dir, key, signing_key, .. } = self;
        for (name, key) in [("storage.key", key), ("storage.signing_key", signing_key)] {
            key.begin_at(if written.has(name) { written.base } else { dir });
        }
    }
}

fn years<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    match i64::deserialize(from)? {
        ..3 => Err(D::Error::custom("the law requires at least 3 years")),
        years => u8::try_from(years)
            .map_err(|_| D::Error::custom(format!("{years} must be from 3 to {}", u8::MAX))),
    }
}

fn photo_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    const MIB: u64 = 1 << 20;
    let given = i64::deserialize(from)?;
    u64::try_from(given).ok().filter(|bytes| *bytes >= MIB).ok_or_else(|| {
        let remedy = "to keep no photo, set photo_keep_days = 0";
        D::Error::custom(format!("{given} must be {MIB} or more; {remedy}"))
    })
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelFiles {
    pub dir: PathBuf,
    /// File names of the detector and the embedder, relative to `dir`.
    pub detector: PathBuf,
    pub embedder: PathBuf,
    /// The liveness model, for `recognition.liveness`.
    pub liveness: LivenessModel,
}

impl Default for ModelFiles {
    fn default() -> ModelFiles {
        ModelFiles {
            dir: INSTALLED_MODELS.into(),
            detector: "face_detection_yunet_2023mar_int8bq.onnx".into(),
            embedder: "face_recognition_sface_2021dec_int8bq.onnx".into(),
            liveness: LivenessModel::default(),
        }
    }
}

impl ModelFiles {
    /// Returns the model files with their default names in a folder.
    pub fn in_dir(dir: &Path) -> ModelFiles {
        ModelFiles { dir: dir.to_owned(), ..ModelFiles::default() }.joined()
    }

    fn joined(self) -> ModelFiles {
        let (detector, embedder) = (self.dir.join(self.detector), self.dir.join(self.embedder));
        let file = self.dir.join(&self.liveness.file);
        let liveness = LivenessModel { file, ..self.liveness };
        ModelFiles { dir: self.dir, detector, embedder, liveness }
    }

    pub(super) fn complete(&mut self, written: &Written<'_>) {
        written.absolute(&mut self.dir);
        *self = self.clone().joined();
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RosterRules {
    /// Whether a template needs the number of a consent form.
    pub require_consent: bool,
    /// Whether a worker needs a safety training to enter.
    pub require_training: bool,
    /// Number of days after a worker's last day after which templates and photos are erased; 0:
    /// they are not erased by date.
    #[serde(deserialize_with = "value::whole::<_, _, 0, 3_650>")]
    pub erase_after_days: u16,
    /// The group whose members may change the roster and release lanes; `None`: all users of the
    /// control socket may.
    #[serde(deserialize_with = "value::group")]
    pub admin_group: Option<String>,
    /// The key of the codes in QR that a platform makes: 64 hexadecimal digits.
    #[serde(deserialize_with = "key")]
    pub qr_key: Option<Secret>,
}

fn key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    Secret::kept_apart(from).map(Some)
}

impl Default for RosterRules {
    fn default() -> RosterRules {
        RosterRules {
            require_consent: true,
            require_training: false,
            erase_after_days: 90,
            admin_group: None,
            qr_key: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    pub socket: PathBuf,
    /// The group that may use the socket; `None`: the daemon's own group.
    #[serde(deserialize_with = "value::group")]
    pub group: Option<String>,
}

impl Default for Control {
    fn default() -> Control {
        Control { socket: "/run/gatehouse/control.sock".into(), group: None }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// A loopback address; `None`: no listener.
    #[serde(deserialize_with = "loopback")]
    pub listen: Option<SocketAddr>,
}

fn loopback<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    let shown = address::shown(&text);
    match text.parse::<SocketAddr>() {
        Ok(address) if !address.ip().to_canonical().is_loopback() => {
            Err(D::Error::custom(format!(
                "{shown} would show this gate to its whole network without a password: listen on \
                 127.0.0.1, and forward it with a proxy, an agent or an SSH tunnel on this machine"
            )))
        }
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        _ => {
            let form = "not an address and port, such as \"127.0.0.1:9464\"";
            Err(D::Error::custom(format!("{shown} is {form}{}", hint(&text))))
        }
    }
}
