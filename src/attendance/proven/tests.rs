//! Tests of exports with proofs, made from a ledger in a real database.

use jiff::civil::Date;
use rusqlite::{Connection, Transaction};

use super::*;
use crate::{
    attendance::{export::Extent, merge::Gathered, timesheet::Days},
    clock::{BootId, Stamp},
    config::Direction,
    ledger::{
        self, Actor, AttendanceFilter, Enrolment, Grant, Ledger, Outcome, Supplement, Via, growth,
        tree::covering,
    },
    roster::Person,
    store::{SCHEMA, set_meta},
    turnstile::PassageId,
};

/// 2026-10-09 08:00 in Shanghai.
const MORNING_MS: i64 = 1_791_504_000_000;

fn stamp(at_ms: i64) -> Stamp {
    Stamp { wall_ms: at_ms, synced: true, boot: BootId([3; 16]), uptime_ms: 60_000 }
}

fn person() -> Person {
    Person {
        id: "W001".parse().unwrap(),
        name: "刘峰".into(),
        team: "t".into(),
        contractor: "c".into(),
        trade: "s".into(),
    }
}

fn origin() -> Origin {
    let timezone = TimeZone::get("Asia/Shanghai").unwrap();
    Origin { gateway: "gate-2".into(), project: "P-1".into(), timezone }
}

fn by() -> Actor {
    Actor { uid: 0, user: "root".into(), via: Via::Socket }
}

fn fill(tx: &Transaction<'_>, ledger: &Ledger) {
    for n in 0..4_u8 {
        // An entry that no export has.
        let enrolment = Enrolment {
            person: person(),
            terms: Default::default(),
            id_type: "resident".into(),
            id_commitment: [n; 32],
            model: "m".into(),
            templates: 1,
            alike: None,
            face_withdrawn_on: None,
            compared: None,
            reason: None,
            waits: None,
            by: by(),
        };
        ledger.append(tx, stamp(MORNING_MS), enrolment).unwrap();
        let (passage, at_ms) = (PassageId([n; 16]), MORNING_MS + i64::from(n) * 3_600_000);
        let direction = if n % 2 == 0 { Direction::Entry } else { Direction::Exit };
        let grant = Grant {
            passage,
            lane: "north".into(),
            direction,
            person: person(),
            evidence: Vec::new(),
            flags: Vec::new(),
            roster: 1,
            photo: None,
        };
        ledger.append(tx, stamp(at_ms), grant).unwrap();
        ledger.close(tx, stamp(at_ms + 900), passage, Outcome::Passed, None).unwrap();
    }
    let supplement = Supplement {
        passage: PassageId([9; 16]),
        person: person(),
        direction: Direction::Exit,
        at_ms: MORNING_MS + 9 * 3_600_000,
        reason: "no power".into(),
        by: by(),
    };
    ledger.supplement(tx, stamp(MORNING_MS + 90 * 3_600_000), supplement).unwrap();
    ledger.dispute(tx, stamp(MORNING_MS + 91 * 3_600_000), 2, "x".into(), by()).unwrap();
}

/// Returns the lines of an export of a whole ledger, without the signature, and the number of records.
fn lines(tx: &Transaction<'_>, ledger: &Ledger, key: &SigningKey) -> (Heading, Vec<Line>) {
    let edge = growth::grow(tx, 1000).unwrap();
    let filter = AttendanceFilter { limit: 1000, ..AttendanceFilter::default() };
    let (mut lines, mut known) = (Vec::new(), Vec::new());
    let mut extent: Extent = Extent {
        project: "P-1".into(),
        gateway: "gate-2".into(),
        ledger: ledger.id.to_string(),
        at: "2026-11-05T00:00:00Z".parse().unwrap(),
        ..Extent::default()
    };
    for attended in ledger::attendance(tx, &filter).unwrap().rows {
        let record = Record::listed(&origin(), &attended).unwrap();
        extent.saw(&record);
        let of = |stored: &Stored| ledger::bytes(tx, stored.entry.index).unwrap();
        known.push(attended.entry.entry.index);
        known.extend(attended.cause.as_ref().map(|cause| cause.entry.index));
        let bytes = (of(&attended.entry), attended.cause.as_ref().map(of));
        lines.push(Line::Record(Proved::of(&origin(), &record, &attended, bytes).unwrap()));
    }
    known.sort_unstable();
    let ends = known.iter().copied().chain([edge.size()]);
    let begins = [0].into_iter().chain(known.iter().map(|index| index + 1));
    let gaps = begins.zip(ends).flat_map(|(begin, end)| covering(begin, end));
    let mut prover = growth::prover(tx);
    let hashes = gaps.map(|(level, number)| (prover.0)(level, number).unwrap()).collect::<Vec<_>>();
    let tree = (edge.size(), edge.root());
    let head = Head::new(ledger.id, tree, stamp(MORNING_MS), "gate-2").sign(key).unwrap();
    lines.push(Line::head(&head));
    lines.push(Line::Hashes(Base64(hashes.into_flattened())));
    lines.push(Line::Ending(extent.ending()));
    let month = (Date::constant(2026, 9, 30), Date::constant(2026, 11, 2));
    let heading = Heading::new(&extent, month, extent.at.to_string(), Some("Asia/Shanghai"));
    (heading, lines)
}

fn written(heading: &Heading, lines: &[Line], key: &SigningKey) -> Vec<u8> {
    let (mut signing, mut bytes) = Signing::begin(heading).unwrap();
    for line in lines {
        bytes.extend(signing.line(line).unwrap());
    }
    bytes.extend(signing.end(key).unwrap());
    bytes
}

fn exported(key: &SigningKey) -> (Heading, Vec<Line>) {
    exported_from(7, key)
}

fn exported_from(ledger: u8, key: &SigningKey) -> (Heading, Vec<Line>) {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    set_meta(&tx, "ledger", &[ledger; 16]).unwrap();
    let ledger = Ledger::open(&tx, Vec::new()).unwrap();
    fill(&tx, &ledger);
    lines(&tx, &ledger, key)
}

fn days() -> Days {
    let (first, last) = (Date::constant(2026, 10, 1), Date::constant(2026, 10, 31));
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    Days::new(first, last, zone, jiff::civil::Time::constant(4, 0, 0, 0)).unwrap()
}

fn read(bytes: &[u8], trust: Trust) -> Result<(usize, bool, Option<HeadOf>), String> {
    let days = days();
    let mut gathered = Gathered::new(&days, trust);
    gathered.export("b.jsonl", bytes, "P-1").map_err(|e| e.to_string())?;
    assert_eq!(gathered.notes.is_empty(), gathered.sources[0].verified);
    let source = gathered.sources.remove(0);
    Ok((gathered.passes.len(), source.verified, source.head))
}

fn knows(key: &SigningKey) -> Trust {
    Trust { fingerprints: vec![key.public().fingerprint()], unverified: false }
}

#[test]
fn an_export_with_proofs_is_taken_from_a_known_key_only() {
    let key = SigningKey::of_bytes(1);
    let (heading, lines) = exported(&key);
    let bytes = written(&heading, &lines, &key);
    let (records, verified, head) = read(&bytes, knows(&key)).unwrap();
    assert_eq!((records, verified), (5, true));
    let head = head.unwrap();
    assert_eq!((head.tree_size, head.signed_at.as_str()), (14, "2026-10-09T08:00:00.000+08:00"));
    assert_eq!(head.fingerprint, hex::encode(key.public().fingerprint()));
    let refused = read(&bytes, Trust::default()).unwrap_err();
    let wanted = format!("give --fingerprint {}", head.fingerprint);
    assert!(refused.contains(&wanted) && refused.contains("on gateway gate-2"), "{refused}");
    let taken = read(&bytes, Trust { unverified: true, ..Trust::default() }).unwrap();
    assert_eq!((taken.0, taken.1), (5, false));
    // The dispute is a part of the record, although it is an entry of its own.
    let days = days();
    let mut gathered = Gathered::new(&days, knows(&key));
    gathered.export("b.jsonl", &bytes[..], "P-1").unwrap();
    assert_eq!(gathered.passes.iter().filter(|pass| pass.disputed.is_some()).count(), 1);
}

#[test]
fn records_of_a_ledger_that_was_set_aside_are_taken_and_marked_as_not_verified() {
    let key = SigningKey::of_bytes(1);
    let ((heading, mut lines), (_, earlier)) = (exported(&key), exported_from(8, &key));
    lines.insert(0, earlier[0].clone());
    let Some(Line::Ending(ending)) = lines.last_mut() else { panic!() };
    ending.count += 1;
    let (days, bytes) = (days(), written(&heading, &lines, &key));
    let mut gathered = Gathered::new(&days, knows(&key));
    gathered.export("b.jsonl", &bytes[..], "P-1").unwrap();
    let sources: Vec<_> =
        gathered.sources.iter().map(|source| (source.records, source.verified)).collect();
    assert_eq!(sources, [(5, true), (1, false)]);
    let note = &gathered.notes[0];
    assert!(note.warns() && note.english().contains("set aside"), "{note:?}");
}

#[test]
fn an_altered_export_is_refused_also_if_it_is_signed_again() {
    let (key, other) = (SigningKey::of_bytes(1), SigningKey::of_bytes(2));
    let (heading, lines) = exported(&key);
    let altered = |alter: &dyn Fn(&mut Heading, &mut Vec<Line>), key: &SigningKey| {
        let (mut heading, mut lines) = (heading.clone(), lines.clone());
        alter(&mut heading, &mut lines);
        read(&written(&heading, &lines, key), knows(key)).unwrap_err()
    };
    let at = lines.len() - 3;
    let fails = "the proofs do not hold";
    let forged = altered(&|_, _| {}, &other);
    assert!(forged.contains(fails), "{forged}");
    let hash = altered(&|_, lines| lines[at + 1] = Line::Hashes(Base64(vec![0; 32])), &key);
    assert!(hash.contains(fails), "{hash}");
    let gateway = altered(&|heading, _| heading.gateway = "gate-3".into(), &key);
    assert!(gateway.contains(fails), "{gateway}");
    // An invented record stands in no tree. The number of records shows one that is left out.
    let invented = altered(
        &|_, lines| {
            let Line::Record(Proved { cause: Some(cause), .. }) = &mut lines[0] else { panic!() };
            let name = cause.0.windows(6).position(|part| part == "刘峰".as_bytes()).unwrap();
            cause.0[name..name + 6].copy_from_slice("李四".as_bytes());
        },
        &key,
    );
    assert!(invented.contains("not the entry that the record is about"), "{invented}");
    let fewer = altered(&|_, lines| drop(lines.remove(0)), &key);
    assert!(fewer.contains("counts 5 records"), "{fewer}");
    for (field, value) in [("name", "李四"), ("outcome", "not_passed")] {
        let shown = altered(
            &|_, lines| {
                let Line::Record(proved) = &mut lines[0] else { panic!() };
                proved.shown.insert(field.to_owned(), value.into());
            },
            &key,
        );
        assert!(shown.contains("is not what its entry says"), "{shown}");
    }
    let unsigned = altered(&|_, lines| drop(lines.drain(at..at + 2)), &key);
    assert!(unsigned.contains("could not sign its ledger"), "{unsigned}");
    let late = altered(&|_, lines| lines.swap(0, at), &key);
    assert!(late.contains("not at its place"), "{late}");
}

#[test]
fn one_bit_flipped_in_any_byte_of_an_export_is_refused() {
    let key = SigningKey::of_bytes(1);
    let (heading, lines) = exported(&key);
    let good = written(&heading, &lines, &key);
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 7);
        assert!(read(&bytes, knows(&key)).is_err(), "byte {at}");
        assert!(read(&good[..at], knows(&key)).is_err(), "cut at byte {at}");
    }
}
