//! Strict TOML in, domain types out.
//!
//! In: the text of one configuration file. Out: [`Config`], or a [`ConfigError`] that names the
//! file, the line and the key. Unknown keys are refused, so that a misspelt one is never silently
//! a default; a value that this version does not carry out is refused too, and says so. Relative
//! paths are taken from the folder of the file. Touches: the file, and the system's list of groups.

mod raw;
mod secret;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use crate::turnstile::{Direction, TurnstileDriver};
pub use secret::{Secret, SecretError};

/// Where a package puts the models.
pub const INSTALLED_MODELS: &str = "/usr/share/gatehouse/models";

/// Everything the daemon needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// SHA-256 of the file's bytes; a change of it is a ledger entry.
    pub sha256: [u8; 32],
    pub site: Site,
    pub mode: Mode,
    pub storage: Storage,
    pub models: ModelFiles,
    pub roster: RosterRules,
    pub enrolment: FaceLimits,
    pub recognition: Recognition,
    pub lanes: Vec<Lane>,
    pub upstreams: Vec<Upstream>,
    pub control: Control,
    pub metrics: Metrics,
    pub alarms: AlarmLimits,
}

#[derive(Clone, Debug)]
pub struct Site {
    pub project_code: String,
    /// `None`: made once with the database and kept in it.
    pub gateway_id: Option<String>,
    pub name: String,
    /// The day on which all wages of the project were settled. Retention counts from it (I2).
    pub settled_on: Option<Date>,
    pub timezone: TimeZone,
    /// A working day lasts from here to the same time on the next calendar day.
    pub day_starts_at: Time,
}

/// `Bench` admits simulated devices; `Field` refuses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Field,
    Bench,
}

#[derive(Clone, Debug)]
pub struct Storage {
    pub dir: PathBuf,
    /// Where the install's sealing key is.
    pub key: Secret,
    /// Years after `site.settled_on`; at least 3.
    pub attendance_keep_years: u8,
    /// Days that the photo of a passage is kept; 0: none is taken.
    pub photo_keep_days: u16,
    /// Of all photos of passages together; the oldest go first.
    pub photo_max_bytes: u64,
}

impl Storage {
    /// A folder with everything else as it is where the configuration says nothing.
    pub fn usual(dir: PathBuf, key: Secret) -> Storage {
        Storage {
            dir,
            key,
            attendance_keep_years: 3,
            photo_keep_days: 30,
            photo_max_bytes: 1 << 30,
        }
    }

    pub fn database(&self) -> PathBuf {
        self.dir.join("gatehouse.db")
    }
}

#[derive(Clone, Debug)]
pub struct ModelFiles {
    pub detector: PathBuf,
    pub embedder: PathBuf,
}

#[derive(Clone, Debug)]
pub struct RosterRules {
    /// No template without a consent form's number.
    pub require_consent: bool,
    /// Nobody enters who was not trained in safety.
    pub require_training: bool,
    /// The group whose members may change the roster and release lanes; `None`: whoever may use the
    /// control socket.
    pub admin_group: Option<String>,
}

/// How good a look at a face must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceLimits {
    /// Least width of the face's box, in pixels of the picture.
    pub min_face_px: f32,
    /// Least sharpness, as [`crate::vision::Quality`] measures it.
    pub min_sharpness: f32,
    /// How far the face may be turned aside, in distances between the eyes.
    pub max_aside: f32,
    /// How far the head may be tilted; degrees.
    pub max_tilt_deg: f32,
    /// Least and most of its mean grey level, 0 to 255.
    pub light: (f32, f32),
}

impl Default for FaceLimits {
    fn default() -> FaceLimits {
        FaceLimits {
            min_face_px: 48.0,
            min_sharpness: 0.05,
            max_aside: 0.3,
            max_tilt_deg: 35.0,
            light: (45.0, 215.0),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recognition {
    /// Least cosine for a match, 0 to 1.
    pub threshold: MatchThreshold,
    /// Least distance of the best worker's score to the second's.
    pub margin: f32,
    /// Least width of a face's box in pixels of the camera's frame.
    pub min_face_px: f32,
    /// So many frames of one visit must name the same worker.
    pub frames_to_agree: u32,
}

/// A cosine similarity from 0 to 1 at and above which two templates are one person.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct MatchThreshold(f32);

impl MatchThreshold {
    /// `None` outside 0.3 to 1: below, strangers pass by the dozen.
    pub fn new(cosine: f32) -> Option<Self> {
        (0.3..=1.0).contains(&cosine).then_some(Self(cosine))
    }

    pub fn cosine(self) -> f32 {
        self.0
    }
}

#[derive(Clone, Debug)]
pub struct Lane {
    pub name: String,
    /// After a passage the same worker is not admitted again on this side for so long.
    pub cool_down: Duration,
    /// How long after a release somebody may walk through.
    pub pass_within: Duration,
    pub turnstile: TurnstileDriver,
    pub cameras: Vec<Camera>,
}

#[derive(Clone, Debug)]
pub struct Camera {
    pub direction: Direction,
    pub source: CameraSource,
    /// Frames a second.
    pub fps: f32,
    /// Wanted of a `v4l2` camera, in pixels; it gives the nearest it has.
    pub size: (u32, u32),
    /// Number of times that a replay shows each image of a folder or file.
    pub repeat: u32,
    /// A replay begins again at its end.
    pub looped: bool,
}

/// Where frames come from. Shown without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraSource {
    /// A folder of images, or a file (or FIFO) of concatenated JPEG frames.
    Replay(PathBuf),
    /// A device of Video4Linux2.
    V4l2(PathBuf),
    /// Multipart MJPEG over HTTP.
    Http(CameraUrl),
    /// H.264 over RTSP.
    Rtsp(CameraUrl),
}

impl CameraSource {
    /// The word before the colon.
    pub fn kind(&self) -> &'static str {
        match self {
            CameraSource::Replay(_) => "replay",
            CameraSource::V4l2(_) => "v4l2",
            CameraSource::Http(_) => "http",
            CameraSource::Rtsp(_) => "rtsp",
        }
    }

    /// Why this build cannot read it, if so.
    pub fn left_out(&self) -> Option<&'static str> {
        match self {
            CameraSource::V4l2(_) if cfg!(not(target_pointer_width = "64")) => Some(
                "this build is for a 32-bit system and has no USB cameras: take one on the network, or \
                 a 64-bit system",
            ),
            CameraSource::Rtsp(_) if cfg!(not(feature = "h264")) => {
                Some("this build has no H.264: build it with the feature h264")
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for CameraSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CameraSource::Replay(path) => write!(f, "replay:{}", path.display()),
            CameraSource::V4l2(path) => write!(f, "v4l2:{}", path.display()),
            CameraSource::Http(url) | CameraSource::Rtsp(url) => write!(f, "{url}"),
        }
    }
}

/// A network camera's address, and apart from it who may look. Shown without what may be a secret:
/// many cameras take `?user=…&pwd=…`, and some `/user=…_password=…`.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    /// Holds neither user nor password.
    pub url: url::Url,
    pub login: Option<Login>,
}

impl std::fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = self.url.clone();
        if let Some((before, _)) = self.url.path().split_once('=') {
            shown.set_path(&format!("{before}=***"));
        }
        if let Some(query) = self.url.query() {
            let masked = query.split('&').map(|pair| match pair.split_once('=') {
                Some((key, _)) => format!("{key}=***"),
                None => "***".to_owned(),
            });
            shown.set_query(Some(&masked.collect::<Vec<_>>().join("&")));
        }
        shown.set_fragment(None);
        write!(f, "{shown}")
    }
}

impl std::fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CameraUrl({self})")
    }
}

/// A user's name and password at a camera. Neither is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(***)")
    }
}

/// One connection to a platform.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: String,
    /// The broker, or the nodes of a cluster; tried in turn.
    pub brokers: Vec<Broker>,
    /// `None`: the gateway's id and the upstream's name.
    pub client_id: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub tls: Tls,
    /// `None`: MQTT 5, and 3.1.1 where that is refused.
    pub version: Option<MqttVersion>,
    /// What the platform speaks: a name that the uplink knows, and checks.
    pub profile: String,
    pub encoding: Encoding,
    pub ack: Ack,
    /// Whether commands of this upstream may open a gate.
    pub remote_release: bool,
}

/// Whom a broker with `mqtts:` must prove to be, and who we are to it.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM: the authorities that may vouch for the broker; `None`: those of the operating system.
    pub ca: Option<PathBuf>,
    /// PEM: our own certificate with its chain, and its private key.
    pub own: Option<(PathBuf, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MqttVersion {
    #[serde(rename = "3.1.1")]
    V4,
    #[serde(rename = "5")]
    V5,
}

impl MqttVersion {
    /// Its name in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            MqttVersion::V4 => "3.1.1",
            MqttVersion::V5 => "5",
        }
    }
}

/// Whose word takes a row out of the outbox (I3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// The broker's, for each message.
    #[default]
    Broker,
    /// The consumer's, for all up to a seq.
    Platform,
}

/// How payloads are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    Json,
    Cbor,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub host: String,
    pub port: u16,
    /// `mqtts:`
    pub tls: bool,
}

impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug)]
pub struct Control {
    pub socket: PathBuf,
    /// Group that may talk to the socket; `None` leaves it with the daemon's own group.
    pub group: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Metrics {
    /// A loopback address; `None`: no listener.
    pub listen: Option<SocketAddr>,
}

/// From where on something is an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmLimits {
    /// A record that waits for its upstream for longer.
    pub outbox_age: Duration,
    /// A link that is down for longer.
    pub link_down: Duration,
    /// A camera or turnstile that is away for longer.
    pub device_down: Duration,
    /// A camera that shows faces for longer without a decision.
    pub undecided: Duration,
    /// So many visits of unknown faces at one lane within this time.
    pub unknown_faces: u16,
    pub unknown_faces_within: Duration,
}

/// What is wrong with a configuration, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {source}; name another file with --config or GATEHOUSE_CONFIG", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}: {key}: {message}", path.display())]
    Wrong { path: PathBuf, line: usize, key: String, message: String },
}

impl Config {
    /// Reads and checks one file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let bytes = std::fs::read(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        raw::parse_bytes(path, &bytes)
    }

    /// A complaint about a key by the room that reads it, with its line in the file.
    pub fn wrong(&self, key: &str, message: String) -> ConfigError {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let (path, line) = (self.path.clone(), raw::line(&text, key));
        ConfigError::Wrong { path, line, key: key.to_owned(), message }
    }

    /// Checks `text` as the contents of `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        raw::parse(path, text)
    }
}
