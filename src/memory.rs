//! One bound on the large data in flight, so that all loads together fit into a small box.
//!
//! In: sizes. Out: a [`Held`] for data that waits (a photo that a client sends, a command with
//! photos, an evidence package), and a [`Turn`] to decode a picture. [`locked`] keeps keys and
//! templates out of the swap. Touches: the allocator.
//!
//! The two are apart, because a photo that waits must never take the room in which it is decoded.

pub mod locked;

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, MutexGuard, Notify, OwnedSemaphorePermit, Semaphore};

/// Maximum bytes of the large data that waits.
pub const WAITING_BYTES: usize = 24 << 20;
/// Maximum bytes of one upstream's large data. The rest is left for the other upstreams.
const SHARE_BYTES: usize = 16 << 20;
/// Maximum size of data that does not count as large. Other bounds limit its number.
pub const SMALL: usize = 64 * 1024;
/// Interval between two returns of free memory to the kernel.
const BACK_AFTER: Duration = Duration::from_secs(1);
/// Size from which on glibc takes memory from the kernel, and gives it back at once. It is above the
/// tensors of the networks, which are used again and again, and below a decoded photo.
#[cfg(target_env = "gnu")]
const FROM_KERNEL: i32 = 4 << 20;
/// Free memory that a heap of glibc keeps for the next search or template.
#[cfg(target_env = "gnu")]
const HEAP_KEEPS: i32 = 16 << 20;
/// Maximum number of glibc's heaps. Without it there are eight for each core.
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 2;

/// The large data in flight.
#[derive(Debug)]
pub struct Memory {
    /// Free room for data that waits, in KiB.
    waiting: Arc<Semaphore>,
    decoding: Mutex<()>,
    used: Arc<Notify>,
}

/// Room for large data that waits. Dropping it frees the room.
#[derive(Debug, Default)]
pub struct Held {
    _room: Option<(OwnedSemaphorePermit, Used)>,
    _share: Option<OwnedSemaphorePermit>,
}

/// One upstream's share of the room.
#[derive(Clone, Debug)]
pub struct Share {
    memory: Arc<Memory>,
    /// Free room of this share, in KiB.
    own: Arc<Semaphore>,
}

impl Share {
    /// Returns `None` if the share or the whole has no room for these bytes now.
    pub fn try_hold(&self, bytes: usize) -> Option<Held> {
        let own = kib(bytes.min(SHARE_BYTES));
        let share = (bytes > SMALL).then(|| self.own.clone().try_acquire_many_owned(own));
        let share = share.transpose().ok()?;
        Some(Held { _share: share, ..self.memory.try_hold(bytes)? })
    }
}

/// The turn to decode one picture. Dropping it ends the turn.
#[derive(Debug)]
pub struct Turn<'a> {
    _alone: MutexGuard<'a, ()>,
    _used: Used,
}

/// Tells that memory was used, when it is dropped.
#[derive(Debug)]
struct Used(Arc<Notify>);

impl Drop for Used {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Default for Memory {
    fn default() -> Memory {
        let waiting = Arc::new(Semaphore::new(WAITING_BYTES >> 10));
        Memory { waiting, decoding: Mutex::default(), used: Arc::default() }
    }
}

impl Memory {
    /// Waits until there is room for these bytes. Small data needs none.
    pub async fn hold(&self, bytes: usize) -> Held {
        if bytes <= SMALL {
            return Held::default();
        }
        let permit = self.waiting.clone().acquire_many_owned(kib(bytes)).await;
        // The semaphore is never closed.
        Held { _room: permit.ok().map(|permit| (permit, self.used())), _share: None }
    }

    /// Returns `None` if there is no room for these bytes now.
    pub fn try_hold(&self, bytes: usize) -> Option<Held> {
        if bytes <= SMALL {
            return Some(Held::default());
        }
        let permit = self.waiting.clone().try_acquire_many_owned(kib(bytes)).ok()?;
        Some(Held { _room: Some((permit, self.used())), _share: None })
    }

    /// Returns a share of the room, for one upstream.
    pub fn share(self: &Arc<Memory>) -> Share {
        Share { memory: self.clone(), own: Arc::new(Semaphore::new(SHARE_BYTES >> 10)) }
    }

    /// Waits until no other picture is decoded.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { _alone: self.decoding.lock().await, _used: self.used() }
    }

    /// As [`turn`](Self::turn), on a thread that may block.
    pub fn blocking_turn(&self) -> Turn<'_> {
        Turn { _alone: self.decoding.blocking_lock(), _used: self.used() }
    }

    fn used(&self) -> Used {
        Used(self.used.clone())
    }

    /// Returns free memory to the kernel after each use, at most once in [`BACK_AFTER`]. Runs for
    /// ever.
    pub async fn give_back(&self) {
        loop {
            self.used.notified().await;
            tokio::time::sleep(BACK_AFTER).await;
            // A failed call costs only memory.
            let _ = tokio::task::spawn_blocking(give_back).await;
        }
    }
}

/// Returns the room for these bytes. Data that is larger than all room takes all of it.
fn kib(bytes: usize) -> u32 {
    bytes.min(WAITING_BYTES).div_ceil(1024) as u32
}

/// Sets up the allocator. It must run before other threads exist.
pub fn set_up() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets numbers of the allocator.
    unsafe {
        // glibc would raise the size with each large block that is freed, and then keep the blocks.
        libc::mallopt(libc::M_MMAP_THRESHOLD, FROM_KERNEL);
        libc::mallopt(libc::M_TRIM_THRESHOLD, HEAP_KEEPS);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// Returns free memory to the kernel; glibc keeps it otherwise.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time; it only returns free pages to the kernel.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn i8_large_data_waits_for_room_and_small_data_does_not() {
        let memory = Memory::default();
        let half = memory.hold(WAITING_BYTES / 2).await;
        let rest = memory.try_hold(WAITING_BYTES / 2).unwrap();
        assert!(memory.try_hold(SMALL + 1).is_none());
        assert!(memory.try_hold(SMALL).is_some());
        // A picture is decoded all the same.
        drop(memory.turn().await);
        drop(half);
        assert!(memory.try_hold(SMALL + 1).is_some());
        drop(rest);
        // A size above the whole bound gets all of it, and does not wait for ever.
        let all = memory.hold(WAITING_BYTES * 2).await;
        assert!(memory.try_hold(SMALL + 1).is_none());
        drop(all);
    }

    #[tokio::test]
    async fn i8_one_upstream_never_takes_all_the_room() {
        let memory = Arc::new(Memory::default());
        let (flood, other) = (memory.share(), memory.share());
        let held: Vec<_> = std::iter::from_fn(|| flood.try_hold(1 << 20)).collect();
        assert_eq!(held.len(), SHARE_BYTES >> 20);
        assert!(other.try_hold(4 << 20).is_some());
        assert!(flood.try_hold(SMALL).is_some());
        drop(held);
        assert!(flood.try_hold(SHARE_BYTES).is_some());
    }

    #[tokio::test]
    async fn i8_one_picture_is_decoded_at_a_time() {
        let memory = Memory::default();
        let turn = memory.turn().await;
        let mut next = std::pin::pin!(memory.turn());
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(turn);
        drop(next.await);
    }
}
