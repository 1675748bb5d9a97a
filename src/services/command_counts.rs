//! Counts the outcomes of the platforms' commands since the daemon's start (I6).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::clock::Monotonic;

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
    /// Failed commands without the authority: not signed, signed with another key, for another
    /// gateway, or of a verb that `commands` does not allow.
    pub commands_unauthorised: u64,
    /// When the last command without the authority came, and its code.
    #[serde(skip)]
    pub last_unauthorised: Option<(Monotonic, &'static str)>,
}

impl CommandCounts {
    /// Counts a command without the authority.
    pub fn unauthorised(&mut self, at: Monotonic, code: &'static str) {
        self.commands_unauthorised += 1;
        self.last_unauthorised = Some((at, code));
    }
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
