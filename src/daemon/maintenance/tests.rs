//! Maintenance with a real store and a clock that the test moves.

use jiff::{
    civil::{Date, date},
    tz::TimeZone,
};

use super::*;
use crate::{
    clock::{ManualClock, Stamp, SystemClock},
    config::{Direction, Secret, Storage},
    ledger::{Actor, Evidence, Fire, Grant, Outcome, Removal, Score, Via},
    roster::enrolment_of as carried,
    store::Room,
    turnstile::PassageId,
};

/// Makes the maintenance of a folder.
async fn maintenance(dir: &std::path::Path, clock: Arc<ManualClock>) -> Maintenance {
    let config = Storage::usual(dir.into(), Secret::File(dir.join("key")));
    let (store, _thread) = store::open(&config, clock.clone()).unwrap();
    let opened = store.write(Priority::Upkeep, |tx| Ledger::open(tx, vec!["platform".to_owned()]));
    let ledger = opened.await.unwrap();
    let stamp = clock.stamp();
    Maintenance {
        store,
        ledger,
        watch: ClockWatch::new(stamp, stamp.synced),
        last_trusted: Arc::new(LastTrusted::new(None)),
        trusted: (None, Monotonic::default()),
        disk: DiskWatch::new(dir.into()),
        pending: Pending::new(PENDING),
        audit_from: Some(0),
        unread: 0,
        singly_before: 0,
        commits: (0, clock.monotonic()),
        audit: watch::Sender::default(),
        retention: Retention { settled_on: None, keep_years: 3, timezone: TimeZone::UTC },
        prune_at: clock.monotonic(),
        clock,
    }
}

impl Maintenance {
    async fn writes<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>, &Ledger, Stamp) -> Result<T, Failure>
        + Send
        + 'static,
    ) -> T {
        let (ledger, stamp) = (self.ledger.clone(), self.clock.stamp());
        self.store.write(Priority::Upkeep, move |tx| work(tx, &ledger, stamp)).await.unwrap()
    }

    /// Records a passage: a grant and its outcome.
    async fn passes(&self, n: u8) {
        let (passage, person) = (PassageId([n; 16]), carried(0).worker.person);
        let face = Evidence::of_face(Score(1), Score(1), "m");
        let grant = Grant::new(passage, "north", Direction::Entry, person, face);
        self.writes(move |tx, ledger, stamp| {
            ledger.append(tx, stamp, grant)?;
            ledger.close(tx, stamp, passage, Outcome::Passed, None)?;
            Ok(())
        })
        .await;
    }

    async fn acknowledged(&self) {
        self.writes(|tx, _, _| Ok(tx.execute("DELETE FROM outbox", []).map(drop)?)).await;
    }

    /// Moves the clock by a day. Returns the pruned entries, and the numbers of the last entry if
    /// that reports pruning.
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
                Some(Body::Pruning(pruning)) => Some((pruning.pruned_before, pruning.pruned)),
                _ => None,
            };
            Ok((pruned, told))
        })
        .await
    }
}

#[tokio::test]
async fn the_audit_counts_each_entry_that_cannot_be_read_and_reads_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
    let mut maintenance = maintenance(dir.path(), clock.clone()).await;
    let size = 2 * AUDITED + 50;
    maintenance
        .writes(move |tx, ledger, stamp| {
            for on in 0..size {
                ledger.append(tx, stamp, Fire { lane: "north".into(), on: on % 2 == 0 })?;
            }
            // A leaf of a wrong length is an error of the database, like a page that cannot be read.
            tx.pragma_update(None, "ignore_check_constraints", "ON")?;
            tx.execute("UPDATE entry SET leaf = x'00' WHERE idx IN (7, 9, 430, 449)", [])?;
            Ok(tx.execute("UPDATE entry SET bytes = x'00' WHERE idx = 11", []).map(drop)?)
        })
        .await;
    while maintenance.audit_from.is_some() {
        maintenance.audit().await;
    }
    let audit = maintenance.audit.borrow().clone();
    assert_eq!((audit.entries, audit.first), (5, Some(7)));
}

fn noon(date: Date) -> i64 {
    date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond()
}

#[tokio::test]
async fn i2_nothing_is_pruned_without_settlement_synchronised_clock_and_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
    let mut maintenance = maintenance(dir.path(), clock.clone()).await;
    maintenance.passes(1).await;
    clock.set(noon(date(2040, 1, 1)), true);
    let nothing = (vec![], None);
    assert_eq!(maintenance.next_day(&clock).await, nothing, "never settled");
    maintenance.acknowledged().await;
    assert_eq!(maintenance.next_day(&clock).await, nothing, "never settled");
    maintenance.retention.settled_on = Some(date(2041, 1, 1));
    assert_eq!(maintenance.next_day(&clock).await, nothing, "settled in the future");
    maintenance.retention.settled_on = Some(date(2037, 6, 1));
    assert_eq!(maintenance.next_day(&clock).await, nothing, "settled less than 3 years ago");
    maintenance.retention.settled_on = Some(date(2027, 1, 31));
    clock.set(noon(date(2040, 1, 2)), false);
    assert_eq!(maintenance.next_day(&clock).await, nothing, "the clock is not synchronised");
    // An entry without the upstream's acknowledgement stays, and all later ones.
    clock.set(noon(date(2026, 3, 2)), true);
    maintenance.passes(2).await;
    clock.set(noon(date(2040, 1, 3)), true);
    assert_eq!(maintenance.next_day(&clock).await, (vec![0, 1], Some((2, 2))));
    assert_eq!(maintenance.next_day(&clock).await, (vec![0, 1], Some((2, 2))), "reported once");
    maintenance.acknowledged().await;
    let (pruned, told) = maintenance.next_day(&clock).await;
    // The pruning entry is from 2040 and stays.
    assert_eq!((pruned, told), (vec![0, 1, 2, 3], Some((4, 2))));
    // A new upstream gets the remaining entries.
    let fresh = |tx: &rusqlite::Transaction<'_>, _: &Ledger, _: Stamp| {
        Ledger::open(tx, vec!["platform".into(), "second".into()])?;
        let all = "SELECT count(*), min(seq) FROM outbox WHERE upstream = 'second'";
        Ok(tx.query_row(all, [], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?)))?)
    };
    assert_eq!(maintenance.writes(fresh).await, (2, 3));
}

#[tokio::test]
async fn i2_each_entry_is_kept_for_its_years_also_after_a_wrong_clock() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
    let mut maintenance = maintenance(dir.path(), clock.clone()).await;
    maintenance.retention.settled_on = Some(date(2026, 4, 1));
    maintenance.passes(1).await;
    // The box lost its time: the true time of this entry is at most that of the next stamp that is
    // synchronised.
    clock.set(0, false);
    maintenance.passes(2).await;
    clock.set(noon(date(2028, 5, 5)), true);
    maintenance.passes(3).await;
    maintenance.acknowledged().await;
    clock.set(noon(date(2029, 3, 31)), true);
    assert_eq!(maintenance.next_day(&clock).await.0, [0u64; 0], "1 April is the last day");
    assert_eq!(maintenance.next_day(&clock).await, (vec![0, 1], Some((2, 2))));
    clock.set(noon(date(2031, 5, 4)), true);
    assert_eq!(maintenance.next_day(&clock).await.0, [0, 1]);
    assert_eq!(maintenance.next_day(&clock).await, (vec![0, 1, 2, 3, 4, 5], Some((6, 4))));
}

#[tokio::test]
async fn i2_all_of_a_removed_worker_is_forgotten_except_the_id() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
    let mut maintenance = maintenance(dir.path(), clock.clone()).await;
    maintenance.retention.settled_on = Some(date(2026, 4, 1));
    let sealer = maintenance.store.sealer().clone();
    maintenance
        .writes(move |tx, _, _| {
            Ok((0..3).try_for_each(|n| roster::enroll(tx, &sealer, &carried(n)))?)
        })
        .await;
    maintenance.passes(1).await;
    maintenance.acknowledged().await;
    let removal = |tx: &rusqlite::Transaction<'_>, ledger: &Ledger, stamp: Stamp| {
        let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
        for n in [0, 1] {
            let worker = carried(n).worker.person.id;
            let erased = roster::remove(tx, &worker)?;
            let (reason, by) = (None, by.clone());
            ledger.append(tx, stamp, Removal { worker, reason, erased, by })?;
        }
        Ok(tx.execute("DELETE FROM outbox", []).map(drop)?)
    };
    maintenance.writes(removal).await;
    // W001 has an entry two years later.
    clock.set(noon(date(2028, 3, 1)), true);
    let late = Removal {
        worker: carried(1).worker.person.id,
        reason: None,
        erased: roster::Erased { templates: 0, photos: 0 },
        by: Actor { uid: 0, user: "root".into(), via: Via::Socket },
    };
    maintenance
        .writes(move |tx, ledger, stamp| Ok(ledger.append(tx, stamp, late).map(drop)?))
        .await;
    maintenance.acknowledged().await;
    clock.set(noon(date(2029, 6, 1)), true);
    assert_eq!(maintenance.next_day(&clock).await.1, Some((4, 4)));
    let known = |tx: &rusqlite::Transaction<'_>, _: &Ledger, _: Stamp| {
        let all = "SELECT id FROM worker WHERE name <> '' AND length(identity) > 0 ORDER BY id";
        let mut all = tx.prepare(all)?;
        Ok(all.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?)
    };
    assert_eq!(maintenance.writes(known).await, ["W001", "W002"]);
    let sealer = maintenance.store.sealer().clone();
    let again = maintenance
        .store
        .write(Priority::Upkeep, move |tx| roster::enroll(tx, &sealer, &carried(0)));
    assert!(again.await.unwrap_err().to_string().contains("never used again"));
}

#[tokio::test]
async fn many_entries_are_pruned_in_batches_and_a_restart_between_two_continues() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
    let mut maintenance = maintenance(dir.path(), clock.clone()).await;
    maintenance
        .writes(|tx, ledger, stamp| {
            for on in 0..=1200 {
                ledger.append(tx, stamp, Fire { lane: "north".into(), on: on % 2 == 0 })?;
            }
            Ok(tx.execute("DELETE FROM outbox", []).map(drop)?)
        })
        .await;
    maintenance.retention.settled_on = Some(date(2026, 3, 1));
    clock.set(noon(date(2030, 1, 1)), true);
    let mut before = Vec::new();
    for more in [true, true] {
        assert_eq!(maintenance.prune_some().await.unwrap(), more);
        before.push(maintenance.writes(|tx, _, _| Ok(ledger::pruned_before(tx)?)).await);
    }
    assert_eq!(before, [500, 1000]);
    // The next start continues from there, and its entry counts all pruned entries.
    let (pruned, told) = maintenance.next_day(&clock).await;
    assert_eq!((pruned.len(), told), (1200, Some((1200, 1200))));
    // An entry without bytes that was not pruned is damaged.
    let harm = "UPDATE entry SET bytes = x'' WHERE idx = 1200";
    maintenance.writes(|tx, _, _| Ok(tx.execute(harm, []).map(drop)?)).await;
    let id = maintenance.ledger.id;
    let audited = maintenance.store.read(move |tx| audit::part(tx, id, 1000, 500)).await.unwrap();
    assert_eq!(audited.0, [Finding { index: 1200, fault: Fault::Bytes }]);
}

#[tokio::test]
async fn i8_when_too_many_entries_wait_for_the_disk_the_first_ones_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let key = Secret::File(dir.path().join("key"));
    let config = Storage::usual(dir.path().into(), key);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let (store, _thread) = store::open(&config, clock.clone()).unwrap();
    let ledger = store.write(Priority::Upkeep, |tx| Ledger::open(tx, vec![])).await.unwrap();
    let (stamp, stamp_time) = (clock.stamp(), clock.monotonic());
    let mut maintenance = Maintenance {
        store: store.clone(),
        ledger,
        clock,
        watch: ClockWatch::new(stamp, stamp.synced),
        last_trusted: Arc::new(LastTrusted::new(None)),
        trusted: (None, Monotonic::default()),
        disk: DiskWatch::new(dir.path().into()),
        pending: Pending::new(PENDING),
        audit_from: None,
        unread: 0,
        singly_before: 0,
        commits: (0, stamp_time),
        audit: watch::Sender::default(),
        retention: Retention { settled_on: None, keep_years: 3, timezone: TimeZone::UTC },
        prune_at: stamp_time,
    };
    for n in 0..PENDING as u64 + 4 {
        let (state, detail) = (FAILING.to_owned(), Detail::new("disk_error"));
        maintenance.remember(DiskState { state, detail, unrecorded: n }.into());
    }
    maintenance.look().await;
    let read = store.read(|tx| {
        let entries = (0..ledger::size(tx)?).map(|index| ledger::read(tx, index));
        entries.collect::<Result<Vec<_>, LedgerError>>()
    });
    let bodies = read.await.unwrap().into_iter().map(|stored| stored.entry.body);
    let told: Vec<u64> = bodies
        .map(|body| match body {
            Body::DiskState(storage) => storage.unrecorded,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, (0..PENDING as u64).collect::<Vec<_>>());
}

fn told(watch: &mut DiskWatch, second: u64, state: &StoreState) -> Option<(String, u64)> {
    watch.look(Monotonic::from_millis(second * 1000), state).map(|body| match body {
        Body::DiskState(storage) => (storage.state, storage.unrecorded),
        other => panic!("{other:?}"),
    })
}

fn says(state: &str, unrecorded: u64) -> Option<(String, u64)> {
    Some((state.to_owned(), unrecorded))
}

#[test]
fn a_disk_that_fills_up_and_is_emptied_is_reported_at_each_step() {
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
fn a_failure_between_two_checks_is_reported_and_so_is_its_end() {
    let mut watch = DiskWatch::new("/x".into());
    let mut state = StoreState::default();
    (state.failures, state.last_error) = (1, Some("disk I/O error".into()));
    assert_eq!(told(&mut watch, 1, &state), says("failing", 0));
    assert_eq!(told(&mut watch, 2, &state), says("ample", 0));
    state.failing = Some("disk I/O error".into());
    state.failures = 2;
    assert_eq!(told(&mut watch, 3, &state), None);
    assert_eq!(told(&mut watch, 61, &state), says("failing", 0));
    // The failure continues and then ends.
    state.failures = 9;
    assert_eq!(told(&mut watch, 62, &state), None);
    state.failing = None;
    assert_eq!(told(&mut watch, 63, &state), says("ample", 0));
}
