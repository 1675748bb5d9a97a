//! The configuration differs from the configuration in the last entry of this kind.

use serde::{Deserialize, Serialize};

use super::Kind;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// SHA-256 of the configuration file.
    #[serde(with = "serde_bytes")]
    pub config_sha256: [u8; 32],
}

impl Kind for ConfigChange {
    const NAME: &str = "config";
}
