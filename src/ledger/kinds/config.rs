//! The configuration differs from the one of the entry before.

use serde::{Deserialize, Serialize};

use super::Kind;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Of the file.
    #[serde(with = "serde_bytes")]
    pub config_sha256: [u8; 32],
}

impl Kind for ConfigChange {
    const NAME: &str = "config";
}
