//! Alert debouncing with states that the test makes up.

use proptest::prelude::*;

use super::*;
use crate::clock::BootId;

const KINDS: [AlarmWhat; 4] =
    [AlarmWhat::Outbox, AlarmWhat::Camera, AlarmWhat::UnknownFaces, AlarmWhat::Neighbourhood];
const LIMITS: AlarmLimits = AlarmLimits {
    outbox_age: Duration::from_secs(900),
    link_down: Duration::from_secs(60),
    device_down: Duration::from_secs(30),
    undecided: Duration::from_secs(60),
    unknown_faces: 10,
    unknown_faces_within: Duration::from_secs(60),
};

fn at(second: u64) -> Stamp {
    let wall_ms = 1_793_228_400_000 + 1000 * second as i64;
    Stamp { wall_ms, synced: true, boot: BootId([7; 16]), uptime_ms: second * 1000 }
}

fn trouble(second: u64, count: Option<u64>) -> Option<Trouble> {
    let since = Monotonic::from_millis(second * 1000);
    Some(Trouble { since, detail: Detail::new("refused"), count })
}

/// Debouncing of one subject, with the alarms that the database keeps.
struct One {
    debounce: Debouncer,
    what: AlarmWhat,
    kept: Option<Vec<u8>>,
}

impl One {
    fn new(what: AlarmWhat) -> One {
        One { debounce: Debouncer::resumed(LIMITS, None), what, kept: None }
    }

    fn restart(&mut self) {
        self.debounce = Debouncer::resumed(LIMITS, self.kept.as_deref());
    }

    fn told(&mut self, second: u64, looks: &[PartState]) -> Vec<(bool, String)> {
        let alarms = self.debounce.look(at(second), looks, 16);
        for alarm in &alarms {
            self.kept = Some(kept_after(self.kept.as_deref(), alarm, at(second)));
        }
        alarms.into_iter().map(|alarm| (alarm.raised, alarm.detail.to_string())).collect()
    }

    fn well(&mut self, second: u64) -> Vec<(bool, String)> {
        self.told(second, &[PartState::new(self.what, "a", None)])
    }

    fn wrong(&mut self, second: u64, since: u64, count: Option<u64>) -> Vec<(bool, String)> {
        self.told(second, &[PartState::new(self.what, "a", trouble(since, count))])
    }
}

fn raised() -> Vec<(bool, String)> {
    vec![(true, "refused".to_owned())]
}

fn over(detail: &str) -> Vec<(bool, String)> {
    vec![(false, detail.to_owned())]
}

#[test]
fn a_link_that_is_down_for_a_minute_is_an_alarm_with_the_records_that_waited() {
    let mut link = One::new(AlarmWhat::Link);
    assert!(link.well(100).is_empty());
    assert!(link.wrong(101, 101, Some(0)).is_empty());
    assert!(link.wrong(160, 101, Some(2)).is_empty());
    assert_eq!(link.wrong(161, 101, Some(3)), raised());
    assert!(link.wrong(300, 101, Some(41)).is_empty());
    assert!(link.well(301).is_empty());
    assert!(link.well(310).is_empty());
    assert_eq!(link.well(311), over("over after 2 min; 41 records waited at most"));
    assert!(link.well(4000).is_empty());
    assert_eq!(link.debounce.raised(), 1);
}

#[test]
fn old_records_that_are_sent_again_within_seconds_are_no_alarm() {
    let mut outbox = One::new(AlarmWhat::Outbox);
    for second in 1000..1010 {
        assert!(outbox.wrong(second, 0, Some(900)).is_empty());
    }
    assert!(outbox.well(1010).is_empty());
    for second in 1011..1021 {
        assert!(outbox.wrong(second, 0, Some(900)).is_empty());
    }
    assert_eq!(outbox.wrong(1021, 0, Some(41)), raised());
    assert!(outbox.well(1022).is_empty());
    assert_eq!(outbox.well(1032), over("over after 11 s; 41 records waited at most"));
}

#[test]
fn a_link_that_is_lost_now_and_then_is_no_alarm() {
    let mut link = One::new(AlarmWhat::Link);
    for second in 0..3600 {
        let told = if second % 50 < 2 {
            link.well(second)
        } else {
            link.wrong(second, second - second % 50 + 2, None)
        };
        assert!(told.is_empty(), "at {second}: {told:?}");
    }
}

#[test]
fn an_alarm_is_not_over_while_the_part_is_well_for_moments_only() {
    let mut camera = One::new(AlarmWhat::Camera);
    assert_eq!(camera.wrong(30, 0, None), raised());
    for second in 31..3600 {
        let told = match second % 10 {
            0 => camera.well(second),
            _ => camera.wrong(second, second, None),
        };
        assert!(told.is_empty(), "at {second}: {told:?}");
    }
}

#[test]
fn a_flapping_camera_does_not_fill_the_ledger() {
    let mut camera = One::new(AlarmWhat::Camera);
    let mut entries = 0;
    // It fails for a minute and works for a minute, for two days.
    let day = 24 * 3600;
    for second in 0..2 * day {
        let since = second - second % 120;
        entries += match second % 120 < 60 {
            true => camera.wrong(second, since, None).len(),
            false => camera.well(second).len(),
        };
    }
    assert!(entries < 20, "{entries} entries");
    assert_eq!(camera.debounce.standing().count(), 1, "it is lost all the time");
    // It works for 12 minutes and fails for one.
    let before = entries;
    for second in 2 * day..3 * day {
        let since = second - second % 780;
        entries += match second % 780 < 60 {
            true => camera.wrong(second, since, None).len(),
            false => camera.well(second).len(),
        };
    }
    assert!(entries - before < 12 * 24, "{} entries a day", entries - before);
    // After a calm hour, ten seconds are enough again.
    camera.well(4 * day);
    assert_eq!(camera.debounce.standing().count(), 0);
    let start = 4 * day + CALM_FOR.as_secs();
    assert_eq!(camera.wrong(start, start - 30, None), raised());
    assert!(camera.well(start + 1).is_empty());
    assert_eq!(camera.well(start + 11), over("over after 11 s"));
}

#[test]
fn an_unknown_state_changes_nothing() {
    let mut own = One::new(AlarmWhat::Certificate);
    assert_eq!(own.wrong(5, 5, None), raised());
    let unknown = [PartState { verdict: Verdict::Unknown, ..PartState::new(own.what, "a", None) }];
    for second in 6..600 {
        assert!(own.told(second, &unknown).is_empty());
    }
    assert_eq!(own.debounce.standing().count(), 1);
}

#[test]
fn a_restart_reports_alarms_that_are_over_and_raises_none_twice() {
    let mut camera = One::new(AlarmWhat::Camera);
    assert_eq!(camera.wrong(30, 0, None), raised());
    camera.restart();
    for second in 31..100 {
        assert!(camera.wrong(second, 31, None).is_empty());
    }
    camera.restart();
    assert!(camera.well(100).is_empty());
    assert_eq!(camera.well(110), over("over after 80 s"));
    camera.restart();
    assert!(camera.well(200).is_empty());
    // The camera is not configured any more.
    assert_eq!(camera.wrong(300, 200, None), raised());
    camera.restart();
    assert_eq!(camera.told(360, &[]), over("over after 60 s: it is not configured any more"));
    assert!(camera.told(361, &[]).is_empty());
}

#[test]
fn damaged_alarms_in_the_database_are_ignored() {
    for damaged in [&b"?"[..], b"{}", br#"[{"what":"weather"}]"#] {
        assert_eq!(Debouncer::resumed(LIMITS, Some(damaged)).standing().count(), 0);
    }
}

#[test]
fn i8_beyond_the_maximum_the_next_alarm_is_raised_when_another_is_over() {
    let look = |n: usize, trouble| PartState::new(AlarmWhat::Camera, format!("lane-{n}"), trouble);
    let all = |wrong: std::ops::Range<usize>| {
        let one = |n| look(n, wrong.contains(&n).then(|| trouble(0, None)).flatten());
        (0..STANDING + 5).map(one).collect::<Vec<_>>()
    };
    let mut debounce = Debouncer::resumed(LIMITS, None);
    let mut kept = None;
    let mut told = |second: u64, looks: &[PartState]| {
        let alarms = debounce.look(at(second), looks, 16);
        for alarm in &alarms {
            kept = Some(kept_after(kept.as_deref(), alarm, at(second)));
        }
        assert_eq!(debounce.standing().count(), read(kept.as_deref()).len());
        alarms.len()
    };
    let raised: usize = (100..1000).map(|second| told(second, &all(0..STANDING + 5))).sum();
    assert_eq!(raised, STANDING);
    // One is over, and another takes its place.
    let changes: usize = (1000..1100).map(|second| told(second, &all(1..STANDING + 5))).sum();
    assert_eq!(changes, 2);
    assert!(read(kept.as_deref()).iter().all(|s| s.subject != "lane-0"));
}

#[derive(Clone, Debug)]
enum Step {
    /// This number of seconds passes, with a check in each.
    PartState(u64),
    Turns(usize),
    Vanishes(usize),
    Restart,
    /// The disk fails, or is well again.
    Disk(bool),
}

const SUBJECTS: usize = 16;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..70_u64).prop_map(Step::PartState),
        20 => (0..SUBJECTS).prop_map(Step::Turns),
        1 => (0..SUBJECTS).prop_map(Step::Vanishes),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Disk),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// For all sequences of states: raised and over alternate, their number is bounded, the
    /// database has the standing alarms, and the final state is reported.
    #[test]
    fn alarms_alternate_are_bounded_and_end_in_the_true_state(steps in steps()) {
        // For each subject: the begin of its trouble, if any; `None` if the subject vanished.
        let mut subjects: Vec<Option<Option<u64>>> = vec![Some(None); SUBJECTS];
        let mut debounce = Debouncer::resumed(LIMITS, None);
        let (mut second, mut room, mut kept) = (1000, 16, None::<Vec<u8>>);
        let mut standing = [false; SUBJECTS];
        let mut raised_at = [None::<u64>; SUBJECTS];
        let mut lately: Vec<u64> = Vec::new();
        let ending = [Step::Disk(true), Step::PartState(2 * CALM_FOR.as_secs())];
        for step in steps.into_iter().chain(ending) {
            match step {
                Step::Turns(n) => subjects[n] = match subjects[n] {
                    Some(Some(_)) => Some(None),
                    _ => Some(Some(second)),
                },
                Step::Vanishes(n) => subjects[n] = None,
                Step::Disk(well) => room = if well { 16 } else { 0 },
                Step::Restart => {
                    debounce = Debouncer::resumed(LIMITS, kept.as_deref());
                    lately.clear();
                    raised_at = [None; SUBJECTS];
                }
                Step::PartState(seconds) => for _ in 0..seconds {
                    second += 1;
                    let look = |(n, state): (usize, &Option<Option<u64>>)| {
                        let trouble = state.as_ref()?.and_then(|since| trouble(since, None));
                        Some(PartState::new(KINDS[n % KINDS.len()], n.to_string(), trouble))
                    };
                    let looks: Vec<_> = subjects.iter().enumerate().filter_map(look).collect();
                    let alarms = debounce.look(at(second), &looks, room);
                    prop_assert!(alarms.len() <= room);
                    for alarm in alarms {
                        let n: usize = alarm.subject.parse().unwrap();
                        prop_assert_eq!(alarm.raised, !standing[n], "{:?}", alarm);
                        standing[n] = alarm.raised;
                        if alarm.raised {
                            let before = raised_at[n].replace(second);
                            prop_assert!(before.is_none_or(|at| second - at >= 60));
                        }
                        kept = Some(kept_after(kept.as_deref(), &alarm, at(second)));
                        lately.push(second);
                    }
                    lately.retain(|at| second - at < 60);
                    prop_assert!(lately.len() <= A_MINUTE, "{:?}", lately);
                }
            }
            let in_database = read(kept.as_deref()).len();
            prop_assert_eq!(in_database, standing.iter().filter(|s| **s).count());
            prop_assert_eq!(in_database, debounce.standing().count());
        }
        for (n, state) in subjects.iter().enumerate() {
            prop_assert_eq!(standing[n], matches!(state, Some(Some(_))), "subject {}", n);
        }
        let raised = standing.iter().filter(|s| **s).count();
        prop_assert_eq!(debounce.reported.len(), raised, "nothing else is remembered");
    }
}
