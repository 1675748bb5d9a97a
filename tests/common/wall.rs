//! The daemon's wall clock, set by the test: `tests/peers/faulty_clock.c`, preloaded into its
//! process.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use super::shim::shim;

/// Offsets in `struct state` of `faulty_clock.c`.
const AHEAD_MS: u64 = 0;
const SYNCED: u64 = 8;

pub struct WallClock {
    environment: [(&'static str, String); 2],
    state: File,
}

impl WallClock {
    /// Returns a clock that is right and not synchronised. Its state file is in `folder`.
    pub fn new(folder: &Path) -> WallClock {
        let path = folder.join("clock-state");
        let state = File::options().create(true).write(true).truncate(true).open(&path).unwrap();
        state.set_len(16).unwrap();
        let environment = [
            ("LD_PRELOAD", shim("faulty_clock").to_str().unwrap().to_owned()),
            ("GATEHOUSE_TEST_CLOCK_STATE", path.to_str().unwrap().to_owned()),
        ];
        WallClock { environment, state }
    }

    /// Returns the environment for the daemon that is to use this clock.
    pub fn environment(&self) -> [(&str, &str); 2] {
        self.environment.each_ref().map(|(name, value)| (*name, value.as_str()))
    }

    /// Sets the clock this number of seconds ahead of the real one; a negative number sets it
    /// behind.
    pub fn ahead(&self, seconds: i64) {
        self.set(AHEAD_MS, seconds * 1000);
    }

    pub fn synchronised(&self, synchronised: bool) {
        self.set(SYNCED, synchronised.into());
    }

    fn set(&self, place: u64, value: i64) {
        self.state.write_all_at(&value.to_ne_bytes(), place).unwrap();
    }
}
