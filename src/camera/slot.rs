//! The newest frame of one camera, and the wakeup that many cameras share.
//!
//! In: frames from a capture thread. Out: the newest frame, to the one vision worker that takes it.
//! A frame that was not taken before the next one came is dropped and counted, because the gate
//! needs the person who stands at the camera now. While an enrolment has borrowed the camera, only
//! the enrolment receives its frames. It touches nothing else.
//!
//! A pool of workers serves many slots like this:
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use gatehouse::camera::{Wakeup, Slot};
//! # let wakeup = Arc::new(Wakeup::default());
//! # let slots = vec![Arc::new(Slot::new(wakeup.clone()))];
//! # let stopped = true;
//! let mut heard = 0;
//! loop {
//!     // First the count of wakes, then the slots: a frame put in between wakes again.
//!     heard = wakeup.wait(heard, Duration::from_millis(200));
//!     for slot in &slots {
//!         if let Some(frame) = slot.take() { /* search the frame */ }
//!     }
//!     if stopped { break; }
//! }
//! ```

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Frame;
use crate::clock::Monotonic;

/// Wakes a pool's workers when any of its slots has a new frame.
#[derive(Debug, Default)]
pub struct Wakeup {
    rung: Mutex<u64>,
    waiting: Condvar,
}

impl Wakeup {
    /// Wakes all waiting workers.
    pub fn wake(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = rung.wrapping_add(1);
        self.waiting.notify_all();
    }

    /// Blocks until the count of wakes differs from `heard`, or until `timeout` is over. Returns
    /// the count. Begin with 0, and pass the returned count to the next call.
    pub fn wait(&self, heard: u64, timeout: Duration) -> u64 {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (rung, _) = self
            .waiting
            .wait_timeout_while(rung, timeout, |rung| *rung == heard)
            .unwrap_or_else(PoisonError::into_inner);
        *rung
    }
}

/// Room for one frame.
#[derive(Debug)]
pub struct Slot {
    inner: Mutex<Inner>,
    wakeup: Arc<Wakeup>,
}

#[derive(Debug, Default)]
struct Inner {
    newest: Option<Frame>,
    /// When the latest frame was captured.
    latest: Option<Monotonic>,
    dropped: u64,
    lent: bool,
}

impl Slot {
    /// Creates an empty slot. Each new frame wakes a worker that waits at `wakeup`.
    pub fn new(wakeup: Arc<Wakeup>) -> Self {
        Self { inner: Mutex::default(), wakeup }
    }

    /// Puts a frame into the slot and wakes the workers. Sets the frame's `pause`. Replaces an
    /// older frame that was not taken.
    pub fn put(&self, mut frame: Frame) {
        let mut inner = self.lock();
        let latest = inner.latest.replace(frame.captured);
        frame.pause = latest.map_or(Duration::ZERO, |latest| frame.captured.since(latest));
        if let Some(untaken) = inner.newest.take() {
            frame.pause = frame.pause.max(untaken.pause);
            inner.dropped += 1;
        }
        inner.newest = Some(frame);
        drop(inner);
        self.wakeup.wake();
    }

    /// Takes the newest frame, if it was not taken yet. Returns `None` while the camera is lent.
    pub fn take(&self) -> Option<Frame> {
        let mut inner = self.lock();
        if inner.lent { None } else { inner.newest.take() }
    }

    /// Lends the camera to one borrower until the loan is dropped. Returns `None` if the camera is
    /// lent already.
    pub fn lend(self: &Arc<Self>) -> Option<Loan> {
        let mut inner = self.lock();
        // The frame in the slot was captured for the gate.
        inner.newest = None;
        let lent = std::mem::replace(&mut inner.lent, true);
        (!lent).then(|| Loan { slot: self.clone() })
    }

    /// Returns whether the camera is lent.
    pub fn lent(&self) -> bool {
        self.lock().lent
    }

    /// Returns the number of frames that were not taken.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Wakes the workers without a frame, because the camera has ended.
    pub fn wake(&self) {
        self.wakeup.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A borrowed camera. Only the loan receives its frames.
#[derive(Debug)]
pub struct Loan {
    slot: Arc<Slot>,
}

impl Loan {
    /// Takes the newest frame, if it was not taken yet.
    pub fn take(&self) -> Option<Frame> {
        self.slot.lock().newest.take()
    }

    /// Waits until any camera of the pool has a new frame; see [`Wakeup::wait`].
    pub fn wait(&self, heard: u64, timeout: Duration) -> u64 {
        self.slot.wakeup.wait(heard, timeout)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut inner = self.slot.lock();
        inner.lent = false;
        // The frame shows the person who was enrolled, and is not for the gate.
        inner.newest = None;
    }
}

#[cfg(test)]
mod tests;
