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
//! # use gatehouse::camera::{Bell, Slot};
//! # let bell = Arc::new(Bell::default());
//! # let slots = vec![Arc::new(Slot::new(bell.clone()))];
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
pub struct Bell {
    rung: Mutex<u64>,
    waiting: Condvar,
}

impl Bell {
    /// Wakes all that wait.
    pub fn ring(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = rung.wrapping_add(1);
        self.waiting.notify_all();
    }

    /// Blocks until it has rung since it had rung `heard` times, or until `patience` is over.
    /// Returns how often it has rung by now; begin with 0.
    pub fn wait(&self, heard: u64, patience: Duration) -> u64 {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (rung, _) = self
            .waiting
            .wait_timeout_while(rung, patience, |rung| *rung == heard)
            .unwrap_or_else(PoisonError::into_inner);
        *rung
    }
}

/// Room for one frame.
#[derive(Debug)]
pub struct Slot {
    inner: Mutex<Inner>,
    bell: Arc<Bell>,
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
    pub fn new(bell: Arc<Bell>) -> Self {
        Self { inner: Mutex::default(), bell }
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
        self.bell.ring();
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
    pub fn ring(&self) {
        self.bell.ring();
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

    /// Waits until some camera has a new frame; see [`Bell::wait`].
    pub fn wait(&self, heard: u64, patience: Duration) -> u64 {
        self.slot.bell.wait(heard, patience)
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
mod tests {
    use super::*;
    use crate::camera::Picture;

    fn frame(seq: u64) -> Frame {
        let picture = Picture::Encoded(Arc::from([0_u8]));
        Frame { seq, captured: Monotonic::from_millis(seq), pause: Duration::ZERO, picture }
    }

    #[test]
    fn the_newest_frame_wins_and_the_dropped_are_counted() {
        let slot = Slot::new(Arc::default());
        let taken = || slot.take().map(|frame| frame.seq);
        assert_eq!(taken(), None);
        for seq in 0..3 {
            slot.put(frame(seq));
        }
        assert_eq!(taken(), Some(2));
        assert_eq!((taken(), slot.dropped()), (None, 2));
        slot.put(frame(3));
        assert_eq!((taken(), slot.dropped()), (Some(3), 2));
    }

    #[test]
    fn a_frame_tells_the_cameras_longest_pause_since_the_last_one_that_was_taken() {
        let slot = Slot::new(Arc::default());
        let pause = || slot.take().map(|frame| frame.pause.as_millis());
        slot.put(frame(100));
        assert_eq!(pause(), Some(0));
        for at in [150, 1150, 1200] {
            slot.put(frame(at));
        }
        assert_eq!(pause(), Some(1000), "of a frame that was dropped");
        slot.put(frame(1250));
        assert_eq!(pause(), Some(50));
        slot.put(frame(4250));
        assert_eq!(pause(), Some(3000));
    }

    #[test]
    fn workers_of_many_cameras_get_each_frame_once() {
        const FRAMES: u64 = 200;
        let bell = Arc::new(Bell::default());
        let slots: Vec<_> = (0..3).map(|_| Arc::new(Slot::new(bell.clone()))).collect();
        let taken: u64 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut heard, mut taken) = (0, 0);
                        // Each camera's last frame is never dropped: someone takes it.
                        let mut last_seen = Vec::new();
                        loop {
                            let rung = bell.wait(heard, Duration::from_millis(300));
                            if rung == heard {
                                return (taken, last_seen);
                            }
                            heard = rung;
                            for slot in &slots {
                                if let Some(frame) = slot.take() {
                                    taken += 1;
                                    if frame.seq == FRAMES - 1 {
                                        last_seen.push(frame.seq);
                                    }
                                }
                            }
                        }
                    })
                })
                .collect();
            for slot in &slots {
                scope.spawn(|| (0..FRAMES).for_each(|seq| slot.put(frame(seq))));
            }
            let done: Vec<_> = workers.into_iter().map(|w| w.join().unwrap()).collect();
            assert_eq!(done.iter().map(|(_, last)| last.len()).sum::<usize>(), slots.len());
            done.iter().map(|(taken, _)| taken).sum()
        });
        let dropped: u64 = slots.iter().map(|s| s.dropped()).sum();
        assert_eq!(taken + dropped, FRAMES * 3);
    }

    #[test]
    fn a_camera_that_is_lent_shows_its_frames_to_the_borrower_alone() {
        let slot = Arc::new(Slot::new(Arc::default()));
        slot.put(frame(0));
        let loan = slot.lend().unwrap();
        assert!(slot.lend().is_none() && slot.lent());
        assert_eq!(loan.take(), None);
        slot.put(frame(1));
        assert_eq!((slot.take(), loan.take().map(|frame| frame.seq)), (None, Some(1)));
        slot.put(frame(2));
        drop(loan);
        assert_eq!(slot.take(), None);
        slot.put(frame(3));
        assert_eq!(slot.take().map(|frame| frame.seq), Some(3));
        assert!(slot.lend().is_some());
    }

    #[test]
    fn patience_ends_without_a_ring() {
        let bell = Bell::default();
        assert_eq!(bell.wait(0, Duration::from_millis(5)), 0);
        bell.ring();
        assert_eq!(bell.wait(0, Duration::from_secs(60)), 1);
    }
}
