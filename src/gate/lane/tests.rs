//! A lane's task with a real store; the test is its turnstile.

use tokio::time::timeout;

use super::{
    super::{
        claim::{Claim, PassagePhoto, Sighting},
        policy::Sighted,
        visit::FaceRules,
    },
    *,
};
use crate::{
    clock::{SystemClock, Tripwire},
    config::{Direction, FireSignal, MatchThreshold, Secret, Storage},
    ledger::{
        self, Actor, Body, Closing, Evidence, Fire, Grant, GuardRelease, LaneMode, ModeChange,
        Outcome, Stored, Via,
    },
    roster::{Day, Match, Worker},
    store::{self, StoreError, photo_store},
    supervision::Heartbeats,
    turnstile::{NotReleased, Release, TurnstileEvent, TurnstileState},
};

const SOON: Duration = Duration::from_secs(120);

struct Bench {
    clock: Arc<Tripwire>,
    store: Store,
    requests: mpsc::Sender<Request>,
    releases: mpsc::Receiver<Release>,
    events: mpsc::Sender<TurnstileEvent>,
    state: watch::Receiver<LaneState>,
    presents: mpsc::Sender<Presented>,
    hold_open: watch::Receiver<bool>,
    photo_store: PhotoStore,
    keeper: Option<photo_store::Keeper>,
    _turnstile: watch::Sender<TurnstileState>,
    _dir: tempfile::TempDir,
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(SOON, work).await.expect("in time")
}

fn request() -> (Request, oneshot::Receiver<Result<Answered, Refusal>>) {
    let (reply, answer) = oneshot::channel();
    let release = ManualRelease {
        direction: Direction::Entry,
        person: None,
        reason: "x".into(),
        by: Actor { uid: 0, user: "root".into(), via: Via::Socket },
        void_after: None,
    };
    (Request::Release { release, reply }, answer)
}

impl Bench {
    async fn start() -> Bench {
        Bench::of("north", &watch::Sender::default()).await
    }

    async fn of(name: &str, alarms: &watch::Sender<FireAlarms>) -> Bench {
        let (hold, hold_open) = watch::channel(false);
        let dir = tempfile::tempdir().unwrap();
        let key = Secret::File(dir.path().join("key"));
        let config = Storage::usual(dir.path().into(), key);
        let (store, _) = store::open(&config, Arc::new(SystemClock::new().unwrap())).unwrap();
        let ledger = store.write(Priority::Upkeep, |tx| Ledger::open(tx, vec![])).await.unwrap();
        let clock = Arc::new(Tripwire::default());
        let (presents, seen) = mpsc::channel(PRESENTED);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (release, releases) = mpsc::channel(8);
        let (events, heard) = mpsc::channel(8);
        let (state, watched) = watch::channel(LaneState::default());
        let (turnstile, turnstile_state) = watch::channel(TurnstileState {
            connected: true,
            since: clock.monotonic(),
            confirms_passage: true,
            port: "test".into(),
            ..TurnstileState::default()
        });
        // Beats have a clock of their own, so that only the lane's work trips.
        let time = Arc::new(SystemClock::new().unwrap());
        let (photo_store, keeper) =
            photo_store::photo_store(store.clone(), &config, time.clone(), jiff::tz::TimeZone::UTC);
        let lane = LaneTask {
            rules: Rules {
                guard: None,
                require_training: false,
                lane: name.into(),
                cool_down: Duration::from_secs(5),
                pass_within: Duration::from_millis(100),
                faces: FaceRules {
                    frames_to_agree: 2,
                    model: "sface".into(),
                    cameras: ["v4l2"; 2],
                },
            },
            confirms: true,
            presented: seen,
            requests: asked,
            turnstile: TurnstileHandle {
                releases: release,
                events: heard,
                hold_open: hold,
                state: turnstile_state,
                tap: None,
            },
            store: store.clone(),
            stages: Default::default(),
            ledger,
            clock: clock.clone(),
            state,
            passing: watch::Sender::default(),
            name: name.into(),
            beat: Heartbeats::new(time, Duration::from_millis(400)).part("lane north"),
            denials: Permits::default(),
            holding: ModeHolder::new(
                name,
                FireSignal::Level,
                ModeState::default(),
                alarms,
                clock.stamp(),
            ),
            sensors: SensorHolder::default(),
            photo_store: photo_store.clone(),
            watchers: Watchers::default(),
        };
        tokio::spawn(run(lane, CancellationToken::new()));
        Bench {
            clock,
            store,
            requests,
            releases,
            events,
            state: watched,
            presents,
            hold_open,
            photo_store,
            keeper: Some(keeper),
            _turnstile: turnstile,
            _dir: dir,
        }
    }

    async fn ask(&self) -> oneshot::Receiver<Result<Answered, Refusal>> {
        let (request, answer) = request();
        self.requests.send(request).await.unwrap();
        answer
    }

    /// Asks for a mode, and waits until the lane has taken the request.
    async fn wish(&self, mode: LaneMode) -> oneshot::Receiver<Result<ModeState, Refusal>> {
        let (reply, answer) = oneshot::channel();
        let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
        let request = ModeRequest { mode, reason: "drill".into(), by, reply };
        self.requests.send(Request::Mode(request)).await.unwrap();
        let heard = async {
            while self.requests.capacity() < REQUESTS {
                tokio::task::yield_now().await;
            }
        };
        soon(heard).await;
        answer
    }

    async fn set(&self, mode: LaneMode) -> Result<ModeState, Refusal> {
        soon(self.wish(mode).await).await.unwrap()
    }

    /// Blocks the store until the returned sender sends, or is dropped.
    async fn stall(&self) -> std::sync::mpsc::Sender<()> {
        let (resume, stalled) = std::sync::mpsc::channel::<()>();
        let (store, (begun, stalls)) = (self.store.clone(), oneshot::channel());
        tokio::spawn(async move {
            let stall = move |_: &rusqlite::Transaction<'_>| {
                let _ = (begun.send(()), stalled.recv());
                Ok::<_, StoreError>(())
            };
            store.write(Priority::Attendance, stall).await
        });
        soon(stalls).await.unwrap();
        resume
    }

    async fn fire(&self, on: bool) {
        self.hears(TurnstileEvent::Fire { on, at: self.now(), lasted: None }).await;
    }

    async fn hears(&self, event: TurnstileEvent) {
        self.events.send(event).await.unwrap();
    }

    /// Waits until there are this many entries, and returns all.
    async fn first(&self, count: usize) -> Vec<Body> {
        let mut commits = self.store.commits();
        let there = async {
            loop {
                let entries = self.entries().await;
                if entries.len() >= count {
                    return entries;
                }
                commits.changed().await.unwrap();
            }
        };
        soon(there).await
    }

    async fn stands_open(&mut self, open: bool) {
        soon(self.hold_open.wait_for(|held| *held == open)).await.unwrap();
    }

    fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// Makes the lane panic at its next step, and waits for the restart.
    async fn fault(&mut self) {
        let before = self.state.borrow().restarts;
        self.clock.arm();
        soon(self.state.wait_for(|s| s.restarts > before)).await.unwrap();
    }

    async fn entries(&self) -> Vec<Body> {
        let read = self.store.read(|tx| {
            let stored = (0..ledger::size(tx)?).map(|index| ledger::read(tx, index));
            stored.collect::<Result<Vec<Stored>, LedgerError>>()
        });
        read.await.unwrap().into_iter().map(|stored| stored.entry.body).collect()
    }
}

#[tokio::test]
async fn i10_a_fault_closes_the_passage_and_does_not_affect_the_next_one() {
    let mut bench = Bench::start().await;
    let lost_answer = bench.ask().await;
    let lost = soon(bench.releases.recv()).await.unwrap().passage;
    bench.fault().await;
    assert!(soon(lost_answer).await.is_err(), "the waiting request gets an error");
    let state = bench.state.borrow().clone();
    assert_eq!((state.restarts, state.busy, state.manual_releases), (1, false, 1));
    assert!(state.last_error.unwrap().starts_with("a fault in this program: tripped"));
    // Late events of the lost passage, until no person can use its release any more.
    bench.events.send(TurnstileEvent::Released { passage: lost, at: bench.now() }).await.unwrap();
    let direction = Direction::Entry;
    bench.events.send(TurnstileEvent::Passed { direction, at: bench.now() }).await.unwrap();
    let refused = soon(bench.ask().await).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("the lane restarts after a fault"), "{refused}");

    let (answer, next) = soon(async {
        loop {
            let mut answer = bench.ask().await;
            tokio::select! {
                refused = &mut answer => assert!(refused.unwrap().is_err()),
                release = bench.releases.recv() => break (answer, release.unwrap().passage),
            }
        }
    })
    .await;
    assert_ne!(next, lost);
    let Body::Closing(Closing { passage, outcome, detail, .. }) = &bench.entries().await[1] else {
        panic!("{:?}", bench.entries().await)
    };
    assert_eq!((*passage, *outcome), (lost, Outcome::Unconfirmed));
    assert_eq!(*detail, Some(ledger::Detail::new("lane_restarted")));
    // An answer to the lost release does not count for this one.
    let why = NotReleased::Failed("late".into());
    let stale = TurnstileEvent::NotReleased { passage: lost, why, may_have_released: true };
    for event in [
        stale,
        TurnstileEvent::Released { passage: next, at: bench.now() },
        TurnstileEvent::Passed { direction, at: bench.now() },
    ] {
        bench.events.send(event).await.unwrap();
    }
    let answered = soon(answer).await.unwrap().unwrap();
    assert_eq!((answered.released, answered.outcome), (true, Outcome::Passed));
    assert_eq!(bench.state.borrow().counters.tailgates, 0);
    assert_eq!(bench.entries().await.len(), 4);
}

#[tokio::test]
async fn a_cause_whose_commit_is_under_way_at_a_fault_is_closed_as_well() {
    let mut bench = Bench::start().await;
    let go_on = bench.stall().await;
    let lost_answer = bench.ask().await;
    // The passage has begun; its cause waits for the blocked store.
    soon(bench.state.wait_for(|s| s.busy)).await.unwrap();
    bench.fault().await;
    assert!(soon(lost_answer).await.is_err());
    go_on.send(()).unwrap();
    let mut commits = bench.store.commits();
    let entries = soon(async {
        loop {
            let entries = bench.entries().await;
            if entries.len() > 1 {
                break entries;
            }
            commits.changed().await.unwrap();
        }
    });
    let entries = entries.await;
    assert!(matches!(&entries[0], Body::GuardRelease(_)), "{entries:?}");
    let unconfirmed =
        |body: &Body| matches!(body, Body::Closing(Closing { outcome: Outcome::Unconfirmed, .. }));
    assert!(unconfirmed(&entries[1]), "{entries:?}");
    assert!(bench.releases.try_recv().is_err(), "nothing is released for it");
}

#[tokio::test]
async fn i8_with_a_stalled_disk_denials_are_dropped_and_attendance_does_not_wait_behind_them() {
    let mut bench = Bench::start().await;
    let resume = bench.stall().await;
    let strangers = DENIALS as u64 + 5;
    for visit in 0..strangers {
        for frame in 0..4 {
            let after = Duration::from_millis(visit * 2_000 + frame * 10);
            let sighting = Sighting {
                visit,
                direction: Direction::Entry,
                captured: bench.now() + after,
                pace: Default::default(),
                sighted: Sighted::Stranger { score: 0.1 },
                threshold: MatchThreshold::new(0.5).unwrap(),
                roster_version: 1,
                photo: None,
                today: Day::NotBefore(None),
                face: Default::default(),
            };
            bench.presents.send(Presented::Look(sighting)).await.unwrap();
        }
    }
    soon(bench.state.wait_for(|s| s.denials_dropped == 5)).await.unwrap();
    assert_eq!(bench.state.borrow().counters.unknown_faces, strangers, "each of them is counted");
    let _answer = bench.ask().await;
    soon(bench.state.wait_for(|s| s.busy)).await.unwrap();
    // The task that commits the manual release is spawned; now its write enters the store's queue.
    tokio::task::yield_now().await;
    resume.send(()).unwrap();
    soon(bench.releases.recv()).await.unwrap();
    soon(bench.state.wait_for(|s| s.denials == DENIALS as u64)).await.unwrap();
    let entries = bench.entries().await;
    assert!(matches!(entries.first(), Some(Body::GuardRelease(_))), "{entries:?}");
    assert_eq!(entries.len(), DENIALS + 1);
}

#[tokio::test]
async fn a_workers_denial_is_recorded_behind_strangers_for_whom_the_disk_was_too_slow() {
    let bench = Bench::start().await;
    let resume = bench.stall().await;
    let frames = |visit: u64, sighted: Sighted| {
        let captured = bench.now();
        let sighting = move |frame: u64| Sighting {
            visit,
            direction: Direction::Entry,
            captured: captured + Duration::from_millis(visit * 2_000 + frame * 10),
            pace: Default::default(),
            face: Default::default(),
            sighted: sighted.clone(),
            threshold: MatchThreshold::new(0.5).unwrap(),
            roster_version: 1,
            photo: None,
            today: Day::Today(jiff::civil::date(2026, 11, 22)),
        };
        (0..4).map(sighting)
    };
    let strangers = DENIALS as u64 + 3;
    for visit in 0..strangers {
        for sighting in frames(visit, Sighted::Stranger { score: 0.1 }) {
            bench.presents.send(Presented::Look(sighting)).await.unwrap();
        }
    }
    soon(bench.state.clone().wait_for(|s| s.denials_dropped == 3)).await.unwrap();
    let enrolment = crate::roster::enrolment_of(1);
    let mut worker = Worker::new(enrolment.worker.person);
    worker.terms.valid_until = Some(jiff::civil::date(2026, 11, 21));
    let found = Match { worker: Arc::new(worker), score: 0.9, margin: None };
    for sighting in frames(strangers, Sighted::Worker(found)) {
        bench.presents.send(Presented::Look(sighting)).await.unwrap();
    }
    resume.send(()).unwrap();
    let entries = bench.first(DENIALS + 1).await;
    let expired = |body: &&Body| matches!(body, Body::Denial(d) if d.reason == "expired");
    assert_eq!(entries.iter().filter(expired).count(), 1, "{entries:?}");
    assert_eq!(bench.state.borrow().denials_dropped, 3);
}

#[tokio::test]
async fn a_photo_is_stored_when_its_grant_is_committed_and_not_before() {
    let mut bench = Bench::start().await;
    let enrolment = crate::roster::enrolment_of(1);
    let worker = Arc::new(enrolment.worker.clone());
    let sealer = bench.store.sealer().clone();
    let enroll = bench
        .store
        .write(Priority::Upkeep, move |tx| crate::roster::enroll(tx, &sealer, &enrolment));
    enroll.await.unwrap();
    tokio::spawn(bench.keeper.take().unwrap().run(CancellationToken::new()));
    let resume = bench.stall().await;
    let photo = PassagePhoto::new(vec![7; 2000]);
    for _ in 0..2 {
        let found = crate::roster::Match { worker: worker.clone(), score: 0.7, margin: None };
        let sighting = Sighting {
            visit: 1,
            direction: Direction::Entry,
            captured: bench.now(),
            pace: Default::default(),
            sighted: Sighted::Worker(found),
            threshold: MatchThreshold::new(0.5).unwrap(),
            roster_version: 1,
            photo: Some(photo.clone()),
            today: Day::NotBefore(None),
            face: Default::default(),
        };
        bench.presents.send(Presented::Look(sighting)).await.unwrap();
    }
    soon(bench.state.wait_for(|s| s.busy)).await.unwrap();
    assert_eq!(bench.photo_store.state(), Default::default());
    resume.send(()).unwrap();
    let passage = soon(bench.releases.recv()).await.unwrap().passage;
    let mut commits = bench.store.commits();
    let kept = async {
        loop {
            if let Some(jpeg) = bench.photo_store.open(passage.0).await.unwrap() {
                break jpeg;
            }
            commits.changed().await.unwrap();
        }
    };
    assert_eq!(soon(kept).await, vec![7; 2000]);
    let entries = bench.entries().await;
    assert!(
        matches!(entries[0], Body::Grant(Grant { photo: Some(named), .. }) if named == photo.sha256),
        "{entries:?}"
    );
}

#[tokio::test]
async fn a_card_from_a_reader_is_granted_in_the_ledger_and_released() {
    let mut bench = Bench::start().await;
    let worker = Arc::new(crate::roster::enrolment_of(1).worker);
    let card = ledger::CardEvidence { reader: "north".into(), commitment: [0xca; 32] };
    let claim = Claim {
        direction: Direction::Entry,
        who: Ok(worker),
        evidence: vec![Evidence::Card(card)],
        flags: Vec::new(),
        visit: None,
        captured: bench.now(),
        roster_version: 1,
        today: Day::NotBefore(None),
        photo: None,
        code: None,
        face: None,
    };
    let evidence = claim.evidence.clone();
    bench.presents.send(Presented::Claim(claim)).await.unwrap();
    soon(bench.releases.recv()).await.unwrap();
    let entries = bench.entries().await;
    assert!(matches!(&entries[0], Body::Grant(grant) if grant.evidence == evidence), "{entries:?}");
    let state = bench.state.borrow().clone();
    assert_eq!((state.grants, state.settled), (1, [None; 2]), "no face was decided on");
}

#[tokio::test]
async fn i8_requests_to_a_busy_lane_wait_and_each_gets_an_answer() {
    let mut bench = Bench::start().await;
    // The lane's task has no turn before this one waits.
    let mut answers = Vec::new();
    for _ in 0..REQUESTS {
        let (request, answer) = request();
        bench.requests.try_send(request).unwrap();
        answers.push(answer);
    }
    assert!(bench.requests.try_send(request().0).is_err());
    answers.push(bench.ask().await);
    let passage = soon(bench.releases.recv()).await.unwrap().passage;
    let why = NotReleased::Late;
    let refused = TurnstileEvent::NotReleased { passage, why, may_have_released: false };
    bench.events.send(refused).await.unwrap();
    let mut begun = 0;
    for answer in answers {
        match soon(answer).await.unwrap() {
            Ok(answered) => begun += u32::from(answered.outcome == Outcome::NotPassed),
            Err(said) => assert!(said.to_string().contains("ask again"), "{said}"),
        }
    }
    assert_eq!(begun, 1);
}

#[tokio::test]
async fn i8_a_release_for_a_full_turnstile_queue_is_refused_and_its_passage_closed() {
    let mut bench = Bench::start().await;
    for n in 0..bench.releases.max_capacity() {
        let answer = bench.ask().await;
        let waits = async {
            while bench.releases.len() == n {
                tokio::task::yield_now().await;
            }
        };
        soon(waits).await;
        let Some(Body::GuardRelease(GuardRelease { passage, .. })) = bench.entries().await.pop()
        else {
            panic!()
        };
        // The release is answered, but never taken from the queue.
        let (passage, why) = (passage, NotReleased::Late);
        let event = TurnstileEvent::NotReleased { passage, why, may_have_released: false };
        bench.events.send(event).await.unwrap();
        soon(answer).await.unwrap().unwrap();
    }
    let answered = soon(bench.ask().await).await.unwrap().unwrap();
    assert_eq!((answered.released, answered.outcome), (false, Outcome::NotPassed));
    assert!(answered.detail.contains("the turnstile's task takes no release"), "{answered:?}");
    assert!(matches!(bench.entries().await.pop(), Some(Body::Closing(_))));
    assert!(!bench.state.borrow_and_update().busy);
}

fn mode(body: &Body) -> Option<(LaneMode, Option<&str>)> {
    match body {
        Body::ModeChange(ModeChange { mode, by, .. }) => {
            Some((*mode, by.as_ref().map(|by| by.user.as_str())))
        }
        _ => None,
    }
}

#[tokio::test]
async fn i1_a_mode_is_on_the_disk_before_it_takes_effect_and_is_restored_from_it() {
    let mut bench = Bench::start().await;
    let resume = bench.stall().await;
    let answer = bench.wish(LaneMode::Free).await;
    assert!(!*bench.hold_open.borrow());
    resume.send(()).unwrap();
    assert_eq!(soon(answer).await.unwrap().unwrap().mode, LaneMode::Free);
    bench.stands_open(true).await;
    assert_eq!(mode(&bench.entries().await[0]), Some((LaneMode::Free, Some("root"))));
    let kept = bench.store.read(|tx| load_mode(tx, "north")).await.unwrap();
    assert_eq!((kept.mode, kept.reason.as_str()), (LaneMode::Free, "drill"));
    bench.fault().await;
    // The restarted lane still stands open.
    assert!(*bench.hold_open.borrow());
    let set = async { while bench.set(LaneMode::Normal).await.is_err() {} };
    soon(set).await;
    assert!(!*bench.hold_open.borrow());
}

#[tokio::test]
async fn i1_a_fire_alarm_opens_every_lane_first_and_is_recorded_after() {
    let alarms = watch::Sender::default();
    let (mut north, mut south) =
        (Bench::of("north", &alarms).await, Bench::of("south", &alarms).await);
    let resume = north.stall().await;
    north.fire(true).await;
    // The store of north is blocked.
    north.stands_open(true).await;
    south.stands_open(true).await;
    resume.send(()).unwrap();
    let entries = north.first(2).await;
    assert_eq!(entries[0], Fire { lane: "north".into(), on: true }.into());
    assert_eq!(mode(&entries[1]), Some((LaneMode::Free, None)));
    assert_eq!(mode(&south.first(1).await[0]), Some((LaneMode::Free, None)));

    let refused = south.set(LaneMode::Normal).await.unwrap_err();
    assert!(refused.to_string().contains("the fire alarm at lane north is on"), "{refused}");
    north.fire(false).await;
    assert_eq!(north.first(3).await[2], Fire { lane: "north".into(), on: false }.into());
    assert!(*north.hold_open.borrow() && *south.hold_open.borrow(), "until an admin ends it");
    south.set(LaneMode::Normal).await.unwrap();
    assert!(*north.hold_open.borrow() && !*south.hold_open.borrow());
}

/// A sign of 60 ms at this lane's input.
async fn short_sign(lane: &Bench) {
    lane.fire(true).await;
    let (on, at, lasted) = (false, lane.now(), Some(Duration::from_millis(60)));
    lane.hears(TurnstileEvent::Fire { on, at, lasted }).await;
}

fn details(entries: &[Body]) -> Vec<(LaneMode, Option<&str>)> {
    entries
        .iter()
        .filter_map(|body| match body {
            Body::ModeChange(change) => {
                Some((change.mode, change.detail.as_ref().map(|detail| &*detail.code)))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn after_a_glitch_of_the_fire_input_each_lane_goes_back_to_its_mode() {
    let alarms = watch::Sender::default();
    let mut north = Bench::of("north", &alarms).await;
    let (mut south, west) = (Bench::of("south", &alarms).await, Bench::of("west", &alarms).await);
    south.set(LaneMode::Closed).await.unwrap();
    west.set(LaneMode::Free).await.unwrap();
    // The lane opens, and the record of the alarm comes before the end of the glitch.
    let resume = north.stall().await;
    short_sign(&north).await;
    north.stands_open(true).await;
    south.stands_open(true).await;
    north.hears(TurnstileEvent::FireQuiet).await;
    south.stands_open(false).await;
    assert!(*north.hold_open.borrow(), "the alarm is not recorded yet");
    resume.send(()).unwrap();
    north.stands_open(false).await;
    let modes = [(LaneMode::Free, Some("fire_alarm")), (LaneMode::Normal, Some("fire_glitch"))];
    soon(north.state.wait_for(|s| s.mode.mode == LaneMode::Normal)).await.unwrap();
    assert_eq!(details(&north.entries().await), modes);
    let state = south.state.borrow().mode.clone();
    assert_eq!((state.mode, &*state.reason), (LaneMode::Closed, "drill"));
    let kept = south.store.read(|tx| load_mode(tx, "south")).await.unwrap();
    assert_eq!((kept.mode, kept.by.as_deref()), (LaneMode::Closed, Some("root")));
    // A lane that stood open before goes on standing open.
    assert_eq!(west.state.borrow().mode.by.as_deref(), Some("root"));
    assert!(*west.hold_open.borrow());
    let sign = north.state.borrow().short_sign.clone().unwrap();
    assert_eq!((sign.healed, sign.times), (true, 1));
    assert_eq!(north.state.borrow().short_fire_signs, 1);

    // The second glitch within ten minutes is none.
    short_sign(&north).await;
    north.hears(TurnstileEvent::FireQuiet).await;
    soon(north.state.wait_for(|s| s.short_fire_signs == 2)).await.unwrap();
    north.stands_open(true).await;
    south.stands_open(true).await;
    // Its effect is recorded within a second.
    let recorded = async {
        for count in 1.. {
            if details(&north.first(count).await).len() == 3 {
                break;
            }
        }
    };
    soon(recorded).await;
    north.set(LaneMode::Normal).await.unwrap();
    let entries = north.entries().await;
    assert_eq!(
        details(&entries)[2..],
        [(LaneMode::Free, Some("fire_alarm")), (LaneMode::Normal, None)]
    );
    assert!(*south.hold_open.borrow());
    let sign = north.state.borrow().short_sign.clone().unwrap();
    assert_eq!((sign.healed, sign.times), (false, 2));
}

#[test]
fn a_glitch_ends_no_mode_that_an_admin_or_another_alarm_has_set_and_pulses_are_alarms() {
    let now = SystemClock::new().unwrap().stamp();
    let short = Some(Duration::from_millis(60));
    let quiet = |holder: &mut ModeHolder| assert!(holder.hears(&TurnstileEvent::FireQuiet, now));
    let recorded = |holder: &mut ModeHolder| {
        let (mode, fire) = (holder.mode(), false);
        let at = Monotonic::default();
        holder.apply_written(mode::Written::Record { mode, fire, result: Ok(()), at });
    };
    let alarms = watch::Sender::new(FireAlarms::default());
    let kept = ModeState::default();
    let mut north = ModeHolder::new("north", FireSignal::Level, kept.clone(), &alarms, now);
    let mut south = ModeHolder::new("south", FireSignal::Pulse, kept, &alarms, now);
    // A long alarm freed the lanes before; with a glitch after it they stay free.
    south.input(true, None, now);
    assert!(north.apply_fire(0));
    south.input(false, Some(Duration::from_secs(2)), now);
    north.input(true, None, now);
    assert!(north.apply_fire(0));
    north.input(false, short, now);
    recorded(&mut north);
    quiet(&mut north);
    assert_eq!(north.goes_back(), None);

    // A pulse of a panel that speaks by pulses.
    let alarms = watch::Sender::new(FireAlarms::default());
    let mut pulse = ModeHolder::new("north", FireSignal::Pulse, ModeState::default(), &alarms, now);
    pulse.input(true, None, now);
    assert!(pulse.apply_fire(0));
    pulse.input(false, short, now);
    recorded(&mut pulse);
    quiet(&mut pulse);
    assert_eq!((pulse.goes_back(), pulse.mode()), (None, LaneMode::Free));

    // A restart before the end of the glitch, and a second glitch soon after the restart.
    let alarms = watch::Sender::new(FireAlarms::default());
    let holder = |kept| ModeHolder::new("north", FireSignal::Level, kept, &alarms, now);
    let free = ModeState { mode: LaneMode::Free, short_sign: Some(now), ..ModeState::default() };
    let mut restarted = holder(free.clone());
    recorded(&mut restarted);
    quiet(&mut restarted);
    assert_eq!(restarted.goes_back(), None);
    let mut normal = holder(ModeState { mode: LaneMode::Normal, ..free });
    normal.input(true, None, now);
    assert!(normal.apply_fire(0));
    normal.input(false, short, now);
    recorded(&mut normal);
    quiet(&mut normal);
    assert_eq!((normal.goes_back(), normal.mode()), (None, LaneMode::Free));
}

#[test]
fn a_fire_input_that_chatters_for_an_hour_makes_few_records() {
    let now = SystemClock::new().unwrap().stamp();
    let alarms = watch::Sender::new(FireAlarms::default());
    let mut lane = ModeHolder::new("north", FireSignal::Level, ModeState::default(), &alarms, now);
    let (mut records, mut first) = (0, None);
    for tick in 0..3600 * 4_u64 {
        let at = Monotonic::from_millis(1000 + tick * 250);
        lane.input(tick % 2 == 0, None, now);
        lane.apply_fire(0);
        if lane.due().is_some_and(|due| due <= at) {
            let (mode, fire) = (lane.mode(), tick % 2 == 0);
            lane.apply_written(mode::Written::Record { mode, fire, result: Ok(()), at });
            first.get_or_insert((mode, tick));
            records += 1;
        }
    }
    assert_eq!(first, Some((LaneMode::Free, 0)));
    assert!((10..=20).contains(&records), "{records}");
    // After a long pause a sign is recorded at once.
    let later = Monotonic::from_millis(3600 * 3 * 1000);
    let mode = LaneMode::Free;
    let at = Monotonic::from_millis(3600 * 2 * 1000);
    lane.apply_written(mode::Written::Record { mode, fire: false, result: Ok(()), at });
    lane.input(true, None, now);
    assert!(lane.due().is_some_and(|due| due <= later));
}

#[tokio::test]
async fn i1_an_alarm_during_the_commit_of_a_mode_keeps_the_lane_open() {
    let mut bench = Bench::start().await;
    let resume = bench.stall().await;
    let answer = bench.wish(LaneMode::Closed).await;
    bench.fire(true).await;
    bench.stands_open(true).await;
    resume.send(()).unwrap();
    let refused = soon(answer).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("a fire alarm came in between"), "{refused}");
    assert!(*bench.hold_open.borrow());
    let kept = async {
        while bench.store.read(|tx| load_mode(tx, "north")).await.unwrap().mode != LaneMode::Free {}
    };
    soon(kept).await;
    let entries = bench.entries().await;
    let modes: Vec<_> = entries.iter().filter_map(mode).collect();
    assert_eq!(modes.last(), Some(&(LaneMode::Free, None)), "{entries:?}");
}

#[tokio::test]
async fn i1_an_alarm_opens_a_lane_that_recovers_from_a_fault_and_all_other_lanes() {
    let alarms = watch::Sender::default();
    let mut north = Bench::of("north", &alarms).await;
    let mut south = Bench::of("south", &alarms).await;
    let lost_answer = north.ask().await;
    soon(north.releases.recv()).await.unwrap();
    north.fault().await;
    assert!(soon(lost_answer).await.is_err());
    north.fire(true).await;
    north.fire(false).await;
    north.stands_open(true).await;
    south.stands_open(true).await;
    // The lane is still closing the lost passage; the alarm is recorded after that.
    let modes = async {
        loop {
            let entries = north.entries().await;
            let last = entries.iter().filter_map(mode).next_back();
            if let Some(last) = last {
                break assert_eq!(last, (LaneMode::Free, None));
            }
            north.store.commits().changed().await.unwrap();
        }
    };
    soon(modes).await;
}

#[tokio::test]
async fn a_lane_that_starts_after_an_alarm_opens_too_and_the_end_of_an_alarm_is_recorded() {
    let alarms = watch::Sender::new(FireAlarms::default());
    let kept = ModeState { mode: LaneMode::Free, fire: true, ..ModeState::default() };
    let now = SystemClock::new().unwrap().stamp();
    let holder = |lane, kept| ModeHolder::new(lane, FireSignal::Level, kept, &alarms, now);
    let mut first = holder("north", kept);
    assert_eq!(first.due(), None);
    first.input(false, None, now);
    assert!(first.due().is_some(), "the alarm was over at the restart");
    first.input(true, None, now);
    let mut later = holder("south", ModeState::default());
    assert!(later.apply_fire(0));
    assert_eq!(later.mode(), LaneMode::Free);
    assert!(!later.apply_fire(0), "the same alarm applies once");
}
