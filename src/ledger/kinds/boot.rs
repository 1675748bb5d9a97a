//! The daemon started.

use serde::{Deserialize, Serialize};

use super::Kind;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    pub version: String,
}

impl Kind for Boot {
    const NAME: &str = "boot";
}
