//! Runs four lanes on two lines with 40 visits a minute each. Controllers, lines, cameras and the
//! daemon fail at random. At the end each release must have a grant in the ledger, and each walk an
//! outcome.
//!
//! GATEHOUSE_SOAK_S sets the length in seconds. The default is 60, and a full soak has 600.
//! GATEHOUSE_SOAK_SEED repeats the random faults of a run that printed this seed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::common::{
    Camera, Site,
    lanes::{Lanes, SEEN, WORKERS},
    photo,
};
use gatehouse::turnstile::{Fault, Protocol};
use serde_json::Value;

const LANES: usize = 4;
/// Interval between two visits: 40 visits a minute.
const EVERY: Duration = Duration::from_millis(1500);
/// Timeout after which a worker without a release leaves.
const GIVES_UP: Duration = Duration::from_secs(3);
/// Timeout of a visit without a fault. It is longer, because a busy machine analyses frames slowly.
const GIVES_A_MACHINE_UP: Duration = Duration::from_secs(20);
/// Minimum interval between two visits.
const PAUSE: Duration = Duration::from_millis(300);
const RECOVERED_WITHIN: Duration = Duration::from_secs(180);
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
}

use Trouble::*;

const TROUBLES: [Trouble; 10] =
    [Deaf, Mute, Late, WrongChecksum, FromAddress, Noise, Half, Unplugged, CameraGone, Killed];

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
            Unplugged | CameraGone | Killed => return None,
        })
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
}

struct Desk {
    visitor: Option<Visitor>,
    next: Instant,
    person: usize,
    books: Books,
}

struct Soak {
    lanes: Lanes,
    desks: Vec<Desk>,
    chance: Chance,
    deck: Vec<Trouble>,
    /// The current trouble, its lane, and its end. `true` means that the recovery has begun.
    trouble: Option<(Trouble, usize, Instant, bool)>,
    calm_until: Instant,
    began: BTreeMap<Trouble, u32>,
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
                self.end(trouble, lane);
                self.trouble = Some((trouble, lane, now, true));
            }
            Some((trouble, _, since, true)) => {
                let status = self.lanes.site.status();
                let missing = Site::degraded(&status);
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
                let its_own = match trouble {
                    Killed => true,
                    // Affects all lanes on the same line.
                    Unplugged => lane / 2 == at / 2,
                    _ => lane == at,
                };
                visitor.served &= !its_own;
            }
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
        match &desk.visitor {
            Some(visitor) => {
                let released = releases > visitor.releases_before;
                let timeout = if visitor.served { GIVES_A_MACHINE_UP } else { GIVES_UP };
                if !released && now < visitor.since + timeout {
                    return;
                }
                leave(&end.camera);
                desk.books.let_through += u64::from(released);
                if visitor.served {
                    desk.books.due += 1;
                    desk.books.served += u64::from(released);
                }
                desk.visitor = None;
                desk.next = (desk.next + EVERY).max(now + PAUSE);
            }
            None if now >= desk.next => {
                desk.books.visits += 1;
                desk.person = (desk.person + 1) % WORKERS.len();
                if let Some(camera) = &end.camera {
                    camera.show(photo(SEEN[desk.person]));
                }
                let served = self.trouble.is_none();
                desk.visitor = Some(Visitor { since: now, releases_before: releases, served });
            }
            None => {}
        }
    }

    fn begin(&mut self, now: Instant, kills: bool) {
        if self.deck.is_empty() {
            self.deck = TROUBLES.to_vec();
        }
        let trouble = self.deck.swap_remove(self.chance.below(self.deck.len()));
        if trouble == Killed && !kills {
            return;
        }
        let lane = self.chance.below(LANES);
        *self.began.entry(trouble).or_default() += 1;
        let lasts = Duration::from_millis(1000 + self.chance.below(4000) as u64);
        match trouble {
            Unplugged => self.lanes.runtime.block_on(self.lanes.buses[lane / 2].unplug()),
            CameraGone => {
                self.lanes.lanes[lane].camera = None;
                std::fs::remove_file(self.lanes.site.path(&format!("camera-{lane}"))).unwrap();
            }
            Killed => self.lanes.kill(),
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
                self.resident.clear();
            }
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
    let lanes = Lanes::start(&lines, &[("cool_down_s", 1.into()), ("pass_within_s", 3.into())]);
    let begun = Instant::now();
    let desk = |lane: usize| Desk {
        visitor: None,
        // The lanes begin one after the other.
        next: begun + EVERY * lane as u32 / LANES as u32,
        person: lane,
        books: Books::default(),
    };
    let mut soak = Soak {
        desks: (0..LANES).map(desk).collect(),
        lanes,
        chance: Chance(seed | 1),
        deck: TROUBLES.to_vec(),
        trouble: None,
        calm_until: begun + Duration::from_secs(2),
        began: BTreeMap::new(),
        slowest: BTreeMap::new(),
        resident: Vec::new(),
    };
    let mut sample_at = begun;
    loop {
        let now = Instant::now();
        let over = now.duration_since(begun) >= length;
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
        std::thread::sleep(GIVES_UP);
        self.lanes.site.status_when("the lanes to come to rest", at_rest);
        for (desk, lane) in self.desks.iter_mut().zip(&self.lanes.lanes) {
            desk.books.let_through = desk.books.let_through.max(lane.device.releases());
        }
    }

    fn outcomes(&self, lane: usize) -> BTreeMap<String, u64> {
        let name = format!("lane-{lane}");
        let said = self.lanes.site.gatehouse(&["--json", "attendance", "list", "--lane", &name]);
        let mut outcomes = BTreeMap::new();
        for record in said.json_lines() {
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

    fn check(&self) {
        let status = self.lanes.site.status();
        for (n, desk) in self.desks.iter().enumerate() {
            let device = &self.lanes.lanes[n].device;
            let (releases, passages) = (device.releases(), device.passages());
            let outcomes = self.outcomes(n);
            let of = |what: &str| outcomes.get(what).copied().unwrap_or_default();
            let recorded: u64 = outcomes.values().sum();
            // Each release has one cause, which is always a worker's grant here.
            assert!(releases <= recorded, "lane-{n}: a release without an entry");
            // A worker walks after each release. Where the controller was away then, the outcome is
            // unconfirmed. A passage is never invented and never lost.
            assert_eq!(passages, releases, "lane-{n}: each release has one passage");
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
