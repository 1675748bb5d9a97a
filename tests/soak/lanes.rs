//! Runs four lanes on two lines with 40 visits a minute each. Controllers, passage sensors, lines,
//! cameras and the daemon fail at random, and people walk late, walk for another, or do not walk. At
//! two lanes some people show a card. At the end each release must have a grant in the ledger, each
//! walk an outcome, and each card shown a passage or a refusal.
//!
//! GATEHOUSE_SOAK_S sets the length in seconds. The default is 60, and a full soak has 600. A soak
//! lasts until each fault has happened.
//! GATEHOUSE_SOAK_SEED repeats the random faults of a run that printed this seed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    cards::{Cards, LOGS, Recorded},
    common::{
        Camera, Site,
        lanes::{Lanes, SEEN, WORKERS},
        photo,
    },
};
use gatehouse::{
    config::Direction::Entry,
    turnstile::{Fault, Protocol},
};
use serde_json::Value;

/// The first two lanes have relay boards, the others counting controllers.
const LANES: usize = 4;
const BOARDS: usize = 2;
/// The lanes with a reader of cards: one with a board, and one with a counting controller.
const READERS: [usize; 2] = [0, BOARDS];
/// At a lane with a reader, the number of visits from one card to the next.
const CARD_EVERY: u64 = 3;
/// Interval between two visits: 40 visits a minute.
const EVERY: Duration = Duration::from_millis(1500);
/// Timeout after which a worker without a release leaves.
const GIVES_UP: Duration = Duration::from_secs(3);
/// Timeout of a visit without a fault. It is longer, because a busy machine analyses frames slowly.
const GIVES_A_MACHINE_UP: Duration = Duration::from_secs(20);
/// Minimum interval between two visits.
const PAUSE: Duration = Duration::from_millis(300);
const RECOVERED_WITHIN: Duration = Duration::from_secs(180);
/// Time from a release to its passage.
const WALKS: Duration = Duration::from_millis(300);
/// The same for a late worker: after the lane's `pass_within_s`, within the grace.
const WALKS_LATE: Duration = Duration::from_millis(3600);
/// Duration of a glitch of the fire input.
const GLITCH: Duration = Duration::from_millis(60);
/// Time in which the lanes end the free mode after a glitch, if they do so by themselves.
const HEALS_WITHIN: Duration = Duration::from_secs(10);
/// Minimum share of the visits without a fault that must succeed.
const SERVED: f64 = 0.9;
/// Maximum growth of the daemon's memory between the two halves of its last life, in KiB.
const GROWTH_KIB: f64 = 16.0 * 1024.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Deaf,
    Mute,
    Late,
    WrongChecksum,
    FromAddress,
    Noise,
    Half,
    Unplugged,
    CameraGone,
    Killed,
    Busy,
    Torn,
    Welded,
    Chatters,
    CountersRestart,
    NoOneWalks,
    WalksLate,
    OtherFace,
    FireGlitch,
    ForeignCoil,
}

use Trouble::*;

/// The first one is the first to begin: the daemon is killed only in the first half of a soak.
const TROUBLES: [Trouble; 20] = [
    Killed,
    Deaf,
    Mute,
    Late,
    WrongChecksum,
    FromAddress,
    Noise,
    Half,
    Unplugged,
    CameraGone,
    Busy,
    Torn,
    Welded,
    Chatters,
    CountersRestart,
    NoOneWalks,
    WalksLate,
    OtherFace,
    FireGlitch,
    ForeignCoil,
];

impl Trouble {
    fn of_a_device(self) -> Option<Fault> {
        Some(match self {
            Deaf => Fault::Deaf,
            Mute => Fault::Mute,
            Late => Fault::Late(Duration::from_millis(700)),
            WrongChecksum => Fault::WrongChecksum,
            FromAddress => Fault::FromAddress(9),
            Noise => Fault::Noise(vec![0x7F, 0x00, 0xFF, 0x01, 0x7E]),
            Half => Fault::Half,
            Busy => Fault::Refuses { function: 5, code: 6 },
            _ => return None,
        })
    }

    /// Returns the lanes that can have this trouble.
    fn lanes(self) -> std::ops::Range<usize> {
        match self {
            Busy | Welded | Chatters | FireGlitch | ForeignCoil => 0..BOARDS,
            CountersRestart => BOARDS..LANES,
            _ => 0..LANES,
        }
    }

    /// Returns whether this trouble on lane `at` affects the lane.
    fn affects(self, at: usize, lane: usize) -> bool {
        match self {
            Killed | FireGlitch => true,
            // Affects all lanes on the same line.
            Unplugged => lane / BOARDS == at / BOARDS,
            _ => lane == at,
        }
    }
}

/// xorshift64*: good enough to choose, and the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n as u64) as usize
    }
}

/// The visitor before a lane's camera.
struct Visitor {
    since: Instant,
    releases_before: u64,
    /// Whether the visitor shows a card instead of a face.
    by_card: bool,
    /// Whether the lane has had no fault during the visit.
    served: bool,
}

#[derive(Default)]
struct Books {
    visits: u64,
    let_through: u64,
    /// Number of visits without a fault, and of those let through.
    due: u64,
    served: u64,
    /// Number of times that the coils went on while a fire sign freed the lane.
    held: u64,
    /// The count of releases when the current fire sign came.
    before_fire: u64,
}

struct Desk {
    visitor: Option<Visitor>,
    /// Another face is before the camera until this time, or until the count of passages rises.
    other: Option<(Instant, u64)>,
    next: Instant,
    person: usize,
    books: Books,
}

struct Soak {
    lanes: Lanes,
    desks: Vec<Desk>,
    /// The cards shown at each lane with a reader.
    cards: BTreeMap<usize, Cards>,
    /// The length of the log when the daemon was killed last.
    earlier_lives: usize,
    chance: Chance,
    deck: Vec<Trouble>,
    /// The current trouble, its lane, and its end. `true` means that the recovery has begun.
    trouble: Option<(Trouble, usize, Instant, bool)>,
    calm_until: Instant,
    began: BTreeMap<Trouble, u32>,
    /// The level of the chattering input.
    chattered: bool,
    slowest: BTreeMap<Trouble, Duration>,
    resident: Vec<f64>,
}

impl Soak {
    fn turn(&mut self, now: Instant, troubles: bool, kills: bool) {
        for lane in 0..LANES {
            self.serve(lane, now);
        }
        match self.trouble {
            None if troubles && now >= self.calm_until => self.begin(now, kills),
            Some((trouble, lane, until, false)) if now >= until => {
                if self.has_shown(trouble, lane, now - until) {
                    self.end(trouble, lane);
                    self.trouble = Some((trouble, lane, now, true));
                } else {
                    let waited = now - until;
                    assert!(waited < RECOVERED_WITHIN, "{trouble:?} of lane-{lane} is not shown");
                }
            }
            Some((trouble, _, since, true)) => {
                let status = self.lanes.site.status();
                let mut missing = Site::degraded(&status);
                // A glitch stays a trouble of its input for ten minutes.
                missing.retain(|what| !what.starts_with("fire input"));
                if missing.is_empty() {
                    let slowest = self.slowest.entry(trouble).or_default();
                    *slowest = (*slowest).max(since.elapsed());
                    self.trouble = None;
                    self.calm_until = Instant::now() + Duration::from_secs(2);
                } else {
                    assert!(since.elapsed() < RECOVERED_WITHIN, "{trouble:?}: {missing:?}");
                }
            }
            _ => {}
        }
        let touched = self.trouble.map(|(trouble, lane, ..)| (trouble, lane));
        for (lane, desk) in self.desks.iter_mut().enumerate() {
            if let (Some(visitor), Some((trouble, at))) = (&mut desk.visitor, touched) {
                visitor.served &= !trouble.affects(at, lane);
            }
        }
        if let Some((Chatters, lane, _, false)) = self.trouble {
            self.chattered = !self.chattered;
            self.lanes.lanes[lane].device.set_stuck(Entry, Some(self.chattered));
        }
    }

    /// Returns whether the gate has done what it must do before the trouble may end.
    fn has_shown(&self, trouble: Trouble, lane: usize, waited: Duration) -> bool {
        match trouble {
            Torn | Welded | Chatters => {
                let sensor = format!("passage sensor lane-{lane}/entry");
                Site::degraded(&self.lanes.site.status()).contains(&sensor.as_str())
            }
            FireGlitch => {
                let status = self.lanes.site.status();
                let free: Vec<_> =
                    (0..LANES).filter(|n| status["lanes"][n]["mode"] == "free").collect();
                if waited > HEALS_WITHIN {
                    // Only the first glitch in ten minutes heals by itself.
                    free.iter()
                        .for_each(|lane| assert_eq!(self.lanes.mode(*lane, "normal").code, 0));
                }
                free.is_empty()
            }
            ForeignCoil => !self.lanes.lanes[lane].device.released(Entry),
            _ => true,
        }
    }

    /// Lets visitors of a lane come and leave.
    fn serve(&mut self, lane: usize, now: Instant) {
        let (desk, end) = (&mut self.desks[lane], &self.lanes.lanes[lane]);
        let releases = end.device.releases();
        let leave = |camera: &Option<Camera>| {
            if let Some(camera) = camera {
                camera.show_empty();
            }
        };
        if let Some((until, passages)) = desk.other {
            if now < until && end.device.passages() == passages {
                return;
            }
            leave(&end.camera);
            desk.other = None;
        }
        match &desk.visitor {
            Some(visitor) => {
                let released = releases > visitor.releases_before;
                let waits = visitor.served && !visitor.by_card;
                let timeout = if waits { GIVES_A_MACHINE_UP } else { GIVES_UP };
                if !released && now < visitor.since + timeout {
                    return;
                }
                match (&end.camera, self.trouble) {
                    (Some(camera), Some((OtherFace, at, _, false)))
                        if released && at == lane && !visitor.by_card =>
                    {
                        camera.show(photo(SEEN[(desk.person + 1) % SEEN.len()]));
                        desk.other = Some((now + GIVES_UP, end.device.passages()));
                    }
                    _ => leave(&end.camera),
                }
                desk.books.let_through += u64::from(released);
                // A card is shown once, also to a lane that is busy.
                if visitor.served && !visitor.by_card {
                    desk.books.due += 1;
                    desk.books.served += u64::from(released);
                }
                desk.visitor = None;
                desk.next = (desk.next + EVERY).max(now + PAUSE);
            }
            None if now >= desk.next => {
                desk.books.visits += 1;
                let dead = matches!(self.trouble, Some((Killed, ..)));
                let reader = self.lanes.readers.get_mut(&lane);
                let cards = self.cards.get_mut(&lane).zip(reader);
                let turn = desk.books.visits % CARD_EVERY == 0 && !dead;
                let by_card = if let Some((cards, reader)) = cards.filter(|_| turn) {
                    cards.show(reader);
                    true
                } else {
                    desk.person = (desk.person + 1) % WORKERS.len();
                    if let Some(camera) = &end.camera {
                        camera.show(photo(SEEN[desk.person]));
                    }
                    false
                };
                let (since, served) = (now, self.trouble.is_none());
                desk.visitor = Some(Visitor { since, releases_before: releases, by_card, served });
            }
            None => {}
        }
    }

    fn begin(&mut self, now: Instant, kills: bool) {
        if self.deck.is_empty() {
            self.deck = TROUBLES.to_vec();
        }
        let next = if self.began.is_empty() { 0 } else { self.chance.below(self.deck.len()) };
        let trouble = self.deck.swap_remove(next);
        if trouble == Killed && !kills {
            return;
        }
        let among = trouble.lanes();
        let lane = among.start + self.chance.below(among.len());
        *self.began.entry(trouble).or_default() += 1;
        let lasts = Duration::from_millis(1000 + self.chance.below(4000) as u64);
        match trouble {
            Unplugged => self.lanes.runtime.block_on(self.lanes.buses[lane / 2].unplug()),
            CameraGone => {
                self.lanes.lanes[lane].camera = None;
                std::fs::remove_file(self.lanes.site.path(&format!("camera-{lane}"))).unwrap();
            }
            Killed => {
                self.lanes.kill();
                self.earlier_lives = self.lanes.site.log().len();
                self.cards.values_mut().for_each(|cards| cards.since_start = 0);
            }
            Torn => self.lanes.lanes[lane].device.set_stuck(Entry, Some(false)),
            Welded => self.lanes.lanes[lane].device.set_stuck(Entry, Some(true)),
            CountersRestart => self.lanes.lanes[lane].device.set_counted(Entry, 0),
            NoOneWalks => self.lanes.lanes[lane].device.set_pass_after(None),
            WalksLate => self.lanes.lanes[lane].device.set_pass_after(Some(WALKS_LATE)),
            ForeignCoil => self.lanes.lanes[lane].device.set_released(Entry, true),
            FireGlitch => {
                // A board's coils go on while the lane is free, and a walk after that has no grant.
                for (lane, desk) in self.lanes.lanes.iter().zip(&mut self.desks) {
                    lane.device.set_pass_after(None);
                    desk.books.before_fire = lane.device.releases();
                }
                self.lanes.lanes[lane].device.set_fire(true);
                std::thread::sleep(GLITCH);
                self.lanes.lanes[lane].device.set_fire(false);
            }
            Chatters | OtherFace => {}
            of_a_device => self.lanes.lanes[lane].device.set_fault(of_a_device.of_a_device()),
        }
        self.trouble = Some((trouble, lane, now + lasts, false));
    }

    fn end(&mut self, trouble: Trouble, lane: usize) {
        match trouble {
            Unplugged => self.lanes.runtime.block_on(self.lanes.buses[lane / 2].replug()),
            CameraGone => {
                let pipe = self.lanes.site.path(&format!("camera-{lane}"));
                self.lanes.lanes[lane].camera = Some(Camera::plug_in(&pipe));
            }
            Killed => {
                self.lanes.restart();
                let open = |lane: &usize, status: &Value| {
                    status["lanes"][lane]["readers"][0]["connected"] == true
                };
                let site = &self.lanes.site;
                site.status_when("open readers", |s| READERS.iter().all(|lane| open(lane, s)));
                self.resident.clear();
            }
            Torn | Welded | Chatters => self.lanes.lanes[lane].device.set_stuck(Entry, None),
            NoOneWalks | WalksLate => self.lanes.lanes[lane].device.set_pass_after(Some(WALKS)),
            FireGlitch => {
                for (lane, desk) in self.lanes.lanes.iter().zip(&mut self.desks) {
                    lane.device.set_pass_after(Some(WALKS));
                    desk.books.held += lane.device.releases() - desk.books.before_fire;
                }
            }
            CountersRestart | OtherFace | ForeignCoil => {}
            _ => self.lanes.lanes[lane].device.set_fault(None),
        }
    }

    fn sample(&mut self) {
        let Some(daemon) = &self.lanes.daemon else { return };
        let account = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
        let line = account.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        self.resident.push(line.trim().trim_end_matches("kB").trim().parse().unwrap());
    }
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

#[test]
fn every_passage_of_four_lanes_is_in_the_ledger_despite_random_faults() {
    let _machine = crate::machine();
    let set = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let length = Duration::from_secs(set("GATEHOUSE_SOAK_S").unwrap_or(60));
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = set("GATEHOUSE_SOAK_SEED").unwrap_or(clock.as_secs());
    eprintln!("a soak of {length:?}: GATEHOUSE_SOAK_SEED={seed}");
    let lines = [(Protocol::ModbusRtu, 2), (Protocol::Counting, 2)];
    let more = [("cool_down_s", 1.into()), ("pass_within_s", 3.into())];
    let lanes = Lanes::with_readers(&lines, &more, &READERS, LOGS);
    Cards::give(&lanes);
    let begun = Instant::now();
    let desk = |lane: usize| Desk {
        visitor: None,
        other: None,
        // The lanes begin one after the other.
        next: begun + EVERY * lane as u32 / LANES as u32,
        person: lane,
        books: Books::default(),
    };
    let mut soak = Soak {
        desks: (0..LANES).map(desk).collect(),
        cards: READERS.map(|lane| (lane, Cards::default())).into(),
        earlier_lives: 0,
        lanes,
        chance: Chance(seed | 1),
        deck: TROUBLES.to_vec(),
        trouble: None,
        calm_until: begun + Duration::from_secs(2),
        began: BTreeMap::new(),
        chattered: false,
        slowest: BTreeMap::new(),
        resident: Vec::new(),
    };
    let mut sample_at = begun;
    loop {
        let now = Instant::now();
        let over = now.duration_since(begun) >= length && soak.began.len() == TROUBLES.len();
        if over && soak.trouble.is_none() {
            break;
        }
        // In the last half the daemon is not killed, so that its memory can be compared.
        soak.turn(now, !over, now.duration_since(begun) < length / 2);
        if now >= sample_at {
            sample_at += Duration::from_secs(1);
            soak.sample();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    soak.settle();
    soak.report(begun.elapsed());
    soak.check();
    soak.check_cards();
}

impl Soak {
    /// Empties all lanes and waits until all passages are complete.
    fn settle(&mut self) {
        for (desk, lane) in self.desks.iter_mut().zip(&self.lanes.lanes) {
            lane.camera.as_ref().unwrap().show_empty();
            if let Some(visitor) = desk.visitor.take() {
                let released = lane.device.releases() > visitor.releases_before;
                desk.books.let_through += u64::from(released);
            }
        }
        let at_rest = |s: &Value| s["lanes"].as_array().unwrap().iter().all(|l| l["busy"] == false);
        // The releases are counted after a wait too, because a last visitor may get a grant
        // meanwhile.
        std::thread::sleep(GIVES_UP.max(WALKS_LATE));
        self.lanes.site.status_when("the lanes to come to rest", at_rest);
        for (desk, lane) in self.desks.iter_mut().zip(&self.lanes.lanes) {
            desk.books.let_through = desk.books.let_through.max(lane.device.releases());
        }
    }

    fn records(&self, lane: usize) -> Vec<Value> {
        let name = format!("lane-{lane}");
        let said = self.lanes.site.gatehouse(&["--json", "attendance", "list", "--lane", &name]);
        said.json_lines()
    }

    fn outcomes(&self, lane: usize) -> BTreeMap<String, u64> {
        let mut outcomes = BTreeMap::new();
        for record in self.records(lane) {
            *outcomes.entry(record["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        outcomes
    }

    fn report(&self, took: Duration) {
        let faults = &self.began;
        eprintln!(
            "{:.0} s, troubles {faults:?}, slowest recovery {:?}",
            took.as_secs_f64(),
            self.slowest
        );
        for (n, desk) in self.desks.iter().enumerate() {
            let (device, books) = (&self.lanes.lanes[n].device, &desk.books);
            eprintln!(
                "lane-{n}: {} visits, {} releases, {} passages, {:?}; {} of {} served without a fault",
                books.visits,
                device.releases(),
                device.passages(),
                self.outcomes(n),
                books.served,
                books.due
            );
        }
        let half = self.resident.len() / 2;
        let (early, late) = self.resident.split_at(half);
        eprintln!("resident {:.0} KiB, then {:.0} KiB", mean(early), mean(late));
    }

    /// Compares the cards shown with what the gateway and the platform have of them.
    fn check_cards(&mut self) {
        let Lanes { site, platform, .. } = &mut self.lanes;
        let status = site.status_when("an empty outbox", |status| Site::outbox(status) == 0);
        site.broker.flush(platform);
        let mut received = BTreeMap::new();
        for message in &platform.records {
            let mut json = message.json.clone();
            json.as_object_mut().unwrap().remove("resent");
            received.entry(json["seq"].as_u64().unwrap()).or_insert(json);
        }
        let log = self.lanes.site.log();
        for (lane, cards) in &self.cards {
            let recorded = Recorded {
                listed: &self.records(*lane),
                received: &received,
                status: &status["lanes"][lane],
                logs: [&log, &log[self.earlier_lives..]],
                kills: self.began.get(&Killed).copied().unwrap_or_default().into(),
            };
            cards.check(&format!("lane-{lane}"), &recorded);
        }
    }

    fn check(&self) {
        let status = self.lanes.site.status();
        for (n, desk) in self.desks.iter().enumerate() {
            let device = &self.lanes.lanes[n].device;
            let (releases, passages) = (device.releases(), device.passages());
            let outcomes = self.outcomes(n);
            let of = |what: &str| outcomes.get(what).copied().unwrap_or_default();
            let recorded: u64 = outcomes.values().sum();
            // Each release has one cause, which is always a worker's grant here.
            assert!(releases - desk.books.held <= recorded, "lane-{n}: a release without an entry");
            // A person walks after a release, or no one does. Where the controller was away then,
            // or its sensor was suspect, the outcome is unconfirmed. A passage is never invented
            // and never lost.
            assert!(passages <= releases, "lane-{n}: only a released arm has a passage");
            assert!(of("passed") <= passages, "lane-{n}: a passage is invented");
            assert!(passages <= of("passed") + of("unconfirmed"), "lane-{n}: a passage is lost");
            let (served, due) = (desk.books.served as f64, desk.books.due as f64);
            assert!(served >= due * SERVED, "lane-{n}: {served} of {due} let through");
            let counted = &status["lanes"][n]["turnstile"];
            assert_eq!(counted["lost_events"], 0, "{counted}");
        }
        let half = self.resident.len() / 2;
        let (early, late) = self.resident.split_at(half);
        assert!(mean(late) - mean(early) < GROWTH_KIB, "the daemon's memory grows");
    }
}
