//! The room on the disk: which priorities may use it, and the reserve for attendance.
//!
//! A full disk must not stop attendance. Events are therefore given up first, then photos. While
//! the disk has plenty of room, a reserve file holds some of it. The file is shortened piece by
//! piece when no other room is left.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use libc::off_t;
use nix::{fcntl::posix_fallocate, sys::statvfs::statvfs};

use super::{Priority, folder::own_file};
use crate::words::words;

const MIB: u64 = 1 << 20;
/// Minimum of free bytes with which events are recorded.
const EVENTS_FLOOR: u64 = 64 * MIB;
/// Minimum of free bytes with which photos are stored.
const PHOTOS_FLOOR: u64 = 32 * MIB;
/// Minimum of free bytes without which a piece of the reserve is given back before the next write.
const RESERVE_FLOOR: u64 = 2 * MIB;
/// Bytes above a floor at which a state ends again, so that it does not change back and forth.
const RECOVERED: u64 = 8 * MIB;
/// Size of the reserve. A passage takes about 2 KiB of the database, so the reserve is enough for a
/// day or more of a busy gate. The log is reused, and already has its room.
pub const RESERVE: u64 = 16 * MIB;
/// Size of the piece by which the reserve shrinks.
const PIECE: u64 = MIB;

/// Returns the bytes that are free to us on the disk of `dir`, and the size of the disk in bytes.
pub fn space(dir: &Path) -> nix::Result<(u64, u64)> {
    // The counts have 32 bits on a 32-bit system.
    fn bytes(blocks: impl Into<u64>, size: impl Into<u64>) -> u64 {
        blocks.into().saturating_mul(size.into())
    }
    let fs = statvfs(dir)?;
    let size = fs.fragment_size();
    Ok((bytes(fs.blocks_available(), size), bytes(fs.blocks(), size)))
}

words! {
    /// The room on the disk, from the best state to the worst.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Room {
        /// Everything is recorded.
        #[default]
        Ample = "ample",
        /// Events (denials) are not recorded.
        Low = "low",
        /// Events and photos are not recorded, so no worker can be enrolled.
        Scarce = "scarce",
        /// The reserve is in use. Attendance is recorded until the reserve is used up.
        Full = "full",
    }
}

impl Room {
    /// Returns the state for this number of free bytes.
    pub fn with(free: u64) -> Room {
        Room::Ample.next(free, false)
    }

    /// Returns the number of free bytes at which the state is ample again.
    pub fn ample_from() -> u64 {
        EVENTS_FLOOR + RECOVERED
    }

    /// Returns the state for this number of free bytes, after the state `self`.
    fn next(self, free: u64, reserve_in_use: bool) -> Room {
        if reserve_in_use {
            return Room::Full;
        }
        let enough_for = |floor: u64, kept: bool| free >= floor + if kept { 0 } else { RECOVERED };
        if enough_for(EVENTS_FLOOR, self < Room::Low) {
            Room::Ample
        } else if enough_for(PHOTOS_FLOOR, self < Room::Scarce) {
            Room::Low
        } else {
            Room::Scarce
        }
    }

    /// Returns whether writes of this priority are refused.
    pub fn refuses(self, priority: Priority) -> bool {
        match priority {
            Priority::Attendance | Priority::Upkeep => false,
            Priority::Event => self >= Room::Low,
            Priority::Photo => self >= Room::Scarce,
        }
    }
}

/// The disk under the storage folder.
pub(super) struct Disk {
    dir: PathBuf,
    reserve: Option<File>,
    refills: bool,
    pub(super) reserve_bytes: u64,
    pub(super) free_bytes: u64,
    pub(super) room: Room,
}

impl Disk {
    /// Opens the reserve that an earlier run left, or an empty one.
    pub(super) fn of(dir: &Path) -> Disk {
        // Without a reserve the store still works, with less room at the end.
        let reserve = own_file(&dir.join("reserve"))
            .inspect_err(|error| tracing::warn!(%error, "the reserve of disk space cannot be kept"))
            .ok();
        let length = reserve.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        let (free_bytes, room) = (u64::MAX, Room::Ample);
        let dir = dir.to_owned();
        let (reserve_bytes, refills) = (length, true);
        let mut disk = Disk { dir, reserve, refills, reserve_bytes, free_bytes, room };
        disk.look();
        disk
    }

    /// Measures the free bytes. Gives back pieces of the reserve, or fills it up again.
    pub(super) fn look(&mut self) {
        let Some(mut free) = self.free() else { return };
        while free < RESERVE_FLOOR && self.resize(self.reserve_bytes.saturating_sub(PIECE)) {
            free = self.free().unwrap_or(free);
        }
        // The reserve comes before events and photos: attendance needs it.
        if self.refills && free >= RESERVE_FLOOR + RECOVERED + RESERVE && self.resize(RESERVE) {
            free = self.free().unwrap_or(free);
        }
        // One piece given back by the reserve is not enough to end the state `Full`.
        let in_use = self.reserve_bytes < RESERVE && free < RESERVE_FLOOR + PIECE;
        self.room = self.room.next(free, in_use);
        self.free_bytes = free;
    }

    fn free(&self) -> Option<u64> {
        space(&self.dir).ok().map(|(free, _)| free)
    }

    /// Changes the size of the reserve. Returns false if nothing changed.
    fn resize(&mut self, to: u64) -> bool {
        let Some(reserve) = self.reserve.as_ref().filter(|_| to != self.reserve_bytes) else {
            return false;
        };
        let resized = if to < self.reserve_bytes {
            reserve.set_len(to)
        } else {
            posix_fallocate(reserve, 0, off_t::try_from(to).unwrap_or(off_t::MAX))
                .map_err(Into::into)
        };
        if let Err(error) = resized {
            // After an error the reserve is not filled up again before the next start. Giving back
            // pieces is still tried at each write.
            if std::mem::replace(&mut self.refills, false) {
                tracing::warn!(%error, "the size of the disk reserve cannot be changed");
            }
            return false;
        }
        self.reserve_bytes = to;
        true
    }
}

#[cfg(test)]
mod tests;
