//! Rescues from real database files with damage, and what drains from them.

use super::*;
use crate::{
    clock::{BootId, Stamp},
    config::Direction,
    ledger::{
        self, AttendanceFilter, Boot, Evidence, Grant, Ledger, Outcome, Score, attendance, drained,
        next_to_drain, still_drains,
    },
    roster::Person,
    store::{SCHEMA, open_set_aside},
    turnstile::PassageId,
};

const PAGE: usize = 4096;
const PASSAGES: u64 = 200;

fn stamp(second: i64) -> Stamp {
    let wall_ms = 1_793_577_600_000 + second * 1000;
    Stamp { wall_ms, synced: true, boot: BootId([3; 16]), uptime_ms: 60_000 }
}

/// Makes a database that was set aside: a boot, and passages of one worker, of which the platform has
/// the first hundred records.
fn set_aside(dir: &Path) -> PathBuf {
    let place = dir.join("set-aside/1-20261122T033855Z");
    std::fs::create_dir_all(&place).unwrap();
    let mut connection = Connection::open(place.join("gatehouse.db")).unwrap();
    connection.pragma_update(None, "secure_delete", "ON").unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    set_meta(&tx, "ledger", &[7; 16]).unwrap();
    let ledger = Ledger::open(&tx, vec!["platform".into()]).unwrap();
    ledger.append(&tx, stamp(0), Boot { version: "1".into() }).unwrap();
    for n in 0..PASSAGES {
        let mut passage = [0; 16];
        passage[..8].copy_from_slice(&n.to_be_bytes());
        let person = Person {
            id: "W001".parse().unwrap(),
            name: "刘峰".into(),
            team: "t".into(),
            contractor: "c".into(),
            trade: "s".into(),
        };
        let face = Evidence::of_face(Score(7123), Score(5000), "sface");
        let grant = Grant::new(PassageId(passage), "north", Direction::Entry, person, face);
        ledger.append(&tx, stamp(n as i64), grant).unwrap();
        ledger.close(&tx, stamp(n as i64), PassageId(passage), Outcome::Passed, None).unwrap();
    }
    ledger::strike_off_upto(&tx, "platform", 100).unwrap();
    tx.commit().unwrap();
    place
}

fn upstreams() -> Vec<String> {
    vec!["platform".into()]
}

/// Returns the seqs that drain, in pages.
fn drains(dir: &Path) -> Vec<u64> {
    let mut now = Connection::open_in_memory().unwrap();
    now.execute_batch(SCHEMA).unwrap();
    let tx = now.transaction().unwrap();
    let mut seqs = Vec::new();
    assert!(still_drains(&tx, dir, &upstreams()).unwrap());
    let seq = |stored: ledger::Stored, _| stored.entry.seq.unwrap();
    while let Some(next) = next_to_drain(&tx, dir, "platform", 7, seq).unwrap() {
        let (rows, progress) = next.split();
        seqs.extend(rows);
        drained(&tx, &progress, &[]).unwrap();
    }
    seqs
}

fn listed(place: &Path) -> usize {
    let mut database = open_set_aside(place).unwrap();
    let tx = database.transaction().unwrap();
    let filter = AttendanceFilter {
        worker: Some("W001".parse().unwrap()),
        limit: 1000,
        ..AttendanceFilter::default()
    };
    attendance(&tx, &filter).unwrap().rows.len()
}

#[test]
fn a_sound_database_that_was_set_aside_drains_and_is_rescued_whole() {
    let dir = tempfile::tempdir().unwrap();
    let place = set_aside(dir.path());
    assert_eq!(drains(dir.path()), (101..=201).collect::<Vec<_>>());
    assert_eq!(listed(&place), PASSAGES as usize);
    let before = std::fs::read(place.join("gatehouse.db")).unwrap();
    let done = rescue(&place, &upstreams()).unwrap();
    assert!(done.is_whole(), "{done:?}");
    assert_eq!((done.entries, done.by_bytes, done.waiting), (1 + 2 * PASSAGES, 0, 101));
    assert_eq!(std::fs::read(place.join("gatehouse.db")).unwrap(), before);
    assert_eq!(drains(dir.path()), (101..=201).collect::<Vec<_>>());
    assert_eq!(listed(&place), PASSAGES as usize);
}

#[test]
fn entries_of_a_database_without_a_header_are_found_by_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let place = set_aside(dir.path());
    let file = place.join("gatehouse.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..PAGE].fill(0xAA);
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(drains(dir.path()), [0; 0]);
    let done = rescue(&place, &upstreams()).unwrap();
    assert_eq!((done.entries, done.missing), (1 + 2 * PASSAGES, 0), "{done:?}");
    assert_eq!(done.by_bytes, done.entries);
    // The outbox is not legible, so every record goes out again.
    assert!(!done.outbox && !done.is_whole(), "{done:?}");
    assert_eq!(done.ledger, Some("07".repeat(16)));
    assert_eq!(drains(dir.path()), (1..=201).collect::<Vec<_>>());
    assert_eq!(listed(&place), PASSAGES as usize);
}

#[test]
fn a_report_names_the_entries_that_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let place = set_aside(dir.path());
    let file = place.join("gatehouse.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let beginning = |page: &[u8]| page.windows(8).any(|window| window == BEGINNING);
    let pages: Vec<_> =
        (0..bytes.len() / PAGE).filter(|n| beginning(&bytes[n * PAGE..][..PAGE])).collect();
    let one = pages[pages.len() / 2];
    bytes[one * PAGE..][..PAGE].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    let done = rescue(&place, &upstreams()).unwrap();
    assert!(done.missing > 0 && !done.is_whole(), "{done:?}");
    assert_eq!(done.entries + done.missing, 1 + 2 * PASSAGES);
    let [(first, last)] = done.missing_at[..] else { panic!("{done:?}") };
    assert_eq!(last - first + 1, done.missing);
    assert!(listed(&place) < PASSAGES as usize);
    // A file without any entry gives none.
    std::fs::write(&file, vec![0xAA; 3 * PAGE]).unwrap();
    let done = rescue(&place, &upstreams()).unwrap();
    assert_eq!((done.entries, done.ledger.clone(), done.is_whole()), (0, None, false), "{done:?}");
}

#[test]
fn an_altered_entry_is_not_rescued() {
    let dir = tempfile::tempdir().unwrap();
    let place = set_aside(dir.path());
    let file = place.join("gatehouse.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..PAGE].fill(0xAA);
    let at = bytes.windows(8).position(|window| window == BEGINNING).unwrap();
    bytes[at + 40] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let done = rescue(&place, &upstreams()).unwrap();
    assert_eq!((done.entries, done.missing), (2 * PASSAGES, 1), "{done:?}");
}
