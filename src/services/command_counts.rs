//! Counts the outcomes of the platforms' commands since the daemon's start (I6).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

/// The counts of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandCounts {
    /// Commands that were carried out.
    pub commands_done: u64,
    /// Commands that were refused or failed.
    pub commands_failed: u64,
    /// Commands that were answered before and got the same reply.
    pub commands_repeated: u64,
    /// Failed commands that came too late.
    pub commands_expired: u64,
}

/// The counts of all upstreams, by name.
#[derive(Debug, Default)]
pub struct Commands(Mutex<BTreeMap<String, CommandCounts>>);

impl Commands {
    /// Returns the counts of this upstream.
    pub fn of(&self, upstream: &str) -> CommandCounts {
        self.lock().get(upstream).copied().unwrap_or_default()
    }

    /// Changes the counts of this upstream.
    pub fn count(&self, upstream: &str, change: impl FnOnce(&mut CommandCounts)) {
        change(self.lock().entry(upstream.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CommandCounts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
