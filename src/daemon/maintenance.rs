//! Maintenance of the database: records changes of the clock and the disk, and audits the ledger.
//!
//! In: the clock, the store's state. Out: ledger entries.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use rusqlite::Transaction;
use tokio_util::sync::CancellationToken;

use super::{
    opening::{CLOCK, LAST_TRUSTED},
    pending::Pending,
};
use crate::{
    clock::{Clock, ClockWatch, LastTrusted, Monotonic},
    ledger::{Body, Detail, DiskState, Ledger},
    roster::Day,
    services::{Checker, Services},
    store::{self, Priority, Store, StoreError, StoreState},
};

/// Interval between two checks.
const EVERY: Duration = Duration::from_secs(1);
/// Time without a commit after which a test write checks the disk.
const QUIET: Duration = Duration::from_secs(60);
/// Maximum number of entries that wait for a failing disk. When it is reached, the newest entry is
/// dropped and logged; the first ones show how the failure began.
const PENDING: usize = 16;

/// Interval between writes of the last time at which the clock was trusted. A new day is written at
/// once.
const TRUSTED_EVERY: Duration = Duration::from_secs(3600);
/// Interval after a write of it that failed.
const TRUSTED_AGAIN: Duration = Duration::from_secs(60);
/// Maximum number of entries that one check audits. The audit of a ledger of three years takes half
/// an hour without a visible load.
const AUDITED: u64 = 1000;

pub(super) struct Maintenance {
    store: Store,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    watch: ClockWatch,
    last_trusted: Arc<LastTrusted>,
    timezone: TimeZone,
    /// The day that was written, and the time of the next write.
    trusted: (Option<Day>, Monotonic),
    disk: DiskWatch,
    pending: Pending<Body>,
    checker: Arc<Checker>,
    /// The store's number of commits, and the time of its last change.
    commits: (u64, Monotonic),
}

impl Maintenance {
    pub(super) fn new(services: &Services, watch: ClockWatch) -> Maintenance {
        Maintenance {
            store: services.store.clone(),
            ledger: services.ledger.clone(),
            clock: services.clock.clone(),
            watch,
            last_trusted: services.last_trusted.clone(),
            timezone: services.retention.timezone.clone(),
            trusted: (None, services.clock.monotonic()),
            disk: DiskWatch::new(services.storage_dir.clone()),
            pending: Pending::new(PENDING),
            checker: services.checker.clone(),
            commits: (0, services.clock.monotonic()),
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            // The end of the store ends the daemon, too.
            if self.store.beat().await.is_err() {
                return cancel.cancelled().await;
            }
            self.keep_trusted().await;
            self.look().await;
            self.checker.turn(AUDITED, self.clock.monotonic()).await;
        }
    }

    /// Keeps the last time at which the clock was trusted. A box that starts without a time then
    /// knows what has surely ended.
    async fn keep_trusted(&mut self) {
        let (stamp, now) = (self.clock.stamp(), self.clock.monotonic());
        if !stamp.synced {
            return;
        }
        self.last_trusted.observe(stamp);
        let day = Day::at(stamp, &self.last_trusted, &self.timezone);
        let (kept, next) = self.trusted;
        let is_new = kept.is_some_and(|kept| kept != day);
        if now < next && !is_new {
            return;
        }
        let written = self.store.write(Priority::Upkeep, move |tx| {
            let ms = stamp.wall_ms.to_be_bytes();
            Ok::<_, StoreError>(store::set_meta(tx, LAST_TRUSTED, &ms)?)
        });
        self.trusted = match written.await {
            Ok(()) => (Some(day), now + TRUSTED_EVERY),
            // The store says by itself that the disk fails.
            Err(_) => (None, now + TRUSTED_AGAIN),
        };
    }

    async fn look(&mut self) {
        if let Some(change) = self.watch.look(self.clock.stamp()) {
            tracing::warn!(?change, "the wall clock changed");
            self.remember(change.into());
        }
        let state = self.store.state();
        if let Some(body) = self.disk.look(self.clock.monotonic(), &state) {
            self.remember(body);
        }
        // Without passages there may be no commit for hours. Test writes find out whether a failing
        // disk is well again, and whether a disk has failed unnoticed.
        let now = self.clock.monotonic();
        if state.commits != self.commits.0 {
            self.commits = (state.commits, now);
        }
        let quiet = now.since(self.commits.1) >= QUIET;
        if (state.failing.is_some() || quiet) && self.store.probe().await.is_err() {
            return;
        }
        let (ledger, watch) = (&self.ledger, &self.watch);
        let append = |stamp, body| {
            let (ledger, recorded) = (ledger.clone(), watch.recorded(stamp));
            move |tx: &Transaction<'_>| {
                if matches!(body, Body::ClockChange(_)) {
                    store::set_meta(tx, CLOCK, &recorded)?;
                }
                ledger.append(tx, stamp, body).map(drop)
            }
        };
        self.pending.commit(&self.store, append).await;
    }

    fn remember(&mut self, body: Body) {
        if let Err(body) = self.pending.add(self.clock.stamp(), body) {
            tracing::error!(?body, "not recorded: the disk has failed for too long");
        }
    }
}

/// Interval between two entries for a disk that gets worse.
const WORSE_EVERY: Duration = Duration::from_secs(60);
const AMPLE: &str = "ample";
const FAILING: &str = "failing";

/// Reports when the disk gets worse or better.
struct DiskWatch {
    dir: PathBuf,
    reported: &'static str,
    quiet_until: Monotonic,
    failures: u64,
    unrecorded: u64,
}

impl DiskWatch {
    fn new(dir: PathBuf) -> DiskWatch {
        let quiet_until = Monotonic::default();
        DiskWatch { dir, reported: AMPLE, quiet_until, failures: 0, unrecorded: 0 }
    }

    fn look(&mut self, now: Monotonic, state: &StoreState) -> Option<Body> {
        // A failure that is already over is reported, too.
        let failed = state.failing.is_some() || state.failures > self.failures;
        let word = if failed { FAILING } else { state.room.word() };
        if word == self.reported {
            self.failures = state.failures;
            return None;
        }
        if word != AMPLE && now < self.quiet_until {
            return None;
        }
        let detail = match &state.last_error {
            Some(error) if failed => Detail::new("disk_error").with("problem", error.as_str()),
            _ => Detail::new("disk_free")
                .with("mib", state.free_bytes >> 20)
                .with("folder", self.dir.display().to_string()),
        };
        if word != AMPLE {
            self.quiet_until = now + WORSE_EVERY;
        }
        let unrecorded = state.unrecorded - self.unrecorded;
        (self.reported, self.failures, self.unrecorded) = (word, state.failures, state.unrecorded);
        Some(DiskState { state: word.to_owned(), detail, unrecorded }.into())
    }
}

#[cfg(test)]
mod tests;
