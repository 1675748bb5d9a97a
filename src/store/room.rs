//! How much room the disk has, who still gets some of it, and the reserve for the last of it.
//!
//! A full disk must not stop attendance because of what matters less. So events are given up
//! first, then photos; and while there is plenty, a file beside the database holds room that is
//! given back, a piece at a time, when nothing else is left.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use libc::off_t;
use nix::{fcntl::posix_fallocate, sys::statvfs::statvfs};

use super::{Priority, folder::own_file};
use crate::words::words;

const MIB: u64 = 1 << 20;
/// With less than this, events are no longer recorded.
const EVENTS_FLOOR: u64 = 64 * MIB;
/// With less than this, photos are no longer taken in.
const PHOTOS_FLOOR: u64 = 32 * MIB;
/// With less than this, a piece of the reserve is given back before the next write.
const RESERVE_FLOOR: u64 = 2 * MIB;
/// More than a floor, so that a disk that hovers about it is not said to come and go.
const RECOVERED: u64 = 8 * MIB;
/// The reserve: a passage takes some 2 KiB of the database, so it is enough for a day or more of a
/// busy gate. The log, which is used over and over, has its place already.
const RESERVE: u64 = 16 * MIB;
const PIECE: u64 = MIB;

/// What is free to us on the disk of `dir`, and what it holds in all, in bytes.
pub fn space(dir: &Path) -> nix::Result<(u64, u64)> {
    // They count in 32 bits on a 32-bit system.
    fn bytes(blocks: impl Into<u64>, size: impl Into<u64>) -> u64 {
        blocks.into().saturating_mul(size.into())
    }
    let fs = statvfs(dir)?;
    let size = fs.fragment_size();
    Ok((bytes(fs.blocks_available(), size), bytes(fs.blocks(), size)))
}

words! {
    /// How the disk does, from the best to the worst.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Room {
        /// Everything is recorded.
        #[default]
        Ample = "ample",
        /// Events (denials) are not.
        Low = "low",
        /// Nor are photos: nobody can be enrolled.
        Scarce = "scarce",
        /// The reserve is in use: attendance goes on for as long as it lasts.
        Full = "full",
    }
}

impl Room {
    /// The room there is with so many bytes free.
    pub fn with(free: u64) -> Room {
        Room::Ample.next(free, false)
    }

    /// The room there is with so many bytes free, when it was `self` before.
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

    /// Whether what has this priority is given up.
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
    /// Takes up the reserve that an earlier run left.
    pub(super) fn of(dir: &Path) -> Disk {
        // Without it the disk is as full as it looks.
        let reserve = own_file(&dir.join("reserve"))
            .inspect_err(|error| tracing::warn!(%error, "no reserve of disk room can be kept"))
            .ok();
        let length = reserve.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        let (free_bytes, room) = (u64::MAX, Room::Ample);
        let dir = dir.to_owned();
        let (reserve_bytes, refills) = (length, true);
        let mut disk = Disk { dir, reserve, refills, reserve_bytes, free_bytes, room };
        disk.look();
        disk
    }

    /// Looks how much is free; gives back a piece of the reserve, or fills it up again.
    pub(super) fn look(&mut self) {
        let Some(mut free) = self.free() else { return };
        while free < RESERVE_FLOOR && self.resize(self.reserve_bytes.saturating_sub(PIECE)) {
            free = self.free().unwrap_or(free);
        }
        if self.refills && free >= EVENTS_FLOOR + RECOVERED + RESERVE && self.resize(RESERVE) {
            free = self.free().unwrap_or(free);
        }
        // What it gave back is not enough to end the need that it was given back in.
        let in_use = self.reserve_bytes < RESERVE && free < RESERVE_FLOOR + PIECE;
        self.room = self.room.next(free, in_use);
        self.free_bytes = free;
    }

    fn free(&self) -> Option<u64> {
        space(&self.dir).ok().map(|(free, _)| free)
    }

    /// False where nothing changed.
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
            // To fill it up is not tried at each write, the next start tries again; to give it back is.
            if std::mem::replace(&mut self.refills, false) {
                tracing::warn!(%error, "the reserve of disk room stays as it is");
            }
            return false;
        }
        self.reserve_bytes = to;
        true
    }
}

#[cfg(test)]
mod tests;
