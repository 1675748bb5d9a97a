//! Supervision: heartbeats, caught panics, causes of errors, and the pause before a restart.
//!
//! In: heartbeats of the daemon's vital parts, and futures that may panic. Out: the late parts, the
//! message of a panic, and the pause before the next attempt. Touches only the [`Clock`].

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

/// A panic, with its message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fault in this program: {0}; please report this")]
pub struct Panicked(String);

impl Panicked {
    /// Takes the message out of a panic's payload.
    pub fn of(panic: &(dyn Any + Send)) -> Panicked {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Panicked(text.unwrap_or("a panic without a message").to_owned())
    }
}

/// Waits for `work`, and catches its panic. Borrowed values outlive the panic: the caller keeps
/// them consistent after each step, or makes new ones.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| Panicked::of(&*panic))
}

/// Returns the first error of this type in the chain of causes.
pub fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // The `source` of an io::Error skips the error that the io::Error wraps.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Shortest and longest pause between two attempts. The pause doubles; the attempts never end.
const PAUSES: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_secs(30);
/// Minimum length of a run after which the pause is the shortest again.
const HELD: Duration = Duration::from_secs(60);

/// The pause before the next attempt of a part.
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
    /// Returns the pause after a run of length `held`.
    pub fn after(&mut self, held: Duration) -> Duration {
        if held >= HELD {
            *self = Backoff::default();
        }
        let pause = self.next;
        self.next = (pause * 2).min(*PAUSES.end());
        pause
    }
}

/// Shortest and longest pause after a refused login. It doubles with each further refusal. Many
/// devices lock an account after a few wrong passwords.
const LOGIN_PAUSES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(600);
/// Interval between two looks at a secret during a pause. A changed secret is tried at once.
pub const SECRET_EVERY: Duration = Duration::from_secs(5);

/// The pauses of a login that another device refuses.
#[derive(Debug)]
pub struct Refusals {
    next: Duration,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals { next: *LOGIN_PAUSES.start() }
    }
}

impl Refusals {
    /// Returns the pause after one more refusal.
    pub fn refused(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(*LOGIN_PAUSES.end());
        pause
    }

    /// Notes that the login was accepted, or that the secret has changed.
    pub fn over(&mut self) {
        *self = Refusals::default();
    }
}

/// The vital parts by name, each with the time of its last heartbeat.
pub struct Heartbeats {
    clock: Arc<dyn Clock>,
    timeout: Duration,
    parts: Mutex<Vec<Part>>,
}

struct Part {
    name: String,
    at: Arc<AtomicU64>,
}

/// A part whose last heartbeat is older than the timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Its name, such as `store` or `lane north`.
    pub part: String,
    /// Time of its last heartbeat.
    pub since: Monotonic,
}

impl Heartbeats {
    /// Makes an empty list. A part is late if its last heartbeat is older than `timeout`.
    pub fn new(clock: Arc<dyn Clock>, timeout: Duration) -> Heartbeats {
        Heartbeats { clock, timeout, parts: Mutex::default() }
    }

    /// Adds a part; its first heartbeat is now.
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

    /// Returns the maximum age of a part's last heartbeat.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part's end of [`Heartbeats`]. The part beats where it makes progress, and nowhere else.
pub struct Heartbeat {
    clock: Arc<dyn Clock>,
    at: Arc<AtomicU64>,
    every: Duration,
}

impl Heartbeat {
    /// Records that the part makes progress now.
    pub fn beat(&self) {
        self.at.store(self.clock.monotonic().as_millis(), Ordering::Relaxed);
    }

    /// Waits until the next heartbeat is due. A waiting part selects on it as well.
    pub async fn due(&self) {
        tokio::time::sleep(self.every).await;
    }

    /// Beats for ever. The caller selects on it beside work that is progress by itself.
    pub async fn keep(&self) {
        loop {
            self.beat();
            self.due().await;
        }
    }
}

#[cfg(test)]
mod tests;
