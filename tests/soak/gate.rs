//! Runs a gate for a long time with random faults of every kind. At the end it compares all counts:
//! no entry, record or release is missing or surplus, and no memory leaks.
//!
//! GATEHOUSE_SOAK_S sets the length in seconds. The default is 90, and a full soak has 1800. A
//! short soak has shorter faults. GATEHOUSE_SOAK_SEED repeats the random faults of a run that
//! printed this seed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    io::Write as _,
    time::{Duration, Instant},
};

use crate::common::{
    Camera, Daemon, Lane, Site, Slave, Subscriber, broker::SOON, disk::Disk, photo, photo_path,
};
use ciborium::Value as Cbor;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Interval between two visits: 40 visits a minute.
const VISIT_EVERY: Duration = Duration::from_millis(1500);
/// Maximum time for which visits accumulate while the gate does not work. Afterwards the queued
/// visits follow with a pause.
const QUEUE: Duration = Duration::from_secs(15);
/// Interval between the end of a visit and the next queued visit.
const PAUSE: Duration = Duration::from_millis(500);
/// Timeout after which a worker without a release leaves.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of a visit without a fault. It is longer, because a busy machine analyses frames slowly.
const PATIENCE_WITH_A_MACHINE: Duration = Duration::from_secs(20);
/// Time for which a stranger stays, which is enough for a denial.
const STRANGER_STAYS: Duration = Duration::from_millis(2500);
/// Minimum number of visits from one stranger to the next.
const STRANGER_EVERY: u64 = 10;
/// Minimum share of the visits without a fault that must succeed.
const SERVED: f64 = 0.9;
/// Command to the board: a worker walks 300 ms after a release.
const WALKS: &str = "walks 300";
/// Time before a restart, as RestartSec of systemd.
const RESTART: Duration = Duration::from_secs(1);
/// Timeout of a recovery after a fault is over. Links wait at most 30 s.
const RECOVERED_WITHIN: Duration = Duration::from_secs(180);
/// Minimum time without a fault before the next one.
const CALM: Duration = Duration::from_secs(4);
/// Interval between two checks of a recovery.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Maximum growth of memory within one process. SQLite's page caches (2 MiB a connection) fill
/// slowly, and glibc keeps fragments of freed memory. A leak of one sighting per passage, or of an
/// occasional frame, is far larger within ten minutes.
const GROWTH: f64 = 0.05;
const GROWTH_KIB: f64 = 4096.0;
/// Time at the start of a process that is not measured, because buffers, caches and pools fill up.
const WARMING_UP: Duration = Duration::from_secs(60);
/// Maximum growth in a short soak, which ends before the caches are full and finds only gross
/// leaks.
const GROWTH_COLD_KIB: f64 = 96.0 * 1024.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Stop,
    BrokerGone,
    BrokerGoneAndKill,
    CableCut,
    AdapterUnplugged,
    CameraGone,
    DiskFull,
}

use Fault::*;

const FAULTS: [Fault; 8] =
    [Kill, Stop, BrokerGone, BrokerGoneAndKill, CableCut, AdapterUnplugged, CameraGone, DiskFull];

impl Fault {
    fn ends_the_daemon(self) -> bool {
        matches!(self, Kill | Stop | BrokerGoneAndKill)
    }
}

/// xorshift64*: good enough to choose faults, and the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + Duration::from_millis(self.below((to - from).as_millis() as u64 + 1))
    }

    fn shuffled(&mut self, faults: impl Iterator<Item = Fault>) -> Vec<Fault> {
        let mut deck: Vec<_> = faults.collect();
        for n in (1..deck.len()).rev() {
            deck.swap(n, self.below(n as u64 + 1) as usize);
        }
        deck
    }
}

enum Phase {
    Calm { until: Instant },
    Suffering { fault: Fault, until: Instant },
    Recovering { fault: Fault, since: Instant, look: Instant },
}

/// The visitor before the camera.
struct Visitor {
    stranger: bool,
    since: Instant,
    /// Whether no fault has kept the gate from working during the visit.
    served: bool,
}

#[derive(Default)]
struct Tally {
    visits: u64,
    /// Number of workers' visits during which the gate had to work, and of those let through.
    due: u64,
    let_through: u64,
    coil_on: u64,
    walks: u64,
    restarts: u64,
    faults: BTreeMap<Fault, u64>,
    slowest: BTreeMap<Fault, Duration>,
}

struct Soak {
    chance: Chance,
    /// Factor for the duration of faults; 1 is that of a full soak.
    scale: f64,
    begun: Instant,
    ends: Instant,
    phase: Phase,
    deck: Vec<Fault>,
    visitor: Option<Visitor>,
    next_visit: Instant,
    left: Instant,
    last_stranger: u64,
    tally: Tally,
    /// The daemon's resident memory in KiB for each second since its start, and the time of that
    /// start.
    resident: Vec<f64>,
    born: Instant,
    all_resident: Vec<f64>,
    // Fields are dropped in this order.
    daemon: Option<Daemon>,
    platform: Subscriber,
    camera: Option<Camera>,
    board: Slave,
    disk: Disk,
    site: Site,
}

impl Soak {
    fn start(length: Duration, seed: u64) -> Soak {
        let mut site = Site::of(Lane::north().set("cool_down_s", 1).set("pass_within_s", 3));
        site.broker.start();
        let platform = site.broker.subscriber();
        let (camera, mut board) = (Some(site.plug_camera_in()), site.plug_board_in());
        assert_eq!(board.command(WALKS), [""; 0]);
        let disk = Disk::under(&site.path("data"));
        let daemon = Some(site.start_with(&disk.environment()));
        site.status_when("a healthy gate", |s| Site::degraded(s).is_empty());
        for (id, id_number, name) in
            [("W001", "522201199003074411", "a"), ("W002", "522201198805112024", "b")]
        {
            let said =
                site.enroll(id, name, id_number, &photo_path(&format!("person_{name}_2.jpg")));
            assert_eq!(said.code, 0, "{said:?}");
        }
        let mut chance = Chance(seed | 1);
        let deck = chance.shuffled(FAULTS.into_iter());
        let now = Instant::now();
        Soak {
            chance,
            scale: (length.as_secs_f64() / 600.0).clamp(1.0 / 6.0, 1.0),
            begun: now,
            ends: now + length,
            phase: Phase::Calm { until: now + Duration::from_secs(2) },
            deck,
            visitor: None,
            next_visit: now,
            left: now,
            last_stranger: 0,
            tally: Tally::default(),
            resident: Vec::new(),
            born: now,
            all_resident: Vec::new(),
            daemon,
            platform,
            camera,
            board,
            disk,
            site,
        }
    }

    fn run(&mut self) {
        // In the last third the daemon is not restarted, so that its memory can be compared.
        let third = (self.ends - self.begun) / 3;
        let mut sample_at = self.begun;
        let mut every_kind = false;
        loop {
            let now = Instant::now();
            every_kind |= self.deck.is_empty();
            let restarts = !every_kind || now < self.ends - third;
            if !restarts && now >= self.ends.max(self.born + third) {
                break;
            }
            // The board's output sets the pace of this loop.
            if let Some(line) = self.board.line_within(Duration::from_millis(20)) {
                self.heard(&line);
            }
            self.receive(now);
            self.go_wrong(now, restarts);
            if now >= sample_at {
                sample_at = now + Duration::from_secs(1);
                self.sample();
            }
        }
    }

    /// Counts a line of the board.
    fn heard(&mut self, line: &str) {
        match line {
            "coil 0 on" => {
                self.tally.coil_on += 1;
                self.leave(true);
            }
            "walk 0" => self.tally.walks += 1,
            "coil 0 off" => {}
            other => panic!("the board says {other:?}"),
        }
    }

    fn command(&mut self, command: &str) {
        for line in self.board.command(command) {
            self.heard(&line);
        }
    }

    /// Returns whether the gate must let workers through now: there is no fault, or the fault does
    /// not affect them.
    fn serves(&self) -> bool {
        match self.phase {
            Phase::Calm { .. } => true,
            Phase::Suffering { fault, .. } => {
                matches!(fault, BrokerGone | BrokerGoneAndKill | DiskFull)
            }
            Phase::Recovering { fault, .. } => matches!(fault, BrokerGone | DiskFull),
        }
    }

    /// Lets visitors come and leave.
    fn receive(&mut self, now: Instant) {
        let timeout = |v: &Visitor| match (v.stranger, v.served) {
            (true, _) => STRANGER_STAYS,
            (false, true) => PATIENCE_WITH_A_MACHINE,
            (false, false) => TIMEOUT,
        };
        match &self.visitor {
            Some(visitor) if now < visitor.since + timeout(visitor) => {}
            Some(_) => self.leave(false),
            None if now >= self.next_visit && now >= self.left + PAUSE => {
                self.next_visit = (self.next_visit + VISIT_EVERY).max(now - QUEUE);
                self.tally.visits += 1;
                // Strangers come only while denials can be recorded.
                let calm = matches!(self.phase, Phase::Calm { .. });
                let stranger = calm && self.tally.visits >= self.last_stranger + STRANGER_EVERY;
                let name = match self.tally.visits {
                    visit if stranger => {
                        self.last_stranger = visit;
                        "impostor_1.jpg"
                    }
                    visit if visit % 2 == 0 => "person_a_1.jpg",
                    _ => "person_b_1.jpg",
                };
                if let Some(camera) = &self.camera {
                    camera.show(photo(name));
                }
                self.visitor = Some(Visitor { stranger, since: now, served: self.serves() });
            }
            None => {}
        }
    }

    fn leave(&mut self, let_through: bool) {
        let Some(visitor) = self.visitor.take() else { return };
        self.left = Instant::now();
        if let Some(camera) = &self.camera {
            camera.show_empty();
        }
        if visitor.served && !visitor.stranger {
            self.tally.due += 1;
            self.tally.let_through += u64::from(let_through);
            if !let_through {
                say(&format!("{:>5.0} s  a worker gave up", self.begun.elapsed().as_secs_f64()));
            }
        }
    }

    fn scaled(&mut self, from_s: u64, to_s: u64) -> Duration {
        self.chance
            .between(Duration::from_secs(from_s), Duration::from_secs(to_s))
            .mul_f64(self.scale)
    }

    /// Begins faults, ends them and waits for the recovery, one at a time.
    fn go_wrong(&mut self, now: Instant, restarts: bool) {
        self.change(now, restarts);
        let serves = self.serves();
        if let Some(visitor) = &mut self.visitor {
            visitor.served &= serves;
        }
    }

    fn change(&mut self, now: Instant, restarts: bool) {
        match self.phase {
            Phase::Calm { until } if now >= until => {
                if self.deck.is_empty() {
                    self.deck = self.chance.shuffled(FAULTS.into_iter());
                }
                let next = self.deck.pop().filter(|fault| restarts || !fault.ends_the_daemon());
                if let Some(fault) = next {
                    let lasts = self.begin(fault);
                    say(&format!("{:>5.0} s  {fault:?}", self.begun.elapsed().as_secs_f64()));
                    *self.tally.faults.entry(fault).or_default() += 1;
                    self.phase = Phase::Suffering { fault, until: Instant::now() + lasts };
                }
            }
            Phase::Suffering { fault, until } if now >= until => {
                let since = Instant::now();
                self.end(fault);
                self.phase = Phase::Recovering { fault, since, look: since };
            }
            Phase::Recovering { fault, since, look } if now >= look => {
                let status = self.site.status();
                // The status reports a slow commit for a minute or two.
                let disk = &status["disk"];
                let disk_is_well = disk["room"] == "ample" && disk["failing"].is_null();
                let mut missing = Site::degraded(&status);
                missing.retain(|what| *what != "disk" || !disk_is_well);
                if missing.is_empty() {
                    let slowest = self.tally.slowest.entry(fault).or_default();
                    *slowest = (*slowest).max(since.elapsed());
                    let pause = self.scaled(3, 12).max(CALM);
                    self.phase = Phase::Calm { until: Instant::now() + pause };
                } else {
                    assert!(since.elapsed() < RECOVERED_WITHIN, "{fault:?}: {missing:?}");
                    let look = Instant::now() + LOOK_EVERY;
                    self.phase = Phase::Recovering { fault, since, look };
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, fault: Fault) -> Duration {
        match fault {
            Kill => self.kill(),
            Stop => {
                self.daemon.take().unwrap().stop();
                return RESTART;
            }
            BrokerGone | BrokerGoneAndKill => self.site.broker.kill(),
            CableCut => self.command("cut"),
            AdapterUnplugged => {
                self.board.unplug();
                self.command("cut");
            }
            CameraGone => {
                self.camera = None;
                std::fs::remove_file(self.site.path("camera")).unwrap();
            }
            DiskFull => {
                self.disk.full(0);
                return Duration::from_secs(60).mul_f64(self.scale);
            }
        }
        match fault {
            Kill => RESTART,
            _ => self.scaled(5, 20).max(Duration::from_secs(2)),
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Kill | Stop => self.restart(),
            BrokerGone => self.site.broker.start(),
            BrokerGoneAndKill => {
                self.kill();
                std::thread::sleep(RESTART);
                self.restart();
                self.site.broker.start();
            }
            CableCut => self.command("mend"),
            AdapterUnplugged => {
                self.command("mend");
                self.board.plug_in(&self.site.path("tty"));
            }
            CameraGone => {
                self.camera = Some(self.site.plug_camera_in());
                self.visitor = None;
            }
            DiskFull => {
                assert!(Site::degraded(&self.site.status()).contains(&"disk"));
                self.disk.well();
            }
        }
    }

    fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
        self.command("closed");
    }

    fn restart(&mut self) {
        self.daemon = Some(self.site.start_with(&self.disk.environment()));
        self.tally.restarts += 1;
        self.resident.clear();
        self.born = Instant::now();
    }

    fn sample(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let Some(line) = line else { panic!("the daemon has died by itself\n{}", self.site.log()) };
        let kib: f64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        self.resident.push(kib);
        self.all_resident.push(kib);
    }

    /// Ends the current fault and waits until all passages are complete.
    fn settle(&mut self) {
        if let Phase::Suffering { fault, .. } = self.phase {
            self.end(fault);
        }
        self.visitor = None;
        if let Some(camera) = &self.camera {
            camera.show_empty();
        }
        self.site.status_when("a healthy gate with an empty outbox", |s| {
            let idle = s["lanes"][0]["busy"] == false;
            Site::degraded(s).is_empty() && Site::outbox(s) == 0 && idle
        });
        // A last passage may have begun before the gate was empty. Its walk is over by now.
        while let Some(line) = self.board.line_within(Duration::from_secs(2)) {
            self.heard(&line);
        }
        self.site.status_when("the last record to be sent", |s| {
            Site::outbox(s) == 0 && s["lanes"][0]["busy"] == false
        });
    }

    /// Returns the median resident memory in KiB early and late in the life of the last process,
    /// and the allowed growth.
    fn memory(&self) -> (f64, f64, f64) {
        let warming_up = WARMING_UP.as_secs() as usize;
        let warm = self.resident.len() >= 2 * warming_up;
        let seen = &self.resident[if warm { warming_up } else { 0 }..];
        let quarter = seen.len() / 4;
        assert!(quarter >= 3, "the last process ran too briefly: {seen:?}");
        let (early, late) = (median(&seen[..quarter]), median(&seen[seen.len() - quarter..]));
        let growth = if warm { early * GROWTH + GROWTH_KIB } else { GROWTH_COLD_KIB };
        (early, late, growth)
    }
}

/// Prints the progress to a stream that the test harness does not capture.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "soak: {line}");
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The counts of the database, read independently of the program's code.
#[derive(Default)]
struct Books {
    grants: u64,
    denials: u64,
    outcomes: BTreeMap<String, u64>,
    last_seq: u64,
    size: u64,
}

fn field<'a>(map: &'a Cbor, key: &str) -> &'a Cbor {
    let found = map.as_map().unwrap().iter().find(|(k, _)| k.as_text() == Some(key));
    &found.unwrap_or_else(|| panic!("{map:?} has no {key}")).1
}

fn number(value: &Cbor) -> u64 {
    u64::try_from(value.as_integer().unwrap()).unwrap()
}

/// Asserts that entries have no gap, that each has its leaf hash, and that each grant has one
/// outcome.
fn audit(site: &Site) -> Books {
    let path = site.path("data/gatehouse.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let found: String = database.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(found, "ok");
    let mut query =
        database.prepare("SELECT idx, seq, bytes, leaf FROM entry ORDER BY idx").unwrap();
    let entries = query
        .query_map([], |r| {
            let (idx, seq): (u64, Option<u64>) = (r.get(0)?, r.get(1)?);
            Ok((idx, seq, r.get::<_, Vec<u8>>(2)?, r.get::<_, Vec<u8>>(3)?))
        })
        .unwrap();
    let (mut books, mut open) = (Books::default(), BTreeMap::new());
    for entry in entries {
        let (index, seq, bytes, leaf) = entry.unwrap();
        assert_eq!(index, books.size, "an entry is missing");
        assert_eq!(Sha256::new().chain_update([0]).chain_update(&bytes).finalize()[..], leaf);
        let entry: Cbor = ciborium::from_reader(&bytes[..]).unwrap();
        assert_eq!(number(field(&entry, "index")), index);
        if let Some(seq) = seq {
            assert_eq!(number(field(&entry, "seq")), seq);
            assert_eq!(seq, books.last_seq + 1, "a seq is missing");
            books.last_seq = seq;
        }
        let data = field(&entry, "data");
        match field(&entry, "kind").as_text().unwrap() {
            "grant" => {
                books.grants += 1;
                open.insert(index, leaf);
            }
            "denial" => books.denials += 1,
            "outcome" => {
                let named = field(data, "cause");
                let cause = open.remove(&number(field(named, "index")));
                let cause = cause.unwrap_or_else(|| panic!("{data:?} closes nothing"));
                assert_eq!(field(named, "hash").as_bytes().unwrap(), &cause);
                let outcome = field(data, "outcome").as_text().unwrap().to_owned();
                *books.outcomes.entry(outcome).or_default() += 1;
            }
            _ => {}
        }
        books.size += 1;
    }
    assert!(open.is_empty(), "grants without an outcome: {open:?}");
    let waiting: u64 = database.query_row("SELECT count(*) FROM outbox", [], |r| r.get(0)).unwrap();
    assert_eq!(waiting, 0);
    books
}

/// The records of the platform, each seq once, in order, and the number of repeats.
struct Received {
    records: BTreeMap<u64, (String, Value)>,
    resent: u64,
    by_the_broker: u64,
}

fn receive_all(platform: &mut Subscriber, last_seq: u64) -> Received {
    let seq_of = |json: &Value| json["seq"].as_u64().unwrap();
    let mut seqs: BTreeSet<u64> = platform.records.iter().map(|m| seq_of(&m.json)).collect();
    while seqs.len() < last_seq as usize {
        let missing = || (1..=last_seq).filter(|seq| !seqs.contains(seq)).collect::<Vec<_>>();
        let message = platform.next_within(SOON);
        let message = message.unwrap_or_else(|| panic!("the platform lacks {:?}", missing()));
        if matches!(message.leaf(), "attendance" | "event") {
            seqs.insert(seq_of(&message.json));
        }
    }
    let mut received = Received { records: BTreeMap::new(), resent: 0, by_the_broker: 0 };
    let mut last_first = 0;
    for message in &platform.records {
        let (topic, mut json) = (message.topic.clone(), message.json.clone());
        let seq = seq_of(&json);
        let resent = json.as_object_mut().unwrap().remove("resent").is_some();
        match received.records.get(&seq) {
            None => {
                assert!(seq > last_first, "{seq} first came after {last_first}");
                last_first = seq;
                received.records.insert(seq, (topic, json));
            }
            Some(first) => {
                assert_eq!(first, &(topic, json), "the same seq has another content");
                // A killed broker redelivers messages that its subscriber had not acknowledged. The
                // gateway does not know about these.
                *(if resent { &mut received.resent } else { &mut received.by_the_broker }) += 1;
            }
        }
    }
    assert_eq!(
        received.records.keys().copied().collect::<Vec<_>>(),
        (1..=last_seq).collect::<Vec<_>>()
    );
    received
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|e| panic!("{name}={value}: {e}")))
}

#[test]
fn after_random_faults_the_sums_are_right_and_memory_is_flat() {
    let _machine = crate::machine();
    let length = Duration::from_secs(setting("GATEHOUSE_SOAK_S").unwrap_or(90));
    let seed = setting("GATEHOUSE_SOAK_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    });
    say(&format!("{length:?} with GATEHOUSE_SOAK_SEED={seed}"));
    let mut soak = Soak::start(length, seed);
    soak.run();
    let took = soak.begun.elapsed();
    soak.settle();
    let status = soak.site.status();
    let listed = soak.site.gatehouse(&["--json", "attendance", "list"]).json_lines();
    soak.daemon.take().unwrap().stop();
    let books = audit(&soak.site);
    let received = receive_all(&mut soak.platform, books.last_seq);
    let attendance: Vec<_> = received
        .records
        .values()
        .filter(|(topic, _)| topic.ends_with("/attendance"))
        .map(|(_, json)| json.clone())
        .collect();

    let tally = &soak.tally;
    let of = |outcome: &str| books.outcomes.get(outcome).copied().unwrap_or(0);
    let (passed, unconfirmed) = (of("passed"), of("unconfirmed"));
    let (early, late, growth) = soak.memory();
    let mib = |kib: f64| format!("{:.1} MiB", kib / 1024.0);
    let resident = &soak.all_resident;
    let extreme = |of: fn(f64, f64) -> f64| mib(resident.iter().copied().reduce(of).unwrap());
    let rows = [
        ("seed", seed.to_string()),
        ("length", format!("{:.0} s", took.as_secs_f64())),
        (
            "visits",
            format!(
                "{} ({:.1} a minute)",
                tally.visits,
                tally.visits as f64 / took.as_secs_f64() * 60.0
            ),
        ),
        ("workers' visits that had to succeed", tally.due.to_string()),
        ("  of these let through", tally.let_through.to_string()),
        ("grants", books.grants.to_string()),
        ("releases at the board", tally.coil_on.to_string()),
        ("walks at the board", tally.walks.to_string()),
        ("outcomes", format!("{:?}", books.outcomes)),
        ("denials", books.denials.to_string()),
        ("entries, of these sent", format!("{}, {}", books.size, books.last_seq)),
        ("repeats marked", received.resent.to_string()),
        ("repeats by the broker itself", received.by_the_broker.to_string()),
        ("faults", format!("{:?}", tally.faults)),
        ("restarts", tally.restarts.to_string()),
        ("slowest recovery", format!("{:.1?}", tally.slowest)),
        (
            "resident, least, median, most",
            format!("{}, {}, {}", extreme(f64::min), mib(median(resident)), extreme(f64::max)),
        ),
        ("resident in the last life, early, late", format!("{}, {}", mib(early), mib(late))),
    ];
    let mut table = String::new();
    for (what, value) in rows {
        write!(table, "\n  {what:<40} {value}").unwrap();
    }
    say(&table);
    let course: Vec<_> =
        soak.resident.iter().step_by(10).map(|kib| (kib / 1024.0) as u32).collect();
    say(&format!("resident in the last life each 10 s, MiB: {course:?}"));

    assert_eq!(tally.faults.keys().copied().collect::<Vec<_>>(), FAULTS, "every kind of fault");
    assert_eq!(books.outcomes.values().sum::<u64>(), books.grants);
    assert!(tally.coil_on <= books.grants, "a release without a grant");
    assert!(passed <= tally.coil_on, "a passage without a release");
    assert!(passed <= tally.walks, "a recorded passage without a walk");
    assert!(tally.walks <= passed + unconfirmed, "a walk without a record");
    assert_eq!(tally.walks, tally.coil_on);
    assert_eq!(listed, attendance);
    assert_eq!(attendance.len() as u64, books.grants);
    let passages: HashMap<_, _> = attendance.iter().map(|a| (a["passage"].as_str(), ())).collect();
    assert_eq!(passages.len(), attendance.len(), "a passage has two records");
    assert_eq!(status["ledger"]["id"], attendance[0]["ledger"]);
    assert!(books.denials > 0);
    let served = tally.let_through as f64 / tally.due as f64;
    assert!(served >= SERVED, "only {served:.2} of the workers were let through");
    assert!(late <= early + growth, "resident memory grows: {early} to {late} KiB");
}
