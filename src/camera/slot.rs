//! The newest frame of one camera, and the bell that many cameras share.
//!
//! In: frames from a capture thread. Out: the newest one, once, to whichever vision worker takes
//! it. A frame that nobody took before the next one came is dropped and counted: a worker who
//! stands before the camera now matters, not the queue behind.
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
    dropped: u64,
}

impl Slot {
    pub fn new(bell: Arc<Bell>) -> Self {
        Self { inner: Mutex::default(), bell }
    }

    /// Puts a frame in, over an older one that nobody took, and rings.
    pub fn put(&self, frame: Frame) {
        let mut inner = self.lock();
        if inner.newest.replace(frame).is_some() {
            inner.dropped += 1;
        }
        drop(inner);
        self.bell.ring();
    }

    /// The newest frame, if nobody took it yet.
    pub fn take(&self) -> Option<Frame> {
        self.lock().newest.take()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{camera::Picture, clock::Monotonic};

    fn frame(seq: u64) -> Frame {
        let picture = Picture::Encoded(Arc::from([0_u8]));
        Frame { seq, captured: Monotonic::from_millis(seq), picture }
    }

    #[test]
    fn the_newest_frame_wins_and_the_dropped_are_counted() {
        let slot = Slot::new(Arc::default());
        assert_eq!(slot.take(), None);
        for seq in 0..3 {
            slot.put(frame(seq));
        }
        assert_eq!(slot.take(), Some(frame(2)));
        assert_eq!((slot.take(), slot.dropped()), (None, 2));
        slot.put(frame(3));
        assert_eq!((slot.take(), slot.dropped()), (Some(frame(3)), 2));
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
    fn patience_ends_without_a_ring() {
        let bell = Bell::default();
        assert_eq!(bell.wait(0, Duration::from_millis(5)), 0);
        bell.ring();
        assert_eq!(bell.wait(0, Duration::from_secs(60)), 1);
    }
}
