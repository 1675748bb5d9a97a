//! Maintenance with a real store and a clock that the test moves.

use jiff::{
    civil::{Date, date},
    tz::TimeZone,
};

use super::*;
use crate::{
    clock::{ManualClock, Stamp, SystemClock},
    config::{Secret, Storage},
    ledger::{self, Fire, LedgerError},
    services::Failure,
    store::{Priority, Room},
};

/// Makes the maintenance of a folder.
async fn maintenance(dir: &std::path::Path, clock: Arc<ManualClock>) -> Maintenance {
    let config = Storage::usual(dir.into(), Secret::File(dir.join("key")));
    let (store, _thread) = store::open(&config, clock.clone()).unwrap();
    let opened = store.write(Priority::Upkeep, |tx| Ledger::open(tx, vec!["platform".to_owned()]));
    let ledger = opened.await.unwrap();
    let stamp = clock.stamp();
    Maintenance {
        checker: checker(&store, &ledger),
        store,
        ledger,
        watch: ClockWatch::new(stamp, stamp.synced),
        last_trusted: Arc::new(LastTrusted::new(None)),
        timezone: TimeZone::UTC,
        trusted: (None, Monotonic::default()),
        disk: DiskWatch::new(dir.into()),
        pending: Pending::new(PENDING),
        commits: (0, clock.monotonic()),
        clock,
    }
}

fn checker(store: &Store, ledger: &Ledger) -> Arc<Checker> {
    let (audit, heads, key) = (Default::default(), Default::default(), store::PublicKey([0; 32]));
    Arc::new(Checker::new(store.clone(), ledger.id, key, audit, heads))
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
}

#[tokio::test]
async fn the_audit_counts_each_entry_that_cannot_be_read_and_reads_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(noon(date(2026, 3, 1)), true));
    let maintenance = maintenance(dir.path(), clock.clone()).await;
    let size = 2 * AUDITED + 50;
    maintenance
        .writes(move |tx, ledger, stamp| {
            for on in 0..size {
                ledger.append(tx, stamp, Fire { lane: "north".into(), on: on % 2 == 0 })?;
            }
            // A leaf of a wrong length is an error of the database, like a page that cannot be read.
            tx.pragma_update(None, "ignore_check_constraints", "ON")?;
            tx.execute("UPDATE entry SET leaf = x'00' WHERE idx IN (7, 9, 2030, 2049)", [])?;
            Ok(tx.execute("UPDATE entry SET bytes = x'00' WHERE idx = 11", []).map(drop)?)
        })
        .await;
    while maintenance.checker.turn(AUDITED, clock.monotonic()).await {}
    let audit = maintenance.checker.found();
    assert_eq!((audit.entries, audit.first), (5, Some(7)));
}

fn noon(date: Date) -> i64 {
    date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond()
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
        checker: checker(&store, &ledger),
        store: store.clone(),
        ledger,
        clock,
        watch: ClockWatch::new(stamp, stamp.synced),
        last_trusted: Arc::new(LastTrusted::new(None)),
        timezone: TimeZone::UTC,
        trusted: (None, Monotonic::default()),
        disk: DiskWatch::new(dir.path().into()),
        pending: Pending::new(PENDING),
        commits: (0, stamp_time),
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
