//! The daemon ended in order: after it, nothing was recorded until the next start.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::words::words;

words! {
    /// Why the daemon ended.
    pub enum ShutdownWhy {
        /// A person or systemd asked for it.
        Asked = "asked",
        /// A part that must not end had ended.
        Failed = "failed",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shutdown {
    pub why: ShutdownWhy,
    /// What had failed.
    pub problem: Option<String>,
}

impl Kind for Shutdown {
    const NAME: &str = "shutdown";
    // The `gap` of the next start says it to the platforms.
    const GOES_UPSTREAM: bool = false;
}
