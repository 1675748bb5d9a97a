use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};
use proptest::prelude::*;

use super::*;
use crate::{
    attendance::{ClockState, Leaf, Means, RecordOutcome},
    config::Direction,
};

fn days() -> Days {
    let (first, last) = (Date::constant(2026, 10, 1), Date::constant(2026, 10, 31));
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    Days::new(first, last, zone, Time::constant(4, 0, 0, 0)).unwrap()
}

fn record(seq: u64) -> Record {
    Record {
        v: 1,
        gateway: "gate-2".into(),
        project: "P-1".into(),
        ledger: "b2".into(),
        seq,
        passage: format!("{seq:032x}"),
        worker: "W001".into(),
        name: "刘峰".into(),
        team: "钢筋一班".into(),
        contractor: "Fuding".into(),
        trade: "steel fixer".into(),
        direction: if seq % 2 == 1 { Direction::Entry } else { Direction::Exit },
        lane: Some("north".into()),
        at: format!("2026-10-09T{:02}:00:00.000+08:00", 8 + seq % 12),
        corrected_at: None,
        undated: None,
        means: Means::Face,
        score: Some(0.7),
        threshold: Some(0.5),
        model: Some("m".into()),

        camera: None,
        liveness: None,
        outcome: RecordOutcome::Passed,
        corrects: None,
        recorded_at: "2026-10-09T08:00:02.000+08:00".into(),
        clock: ClockState { synced: true, boot: "00".into(), uptime_ms: 1 },
        photo: None,
        reason: None,
        by: None,
        leaf: Leaf { index: seq, hash: "00".into() },
        flags: Vec::new(),
        evidence: Vec::new(),
        unknown: Default::default(),
        resent: false,
        disputed: None,
        dispute: None,
    }
}

fn extent() -> Extent {
    Extent {
        project: "P-1".into(),
        gateway: "gate-2".into(),
        ledger: "b2".into(),
        count: 0,
        first_seq: None,
        last_seq: None,
        at: "2026-11-05T00:00:00Z".parse().unwrap(),
        begins: None,
        set_aside: None,
        earlier: BTreeMap::new(),
        unread_entries: Vec::new(),
        unread: 0,
        illegible: Vec::new(),
    }
}

/// Returns the lines of an export of these records.
fn lines(records: &[Record]) -> Vec<String> {
    let mut extent = extent();
    let month = (Date::constant(2026, 9, 30), Date::constant(2026, 11, 2));
    let heading = Heading {
        version: UNPROVEN,
        ..Heading::new(&extent, month, extent.at.to_string(), Some("Asia/Shanghai"))
    };
    let mut lines = vec![serde_json::to_string(&heading).unwrap()];
    for record in records {
        extent.saw(record);
        lines.push(serde_json::to_string(record).unwrap());
    }
    lines.push(serde_json::to_string(&extent.ending()).unwrap());
    lines
}

fn joined(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

/// Takes exports without proofs, too.
fn gathered_of(days: &Days) -> Gathered<'_> {
    Gathered::new(days, Trust { unverified: true, ..Trust::default() })
}

fn refused(bytes: &[u8]) -> String {
    let days = days();
    gathered_of(&days).export("b.jsonl", bytes, "P-1").unwrap_err().to_string()
}

#[test]
fn an_overlapping_export_adds_only_new_records_and_disputes() {
    let days = days();
    let mut gathered = gathered_of(&days);
    let records = [record(1), record(2), record(5)];
    gathered.export("b.jsonl", &joined(&lines(&records))[..], "P-1").unwrap();
    // A second export overlaps. It was made after a record was disputed.
    let later = [Record { disputed: Some(7), ..record(2) }, record(6)];
    gathered.export("b2.jsonl", &joined(&lines(&later))[..], "P-1").unwrap();
    let gathered = gathered.one_person_each(&[]).unwrap();
    let Gathered { passes, sources, notes, .. } = gathered;
    let seqs: Vec<_> = passes.iter().map(|crossing| (crossing.seq, crossing.disputed)).collect();
    assert_eq!(seqs, [(1, None), (2, Some(7)), (5, None), (6, None)]);
    let source = &sources[0];
    assert_eq!((source.first_seq, source.last_seq, source.records), (Some(1), Some(5), 3));
    assert_eq!((&*source.gateway, &*source.ledger), ("gate-2", "b2"));
    assert_eq!(source.file.as_deref(), Some("b.jsonl"));
    assert_eq!(source.read_at.to_string(), "2026-11-05T08:00:00.000+08:00");
    assert_eq!((sources[1].records, notes.len()), (2, 2));
    assert!(notes.iter().all(|note| matches!(note, Note::Unverified { .. })), "{notes:?}");
}

#[test]
fn an_export_with_records_of_an_earlier_ledger_has_a_source_for_each_ledger() {
    let days = days();
    let mut gathered = gathered_of(&days);
    let before = |seq| Record { ledger: "a1".into(), ..record(seq) };
    let all = [before(1), before(4), record(1), record(2)];
    gathered.export("b.jsonl", &joined(&lines(&all))[..], "P-1").unwrap();
    let sources = gathered.sources.iter();
    let sources: Vec<_> =
        sources.map(|s| (&*s.ledger, s.records, s.first_seq, s.last_seq)).collect();
    assert_eq!(sources, [("b2", 2, Some(1), Some(2)), ("a1", 2, Some(1), Some(4))]);
    assert_eq!(gathered.passes.len(), 4);
}

#[test]
fn a_correction_takes_the_place_of_its_record_in_any_order() {
    let corrected = |seq, of| Record {
        outcome: RecordOutcome::Unconfirmed,
        corrects: Some(of),
        at: record(of).at,
        ..record(seq)
    };
    let not_passed = |seq| Record { outcome: RecordOutcome::NotPassed, ..record(seq) };
    let all = [not_passed(1), corrected(4, 1), corrected(6, 1), not_passed(2)];
    for order in [[0, 1, 2, 3], [2, 1, 0, 3], [3, 1, 2, 0]] {
        let days = days();
        let mut gathered = gathered_of(&days);
        for n in order {
            let disputed = (n == 0).then_some(9);
            assert_eq!(gathered.take(&Record { disputed, ..all[n].clone() }), Ok(true));
        }
        let mut left: Vec<_> =
            gathered.passes.iter().map(|p| (p.seq, p.outcome, p.disputed)).collect();
        left.sort_by_key(|(seq, ..)| *seq);
        let expected =
            [(2, RecordOutcome::NotPassed, None), (6, RecordOutcome::Unconfirmed, Some(9))];
        assert_eq!(left, expected, "{order:?}");
    }
}

#[test]
fn records_that_cannot_be_read_are_noted_on_the_sheet() {
    let days = days();
    let mut gathered = gathered_of(&days);
    let mut lines = lines(&[record(1)]);
    let mut ending: Ending = serde_json::from_str(lines.last().unwrap()).unwrap();
    (ending.unread, ending.unread_entries) = (3, vec![17, 40]);
    *lines.last_mut().unwrap() = serde_json::to_string(&ending).unwrap();
    gathered.export("b.jsonl", &joined(&lines)[..], "P-1").unwrap();
    let notes: Vec<_> = gathered.notes.iter().map(|note| note.english()).collect();
    assert_eq!(
        notes[0],
        "gate-2: 3 ledger entries cannot be read or were altered, and are not on this sheet (17, 40, …)"
    );
}

#[test]
fn an_export_without_proofs_is_refused_or_stands_on_the_sheet_as_not_verified() {
    let (days, bytes) = (days(), joined(&lines(&[record(1)])));
    let refused = Gathered::new(&days, Trust::default()).export("b.jsonl", &bytes[..], "P-1");
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("has no proofs") && refused.contains("--unverified"), "{refused}");
    let mut gathered = gathered_of(&days);
    gathered.export("b.jsonl", &bytes[..], "P-1").unwrap();
    assert!(!gathered.sources[0].verified);
    let note = &gathered.notes[0];
    assert!(note.warns() && note.english().contains("NOT VERIFIED"), "{note:?}");
    assert!(note.chinese().contains("未经验证"), "{note:?}");
}

#[test]
fn records_outside_the_month_are_left_out() {
    let days = days();
    let mut gathered = gathered_of(&days);
    let other = Record { at: "2026-08-09T08:00:00.000+08:00".into(), ..record(1) };
    gathered.export("b.jsonl", &joined(&lines(&[other, record(2)]))[..], "P-1").unwrap();
    let Gathered { passes, sources, .. } = gathered;
    assert_eq!((passes.len(), sources[0].first_seq, sources[0].records), (1, Some(2), 1));
}

#[test]
fn a_file_that_is_cut_off_at_any_byte_is_refused() {
    let whole = joined(&lines(&[record(1), record(2)]));
    for length in 0..whole.len() {
        refused(&whole[..length]);
    }
    let all = lines(&[record(1), record(2)]);
    let without = |gone: usize| {
        let rest = all.iter().enumerate().filter(|(n, _)| *n != gone);
        joined(&rest.map(|(_, line)| line.clone()).collect::<Vec<_>>())
    };
    assert!(refused(&without(1)).contains("counts 2 records, and the file has 1: copy or export"));
    assert_eq!(
        refused(&without(3)),
        "b.jsonl, line 4: the file was cut off: its last line, with the count, is missing; copy or \
         export it again"
    );
    assert!(refused(&[&whole[..], b"{}\n"].concat()).contains("line 5: the file has lines after"));
}

#[test]
fn a_file_that_is_no_export_of_this_project_is_refused_with_its_line() {
    let not_one = "b.jsonl, line 1: this is not a file of `gatehouse attendance export`";
    for bytes in [&b""[..], b"\n", b"PK\x03\x04\n", b"\xff\xfe\n", b"[]\n", b"{\"format\":\"x\"}\n"]
    {
        assert!(refused(bytes).starts_with(not_one), "{bytes:?}: {}", refused(bytes));
    }
    // A deeply nested line, and a long line.
    assert!(refused(format!("{}\n", "[".repeat(60_000)).as_bytes()).starts_with(not_one));
    assert_eq!(refused(&[b' '; 70_000]), "b.jsonl, line 1: the line has more than 64 KiB");
    let with = |key: &str, value: &str| {
        let mut all = lines(&[record(1)]);
        let mut heading: serde_json::Value = serde_json::from_str(&all[0]).unwrap();
        heading[key] = serde_json::from_str(value).unwrap();
        all[0] = heading.to_string();
        refused(&joined(&all))
    };
    assert_eq!(
        with("project", "\"P-2\""),
        "b.jsonl, line 1: the export is of project P-2, and this gateway is of project P-1"
    );
    assert!(with("version", "3").contains("version 3, and this program reads version 2"));
    assert!(with("from", "\"2026-11-01\"").contains("no day of this month"));
    assert!(with("exported_at", "\"yesterday\"").contains("exported_at"));
    assert!(with("gateway", "\"gate\\u001b[2J\"").contains("control characters"));
    let of = |record: Record| refused(&joined(&lines(&[record])));
    assert!(
        of(Record { gateway: "gate-3".into(), ..record(1) })
            .contains("line 2: the record is of another")
    );
    assert!(of(Record { name: "a\nb".into(), ..record(1) }).contains("has control characters"));
    assert!(of(Record { team: "x".repeat(300), ..record(1) }).contains("too long"));
    assert!(of(Record { at: "now".into(), ..record(1) }).contains("line 2: a record has no valid"));
    let twice = [record(1), Record { direction: Direction::Exit, ..record(1) }];
    assert!(refused(&joined(&lines(&twice))).contains("line 3: record 1 of ledger b2 was read"));
}

#[test]
fn i8_an_endless_line_is_refused_at_the_maximum_length() {
    let days = days();
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    let wrong = gathered_of(&days).export("b.jsonl", endless, "P-1").unwrap_err();
    assert_eq!(wrong.to_string(), "b.jsonl, line 1: the line has more than 64 KiB");
}

#[test]
fn i8_a_file_and_a_sheet_have_a_maximum_size() {
    let mut lines = Lines { file: "b.jsonl", line: 0, bytes: (&b"{}\n{}\n"[..]).take(5) };
    assert_eq!(lines.next().unwrap().as_deref(), Some(&b"{}"[..]));
    assert_eq!(
        lines.next().unwrap_err().to_string(),
        "b.jsonl, line 2: the file has more than 1 GiB"
    );
    let days = days();
    let mut gathered = Gathered { most: 2, ..gathered_of(&days) };
    for seq in [1, 2, 2] {
        gathered.take(&record(seq)).unwrap();
    }
    let problem = gathered.take(&record(3)).unwrap_err();
    assert_eq!(problem, "one sheet has at most 2 records: give fewer --with files");
}

#[test]
fn one_id_with_two_names_is_refused_unless_the_user_confirms_one_person() {
    let days = days();
    let gathered = |earlier: &str| {
        let mut gathered = gathered_of(&days);
        let own = Record { ledger: "a1".into(), gateway: "gate-1".into(), ..record(1) };
        gathered.take(&Record { name: earlier.into(), ..own.clone() }).unwrap();
        gathered.take(&Record { name: "刘锋".into(), ..Record { seq: 9, ..own } }).unwrap();
        gathered.export("b.jsonl", &joined(&lines(&[record(2)]))[..], "P-1").unwrap();
        gathered
    };
    let problem = gathered("刘锋").one_person_each(&[]).err().unwrap();
    assert!(problem.contains("worker W001 is 刘锋 at gate-1 and 刘峰 at gate-2"), "{problem}");
    assert_eq!(gathered("刘锋").one_person_each(&["W001".into()]).unwrap().passes.len(), 3);
}

#[test]
fn the_latest_name_in_each_ledger_is_compared() {
    let days = days();
    let mut gathered = gathered_of(&days);
    let own = Record { ledger: "a1".into(), gateway: "gate-1".into(), ..record(1) };
    gathered.take(&Record { name: "刘锋".into(), ..own.clone() }).unwrap();
    let at = "2026-10-20T08:00:00.000+08:00".to_owned();
    gathered.take(&Record { seq: 9, at, ..own }).unwrap();
    gathered.export("b.jsonl", &joined(&lines(&[record(2)]))[..], "P-1").unwrap();
    assert!(gathered.one_person_each(&[]).is_ok());
}

#[test]
fn an_export_of_a_part_of_the_month_adds_a_note() {
    let days = days();
    let mut gathered = gathered_of(&days);
    let mut all = lines(&[record(1)]);
    all[0] = all[0].replace("2026-11-02", "2026-10-31");
    gathered.export("b.jsonl", &joined(&all)[..], "P-1").unwrap();
    let expected =
        "gate-2 (b.jsonl): holds 2026-09-30 to 2026-10-31; export 2026-09-30 to 2026-11-01";
    assert!(gathered.notes[0].english().starts_with(expected), "{:?}", gathered.notes);
    let mut gathered = gathered_of(&days);
    let mut all = lines(&[record(1)]);
    all[0] = all[0].replace("2026-11-05", "2026-10-20");
    gathered.export("b.jsonl", &joined(&all)[..], "P-1").unwrap();
    assert!(
        gathered.notes[0]
            .english()
            .contains("exported on 2026-10-20 08:00, before all of the month")
    );
}

proptest! {
    #[test]
    fn any_bytes_in_an_export_are_taken_or_refused_without_a_panic(
        line in 0..4usize, from in 0..200usize, junk in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = joined(&lines(&[record(1), record(2)]));
        let starts = bytes.split_inclusive(|b| *b == b'\n').take(line).map(<[u8]>::len).sum::<usize>();
        let from = (starts + from).min(bytes.len());
        let to = (from + junk.len()).min(bytes.len());
        bytes.splice(from..to, junk);
        let days = days();
        let _ = gathered_of(&days).export("b.jsonl", &bytes[..], "P-1");
    }
}

#[test]
fn a_ledger_that_begins_within_the_month_adds_a_note() {
    let days = days();
    let mut gathered = gathered_of(&days);
    let at = |text: &str| Some(text.parse().unwrap());
    gathered.own(&Extent { begins: at("2026-01-01T00:00:00Z"), ..extent() }, None);
    let before = gathered.notes.len();
    let set_aside = Some("set-aside/1".to_owned());
    gathered.own(&Extent { begins: at("2026-10-15T04:00:00Z"), set_aside, ..extent() }, None);
    let note = &gathered.notes[before];
    assert!(
        note.english().contains("its ledger begins on 2026-10-15 12:00, in place of a damaged"),
        "{note:?}"
    );
}

#[test]
fn a_record_that_was_exported_before_its_clock_was_right_is_the_same_record() {
    let days = days();
    let sent = record(1);
    let undated = Some(super::super::Undated { after: None, before: None });
    let early =
        Record { undated, clock: ClockState { synced: false, ..sent.clock.clone() }, ..sent };
    let at = Some("2026-10-12T09:00:00.000+08:00".to_owned());
    let later = Record { undated: None, corrected_at: at, ..early.clone() };
    for (first, second) in [(&early, &later), (&later, &early)] {
        let mut gathered = gathered_of(&days);
        assert_eq!(gathered.take(first), Ok(true));
        assert_eq!(gathered.take(second), Ok(true));
        let [one] = &gathered.passes[..] else { panic!("{:?}", gathered.passes) };
        assert_eq!(one.at.to_string(), "2026-10-12T01:00:00Z");
        assert_eq!(one.recorded().to_string(), "2026-10-09T01:00:00Z");
    }
    // Another recorded time is another record.
    let other = Record { at: "2026-10-09T09:00:01.000+08:00".into(), ..later.clone() };
    let mut gathered = gathered_of(&days);
    gathered.take(&later).unwrap();
    assert!(gathered.take(&other).unwrap_err().contains("was read before with other contents"));
}
