//! The daemon's wall clock, set by the test: `tests/peers/faulty_clock.c`, preloaded into its
//! process.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};

use super::shim::shim;

/// Offsets in `struct state` of `faulty_clock.c`.
const AHEAD_MS: u64 = 0;
const SYNCED: u64 = 8;
const UP_AHEAD_MS: u64 = 16;

pub struct WallClock {
    environment: [(&'static str, String); 3],
    state: File,
    boot_id: PathBuf,
}

impl WallClock {
    /// Returns a clock that is right and not synchronised, in the kernel's boot. Its files are in
    /// `folder`.
    pub fn new(folder: &Path) -> WallClock {
        let (path, boot_id) = (folder.join("clock-state"), folder.join("boot-id"));
        let mut options = File::options();
        let state = options.create(true).read(true).write(true).truncate(true).open(&path).unwrap();
        state.set_len(24).unwrap();
        std::fs::copy("/proc/sys/kernel/random/boot_id", &boot_id).unwrap();
        let environment = [
            ("LD_PRELOAD", shim("faulty_clock").to_str().unwrap().to_owned()),
            ("GATEHOUSE_TEST_CLOCK_STATE", path.to_str().unwrap().to_owned()),
            ("GATEHOUSE_TEST_BOOT_ID", boot_id.to_str().unwrap().to_owned()),
        ];
        WallClock { environment, state, boot_id }
    }

    /// Returns the environment for the daemon that is to use this clock.
    pub fn environment(&self) -> [(&str, &str); 3] {
        self.environment.each_ref().map(|(name, value)| (*name, value.as_str()))
    }

    /// Sets the clock this number of seconds ahead of the real one; a negative number sets it
    /// behind.
    pub fn ahead(&self, seconds: i64) {
        self.set(AHEAD_MS, seconds * 1000);
    }

    /// Sets the clock to this time, to the second.
    pub fn shows(&self, time: &str) {
        let then: Timestamp = time.parse().unwrap();
        self.ahead(then.as_second() - Timestamp::now().as_second());
    }

    pub fn synchronised(&self, synchronised: bool) {
        self.set(SYNCED, synchronised.into());
    }

    /// Starts the machine once more, with this time on its clock, which is not synchronised. The
    /// daemon must not run.
    pub fn boot(&self, id: u8, time: &str) {
        std::fs::write(&self.boot_id, format!("{id:02x}").repeat(16)).unwrap();
        let up = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
        self.set(UP_AHEAD_MS, -up.tv_sec() * 1000);
        self.shows(time);
        self.synchronised(false);
    }

    /// Lets time pass. The daemon must not run, because it would read the two clocks in between.
    pub fn pass(&self, time: SignedDuration) {
        for place in [AHEAD_MS, UP_AHEAD_MS] {
            let ms = i64::try_from(time.as_millis()).unwrap();
            self.set(place, self.get(place) + ms);
        }
    }

    fn get(&self, place: u64) -> i64 {
        let mut value = [0; 8];
        self.state.read_exact_at(&mut value, place).unwrap();
        i64::from_ne_bytes(value)
    }

    fn set(&self, place: u64, value: i64) {
        self.state.write_all_at(&value.to_ne_bytes(), place).unwrap();
    }
}
