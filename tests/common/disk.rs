//! A faulty disk for the real daemon: `tests/peers/faulty_disk.c`, preloaded into its process.

use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Duration};

use super::shim::shim;

/// Offsets in `struct state` of `faulty_disk.c`.
const MODE: u64 = 0;
const ROOM: u64 = 8;
const SYNC_MS: u64 = 16;
const FAULTS: u64 = 24;

/// The files below one folder, and how the simulated disk treats them.
pub struct Disk {
    environment: [(&'static str, String); 3],
    state: File,
}

impl Disk {
    /// Returns a healthy disk for `folder`, which may not exist yet. Its state file lies beside
    /// `folder`.
    pub fn under(folder: &Path) -> Disk {
        let (site, name) = (folder.parent().unwrap(), folder.file_name().unwrap());
        let path = site.join("disk-state");
        let state = File::options().create(true).read(true).write(true).truncate(true).open(&path);
        let state = state.unwrap();
        state.set_len(4096).unwrap();
        let folder = site.canonicalize().unwrap().join(name);
        let environment = [
            ("LD_PRELOAD", shim("faulty_disk").to_str().unwrap().to_owned()),
            ("GATEHOUSE_TEST_DISK", folder.to_str().unwrap().to_owned()),
            ("GATEHOUSE_TEST_DISK_STATE", path.to_str().unwrap().to_owned()),
        ];
        Disk { environment, state }
    }

    /// Returns the environment for the daemon that is to use this disk.
    pub fn environment(&self) -> [(&str, &str); 3] {
        self.environment.each_ref().map(|(name, value)| (*name, value.as_str()))
    }

    pub fn well(&self) {
        self.set(SYNC_MS, 0);
        self.set(MODE, 0);
    }

    /// Leaves `room` free bytes. A negative `room` means: other programs take freed space at once,
    /// up to that number of bytes.
    pub fn full(&self, room: i64) {
        self.set(ROOM, room);
        self.set(MODE, 1);
    }

    pub fn read_only(&self) {
        self.set(MODE, 2);
    }

    /// Makes writes and syncs fail.
    pub fn failing(&self) {
        self.set(MODE, 3);
    }

    pub fn failing_to_read(&self) {
        self.set(MODE, 4);
    }

    /// Cuts the power within the `nth` write from now on, after its first half.
    pub fn torn(&self, nth: i64) {
        self.set(ROOM, nth);
        self.set(MODE, 5);
    }

    /// Makes each sync take longer by this time.
    pub fn slow(&self, by: Duration) {
        self.set(SYNC_MS, by.as_millis() as i64);
    }

    /// Returns the number of calls that failed so far.
    pub fn faults(&self) -> u64 {
        let mut bytes = [0; 8];
        self.state.read_exact_at(&mut bytes, FAULTS).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn set(&self, place: u64, value: i64) {
        self.state.write_all_at(&value.to_ne_bytes(), place).unwrap();
    }
}
