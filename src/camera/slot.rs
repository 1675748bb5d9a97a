//! The newest frame of one camera, and the bell that many cameras share.
//!
//! In: frames from a capture thread. Out: the newest one, once, to whichever vision worker takes
//! it. A frame that nobody took before the next one came is dropped and counted: a worker who
//! stands before the camera now matters, not the queue behind. While an enrolment has borrowed the
//! camera, its frames go to that and to no vision worker.
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
//!     // First how often it rang, then the slots: a frame put in between rings again.
//!     heard = bell.wait(heard, Duration::from_millis(200));
//!     for slot in &slots {
//!         if let Some(frame) = slot.take() { /* look at it */ }
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

/// Rings when any of its slots has a new frame. Shared by a pool's slots and workers.
#[derive(Debug, Default)]
pub struct Wakeup {
    rung: Mutex<u64>,
    waiting: Condvar,
}

impl Wakeup {
    /// Wakes all that wait.
    pub fn wake(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = rung.wrapping_add(1);
        self.waiting.notify_all();
    }

    /// Blocks until it has rung since it had rung `heard` times, or until `timeout` is over.
    /// Returns how often it has rung by now; begin with 0.
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
    pub fn new(wakeup: Arc<Wakeup>) -> Self {
        Self { inner: Mutex::default(), wakeup }
    }

    /// Puts a frame in, over an older one that was not taken, and rings. Sets the frame's pause.
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

    /// The newest frame, if nobody took it yet. None while the camera is lent.
    pub fn take(&self) -> Option<Frame> {
        let mut inner = self.lock();
        if inner.lent { None } else { inner.newest.take() }
    }

    /// Lends the camera to one borrower, until the loan is dropped. `None` where it is lent already.
    pub fn lend(self: &Arc<Self>) -> Option<Loan> {
        let mut inner = self.lock();
        // What it shows now was taken for the gate.
        inner.newest = None;
        let lent = std::mem::replace(&mut inner.lent, true);
        (!lent).then(|| Loan { slot: self.clone() })
    }

    /// Whether an enrolment has it.
    pub fn lent(&self) -> bool {
        self.lock().lent
    }

    /// Frames that nobody took.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Rings without a frame: the camera has ended.
    pub fn wake(&self) {
        self.wakeup.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A camera that is borrowed: its frames are here alone.
#[derive(Debug)]
pub struct Loan {
    slot: Arc<Slot>,
}

impl Loan {
    /// The newest frame, if it was not taken yet.
    pub fn take(&self) -> Option<Frame> {
        self.slot.lock().newest.take()
    }

    /// Waits until some camera has a new frame; see [`Wakeup::wait`].
    pub fn wait(&self, heard: u64, timeout: Duration) -> u64 {
        self.slot.wakeup.wait(heard, timeout)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut inner = self.slot.lock();
        inner.lent = false;
        // Of whoever was enrolled: not for the gate.
        inner.newest = None;
    }
}

#[cfg(test)]
mod tests;
