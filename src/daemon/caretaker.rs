//! Looks after the clock and the disk: what happens to them becomes ledger entries.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::opening::{CLOCK, OpeningError};
use crate::{
    clock::{Clock, ClockWatch, Monotonic, Stamp},
    control::{Audit, Services},
    ledger::{self, Body, Ledger, LedgerError, Retention},
    roster,
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
/// Between two looks for entries that were kept long enough; and after one that failed.
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
            Ok(false) => self.prune_at = now + PRUNE_EVERY,
            // The disk says why by itself.
            Err(error) => {
                tracing::warn!(%error, "old entries stay for now");
                self.prune_at = now + PRUNE_AGAIN;
            }
        }
    }

    /// True where there may be more.
    async fn prune_some(&mut self) -> Result<bool, OpeningError> {
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
            Ok::<_, OpeningError>((entries, forgotten))
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
    use jiff::{
        civil::{Date, date},
        tz::TimeZone,
    };

    use super::*;
    use crate::{
        clock::{ManualClock, SystemClock},
        config::{Direction, Secret, Storage},
        ledger::{Actor, Judgement, Outcome, Score, Via},
        roster::enrolment_of as carried,
        store::Room,
        turnstile::PassageId,
    };

    /// A caretaker of a folder, with a clock that the test moves.
    async fn caretaker(dir: &std::path::Path, clock: Arc<ManualClock>) -> Caretaker {
        let config = Storage::usual(dir.into(), Secret::File(dir.join("key")));
        let (store, _thread) = store::open(&config, clock.clone()).unwrap();
        let opened =
            store.write(Priority::Upkeep, |tx| Ledger::open(tx, vec!["platform".to_owned()]));
        let ledger = opened.await.unwrap();
        let stamp = clock.stamp();
        Caretaker {
            store,
            ledger,
            watch: ClockWatch::new(stamp, stamp.synced),
            disk: DiskWatch::new(dir.into()),
            pending: VecDeque::new(),
            audit_from: Some(0),
            unread: 0,
            commits: (0, clock.monotonic()),
            audit: watch::Sender::default(),
            retention: Retention { settled_on: None, keep_years: 3, timezone: TimeZone::UTC },
            prune_at: clock.monotonic(),
            clock,
        }
    }

    impl Caretaker {
        async fn writes<T: Send + 'static>(
            &self,
            work: impl FnOnce(&rusqlite::Transaction<'_>, &Ledger, Stamp) -> Result<T, OpeningError>
            + Send
            + 'static,
        ) -> T {
            let (ledger, stamp) = (self.ledger.clone(), self.clock.stamp());
            self.store.write(Priority::Upkeep, move |tx| work(tx, &ledger, stamp)).await.unwrap()
        }

        /// Somebody passes, and all upstreams have it.
        async fn passes(&self, n: u8) {
            let body = Body::Grant {
                passage: PassageId([n; 16]),
                lane: "north".into(),
                direction: Direction::Entry,
                person: carried(0).worker.person,
                judgement: Judgement { score: Score(1), threshold: Score(1), model: "m".into() },
                margin: None,
                roster_version: 1,
                photo: None,
            };
            self.writes(move |tx, ledger, stamp| {
                ledger.append(tx, stamp, body)?;
                ledger.close(tx, stamp, PassageId([n; 16]), Outcome::Passed, "")?;
                Ok(())
            })
            .await;
        }

        async fn acknowledged(&self) {
            self.writes(|tx, _, _| Ok(tx.execute("DELETE FROM outbox", []).map(drop)?)).await;
        }

        /// A day later: which entries have no bytes any more, and what the last one says.
        async fn next_day(&mut self, clock: &ManualClock) -> (Vec<u64>, Option<(u64, u64)>) {
            clock.advance(PRUNE_EVERY);
            while clock.monotonic() >= self.prune_at {
                self.prune().await;
            }
            self.audit_from = Some(0);
            self.audit().await;
            assert_eq!(self.audit.borrow().first, None, "what was pruned is not damaged");
            self.writes(|tx, _, _| {
                let size = ledger::size(tx)?;
                let gone = |index: &u64| match ledger::read(tx, *index) {
                    Err(LedgerError::Pruned { .. }) => true,
                    entry => entry.map(|_| false).unwrap(),
                };
                let pruned: Vec<u64> = (0..size).filter(gone).collect();
                let last = ledger::read(tx, size - 1).ok().map(|stored| stored.entry.body);
                let told = match last {
                    Some(Body::Pruning { before, entries, .. }) => Some((before, entries)),
                    _ => None,
                };
                Ok((pruned, told))
            })
            .await
        }
    }

    fn noon(date: Date) -> i64 {
        date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond()
    }

    #[tokio::test]
    async fn i2_nothing_is_forgotten_without_a_settlement_a_trusted_clock_and_every_upstream() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
        let mut caretaker = caretaker(dir.path(), clock.clone()).await;
        caretaker.passes(1).await;
        clock.set(noon(date(2040, 1, 1)), true);
        let nothing = (vec![], None);
        assert_eq!(caretaker.next_day(&clock).await, nothing, "never settled");
        caretaker.acknowledged().await;
        assert_eq!(caretaker.next_day(&clock).await, nothing, "never settled");
        caretaker.retention.settled_on = Some(date(2041, 1, 1));
        assert_eq!(caretaker.next_day(&clock).await, nothing, "settled in the future");
        caretaker.retention.settled_on = Some(date(2037, 6, 1));
        assert_eq!(caretaker.next_day(&clock).await, nothing, "settled less than 3 years ago");
        caretaker.retention.settled_on = Some(date(2027, 1, 31));
        clock.set(noon(date(2040, 1, 2)), false);
        assert_eq!(caretaker.next_day(&clock).await, nothing, "nobody knows what day it is");
        // An entry that the upstream has not acknowledged, and all behind it, stay.
        clock.set(noon(date(2026, 3, 2)), true);
        caretaker.passes(2).await;
        clock.set(noon(date(2040, 1, 3)), true);
        assert_eq!(caretaker.next_day(&clock).await, (vec![0, 1], Some((2, 2))));
        assert_eq!(caretaker.next_day(&clock).await, (vec![0, 1], Some((2, 2))), "told once");
        caretaker.acknowledged().await;
        let (pruned, told) = caretaker.next_day(&clock).await;
        // The pruning entry is of 2040: it stays.
        assert_eq!((pruned, told), (vec![0, 1, 2, 3], Some((4, 2))));
        // An upstream that comes later gets what there is.
        let fresh = |tx: &rusqlite::Transaction<'_>, _: &Ledger, _: Stamp| {
            Ledger::open(tx, vec!["platform".into(), "second".into()])?;
            let all = "SELECT count(*), min(seq) FROM outbox WHERE upstream = 'second'";
            Ok(tx.query_row(all, [], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?)))?)
        };
        assert_eq!(caretaker.writes(fresh).await, (2, 3));
    }

    #[tokio::test]
    async fn i2_each_entry_is_kept_for_its_years_whatever_an_untrusted_clock_said() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
        let mut caretaker = caretaker(dir.path(), clock.clone()).await;
        caretaker.retention.settled_on = Some(date(2026, 4, 1));
        caretaker.passes(1).await;
        // A box that lost its time: this may have been at any time until the next trusted one.
        clock.set(0, false);
        caretaker.passes(2).await;
        clock.set(noon(date(2028, 5, 5)), true);
        caretaker.passes(3).await;
        caretaker.acknowledged().await;
        clock.set(noon(date(2029, 3, 31)), true);
        assert_eq!(caretaker.next_day(&clock).await.0, [0u64; 0], "1 April is the last day");
        assert_eq!(caretaker.next_day(&clock).await, (vec![0, 1], Some((2, 2))));
        clock.set(noon(date(2031, 5, 4)), true);
        assert_eq!(caretaker.next_day(&clock).await.0, [0, 1]);
        assert_eq!(caretaker.next_day(&clock).await, (vec![0, 1, 2, 3, 4, 5], Some((6, 4))));
    }

    #[tokio::test]
    async fn i2_what_is_forgotten_of_a_removed_worker_is_all_but_the_id() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
        let mut caretaker = caretaker(dir.path(), clock.clone()).await;
        caretaker.retention.settled_on = Some(date(2026, 4, 1));
        let sealer = caretaker.store.sealer().clone();
        caretaker
            .writes(move |tx, _, _| {
                Ok((0..3).try_for_each(|n| roster::enrol(tx, &sealer, &carried(n)))?)
            })
            .await;
        caretaker.passes(1).await;
        caretaker.acknowledged().await;
        let removal = |tx: &rusqlite::Transaction<'_>, ledger: &Ledger, stamp: Stamp| {
            let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
            for n in [0, 1] {
                let worker = carried(n).worker.person.id;
                let erased = Some(roster::remove(tx, &worker)?);
                let (reason, by) = (None, by.clone());
                ledger.append(tx, stamp, Body::Removal { worker, reason, erased, by })?;
            }
            Ok(tx.execute("DELETE FROM outbox", []).map(drop)?)
        };
        caretaker.writes(removal).await;
        // W001 left a trace two years later.
        clock.set(noon(date(2028, 3, 1)), true);
        let late = Body::Removal {
            worker: carried(1).worker.person.id,
            reason: None,
            erased: None,
            by: Actor { uid: 0, user: "root".into(), via: Via::Socket },
        };
        caretaker
            .writes(move |tx, ledger, stamp| Ok(ledger.append(tx, stamp, late).map(drop)?))
            .await;
        caretaker.acknowledged().await;
        clock.set(noon(date(2029, 6, 1)), true);
        assert_eq!(caretaker.next_day(&clock).await.1, Some((4, 4)));
        let known = |tx: &rusqlite::Transaction<'_>, _: &Ledger, _: Stamp| {
            let all = "SELECT id FROM worker WHERE name <> '' AND length(identity) > 0 ORDER BY id";
            let mut all = tx.prepare(all)?;
            Ok(all.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?)
        };
        assert_eq!(caretaker.writes(known).await, ["W001", "W002"]);
        let sealer = caretaker.store.sealer().clone();
        let again = caretaker
            .store
            .write(Priority::Upkeep, move |tx| roster::enrol(tx, &sealer, &carried(0)));
        assert!(again.await.unwrap_err().to_string().contains("never used again"));
    }

    #[tokio::test]
    async fn many_entries_go_in_small_steps_and_a_cut_between_two_is_made_up_for() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
        let mut caretaker = caretaker(dir.path(), clock.clone()).await;
        caretaker
            .writes(|tx, ledger, stamp| {
                for on in 0..1200 {
                    ledger.append(
                        tx,
                        stamp,
                        Body::Fire { lane: "north".into(), on: on % 2 == 0 },
                    )?;
                }
                Ok(tx.execute("DELETE FROM outbox", []).map(drop)?)
            })
            .await;
        caretaker.retention.settled_on = Some(date(2026, 3, 1));
        clock.set(noon(date(2030, 1, 1)), true);
        let mut before = Vec::new();
        for more in [true, true] {
            assert_eq!(caretaker.prune_some().await.unwrap(), more);
            before.push(caretaker.writes(|tx, _, _| Ok(ledger::pruned_before(tx)?)).await);
        }
        assert_eq!(before, [500, 1000]);
        // Another start goes on where this one ended, and tells all of it.
        let (pruned, told) = caretaker.next_day(&clock).await;
        assert_eq!((pruned.len(), told), (1200, Some((1200, 1200))));
        // What has no bytes beyond that is damaged.
        let harm = "UPDATE entry SET bytes = x'' WHERE idx = 1200";
        caretaker.writes(|tx, _, _| Ok(tx.execute(harm, []).map(drop)?)).await;
        let audited = caretaker.store.read(|tx| ledger::audit(tx, 1000, 500)).await.unwrap();
        assert_eq!(audited.0, [1200]);
    }

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
            retention: Retention { settled_on: None, keep_years: 3, timezone: TimeZone::UTC },
            prune_at: stamp_time,
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
