//! Who makes progress, what is begun anew after a fault, and what caused it.
//!
//! In: beats of the daemon's vital parts, and futures that may panic. Out: who is late, what a
//! panic said, and how long to wait before the next attempt. Touches nothing; time is the clock's.

#![warn(missing_docs)]

use std::{
    any::Any,
    error::Error,
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;

use crate::clock::{Clock, Monotonic};

/// A panic, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fault in this program: {0}; please report this")]
pub struct Panicked(String);

impl Panicked {
    /// What a panic said, where it said anything.
    pub fn of(panic: &(dyn Any + Send)) -> Panicked {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Panicked(text.unwrap_or("a panic without a word").to_owned())
    }
}

/// Waits for `work`, and catches its panic. What it borrows outlives the panic: the caller sees to
/// it that this is whole after each step, or made anew.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| Panicked::of(&*panic))
}

/// Returns the first error of this type, going down to what caused it.
pub fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An io::Error made of another one passes over it in `source`.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Between two attempts of a part that faults: doubling, never giving up.
const PAUSES: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_secs(30);
/// A part that ran for so long is begun anew as if for the first time.
const HELD: Duration = Duration::from_secs(60);

/// How long a part rests before it is begun anew.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: *PAUSES.start() }
    }
}

impl Backoff {
    /// After a run that held for so long.
    pub fn after(&mut self, held: Duration) -> Duration {
        if held >= HELD {
            *self = Backoff::default();
        }
        let pause = self.next;
        self.next = (pause * 2).min(*PAUSES.end());
        pause
    }
}

/// The vital parts by name, each with the time of its last beat.
pub struct Heartbeats {
    clock: Arc<dyn Clock>,
    timeout: Duration,
    parts: Mutex<Vec<Part>>,
}

struct Part {
    name: String,
    at: Arc<AtomicU64>,
}

/// A part without a beat for longer than it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Its name, such as `store` or `lane north`.
    pub part: String,
    /// Its last beat.
    pub since: Monotonic,
}

impl Heartbeats {
    /// Without a beat for longer than `timeout`, a part is late.
    pub fn new(clock: Arc<dyn Clock>, timeout: Duration) -> Heartbeats {
        Heartbeats { clock, timeout, parts: Mutex::default() }
    }

    /// A further part, which makes progress now.
    pub fn part(&self, name: impl Into<String>) -> Heartbeat {
        let at = Arc::new(AtomicU64::new(0));
        self.parts().push(Part { name: name.into(), at: at.clone() });
        let beat = Heartbeat { clock: self.clock.clone(), at, every: self.timeout / 4 };
        beat.beat();
        beat
    }

    /// Returns the parts that are late now.
    pub fn late(&self) -> Vec<Late> {
        let now = self.clock.monotonic();
        let late = |part: &Part| {
            let since = Monotonic::from_millis(part.at.load(Ordering::Relaxed));
            let late = now.since(since) > self.timeout;
            late.then(|| Late { part: part.name.clone(), since })
        };
        self.parts().iter().filter_map(late).collect()
    }

    /// Returns after how long without a beat a part is late.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part's end of [`Heartbeats`]: beaten where the part makes progress, and nowhere else.
pub struct Heartbeat {
    clock: Arc<dyn Clock>,
    at: Arc<AtomicU64>,
    every: Duration,
}

impl Heartbeat {
    /// Says that the part makes progress now.
    pub fn beat(&self) {
        self.at.store(self.clock.monotonic().as_millis(), Ordering::Relaxed);
    }

    /// Waits until the next beat is due: a part that waits for something else wakes for it.
    pub async fn due(&self) {
        tokio::time::sleep(self.every).await;
    }

    /// Beats for ever, beside something that is progress by itself.
    pub async fn keep(&self) {
        loop {
            self.beat();
            self.due().await;
        }
    }
}

#[cfg(test)]
mod tests;
