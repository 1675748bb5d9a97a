//! The configuration: strict TOML becomes domain types.
//!
//! In: the text of one configuration file. Out: [`Config`], or a [`ConfigError`] that names the
//! file, the line and the key. Serde reads the types. A value checks its own bounds. The table's
//! `complete` fills in and checks values that depend on several keys. Unknown keys are refused, so
//! that a misspelt key never silently becomes a default. A value that this version does not support
//! is refused too, and the message says so. A relative path starts at the folder of the file.
//! Touches: the file, and the system's list of groups.

mod address;
mod camera;
mod file;
mod lane;
mod limits;
mod liveness;
mod lookalike;
mod photos;
mod platform_url;
mod secret;
mod signer_key;
mod site;
mod syntax;
mod tables;
#[cfg(test)]
mod tests;
mod threshold;
mod typed;
mod upstream;
mod value;
mod written;
mod zone;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::tables::LaneTable;
pub(crate) use self::value::keys;
pub use self::{
    camera::{Camera, CameraSource, CameraUrl, Login, LoginScheme},
    lane::Lane,
    limits::{AlarmLimits, FaceLimits, Recognition},
    liveness::{Liveness, LivenessModel},
    photos::{PhotoCrop, Photos},
    platform_url::PlatformUrl,
    secret::{Secret, SecretError},
    signer_key::{ED25519, SignerKey},
    site::{Control, INSTALLED_MODELS, Metrics, ModelFiles, RosterRules, Site, Storage},
    threshold::{MatchThreshold, STRANGERS, Threshold},
    upstream::{Ack, Broker, CommandLevel, MqttVersion, OwnKeys, Tls, Upstream},
    zone::Zone,
};
pub use crate::turnstile::{Direction, TurnstileDriver, settings::FireSignal};

/// The whole configuration of the daemon.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file it was read from.
    #[serde(skip)]
    pub path: PathBuf,
    /// SHA-256 of the file's bytes; a change of it is a ledger entry.
    #[serde(skip)]
    pub sha256: [u8; 32],
    pub site: Site,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub storage: Storage,
    #[serde(default)]
    pub models: ModelFiles,
    #[serde(default)]
    pub roster: RosterRules,
    #[serde(default)]
    pub enrolment: FaceLimits,
    #[serde(default)]
    pub recognition: Recognition,
    #[serde(skip)]
    pub lanes: Vec<Lane>,
    /// The lanes as the file has them. `lanes` is made from them.
    #[serde(default, rename = "lane")]
    lane_tables: Vec<LaneTable>,
    #[serde(default, rename = "upstream")]
    pub upstreams: Vec<Upstream>,
    #[serde(default)]
    pub control: Control,
    #[serde(default)]
    pub metrics: Metrics,
    #[serde(default)]
    pub alarms: AlarmLimits,
}

/// `Bench` admits simulated turnstiles and replayed pictures; `Field` refuses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Field,
    Bench,
}

/// A fault in a configuration, with its place.
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
        file::parse(path, &bytes)
    }

    /// Returns the error of another room about a key, with its line in the file. Serde's words are
    /// replaced by words of the file.
    pub fn wrong(&self, key: &str, message: &str) -> ConfigError {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let (path, line) = (self.path.clone(), file::line(&text, key));
        let (key, message) = typed::explain(key, message);
        ConfigError::Wrong { path, line, key, message }
    }

    /// Returns the names of the upstreams that get scenes of passages.
    pub fn scenes_for(&self) -> Vec<String> {
        let those = self.upstreams.iter().filter(|up| up.photos.are_scenes(up.photo_crop));
        those.map(|upstream| upstream.name.clone()).collect()
    }

    /// Checks `text` as the contents of `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        file::parse(path, text.as_bytes())
    }
}
