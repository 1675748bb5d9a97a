//! Tests of packages, made from a ledger in a real database.

use rusqlite::{Connection, Transaction};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{package::*, verify::*, *};
use crate::{
    attendance::Origin,
    clock::{BootId, Stamp},
    config::Direction,
    ledger::{
        self, Actor, Altered, Enrolment, Grant, Head, HeadError, Ledger, Outcome, SignedHead, Via,
        commitment, growth,
    },
    roster::{Identity, Person, WorkerId},
    store::{Mark, SCHEMA, SigningKey, set_meta},
    turnstile::PassageId,
};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// 2026-11-02 08:00 in Shanghai.
const MORNING_MS: i64 = 1_793_577_600_000;

fn key(byte: u8) -> SigningKey {
    SigningKey::of_bytes(byte)
}

fn origin() -> Origin {
    let timezone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    Origin { gateway: "gate-1".into(), project: "P-1".into(), timezone }
}

fn stamp(wall_ms: i64) -> Stamp {
    Stamp { wall_ms, synced: true, boot: BootId([3; 16]), uptime_ms: 60_000 }
}

fn person(id: &str) -> Person {
    let id = id.parse().unwrap();
    Person {
        id, name: "刘峰".into(), team: "t".into(), contractor: "c".into(), trade: "s".into()
    }
}

fn identity() -> Identity {
    Identity {
        id_type: Default::default(),
        number: Zeroizing::new("110101199003070011".to_owned()),
        salt: [5; 32],
        particulars: Default::default(),
    }
}

/// A gateway: its database and its keys.
struct Gateway {
    connection: Connection,
    ledger: Ledger,
    key: SigningKey,
}

impl Gateway {
    /// Returns a gateway on which the workers are enrolled, with days of attendance.
    fn new(number: u8, workers: &[&str], days: i64) -> Gateway {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let tx = connection.transaction().unwrap();
        set_meta(&tx, "ledger", &[number; 16]).unwrap();
        let ledger = Ledger::open(&tx, Vec::new()).unwrap();
        tx.commit().unwrap();
        let mut gateway = Gateway { connection, ledger, key: key(number) };
        for id in workers {
            gateway.enroll(id);
        }
        for day in 0..days {
            for id in workers {
                gateway.pass(id, Direction::Entry, MORNING_MS + day * DAY_MS);
                gateway.pass(id, Direction::Exit, MORNING_MS + day * DAY_MS + DAY_MS / 3);
            }
        }
        gateway
    }

    fn change<T>(&mut self, change: impl FnOnce(&Transaction<'_>, &Ledger) -> T) -> T {
        let tx = self.connection.transaction().unwrap();
        let done = change(&tx, &self.ledger);
        tx.commit().unwrap();
        done
    }

    fn enroll(&mut self, id: &str) {
        let Identity { salt, number, .. } = identity();
        let enrolment = Enrolment {
            person: person(id),
            terms: Default::default(),
            id_type: "resident".into(),
            id_commitment: commitment(&salt, "resident", &number),
            model: "sface".into(),
            templates: 1,
            alike: None,
            face_withdrawn_on: None,
            compared: None,
            reason: None,
            waits: None,
            by: Actor { uid: 0, user: "root".into(), via: Via::Socket },
        };
        self.change(|tx, ledger| ledger.append(tx, stamp(MORNING_MS - DAY_MS), enrolment).unwrap());
    }

    fn pass(&mut self, id: &str, direction: Direction, at_ms: i64) {
        let mut passage = [0; 16];
        getrandom::fill(&mut passage).unwrap();
        let passage = PassageId(passage);
        let grant = Grant {
            passage,
            lane: "north".into(),
            direction,
            person: person(id),
            evidence: Vec::new(),
            flags: Vec::new(),
            roster: 1,
            photo: None,
        };
        self.change(|tx, ledger| {
            ledger.append(tx, stamp(at_ms), grant).unwrap();
            ledger.close(tx, stamp(at_ms + 900), passage, Outcome::Passed, None).unwrap();
        });
    }

    fn sign(&mut self) -> SignedHead {
        let tx = self.connection.transaction().unwrap();
        let edge = growth::grow(&tx, 10_000).unwrap();
        tx.commit().unwrap();
        let tree = (edge.size(), edge.root());
        Head::new(self.ledger.id, tree, stamp(MORNING_MS + 40 * DAY_MS), "gate-1")
            .sign(&self.key)
            .unwrap()
    }

    fn package(&mut self, id: &str, earlier: &[Vec<u8>]) -> Package {
        let head = self.sign();
        let tx = self.connection.transaction().unwrap();
        let period = Period {
            from: "2026-11-01".parse().unwrap(),
            until: "2026-11-30".parse().unwrap(),
            span_ms: (MORNING_MS - 2 * DAY_MS, MORNING_MS + 30 * DAY_MS),
        };
        let worker: WorkerId = id.parse().unwrap();
        let none = Altered::default();
        let package =
            collect(&tx, &origin(), &worker, (period, &none), &head, Some(&identity()), earlier)
                .unwrap();
        package.sign(&self.key).unwrap()
    }
}

fn refused(package: &Package) -> Refused {
    verify(&package.encode().unwrap(), &Known::default()).unwrap_err()
}

#[test]
fn a_package_of_a_ledger_that_lost_its_end_says_so_and_holds_no_proof_for_a_lost_head() {
    let mut gateway = Gateway::new(1, &["W001", "W002"], 3);
    let kept = gateway.sign();
    gateway.pass("W001", Direction::Entry, MORNING_MS + 4 * DAY_MS);
    let gone = gateway.sign();
    let (size, seq) = gateway.change(|tx, ledger| {
        let last = ledger::last_seq(tx).unwrap();
        tx.execute("DELETE FROM entry WHERE idx >= ?1", [kept.head.size]).unwrap();
        // A shortened database has the tree of its own end.
        tx.execute("DELETE FROM meta WHERE key = 'tree_edge'", []).unwrap();
        let mark = Mark { starts: 1, seq: last, entries: gone.head.size };
        ledger.lose(tx, stamp(MORNING_MS + 5 * DAY_MS), mark).unwrap();
        (kept.head.size, last)
    });
    gateway.pass("W001", Direction::Entry, MORNING_MS + 5 * DAY_MS);
    let package = gateway.package("W001", &[kept.bytes.clone(), gone.bytes.clone()]);
    let known = Known { fingerprint: None, head: Some(gone.bytes) };
    let report = verify(&package.encode().unwrap(), &known).unwrap();
    assert_eq!(report.begins_with, [kept.head.size]);
    assert!(!report.anchor.earlier_head);
    let [gap] = &report.lost[..] else { panic!("{report:?}") };
    assert_eq!((gap.index, gap.entries), (size, 2), "{gap:?}");
    assert!((gap.first..=gap.last).contains(&seq), "{gap:?}");
    // Another worker's package says it too.
    let package = gateway.package("W002", &[]);
    let report = verify(&package.encode().unwrap(), &Known::default()).unwrap();
    assert_eq!((report.lost.len(), report.attendance.len()), (1, 6));
}

#[test]
fn a_package_proves_one_workers_attendance_and_says_what_anchors_it() {
    let mut gateway = Gateway::new(1, &["W001", "W002"], 3);
    let old = gateway.sign();
    gateway.pass("W001", Direction::Entry, MORNING_MS + 5 * DAY_MS);
    let package = gateway.package("W001", std::slice::from_ref(&old.bytes));
    let bytes = package.encode().unwrap();
    let report = verify(&bytes, &Known::default()).unwrap();
    assert_eq!(report.anchor, Anchor { fingerprint: false, earlier_head: false });
    assert_eq!(report.attendance.len(), 7);
    assert!(report.attendance.iter().all(|record| record.worker == "W001"));
    assert_eq!(report.id_number.as_deref(), Some("110101199003070011"));
    assert_eq!(report.begins_with, [old.head.size]);
    let known = Known {
        fingerprint: Some(gateway.key.public().fingerprint()),
        head: Some(old.bytes.clone()),
    };
    let report = verify(&bytes, &known).unwrap();
    assert_eq!(report.anchor, Anchor { fingerprint: true, earlier_head: true });
    // A head for which the package holds no proof does not anchor it.
    let package = gateway.package("W001", &[]);
    let report = verify(&package.encode().unwrap(), &known).unwrap();
    assert!(!report.anchor.earlier_head);
    let other = Known { fingerprint: Some([0; 32]), head: None };
    assert!(matches!(verify(&bytes, &other), Err(Refused::OtherFingerprint { .. })));
}

#[test]
fn the_sheet_masks_the_id_number_and_its_code_has_digest_and_signature() {
    let mut gateway = Gateway::new(1, &["W001"], 2);
    let package = gateway.package("W001", &[]);
    let bytes = package.encode().unwrap();
    let report = verify(&bytes, &Known::default()).unwrap();
    let html = sheet(&report, "W<1>.cbor", jiff::civil::Time::constant(4, 0, 0, 0)).unwrap();
    assert!(html.contains("居民身份证 **************0011"), "{html}");
    assert!(!html.contains("110101199003070011") && html.contains("W&lt;1&gt;.cbor"), "{html}");
    assert!(html.contains("合计：出勤 2 天<td>16:00"), "{html}");
    // A clock in 1970 recorded a passage that belongs to these days.
    let mut by_other_clock = report.clone();
    by_other_clock.attendance[0].at = "1970-01-01T08:00:00.000+08:00".into();
    let other = sheet(&by_other_clock, "W001.cbor", Default::default()).unwrap();
    assert!(other.contains("另有 1 条记录") && !html.contains("另有"), "{other}");
    let code = code(&report);
    let words: Vec<&str> = code.split(' ').collect();
    assert_eq!(words[2], hex::encode_upper(Sha256::digest(&bytes)));
    assert_eq!(words[3], hex::encode_upper(package.signature.unwrap()));
}

#[test]
fn a_package_with_a_wrong_part_is_refused_with_the_reason() {
    let mut gateway = Gateway::new(1, &["W001", "W002"], 2);
    let old = gateway.sign();
    gateway.pass("W001", Direction::Entry, MORNING_MS + 5 * DAY_MS);
    let good = gateway.package("W001", std::slice::from_ref(&old.bytes));
    let altered = |alter: &dyn Fn(&mut Package)| {
        let mut package = good.clone();
        alter(&mut package);
        refused(&package)
    };
    let swapped = altered(&|package| {
        let path = package.entries[0].path.clone();
        package.entries[0].path = std::mem::replace(&mut package.entries[1].path, path);
    });
    assert!(matches!(swapped, Refused::NotIncluded { .. }), "{swapped}");
    let other_worker = gateway.package("W002", &[]);
    let other = altered(&|package| package.entries = other_worker.entries.clone());
    assert!(matches!(other, Refused::OtherWorker { .. }), "{other}");
    let no_cause = altered(&|package| {
        package.entries.remove(1);
    });
    assert!(matches!(no_cause, Refused::NoCause { .. }), "{no_cause}");
    let twice = altered(&|package| {
        let first = package.entries[0].clone();
        package.entries.insert(0, first);
    });
    assert!(matches!(twice, Refused::Unordered { .. }), "{twice}");
    let number = altered(&|package| {
        package.opened.as_mut().unwrap().number = "110101199003070038".to_owned();
    });
    assert!(matches!(number, Refused::OtherNumber { index: 0 }), "{number}");
    let mut elsewhere = Gateway::new(2, &["W001"], 3);
    let head = elsewhere.sign();
    let other_key = altered(&|package| package.head = head.bytes.clone());
    assert!(matches!(other_key, Refused::Head(HeadError::OtherKey(_))), "{other_key}");
    let other_ledger = altered(&|package| {
        (package.head, package.key) = (head.bytes.clone(), head.key);
    });
    assert!(matches!(other_ledger, Refused::OtherLedger { .. }), "{other_ledger}");
    let forged = altered(&|package| {
        let last = package.head.len() - 1;
        package.head[last] ^= 1;
    });
    assert_eq!(forged, Refused::Head(HeadError::Forged));
    let inconsistent = altered(&|package| package.earlier[0].path[0] ^= 1);
    assert!(matches!(inconsistent, Refused::Inconsistent { .. }), "{inconsistent}");
    let worker = altered(&|package| package.until = "2026-12-31".to_owned());
    assert_eq!(worker, Refused::Altered);
    let gateway_named = altered(&|package| package.gateway = "gate-2".to_owned());
    assert!(matches!(gateway_named, Refused::OtherGateway { .. }), "{gateway_named}");
    let bytes = good.encode().unwrap();
    for end in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        let cut = verify(&bytes[..end], &Known::default());
        assert!(matches!(cut, Err(Refused::Malformed(_))), "{end}");
    }
}

#[test]
fn a_grant_that_was_written_anew_does_not_fit_its_outcome() {
    let mut gateway = Gateway::new(1, &["W001"], 1);
    let anchor = gateway.sign();
    // The owner makes the first grant three hours earlier, with a fresh leaf, and grows the tree
    // again.
    gateway.change(|tx, _| {
        let mut grant = ledger::read(tx, 1).unwrap().entry;
        grant.stamp.wall_ms -= 3 * 3600 * 1000;
        let bytes = grant.encode().unwrap();
        let leaf = ledger::leaf_hash(&bytes);
        let sql = "UPDATE entry SET bytes = ?1, leaf = ?2 WHERE idx = 1";
        tx.execute(sql, rusqlite::params![bytes, leaf]).unwrap();
        tx.execute_batch("DELETE FROM subtree; DELETE FROM meta WHERE key = 'tree_edge'").unwrap();
    });
    let package = gateway.package("W001", &[]);
    assert_eq!(refused(&package), Refused::CauseAltered { index: 2, cause: 1 });
    let package = gateway.package("W001", std::slice::from_ref(&anchor.bytes));
    let mut doctored = package;
    (doctored.entries, doctored.opened) = (Vec::new(), None);
    assert_eq!(refused(&doctored), Refused::Inconsistent { size: anchor.head.size });
}

/// The sample that integrators test their own verifiers with. Made anew, with other random salts,
/// by `GATEHOUSE_SAMPLE=write tests/run --lib evidence::`.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/evidence-sample.cbor");

#[test]
fn one_bit_flipped_anywhere_in_the_sample_is_refused() {
    if std::env::var_os("GATEHOUSE_SAMPLE").is_some_and(|said| said == "write") {
        let mut gateway = Gateway::new(1, &["W001", "W002"], 1);
        let old = gateway.sign();
        gateway.pass("W001", Direction::Entry, MORNING_MS + DAY_MS);
        let package = gateway.package("W001", std::slice::from_ref(&old.bytes));
        std::fs::write(SAMPLE, package.encode().unwrap()).unwrap();
    }
    let sample = std::fs::read(SAMPLE).unwrap();
    let fingerprint = Some(key(1).public().fingerprint());
    let known = Known { fingerprint, head: None };
    assert_eq!(verify(&sample, &known).unwrap().attendance.len(), 3);
    for bit in 0..sample.len() * 8 {
        let mut altered = sample.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&altered, &known).is_err(), "bit {bit} of byte {}", bit / 8);
    }
}
