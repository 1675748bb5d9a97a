use jiff::{Timestamp, ToSpan, civil::Time, tz::TimeZone};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::attendance::{Means, RecordOutcome};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns a capture at gate-1. `time`: month, day and time of 2026, in Shanghai's time zone.
fn crossing(worker: &str, direction: Direction, time: &str) -> Crossing {
    let moment = at(&format!("2026-{time}:00+08:00"));
    Crossing {
        worker: worker.into(),
        name: "刘峰".into(),
        team: "钢筋一班".into(),
        contractor: "Fuding".into(),
        trade: "steel fixer".into(),
        direction,
        at: moment,
        clock_showed: None,
        undated: None,
        recorded_at: moment,
        means: Means::Face,
        outcome: RecordOutcome::Passed,
        synced: true,
        gateway: "gate-1".into(),
        ledger: "a1".into(),
        seq: moment.as_second() as u64,
        lane: Some("north".into()),
        reason: None,
        by: None,
        disputed: None,
        dispute: None,
    }
}

fn entry(time: &str) -> Crossing {
    crossing("W001", Direction::Entry, time)
}

fn exit(time: &str) -> Crossing {
    crossing("W001", Direction::Exit, time)
}

fn supplement(crossing: Crossing) -> Crossing {
    let (means, outcome) = (Means::Supplement, RecordOutcome::Claimed);
    Crossing { means, outcome, lane: None, reason: Some("forgot".into()), ..crossing }
}

fn october() -> Days {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let (first, last) = (Date::constant(2026, 10, 1), Date::constant(2026, 10, 31));
    Days::new(first, last, zone, Time::constant(4, 0, 0, 0)).unwrap()
}

fn made(passes: Vec<Crossing>) -> Timesheet {
    timesheet(passes, &october(), &SheetFilter::default())
}

/// Returns day of the month, minutes, first in, last out and flags of each day of the only worker.
fn days(sheet: &Timesheet) -> Vec<(i8, u64, String, String, Vec<Flag>)> {
    assert!(sheet.rows.len() <= 1, "{sheet:#?}");
    let show = |at: Option<At>, day: &Day| at.map_or_else(String::new, |at| at.on(day.date));
    let days = sheet.rows.iter().flat_map(|row| &row.days);
    days.map(|d| {
        (d.date.day(), d.minutes, show(d.first_in, d), show(d.last_out, d), d.flags.clone())
    })
    .collect()
}

fn of(
    day: i8,
    minutes: u64,
    first: &str,
    last: &str,
    flags: &[Flag],
) -> (i8, u64, String, String, Vec<Flag>) {
    (day, minutes, first.into(), last.into(), flags.to_vec())
}

#[test]
fn the_minutes_of_a_day_are_the_sum_of_its_pairs_without_seconds() {
    let mut in_ = entry("10-09T07:58");
    in_.at += 59.seconds();
    let sheet = made(vec![in_, exit("10-09T12:01"), entry("10-09T13:00"), exit("10-09T17:30")]);
    assert_eq!(days(&sheet), [of(9, 243 + 270, "07:58", "17:30", &[])]);
    let total = Totals { days_present: 1, minutes: 513, ..Totals::default() };
    assert_eq!((sheet.total, sheet.workers), (total, 1));
}

#[test]
fn a_working_day_ends_at_its_start_time_and_a_night_shift_may_run_over_it() {
    let night = made(vec![entry("10-09T19:00"), exit("10-10T03:59")]);
    assert_eq!(days(&night), [of(9, 539, "19:00", "03:59+1", &[])]);
    let over = made(vec![entry("10-09T20:00"), exit("10-10T06:00")]);
    assert_eq!(days(&over), [of(9, 600, "20:00", "06:00+1", &[Flag::Across])]);
    // 16 hours are a pair; one minute more is not.
    let longest = made(vec![entry("10-09T14:00"), exit("10-10T06:00")]);
    assert_eq!(days(&longest), [of(9, 960, "14:00", "06:00+1", &[Flag::Across])]);
    let longer = made(vec![entry("10-09T13:59"), exit("10-10T06:00")]);
    let (missing_out, missing_in) = (&[Flag::MissingOut], &[Flag::MissingIn]);
    assert_eq!(
        days(&longer),
        [of(9, 0, "13:59", "", missing_out), of(10, 0, "", "06:00", missing_in)]
    );
    // Within one working day a pair may be longer.
    let long = made(vec![entry("10-09T04:00"), exit("10-10T03:59")]);
    assert_eq!(days(&long), [of(9, 1439, "04:00", "03:59+1", &[])]);
}

#[test]
fn pairs_over_the_months_ends_are_whole_and_other_months_are_not_shown() {
    let passes = vec![
        entry("09-30T20:00"),
        exit("10-01T06:00"),
        entry("10-31T20:00"),
        exit("11-01T06:00"),
        entry("11-01T20:00"),
        exit("11-01T23:00"),
    ];
    let sheet = made(passes);
    assert_eq!(days(&sheet), [of(31, 600, "20:00", "06:00+1", &[Flag::Across])]);
    assert_eq!((sheet.total.missing_in, sheet.total.missing_out), (0, 0));
}

#[test]
fn a_missing_passage_is_flagged_and_adds_no_minutes() {
    let twice = made(vec![entry("10-09T07:00"), entry("10-09T08:00"), exit("10-09T12:00")]);
    assert_eq!(days(&twice), [of(9, 240, "07:00", "12:00", &[Flag::MissingOut])]);
    let out = made(vec![exit("10-09T12:00"), entry("10-09T13:00"), exit("10-09T17:00")]);
    assert_eq!(days(&out), [of(9, 240, "13:00", "17:00", &[Flag::MissingIn])]);
    assert_eq!((out.total.missing_in, out.total.missing_out), (1, 0));
}

#[test]
fn hours_that_a_dispute_takes_from_a_day_stand_beside_the_others() {
    let disputed = |crossing: Crossing| {
        let at = at("2026-10-20T01:00:00Z");
        let dispute = Dispute { by: "boss".into(), at, reason: "not he".into() };
        Crossing { disputed: Some(99), dispute: Some(dispute), ..crossing }
    };
    // A dispute of one passage takes the whole day, and the day stays on the sheet.
    let sheet = made(vec![disputed(entry("10-09T08:00")), exit("10-09T17:00")]);
    let day = &sheet.rows[0].days[0];
    assert_eq!((day.minutes, day.minutes_disputed), (0, 540));
    assert!(day.flags.contains(&Flag::Disputed) && day.flags.contains(&Flag::MissingIn));
    assert_eq!(sheet.total.disputed, Sum { days: 0, minutes: 540 });
    let by = sheet.disputed[0].disputed_by().unwrap();
    assert_eq!(by, "2026-10-20 09:00 boss: not he (seq 99)");
    // A day whose passages are all disputed is a row with the worker's name.
    let passages = vec![disputed(entry("10-09T08:00")), disputed(exit("10-09T17:00"))];
    let sheet = made(passages);
    assert_eq!((sheet.workers, &*sheet.rows[0].name), (1, "刘峰"));
    assert_eq!(sheet.total.disputed, Sum { days: 1, minutes: 540 });
    assert_eq!((sheet.total.days_present, sheet.total.minutes), (0, 0));
    // A brother's passages within the worker's own day take nothing from it.
    let within = [disputed(entry("10-09T12:00")), disputed(exit("10-09T13:00"))];
    let own = [entry("10-09T08:00"), exit("10-09T17:00")];
    let sheet = made([own.to_vec(), within.to_vec()].concat());
    assert_eq!((sheet.total.minutes, sheet.total.disputed), (540, Sum::default()));
    assert!(sheet.rows[0].days[0].flags.contains(&Flag::Disputed));
}

#[test]
fn a_grant_without_a_passage_is_not_counted_and_a_disputed_one_is_listed_separately() {
    let not_passed = Crossing { outcome: RecordOutcome::NotPassed, ..entry("10-09T07:00") };
    let disputed = Crossing { disputed: Some(99), ..exit("10-09T09:00") };
    let passes =
        vec![not_passed.clone(), entry("10-09T08:00"), disputed.clone(), exit("10-09T12:00")];
    let sheet = made(passes);
    assert_eq!(days(&sheet), [of(9, 240, "08:00", "12:00", &[Flag::Disputed])]);
    assert_eq!(sheet.disputed.len(), 1);
    assert_eq!(sheet.disputed[0].disputed, Some(99));
    let nothing = made(vec![not_passed.clone()]);
    assert_eq!((nothing.rows.len(), nothing.disputed.len()), (0, 0));
    let only = made(vec![not_passed, disputed]);
    assert_eq!((only.rows.len(), only.disputed.len()), (1, 1));
    assert_eq!((only.total.days_present, only.total.disputed), (0, Sum { days: 1, minutes: 0 }));
}

#[test]
fn unsynchronised_times_count_and_are_flagged() {
    let out = Crossing { synced: false, ..exit("10-09T12:00") };
    let manual = Crossing { means: Means::Manual, ..entry("10-10T08:00") };
    let sheet = made(vec![entry("10-09T08:00"), out, manual, exit("10-10T09:00")]);
    let expected =
        [of(9, 240, "08:00", "12:00", &[Flag::Clock]), of(10, 60, "08:00", "09:00", &[])];
    assert_eq!(days(&sheet), expected);
}

fn unconfirmed(crossing: Crossing) -> Crossing {
    Crossing { outcome: RecordOutcome::Unconfirmed, ..crossing }
}

#[test]
fn hours_that_rest_on_an_unconfirmed_passage_have_a_sum_of_their_own() {
    let sheet = made(vec![
        unconfirmed(entry("10-09T08:00")),
        exit("10-09T12:00"),
        entry("10-09T13:00"),
        exit("10-09T17:00"),
        entry("10-10T08:00"),
        // An outcome of a later version confirms nothing.
        Crossing { outcome: RecordOutcome::Other, ..exit("10-10T09:00") },
    ]);
    let flags = &[Flag::Unconfirmed];
    let expected = [of(9, 240, "08:00", "17:00", flags), of(10, 0, "08:00", "09:00", flags)];
    assert_eq!(days(&sheet), expected);
    let minutes: Vec<_> = sheet.rows[0].days.iter().map(|day| day.minutes_unconfirmed).collect();
    assert_eq!(minutes, [240, 60]);
    let stretches: Vec<_> =
        sheet.rows[0].days[0].stretches.iter().map(|s| (s.minutes, s.unconfirmed)).collect();
    assert_eq!(stretches, [(240, true), (240, false)]);
    let total = Totals {
        days_present: 2,
        minutes: 240,
        unconfirmed: Sum { days: 0, minutes: 300 },
        ..Totals::default()
    };
    assert_eq!((sheet.total, sheet.contractors[0].totals), (total, total));
}

#[test]
fn a_broken_sensor_makes_no_day_and_takes_none() {
    // The wire of the exit is torn off. The worker came and left on the 9th. On the 10th no sensor
    // confirms anything.
    let sheet = made(vec![
        entry("10-09T08:00"),
        unconfirmed(exit("10-09T17:00")),
        unconfirmed(entry("10-10T08:00")),
        unconfirmed(exit("10-10T16:00")),
    ]);
    let day = |n: usize| &sheet.rows[0].days[n];
    assert_eq!([day(0).confirmed, day(1).confirmed], [true, false]);
    let (days_present, sum) = (sheet.total.days_present, sheet.total.unconfirmed);
    assert_eq!((days_present, sheet.total.minutes), (1, 0));
    assert_eq!(sum, Sum { days: 1, minutes: 540 + 480 });
    assert_eq!(sheet.notes().count(), 0);
    // A turnstile without a sensor confirms nothing, and a note says so.
    let sheet = made(vec![unconfirmed(entry("10-10T08:00")), unconfirmed(exit("10-10T16:00"))]);
    let notes: Vec<_> = sheet.notes().map(|note| note.english()).collect();
    assert_eq!(notes, ["gate-1: it confirmed no passage, so its days and hours are unconfirmed"]);
    assert_eq!((sheet.total.minutes, sheet.total.unconfirmed.minutes), (0, 480));
}

#[test]
fn hours_that_a_person_answers_for_are_with_the_added_ones_and_other_unconfirmed_ones_are_not() {
    let sheet = made(vec![
        unconfirmed(entry("10-09T08:00")),
        supplement(exit("10-09T12:00")),
        unconfirmed(entry("10-10T08:00")),
        exit("10-10T10:00"),
        unconfirmed(entry("10-11T08:00")),
    ]);
    let total = sheet.total;
    assert_eq!((total.days_present, total.minutes), (1, 0));
    assert_eq!(total.unconfirmed, Sum { days: 2, minutes: 120 });
    assert_eq!(total.with_supplements, Some(Sum { days: 2, minutes: 240 }));
}

#[test]
fn a_day_whose_only_confirmed_exit_belongs_to_a_supplement_of_the_month_before_is_summed_so() {
    let unconfirmed = |crossing: Crossing| Crossing {
        means: Means::Manual,
        outcome: RecordOutcome::Unconfirmed,
        ..crossing
    };
    let sheet = made(vec![
        supplement(entry("09-30T20:00")),
        exit("10-01T05:00"),
        unconfirmed(exit("10-01T17:00")),
    ]);
    let totals = sheet.rows[0].totals;
    assert_eq!((totals.days_present, totals.with_supplements.map(|sum| sum.days)), (1, Some(0)));
}

#[test]
fn a_supplement_is_never_mixed_with_gate_captures() {
    let passes = vec![
        entry("10-09T08:00"),
        supplement(exit("10-09T12:00")),
        supplement(entry("10-12T08:00")),
        supplement(exit("10-12T10:00")),
    ];
    let sheet = made(passes);
    let flags = [Flag::MissingOut, Flag::Supplement];
    let expected = [of(9, 0, "08:00", "", &flags), of(12, 0, "", "", &[Flag::Supplement])];
    assert_eq!(days(&sheet), expected);
    let total = sheet.total;
    assert_eq!((total.days_present, total.minutes, total.missing_out), (1, 0, 1));
    assert_eq!(total.with_supplements, Some(Sum { days: 2, minutes: 360 }));
    assert_eq!((total.supplements, sheet.supplements.len()), (3, 3));
    assert_eq!(sheet.supplements[0].reason.as_deref(), Some("forgot"));
    let days = &sheet.rows[0].days;
    assert_eq!(days[0].minutes_with_supplements, Some(240));
    // A worker without supplements has no sums with them. A total has them for all workers, so that
    // totals can be compared.
    let mut passes =
        vec![entry("10-09T08:00"), exit("10-09T09:00"), supplement(exit("10-09T12:00"))];
    passes.extend([
        crossing("W2", Direction::Entry, "10-09T08:00"),
        crossing("W2", Direction::Exit, "10-09T09:00"),
    ]);
    let sheet = made(passes);
    let with: Vec<_> = sheet.rows.iter().map(|row| row.totals.with_supplements).collect();
    assert_eq!(with, [Some(Sum { days: 1, minutes: 60 }), None]);
    assert_eq!(sheet.total.with_supplements, Some(Sum { days: 2, minutes: 120 }));
}

#[test]
fn a_day_with_passages_by_card_id_card_or_qr_is_marked_and_counts_in_full() {
    let by = |means: Means, crossing: Crossing| Crossing { means, ..crossing };
    let hours = |day: i8, flags: &[Flag]| of(day, 240, "08:00", "12:00", flags);
    for means in [Means::Card, Means::IdCard, Means::Qr] {
        let sheet = made(vec![
            // All of the day, its entry, and its exit.
            by(means, entry("10-09T08:00")),
            by(means, exit("10-09T12:00")),
            by(means, entry("10-10T08:00")),
            exit("10-10T12:00"),
            entry("10-11T08:00"),
            by(means, exit("10-11T12:00")),
            entry("10-12T08:00"),
            exit("10-12T12:00"),
        ]);
        let expected = [9, 10, 11].map(|day| hours(day, &[Flag::Reader])).into_iter();
        assert_eq!(days(&sheet), expected.chain([hours(12, &[])]).collect::<Vec<_>>(), "{means}");
        assert_eq!((sheet.total.days_present, sheet.total.minutes), (4, 960));
    }
    // A guard, an added passage and a means of a later version are no reader's.
    for means in [Means::Manual, Means::Other] {
        let sheet = made(vec![by(means, entry("10-09T08:00")), exit("10-09T12:00")]);
        assert_eq!(days(&sheet), [hours(9, &[])], "{means}");
    }
    // A grant by card without a passage, and a disputed passage, mark no day.
    let refused = Crossing { outcome: RecordOutcome::NotPassed, ..entry("10-09T07:00") };
    let disputed = Crossing { disputed: Some(99), ..exit("10-09T13:00") };
    let sheet = made(vec![
        by(Means::Card, refused),
        entry("10-09T08:00"),
        exit("10-09T12:00"),
        by(Means::Card, disputed),
    ]);
    assert_eq!(days(&sheet), [hours(9, &[Flag::Disputed])]);
    // A night shift's card marks the day of its entry.
    let night = made(vec![entry("10-09T20:00"), by(Means::Card, exit("10-10T06:00"))]);
    let flags = &[Flag::Across, Flag::Reader];
    assert_eq!(days(&night), [of(9, 600, "20:00", "06:00+1", flags)]);
}

/// Returns a crossing that no clock dates, made this number of minutes after a boot.
fn undated(crossing: Crossing, (after, before): (&str, &str), minutes: u64) -> Crossing {
    let bound = |time: &str| (!time.is_empty()).then(|| at(&format!("2026-{time}:00+08:00")));
    let (after, before) = (bound(after), bound(before));
    let between = Between { after, before, boot: "b0".into(), uptime_ms: minutes * 60_000 };
    Crossing { undated: Some(Box::new(between)), synced: false, ..crossing }
}

#[test]
fn a_corrected_time_counts_and_the_time_that_the_clock_showed_stands_beside_it() {
    let showed = Some(at("2026-10-06T17:32:00+08:00"));
    let corrected = Crossing { clock_showed: showed, ..entry("10-09T07:00") };
    let sheet = made(vec![corrected, exit("10-09T17:00")]);
    assert_eq!(days(&sheet), [of(9, 600, "07:00", "17:00", &[Flag::Corrected])]);
    let [listed] = &sheet.corrected[..] else { panic!("{:?}", sheet.corrected) };
    assert_eq!(listed.clock_showed.map(|at| at.at), showed);
    let notes: Vec<Note> = sheet.notes().collect();
    assert_eq!(notes, [Note::Corrected { gateway: "gate-1".into(), records: 1 }]);
}

#[test]
fn passages_without_a_date_are_on_no_day_and_keep_the_hours_of_their_boot() {
    let bounds = ("10-09T17:31", "10-12T20:00");
    let made_of = |more: &[Crossing]| {
        let dated = [entry("10-09T07:00"), exit("10-09T17:00")];
        made([&dated[..], more].concat())
    };
    // The clock of 1970 would put them on no sheet, and a stale one on Friday's.
    let of_1970 = Crossing { at: at("1970-01-01T00:10:00Z"), ..entry("10-09T17:32") };
    let sheet = made_of(&[
        undated(of_1970, bounds, 10),
        undated(exit("10-10T03:32"), bounds, 610),
        undated(entry("10-10T04:32"), bounds, 670),
    ]);
    assert_eq!(sheet.total.minutes, 600);
    let listed: Vec<_> = sheet.undated.iter().map(|one| (one.direction, one.minutes)).collect();
    let (entry_word, exit_word) = (Direction::Entry, Direction::Exit);
    assert_eq!(listed, [(entry_word, None), (exit_word, Some(600)), (entry_word, None)]);
    let note = Note::WithoutDate { gateway: "gate-1".into(), records: 3, minutes: 600 };
    assert_eq!(sheet.notes().collect::<Vec<_>>(), [note]);
    // They are on the sheet of each month that they may be of.
    for (bounds, listed) in [(("", ""), 1), (("10-31T23:00", ""), 1), (("11-01T04:00", ""), 0)] {
        let sheet = made_of(&[undated(entry("10-10T08:00"), bounds, 1)]);
        assert_eq!(sheet.undated.len(), listed, "{bounds:?}");
    }
    // A disputed one is listed, and its hours are not.
    let disputed = Crossing { disputed: Some(9), ..exit("10-10T03:32") };
    let sheet =
        made_of(&[undated(entry("10-09T17:32"), bounds, 10), undated(disputed, bounds, 610)]);
    let listed: Vec<_> = sheet.undated.iter().map(|one| (one.minutes, one.disputed)).collect();
    assert_eq!(listed, [(None, None), (None, Some(9))]);
}

#[test]
fn a_passage_whose_bounds_are_of_one_working_day_is_on_that_day_and_marked() {
    let bounds = ("10-09T11:50", "10-09T12:20");
    let sheet = made(vec![entry("10-09T07:00"), undated(exit("10-09T12:00"), bounds, 5)]);
    assert_eq!(days(&sheet), [of(9, 300, "07:00", "12:00", &[Flag::Clock])]);
    assert_eq!(sheet.undated, []);
}

#[test]
fn an_entry_and_an_exit_at_two_gateways_are_a_pair() {
    let there = Crossing { gateway: "gate-2".into(), ledger: "b2".into(), ..exit("10-09T12:00") };
    assert_eq!(days(&made(vec![there, entry("10-09T08:00")])), [of(9, 240, "08:00", "12:00", &[])]);
}

#[test]
fn a_worker_who_changes_teams_has_a_row_in_both_and_is_summed_once() {
    let masons =
        |crossing: Crossing| Crossing { team: "瓦工".into(), name: "刘锋".into(), ..crossing };
    let passes = vec![
        entry("10-09T08:00"),
        exit("10-09T12:00"),
        masons(entry("10-10T08:00")),
        masons(exit("10-10T11:00")),
    ];
    let sheet = made(passes.clone());
    let rows: Vec<_> =
        sheet.rows.iter().map(|r| (&*r.team, &*r.name, r.totals.minutes, r.days.len())).collect();
    assert_eq!(rows, [("瓦工", "刘锋", 180, 1), ("钢筋一班", "刘锋", 240, 1)]);
    assert_eq!((sheet.total.minutes, sheet.total.days_present, sheet.workers), (420, 2, 1));
    let only = SheetFilter { team: Some("瓦工".into()), ..SheetFilter::default() };
    let one = timesheet(passes, &october(), &only);
    assert_eq!((one.rows.len(), one.total.minutes), (1, 180));
}

#[test]
fn a_night_with_a_clock_change_has_its_true_hours() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let (first, last) = (Date::constant(2026, 10, 1), Date::constant(2026, 10, 31));
    let days = Days::new(first, last, zone, Time::constant(4, 0, 0, 0)).unwrap();
    let moved = |crossing: Crossing, to: &str| Crossing { at: at(to), ..crossing };
    let passes = vec![
        moved(entry("10-09T08:00"), "2026-10-24T22:00:00+02:00"),
        moved(exit("10-09T08:00"), "2026-10-25T03:30:00+01:00"),
    ];
    let sheet = timesheet(passes, &days, &SheetFilter::default());
    let day = &sheet.rows[0].days[0];
    assert_eq!((day.date, day.minutes), (Date::constant(2026, 10, 24), 390));
    assert_eq!(day.last_out.unwrap().on(day.date), "03:30+1");
}

/// A worker's day as the reference computes it.
#[derive(Debug, Default, PartialEq)]
struct Plain {
    minutes: u64,
    unconfirmed: u64,
    confirmed: bool,
    captures: u32,
    missing_in: u32,
    missing_out: u32,
    across: bool,
    by_reader: bool,
    first_in: Option<Timestamp>,
    last_out: Option<Timestamp>,
}

/// Computes the days in a slow and obvious way. It searches the day and the next passage among all,
/// and counts hours minute by minute.
fn reference(
    passes: &[Crossing],
    counts: impl Fn(&Crossing) -> bool,
    zone: &TimeZone,
    starts: Time,
    (first, last): (Date, Date),
) -> BTreeMap<(String, Date), Plain> {
    let begins = |day: Date| day.to_datetime(starts).to_zoned(zone.clone()).unwrap().timestamp();
    let day_of = |at: Timestamp| {
        let mut day = at.to_zoned(zone.clone()).date() - 3.days();
        while begins(day.tomorrow().unwrap()) <= at {
            day = day.tomorrow().unwrap();
        }
        day
    };
    let order = |crossing: &Crossing| (crossing.at, crossing.ledger.clone(), crossing.seq);
    let others = |crossing: &Crossing| {
        passes.iter().filter(|p| p.worker == crossing.worker && counts(p)).collect()
    };
    let next = |crossing: &Crossing| {
        let mut all: Vec<&Crossing> = others(crossing);
        all.retain(|p| order(p) > order(crossing));
        all.into_iter().min_by_key(|p| order(p))
    };
    let before = |crossing: &Crossing| {
        let mut all: Vec<&Crossing> = others(crossing);
        all.retain(|p| order(p) < order(crossing));
        all.into_iter().max_by_key(|p| order(p))
    };
    let belong = |entry: &Crossing, exit: &Crossing| {
        entry.direction == Direction::Entry
            && exit.direction == Direction::Exit
            && (day_of(entry.at) == day_of(exit.at)
                || exit.at.as_millisecond() - entry.at.as_millisecond() <= 16 * 3_600_000)
    };
    let mut found: BTreeMap<(String, Date), Plain> = BTreeMap::new();
    let doubtful = |crossing: &Crossing| crossing.outcome == RecordOutcome::Unconfirmed;
    let added = |crossing: &Crossing| crossing.outcome == RecordOutcome::Claimed;
    for crossing in passes.iter().filter(|p| counts(p)) {
        let (mut day, mut add) = (day_of(crossing.at), Plain { captures: 1, ..Plain::default() });
        add.confirmed = !doubtful(crossing);
        add.by_reader = [Means::Card, Means::IdCard, Means::Qr].contains(&crossing.means);
        if crossing.direction == Direction::Entry {
            add.first_in = Some(crossing.at);
            match next(crossing).filter(|exit| belong(crossing, exit)) {
                None => add.missing_out = 1,
                Some(exit) => {
                    add.across = day_of(exit.at) != day;
                    let mut minute = crossing.at.as_second() / 60;
                    let both = [crossing, exit];
                    let apart = both.into_iter().any(doubtful) && !both.into_iter().any(added);
                    let sum = if apart { &mut add.unconfirmed } else { &mut add.minutes };
                    while minute < exit.at.as_second() / 60 {
                        (minute, *sum) = (minute + 1, *sum + 1);
                    }
                }
            }
        } else {
            add.last_out = Some(crossing.at);
            match before(crossing).filter(|entry| belong(entry, crossing)) {
                None => add.missing_in = 1,
                Some(entry) => day = day_of(entry.at),
            }
        }
        if day < first || day > last {
            continue;
        }
        let plain = found.entry((crossing.worker.to_string(), day)).or_default();
        plain.minutes += add.minutes;
        plain.unconfirmed += add.unconfirmed;
        plain.confirmed |= add.confirmed;
        plain.captures += add.captures;
        plain.missing_in += add.missing_in;
        plain.missing_out += add.missing_out;
        plain.across |= add.across;
        plain.by_reader |= add.by_reader;
        plain.first_in = [plain.first_in, add.first_in].into_iter().flatten().min();
        plain.last_out = plain.last_out.max(add.last_out);
    }
    found
}

/// Generates passages of few workers at two gateways. Their times are around the beginning of a
/// month and the night in which New York's clocks go back.
fn passages() -> impl Strategy<Value = Vec<Crossing>> {
    let from = at("2026-10-28T00:00:00Z").as_second();
    let one = (
        0..3usize,
        any::<bool>(),
        // Whole hours too, so that two passages may be at one instant.
        prop_oneof![(0..8 * 86_400i64), (0..8 * 24i64).prop_map(|hour| hour * 3600)],
        select(vec![
            (Means::Face, RecordOutcome::Passed),
            (Means::Face, RecordOutcome::Passed),
            (Means::Face, RecordOutcome::Passed),
            (Means::Card, RecordOutcome::Passed),
            (Means::Manual, RecordOutcome::Unconfirmed),
            (Means::Face, RecordOutcome::NotPassed),
            (Means::Supplement, RecordOutcome::Claimed),
        ]),
        (0..3u8, 0..8u8, any::<bool>(), 0..2usize),
    );
    vec(one, 0..60).prop_map(move |all| {
        let all = all.into_iter().enumerate();
        all.map(|(seq, (worker, enters, at, (means, outcome), (team, disputed, synced, gate)))| {
            Crossing {
                worker: format!("W{worker}").as_str().into(),
                team: format!("team {team}").as_str().into(),
                direction: if enters { Direction::Entry } else { Direction::Exit },
                at: Timestamp::from_second(from + at).unwrap(),
                means,
                outcome,
                synced,
                gateway: ["gate-1", "gate-2"][gate].into(),
                ledger: ["a1", "b2"][gate].into(),
                seq: seq as u64,
                disputed: (disputed == 0).then_some(1000),
                ..entry("10-09T08:00")
            }
        })
        .collect()
    })
}

proptest! {
    #[test]
    fn the_sheet_agrees_with_the_slow_reference(
        mut passes in passages(),
        zone in select(vec!["America/New_York", "Asia/Shanghai", "Pacific/Apia"]),
        starts in select(vec![Time::constant(4, 0, 0, 0), Time::constant(0, 0, 0, 0), Time::constant(1, 30, 0, 0)]),
        one_day in any::<bool>(),
    ) {
        let zone = TimeZone::get(zone).unwrap();
        let first = Date::constant(2026, 11, 1);
        let last = if one_day { first } else { Date::constant(2026, 11, 3) };
        let days = Days::new(first, last, zone.clone(), starts).unwrap();
        let sheet = timesheet(passes.clone(), &days, &SheetFilter::default());
        let of = |with: bool| {
            let counts = move |p: &Crossing| p.disputed.is_none()
                && match p.means {
                    Means::Supplement => with,
                    _ => p.outcome != RecordOutcome::NotPassed,
                };
            reference(&passes, counts, &zone, starts, (first, last))
        };
        let (gate, with) = (of(false), of(true));
        let mut seen = BTreeMap::new();
        for row in &sheet.rows {
            for day in &row.days {
                let missing = |flag| u32::from(day.flags.contains(&flag));
                let alone = |is: fn(&Stretch) -> bool| day.stretches.iter().filter(|s| is(s)).count() as u32;
                let plain = Plain {
                    minutes: day.minutes,
                    unconfirmed: day.minutes_unconfirmed,
                    confirmed: day.confirmed,
                    captures: day.stretches.iter().map(|s| u32::from(s.entry.is_some()) + u32::from(s.exit.is_some())).sum(),
                    missing_in: alone(|s| s.entry.is_none()),
                    missing_out: alone(|s| s.exit.is_none()),
                    across: day.flags.contains(&Flag::Across),
                    by_reader: day.flags.contains(&Flag::Reader),
                    first_in: day.first_in.map(|at| at.at),
                    last_out: day.last_out.map(|at| at.at),
                };
                prop_assert_eq!(missing(Flag::MissingIn), u32::from(plain.missing_in > 0));
                prop_assert_eq!(missing(Flag::MissingOut), u32::from(plain.missing_out > 0));
                let key = (row.worker.to_string(), day.date);
                if let Some(minutes) = day.minutes_with_supplements {
                    prop_assert_eq!(minutes, with.get(&key).map_or(0, |plain| plain.minutes));
                }
                if plain.captures > 0 {
                    prop_assert_eq!(seen.insert(key, plain), None, "a day in two rows");
                }
            }
        }
        prop_assert_eq!(&seen, &gate);
        // The sums agree with the rows, teams and contractors.
        let sum = |of: fn(&Plain) -> u64| gate.values().map(of).sum::<u64>();
        prop_assert_eq!(sheet.total.minutes, sum(|p| p.minutes));
        let confirmed = gate.values().filter(|plain| plain.confirmed).count();
        prop_assert_eq!(sheet.total.days_present as usize, confirmed);
        prop_assert_eq!(sheet.total.unconfirmed.days as usize, gate.len() - confirmed);
        prop_assert_eq!(sheet.total.unconfirmed.minutes, sum(|p| p.unconfirmed));
        prop_assert_eq!(u64::from(sheet.total.missing_in), sum(|p| p.missing_in.into()));
        prop_assert_eq!(u64::from(sheet.total.missing_out), sum(|p| p.missing_out.into()));
        let teams: u64 = sheet.teams.iter().map(|group| group.totals.minutes).sum();
        prop_assert_eq!(teams, sheet.total.minutes);
        if let Some(all) = sheet.total.with_supplements {
            let minutes: u64 = with.values().map(|plain| plain.minutes).sum();
            let confirmed = with.values().filter(|plain| plain.confirmed).count();
            prop_assert_eq!((all.minutes, all.days as usize), (minutes, confirmed));
        }
        let counts = |p: &Crossing| {
            p.means == Means::Supplement || p.outcome != RecordOutcome::NotPassed
        };
        let all = reference(&passes, counts, &zone, starts, (first, last));
        let whole = |plain: &Plain| plain.minutes + plain.unconfirmed;
        let disputed = all.iter().map(|(key, plain)| {
            whole(plain).saturating_sub(with.get(key).map_or(0, whole))
        });
        prop_assert_eq!(sheet.total.disputed.minutes, disputed.sum::<u64>());
        prop_assert_eq!(sheet.total.supplements as usize, sheet.supplements.len());
        // The order of the passages makes no difference.
        passes.reverse();
        prop_assert_eq!(timesheet(passes, &days, &SheetFilter::default()), sheet);
    }
}
