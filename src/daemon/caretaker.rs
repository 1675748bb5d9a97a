//! Looks after the clock and the disk: what happens to them becomes ledger entries.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::opening::CLOCK;
use crate::{
    clock::{Clock, ClockWatch, Monotonic, Stamp},
    control::{Audit, Services},
    ledger::{self, Body, Ledger, LedgerError},
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

    async fn look(&mut self) {
        if let Some(change) = self.watch.look(self.clock.stamp()) {
            tracing::warn!(?change, "the wall clock changed");
            self.remember(Body::Clock(change));
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
                if matches!(body, Body::Clock(_)) {
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
            Some(error) if failed => error.clone(),
            _ => format!("{} MiB free in {}", state.free_bytes >> 20, self.dir.display()),
        };
        if word != AMPLE {
            self.quiet_until = now + WORSE_EVERY;
        }
        let unrecorded = state.unrecorded - self.unrecorded;
        (self.told, self.failures, self.unrecorded) = (word, state.failures, state.unrecorded);
        Some(Body::Storage { state: word.to_owned(), detail, unrecorded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::SystemClock,
        config::{Secret, Storage},
        store::Room,
    };

    #[tokio::test]
    async fn i8_of_entries_that_wait_too_long_for_the_disk_the_first_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let key = Secret::File(dir.path().join("key"));
        let config = Storage::usual(dir.path().into(), key);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let (store, _thread) = store::open(&config, clock.clone()).unwrap();
        let ledger = store.write(Priority::Upkeep, |tx| Ledger::open(tx, vec![])).await.unwrap();
        let (stamp, stamp_time) = (clock.stamp(), clock.monotonic());
        let mut caretaker = Caretaker {
            store: store.clone(),
            ledger,
            clock,
            watch: ClockWatch::new(stamp, stamp.synced),
            disk: DiskWatch::new(dir.path().into()),
            pending: VecDeque::new(),
            audit_from: None,
            unread: 0,
            commits: (0, stamp_time),
            audit: watch::Sender::default(),
        };
        for n in 0..PENDING as u64 + 4 {
            let (state, detail) = (FAILING.to_owned(), String::new());
            caretaker.remember(Body::Storage { state, detail, unrecorded: n });
        }
        caretaker.look().await;
        let read = store.read(|tx| {
            let entries = (0..ledger::size(tx)?).map(|index| ledger::read(tx, index));
            entries.collect::<Result<Vec<_>, LedgerError>>()
        });
        let bodies = read.await.unwrap().into_iter().map(|stored| stored.entry.body);
        let told: Vec<u64> = bodies
            .map(|body| match body {
                Body::Storage { unrecorded, .. } => unrecorded,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, (0..PENDING as u64).collect::<Vec<_>>());
    }

    fn told(watch: &mut DiskWatch, second: u64, state: &StoreState) -> Option<(String, u64)> {
        watch.look(Monotonic::from_millis(second * 1000), state).map(|body| match body {
            Body::Storage { state, unrecorded, .. } => (state, unrecorded),
            other => panic!("{other:?}"),
        })
    }

    fn says(state: &str, unrecorded: u64) -> Option<(String, u64)> {
        Some((state.to_owned(), unrecorded))
    }

    #[test]
    fn a_disk_that_fills_up_and_is_emptied_is_told_at_each_step() {
        let mut watch = DiskWatch::new("/x".into());
        let mut state = StoreState::default();
        assert_eq!(told(&mut watch, 1, &state), None);
        state.room = Room::Low;
        assert_eq!(told(&mut watch, 2, &state), says("low", 0));
        state.unrecorded = 5;
        state.room = Room::Scarce;
        assert_eq!(told(&mut watch, 3, &state), None);
        assert_eq!(told(&mut watch, 62, &state), says("scarce", 5));
        state.unrecorded = 7;
        state.room = Room::Ample;
        assert_eq!(told(&mut watch, 63, &state), says("ample", 2));
        assert_eq!(told(&mut watch, 200, &state), None);
    }

    #[test]
    fn a_failure_between_two_looks_is_told_and_so_is_its_end() {
        let mut watch = DiskWatch::new("/x".into());
        let mut state = StoreState::default();
        (state.failures, state.last_error) = (1, Some("disk I/O error".into()));
        assert_eq!(told(&mut watch, 1, &state), says("failing", 0));
        assert_eq!(told(&mut watch, 2, &state), says("ample", 0));
        state.failing = Some("disk I/O error".into());
        state.failures = 2;
        assert_eq!(told(&mut watch, 3, &state), None);
        assert_eq!(told(&mut watch, 61, &state), says("failing", 0));
        // It fails on and on, and is then well.
        state.failures = 9;
        assert_eq!(told(&mut watch, 62, &state), None);
        state.failing = None;
        assert_eq!(told(&mut watch, 63, &state), says("ample", 0));
    }
}
