//! Looks after the clock and the disk: what happens to them becomes ledger entries.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::opening::CLOCK;
use crate::{
    clock::{Clock, ClockWatch, Monotonic, Stamp},
    ledger::{self, Body, Detail, DiskState, Ledger, LedgerError, Retention},
    roster,
    services::{Audit, Failure, Services},
    store::{self, Priority, Store, StoreState},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// After so long without a commit, whether the disk still takes something in is tried out.
const QUIET: Duration = Duration::from_secs(60);
/// Entries that wait for a disk that takes nothing in. When it is full the newest is dropped and
/// logged: the first ones say how it began.
const PENDING: usize = 16;

/// After so many looks in vain, entries that the disk does not give count as damaged.
const UNREAD: u32 = 10;
/// Between two looks for entries that were kept long enough; and after one that failed, or while
/// the clock is not trusted.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);
const PRUNE_AGAIN: Duration = Duration::from_secs(600);
/// Entries read again in each of these; a ledger of three years takes hours, and nobody notices.
const AUDITED: u64 = 200;

pub(super) struct Caretaker {
    store: Store,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    watch: ClockWatch,
    disk: DiskWatch,
    /// What happened, and when.
    pending: VecDeque<(Stamp, Body)>,
    /// The index to go on from, until the whole ledger has been looked through once.
    audit_from: Option<u64>,
    /// Times in a row that the disk did not give the next entries.
    unread: u32,
    /// How many commits there were, and since when there are no more.
    commits: (u64, Monotonic),
    audit: watch::Sender<Audit>,
    retention: Retention,
    /// When old entries are looked for next.
    prune_at: Monotonic,
}

impl Caretaker {
    pub(super) fn new(services: &Services, watch: ClockWatch) -> Caretaker {
        Caretaker {
            store: services.store.clone(),
            ledger: services.ledger.clone(),
            clock: services.clock.clone(),
            watch,
            disk: DiskWatch::new(services.storage_dir.clone()),
            pending: VecDeque::new(),
            audit_from: Some(0),
            unread: 0,
            commits: (0, services.clock.monotonic()),
            audit: services.audit.clone(),
            retention: services.retention.clone(),
            prune_at: services.clock.monotonic(),
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            // A store that has ended ends the daemon; nothing is left to be done here.
            if self.store.beat().await.is_err() {
                return cancel.cancelled().await;
            }
            self.look().await;
            self.audit().await;
            self.prune().await;
        }
    }

    /// The next few entries, as they stand in the database.
    async fn audit(&mut self) {
        let Some(from) = self.audit_from else { return };
        let audited = self.store.read(move |tx| ledger::audit(tx, from, AUDITED)).await;
        let (damaged, next) = match audited {
            Ok(audited) => {
                self.unread = 0;
                audited
            }
            // What the disk does not give now it may give later.
            Err(_) if self.unread < UNREAD => {
                self.unread += 1;
                return;
            }
            Err(error) => {
                tracing::error!(from, %error, "the disk does not give this entry or one after it");
                self.unread = 0;
                (vec![from], Some(from.saturating_add(AUDITED)))
            }
        };
        for index in &damaged {
            tracing::error!(index, "this ledger entry is damaged or was altered");
        }
        self.audit_from = next;
        self.audit.send_if_modified(|audit| audit.found(&damaged));
    }

    /// Once a day: entries whose retention is over, a few at each look, until none is left.
    async fn prune(&mut self) {
        let now = self.clock.monotonic();
        if now < self.prune_at {
            return;
        }
        match self.prune_some().await {
            Ok(true) => {}
            // A box that starts each morning learns the time only later.
            Ok(false) if !self.clock.stamp().synced => self.prune_at = now + PRUNE_AGAIN,
            Ok(false) => self.prune_at = now + PRUNE_EVERY,
            // The disk says why by itself.
            Err(error) => {
                tracing::warn!(%error, "old entries stay for now");
                self.prune_at = now + PRUNE_AGAIN;
            }
        }
    }

    /// True where there may be more.
    async fn prune_some(&mut self) -> Result<bool, Failure> {
        let (ledger, retention, stamp) =
            (self.ledger.clone(), self.retention.clone(), self.clock.stamp());
        let rules = retention.clone();
        let before = self.store.read(move |tx| ledger::prunable(tx, stamp, &rules)).await?;
        if let Some(before) = before {
            let prune = self.store.write(Priority::Upkeep, move |tx| ledger.prune(tx, before));
            prune.await?;
            return Ok(true);
        }
        let told = self.store.write(Priority::Upkeep, move |tx| {
            let entries = ledger.tell_pruned(tx, stamp, &retention)?;
            // While nothing may go, nobody is forgotten either.
            let over = stamp.synced && retention.kept_until().is_some();
            let forgotten = match ledger::pruned_before(tx)? {
                before if over && before > 0 => roster::forget_removed(tx)?,
                _ => 0,
            };
            Ok::<_, Failure>((entries, forgotten))
        });
        let (entries, forgotten) = told.await?;
        if entries > 0 || forgotten > 0 {
            tracing::info!(entries, forgotten, "what was kept long enough is deleted");
            self.store.checkpoint().await?;
        }
        Ok(false)
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
        // Nobody may come to the gate for hours: whether it would open again is tried out.
        // And a disk may fail unseen: now and then it is tried out though it is held for well.
        let now = self.clock.monotonic();
        if state.commits != self.commits.0 {
            self.commits = (state.commits, now);
        }
        let quiet = now.since(self.commits.1) >= QUIET;
        if (state.failing.is_some() || quiet) && self.store.probe().await.is_err() {
            return;
        }
        while let Some((stamp, body)) = self.pending.front().cloned() {
            let ledger = self.ledger.clone();
            let told = self.watch.told(stamp);
            let append = self.store.write(Priority::Upkeep, move |tx| {
                if matches!(body, Body::ClockChange(_)) {
                    store::set_meta(tx, CLOCK, &told)?;
                }
                ledger.append(tx, stamp, body).map(drop)
            });
            let appended: Result<(), LedgerError> = append.await;
            if let Err(error) = appended {
                // The disk says why by itself; all else would be said at each look.
                tracing::debug!(%error, "not recorded yet");
                return;
            }
            self.pending.pop_front();
        }
    }

    fn remember(&mut self, body: Body) {
        if self.pending.len() < PENDING {
            self.pending.push_back((self.clock.stamp(), body));
        } else {
            tracing::error!(?body, "not recorded: the disk has taken nothing in for too long");
        }
    }
}

/// Between two entries that say that the disk does worse.
const WORSE_EVERY: Duration = Duration::from_secs(60);
const AMPLE: &str = "ample";
const FAILING: &str = "failing";

/// Tells when the disk does worse or better.
struct DiskWatch {
    dir: PathBuf,
    told: &'static str,
    quiet_until: Monotonic,
    failures: u64,
    unrecorded: u64,
}

impl DiskWatch {
    fn new(dir: PathBuf) -> DiskWatch {
        let quiet_until = Monotonic::default();
        DiskWatch { dir, told: AMPLE, quiet_until, failures: 0, unrecorded: 0 }
    }

    fn look(&mut self, now: Monotonic, state: &StoreState) -> Option<Body> {
        // A failure that is over already is told too.
        let failed = state.failing.is_some() || state.failures > self.failures;
        let word = if failed { FAILING } else { state.room.word() };
        if word == self.told {
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
        (self.told, self.failures, self.unrecorded) = (word, state.failures, state.unrecorded);
        Some(DiskState { state: word.to_owned(), detail, unrecorded }.into())
    }
}

#[cfg(test)]
mod tests;
