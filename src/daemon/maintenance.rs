//! Maintenance of the database: records changes of the clock and the disk, and audits the ledger.
//!
//! In: the clock, the store's state. Out: ledger entries, and the audit's result for
//! `status`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use rusqlite::Transaction;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    opening::{CLOCK, LAST_TRUSTED},
    pending::Pending,
};
use crate::{
    clock::{Clock, ClockWatch, LastTrusted, Monotonic},
    ledger::{
        self, Body, Detail, DiskState, Ledger, LedgerError,
        audit::{self, Fault, Finding},
    },
    roster::Day,
    services::{Audit, Services},
    store::{self, Priority, Store, StoreError, StoreState},
};

/// Interval between two checks.
const EVERY: Duration = Duration::from_secs(1);
/// Time without a commit after which a test write checks the disk.
const QUIET: Duration = Duration::from_secs(60);
/// Maximum number of entries that wait for a failing disk. When it is reached, the newest entry is
/// dropped and logged; the first ones show how the failure began.
const PENDING: usize = 16;

/// Maximum number of failed reads of a batch in a row. After it, the batch's entries are read one
/// at a time, and each that cannot be read counts as damaged.
const UNREAD: u32 = 10;
/// Interval between writes of the last time at which the clock was trusted. A new day is written at
/// once.
const TRUSTED_EVERY: Duration = Duration::from_secs(3600);
/// Interval after a write of it that failed.
const TRUSTED_AGAIN: Duration = Duration::from_secs(60);
/// Maximum number of entries that one check audits. The audit of a ledger of three years takes
/// hours without a visible load.
const AUDITED: u64 = 200;

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
    /// The index of the next entry to audit; `None` after the whole ledger was audited once.
    audit_from: Option<u64>,
    /// Number of failed reads in a row.
    unread: u32,
    /// The index before which entries are audited one at a time.
    singly_before: u64,
    /// The store's number of commits, and the time of its last change.
    commits: (u64, Monotonic),
    audit: watch::Sender<Audit>,
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
            audit_from: Some(0),
            unread: 0,
            singly_before: 0,
            commits: (0, services.clock.monotonic()),
            audit: services.audit.clone(),
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
            self.audit().await;
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

    /// Audits the next few entries in the database.
    async fn audit(&mut self) {
        let Some(from) = self.audit_from else { return };
        let singly = from < self.singly_before;
        let limit = if singly { 1 } else { AUDITED };
        let id = self.ledger.id;
        let audited = self.store.read(move |tx| audit::part(tx, id, from, limit)).await;
        let (damaged, next) = match audited {
            Ok(audited) => {
                self.unread = 0;
                audited
            }
            // A read that fails now may succeed later.
            Err(_) if !singly && self.unread < UNREAD => {
                self.unread += 1;
                return;
            }
            Err(error) => {
                // If the size cannot be read, the failure is not one of entries.
                let size: Result<u64, LedgerError> = self.store.read(ledger::size).await;
                let Ok(size) = size else { return };
                self.unread = 0;
                if !singly {
                    self.singly_before = from.saturating_add(AUDITED).min(size);
                    return;
                }
                tracing::error!(from, %error, "this ledger entry cannot be read");
                (vec![Finding { index: from, fault: Fault::Bytes }], Some(from + 1))
            }
        };
        for Finding { index, fault } in &damaged {
            tracing::error!(index, %fault, "this ledger entry is damaged or was altered");
        }
        self.audit_from = next;
        self.audit.send_if_modified(|audit| audit.found(&damaged));
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
