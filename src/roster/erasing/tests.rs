use super::*;
use crate::{
    clock::{BootId, Clock, ManualClock, Stamp},
    config::{Direction, Secret, Storage},
    ledger::{Evidence, Grant, Ledger, LedgerError, Outcome, Score},
    roster::{carry_over::tests::enrolment, enroll, remove},
    store::{self, Priority, Store, StoreThread},
    turnstile::PassageId,
};

fn rule() -> FaceRule {
    FaceRule { keep_days: 90, timezone: TimeZone::UTC }
}

fn day(n: i8) -> Date {
    jiff::civil::date(2026, 1, 1).saturating_add(Span::new().days(n))
}

fn stamp(day: Date) -> Stamp {
    let wall_ms = start(day, &TimeZone::UTC) + 1000;
    Stamp { wall_ms, synced: true, boot: BootId([7; 16]), uptime_ms: 1000 }
}

/// A store with workers 0 to `count` and a ledger.
async fn roster(dir: &Path, count: usize) -> (Store, StoreThread, Ledger) {
    let config = Storage::usual(dir.into(), Secret::File(dir.join("key")));
    let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(ManualClock::new(0, false));
    let (store, thread) = store::open(&config, clock).unwrap();
    let sealer = store.sealer().clone();
    let enrolled = store.write(Priority::Upkeep, move |tx| {
        (0..count).try_for_each(|n| enroll(tx, &sealer, &enrolment(n)))
    });
    enrolled.await.unwrap();
    let ledger = store.write(Priority::Upkeep, |tx| Ledger::open(tx, vec![])).await.unwrap();
    (store, thread, ledger)
}

async fn passes(store: &Store, ledger: &Ledger, worker: usize, day: Date) {
    let (ledger, passage) = (ledger.clone(), PassageId([worker as u8; 16]));
    let face = Evidence::of_face(Score(1), Score(1), "m");
    let person = enrolment(worker).worker.person;
    let grant = Grant::new(passage, "north", Direction::Exit, person, face);
    let passed = store.write(Priority::Upkeep, move |tx| {
        ledger.append(tx, stamp(day), grant)?;
        ledger.close(tx, stamp(day), passage, Outcome::Passed, None)?;
        Ok::<_, LedgerError>(())
    });
    passed.await.unwrap();
}

#[tokio::test]
async fn faces_are_over_90_days_after_the_last_day_and_the_last_passage() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _thread, ledger) = roster(dir.path(), 6).await;
    let set = store.write(Priority::Upkeep, |tx| {
        // W000 stays without an end. W001 is damaged. The others end on the first day.
        let until = "UPDATE worker SET valid_until = '2026-01-01' WHERE id > 'W001'";
        tx.execute(until, [])?;
        tx.execute("UPDATE worker SET valid_until = '2026-01-0x' WHERE id = 'W001'", [])?;
        remove(tx, &"W002".parse().unwrap()).unwrap();
        Ok::<_, RosterError>(())
    });
    set.await.unwrap();
    // W003 still leaves on the fifth day. A wrong clock dated a passage of W004 years ahead.
    passes(&store, &ledger, 3, day(5)).await;
    passes(&store, &ledger, 4, jiff::civil::date(2030, 1, 1)).await;
    let over = async |on| {
        let over = store.read(move |tx| rule().over(tx, on, None)).await.unwrap();
        over.into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(over(day(90)).await, [""; 0]);
    assert_eq!(over(day(91)).await, ["W004", "W005"]);
    assert_eq!(over(day(95)).await, ["W004", "W005"]);
    assert_eq!(over(day(96)).await, ["W003", "W004", "W005"]);
    let erased = store.write(Priority::Upkeep, |tx| {
        let date = Corroborated::declared(start(day(96), &TimeZone::UTC));
        erase_faces(tx, &"W004".parse().unwrap(), date)
    });
    assert_eq!(erased.await.unwrap(), Erased { templates: 1, photos: 1 });
    assert_eq!(over(day(96)).await, ["W003", "W005"]);
}

#[tokio::test]
async fn workers_without_a_sign_and_a_site_without_a_passage_are_found_after_180_days() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _thread, ledger) = roster(dir.path(), 3).await;
    passes(&store, &ledger, 0, day(1)).await;
    passes(&store, &ledger, 1, day(60)).await;
    let found = async |n| {
        let on = day(0).saturating_add(Span::new().days(n));
        let found = store.read(move |tx| {
            let (count, workers) = absent(tx, on, &TimeZone::UTC)?;
            let last = no_passage_since(tx, on, &TimeZone::UTC)?;
            Ok::<_, RosterError>((count, workers, last))
        });
        let (count, workers, last) = found.await.unwrap();
        let workers = workers.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
        (count, workers, last)
    };
    assert_eq!(found(181).await, (0, String::new(), None));
    // W002 came over from another ledger and has no entry here.
    assert_eq!(found(182).await, (2, "W000 W002".into(), None));
    assert_eq!(found(240).await, (2, "W000 W002".into(), None));
    assert_eq!(found(241).await, (3, "W000 W001 W002".into(), Some(day(60))));
}

/// The sealed templates and photos of a worker, as the database holds them.
fn sealed(path: &Path, worker: &str) -> Vec<Vec<u8>> {
    let database = Connection::open(path).unwrap();
    let mut all = Vec::new();
    for table in ["template", "photo"] {
        let sql = format!("SELECT sealed FROM {table} WHERE worker = ?1");
        all.push(database.query_row(&sql, [worker], |row| row.get(0)).unwrap());
    }
    all
}

/// Returns whether any piece of a sealed value is in a file of the folder.
fn is_found(place: &Path, sealed: &[Vec<u8>]) -> bool {
    let files = std::fs::read_dir(place).unwrap().map(|file| file.unwrap().path());
    files.filter_map(|file| std::fs::read(file).ok()).any(|bytes| {
        let pieces = sealed.iter().flat_map(|value| value.chunks_exact(64));
        let mut pieces = pieces.map(|piece| memchr::memmem::find(&bytes, piece).is_some());
        pieces.any(|found| found)
    })
}

#[tokio::test]
async fn i7_an_erasure_reaches_a_database_that_was_set_aside_also_beside_its_damage() {
    for damaged in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (store, thread, ledger) = roster(dir.path(), 60).await;
        passes(&store, &ledger, 0, day(1)).await;
        drop(store);
        thread.join().unwrap();
        let path = dir.path().join("gatehouse.db");
        let all: Vec<_> = (0..60).map(|n| sealed(&path, &format!("W{n:03}"))).collect();
        if damaged {
            let database = Connection::open(&path).unwrap();
            let leaf = "SELECT pageno FROM dbstat WHERE name = 'template' AND pagetype = 'leaf'
                 ORDER BY pageno LIMIT 1 OFFSET 3";
            let leaf: usize = database.query_row(leaf, [], |row| row.get(0)).unwrap();
            drop(database);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[(leaf - 1) * 4096..][..4096].fill(0xAA);
            std::fs::write(&path, bytes).unwrap();
        }
        let gone: HashSet<_> = (0..60).filter(|n| n % 2 == 0).map(|n| format!("W{n:03}")).collect();
        let erased = erase_set_aside(dir.path(), &gone);
        assert_eq!(erased.is_err(), damaged, "{erased:?}");
        for (n, sealed) in all.iter().enumerate() {
            let found = is_found(dir.path(), sealed);
            assert_eq!(found, n % 2 == 1, "W{n:03}, damaged: {damaged}");
        }
        // Its ledger stays.
        let database = Connection::open(&path).unwrap();
        let entries = "SELECT count(*) FROM entry WHERE length(bytes) > 0";
        assert_eq!(database.query_row(entries, [], |row| row.get::<_, u64>(0)).unwrap(), 2);
        drop(database);
        if !damaged {
            assert_eq!(erase_set_aside(dir.path(), &gone).unwrap(), 0, "once");
        }
    }
}
