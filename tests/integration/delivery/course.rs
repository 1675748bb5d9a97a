//! One run: records are written, troubles come, and the platform's records are compared with the
//! ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use gatehouse::{config::Direction, roster::Person};
use rusqlite::{Connection, OpenFlags};

use super::brokers::{Brokers, Kind};
use crate::common::{
    Daemon, Site,
    consumer::{Consumer, Report, TIMEOUT},
    past::{self, Went, person, went},
};

/// Number of times that the daemon is killed. Each time, records are added before it starts again.
const LIVES: u64 = 8;
/// Number of these kills that happen while the broker is down.
const AT_ONCE: u64 = 2;
/// Number of kills of a broker.
const BROKERS_KILLED: usize = 6;
/// Share of the records that waits when the daemon first starts, in tenths.
const AT_FIRST: u64 = 5;
/// Number of records that a broker accepts for an absent platform before it is killed.
const WITHOUT_PLATFORM: u64 = 200;
/// Log filter that shows each row that a daemon sends.
const LOG: &str = "info,gatehouse::uplink=trace";
const HANDED_ON: &str = "a row is handed on seq=";
/// Time for which stalled brokers run between two checks.
const A_LITTLE: Duration = Duration::from_millis(5);
/// Interval between two checks of the outbox while the platform is silent.
const LOOK: Duration = Duration::from_millis(100);
/// Timeout after which a returned platform should have got a new record.
const HEARD: Duration = Duration::from_secs(10);
/// Time after which a cluster has redelivered messages that a dead node left unacknowledged: its
/// `ack_wait` with a margin.
const REDELIVERED: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Daemon,
    Broker,
    Both,
    /// The broker is killed while the platform is absent.
    WithoutPlatform,
}

/// The result of a run.
pub struct End {
    /// Number of records that the brokers acknowledged and never delivered.
    pub lost: u64,
    /// Number of commands with which the platform asked for them.
    pub commands: u64,
    /// The platform's report before those commands.
    pub report: Report,
    /// Number of records that waited longer than a new record and came after it.
    pub overtook: u64,
}

/// xorshift64*: good enough to choose, and the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// Returns the troubles in a random order. The platform is absent right after a start of the
/// daemon, so that records wait.
fn troubles(chance: &mut Chance) -> Vec<Trouble> {
    let mut all: Vec<_> = (0..LIVES)
        .map(|n| if n < AT_ONCE { Trouble::Both } else { Trouble::Daemon })
        .chain(std::iter::repeat_n(Trouble::Broker, BROKERS_KILLED))
        .collect();
    for n in (1..all.len()).rev() {
        all.swap(n, chance.below(n as u64 + 1) as usize);
    }
    let start = all.iter().rposition(|t| *t == Trouble::Daemon).unwrap();
    all.insert(start + 1, Trouble::WithoutPlatform);
    all
}

struct Course {
    // Fields are dropped in this order.
    daemon: Option<Daemon>,
    platform: Consumer,
    brokers: Brokers,
    site: Site,
    ack: &'static str,
    chance: Chance,
    people: Vec<Person>,
    records: u64,
    written: u64,
}

/// Runs the whole course. `usual`: the default number of records.
pub fn run(kind: Kind, ack: &'static str, usual: u64) -> End {
    let seed = setting("GATEHOUSE_DELIVERY_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let records = setting("GATEHOUSE_DELIVERY_RECORDS").unwrap_or(usual);
    let (begun, mut chance) = (Instant::now(), Chance(seed | 1));
    eprintln!("{kind:?}, ack = {ack:?}: {records} records, GATEHOUSE_DELIVERY_SEED={seed}");
    let troubles = troubles(&mut chance);
    let mut course = Course::start(kind, ack, records, chance);
    let new = course.record_while_others_wait();
    for trouble in &troubles {
        course.meet(*trouble, troubles.len() as u64);
    }
    assert_eq!(course.written, records);
    let end = course.end(kind, new);
    let Report { repeats, late, connects, sessions_lost, .. } = end.report;
    eprintln!(
        "{kind:?}, ack = {ack:?}: of {} records brokers lost {}, which the platform requested with {} commands; \
         {repeats} repeats, {late} late; a new record overtook {}; the platform connected \
         {connects} times and lost its session {sessions_lost} times; {:.0?}",
        end.report.records + end.lost,
        end.lost,
        end.commands,
        end.overtook,
        begun.elapsed()
    );
    end
}

impl Course {
    fn start(kind: Kind, ack: &'static str, records: u64, chance: Chance) -> Course {
        let site = Site::with(|c| c.its("ack", ack));
        let brokers = Brokers::start(kind, &site.path("brokers"));
        let ports = brokers.ports();
        let addresses = ports.iter().map(|port| format!("mqtt://127.0.0.1:{port}"));
        site.configure(|c| c.its("broker", addresses.collect::<Vec<_>>()));
        let root = "gatehouse/v1/P-1/gate-1";
        let platform = Consumer::start(&site.path(""), &ports, root, ack);
        let people = (0..20).map(|n| person(&format!("W{n:03}"), "刘峰", "钢筋一班")).collect();
        let mut course = Course {
            daemon: None,
            platform,
            brokers,
            site,
            ack,
            chance,
            people,
            records,
            written: 0,
        };
        // These records were never sent, so that none of them is wrongly marked as a repeat.
        let first = course.passages(records * AT_FIRST / 10);
        past::write_for(&course.site, &[], &course.people[..1], first.into_iter());
        course.brokers.stall();
        course.start_daemon();
        course
    }

    fn start_daemon(&mut self) {
        self.daemon = Some(self.site.start_with(&[("GATEHOUSE_LOG", LOG)]));
    }

    /// Returns how often each row left the gateway without a mark, from the logs of all its
    /// daemons.
    fn handed_on_unmarked(&self) -> BTreeMap<u64, usize> {
        let (mut times, mut all) = (BTreeMap::new(), BTreeSet::new());
        for line in self.site.log().lines() {
            let Some((_, row)) = line.split_once(HANDED_ON) else { continue };
            let (seq, resent) = row.split_once(" resent=").unwrap();
            let seq = seq.parse().unwrap();
            all.insert(seq);
            match resent {
                "false" => *times.entry(seq).or_default() += 1,
                other => assert_eq!(other, "true"),
            }
        }
        assert!(all.len() as u64 > self.records, "{} rows are in the log", all.len());
        times
    }

    /// Returns the next `count` passages.
    fn passages(&mut self, count: u64) -> Vec<Went> {
        let from = self.written;
        self.written += count;
        let one = |n: u64| {
            let person = &self.people[n as usize % self.people.len()];
            let direction = if n.is_multiple_of(2) { Direction::Entry } else { Direction::Exit };
            let then = went(person, direction, "2026-10-01T08:00:00+08:00");
            Went { at_ms: then.at_ms + n as i64 * 1000, ..then }
        };
        (from..self.written).map(one).collect()
    }

    /// Writes the records that were added while the daemon was stopped.
    fn write_more(&mut self) {
        let share = (self.records - self.records * AT_FIRST / 10) / LIVES;
        let left = self.records - self.written;
        let passages = self.passages(if left < 2 * share { left } else { share });
        past::write(&self.site, &[], passages.into_iter());
    }

    fn number(&self, sql: &str) -> u64 {
        let path = self.site.path("data/gatehouse.db");
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        database.busy_timeout(TIMEOUT).unwrap();
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn outbox(&self) -> u64 {
        self.number("SELECT count(*) FROM outbox WHERE upstream = 'platform'")
    }

    /// Waits until this condition holds for the outbox, and processes the platform's messages
    /// meanwhile. Fails without progress for `TIMEOUT`.
    fn outbox_until(&mut self, what: &str, mut holds: impl FnMut(&Course, u64) -> bool) {
        let (mut least, mut moved) = (u64::MAX, Instant::now());
        loop {
            let waiting = self.outbox();
            if holds(self, waiting) {
                return;
            }
            if waiting < least || self.platform.next_within(LOOK).is_some() {
                (least, moved) = (least.min(waiting), Instant::now());
            }
            assert!(
                moved.elapsed() < TIMEOUT,
                "{what}: {waiting} wait, and there is no progress\n{:?}",
                self.platform.report()
            );
        }
    }

    fn emptied(&mut self) {
        self.outbox_until("the outbox to be empty", |_, waiting| waiting == 0);
    }

    /// Records an entry while the daemon runs, and returns its seq.
    fn record_now(&self, verb: &str) -> u64 {
        let id = self.people[0].id.as_str();
        let said = self.site.gatehouse(&["worker", verb, id, "--reason", "a drill"]);
        assert_eq!(said.code, 0, "{said:?}");
        self.number("SELECT max(seq) FROM entry WHERE kind = 'state'")
    }

    /// Records entries until the platform, which may still be reconnecting, has got the latest one.
    /// Returns its seq.
    fn record_until_heard(&mut self) -> u64 {
        let begun = Instant::now();
        let mut verbs = ["resume", "suspend"].into_iter().cycle();
        while begun.elapsed() < TIMEOUT {
            let seq = self.record_now(verbs.next().unwrap());
            self.emptied();
            let recorded = Instant::now();
            while recorded.elapsed() < HEARD {
                if self.platform.report().highest >= seq {
                    return seq;
                }
                self.platform.next_within(LOOK);
            }
        }
        panic!("the platform gets no new record: {:?}", self.platform.report())
    }

    /// Records an entry while the backlog drains, and waits until it is delivered, before anything
    /// is killed. Returns its seq. The brokers read only a little at a time, so that the backlog is
    /// still there on a slow machine.
    fn record_while_others_wait(&mut self) -> u64 {
        self.outbox_until("the backlog to drain", |course, _| {
            let drains = course.site.log().contains(HANDED_ON);
            if !drains {
                course.brokers.go_on();
                std::thread::sleep(A_LITTLE);
                course.brokers.stall();
            }
            drains
        });
        let seq = self.record_now("suspend");
        self.brokers.go_on();
        let still = format!("SELECT count(*) FROM outbox WHERE seq = {seq}");
        self.outbox_until("the new record to be delivered", |course, _| course.number(&still) == 0);
        seq
    }

    /// Waits until the platform has a random number of further records, or all records.
    fn get_on(&mut self, troubles: u64) {
        let step = 1 + self.chance.below(2 * self.records / (troubles + 1));
        let goal = self.platform.stored + step;
        let done = |course: &Course, waiting| waiting == 0 || course.platform.stored >= goal;
        self.outbox_until("records to arrive", done);
    }

    fn meet(&mut self, trouble: Trouble, troubles: u64) {
        if trouble != Trouble::WithoutPlatform {
            self.get_on(troubles);
        }
        if matches!(trouble, Trouble::Broker | Trouble::Both) {
            self.brokers.kill(self.chance.below(100) as usize);
        }
        if matches!(trouble, Trouble::Daemon | Trouble::Both) {
            self.daemon.take().unwrap().kill();
            self.write_more();
            self.start_daemon();
        }
        if trouble == Trouble::WithoutPlatform {
            self.platform.tell("leave");
            self.platform.says("left");
            if self.ack == "broker" {
                let goal = self.outbox().saturating_sub(WITHOUT_PLATFORM);
                self.outbox_until("the broker to take records", |_, waiting| waiting <= goal);
            }
            self.brokers.kill(self.chance.below(100) as usize);
        }
        if trouble != Trouble::Daemon {
            self.brokers.restart();
        }
        if trouble == Trouble::WithoutPlatform {
            self.platform.tell("come");
        }
    }

    /// Waits until all records are sent. Asserts that the platform gets those that are missing, and
    /// that its records equal the ledger.
    fn end(mut self, kind: Kind, new: u64) -> End {
        self.brokers.all_well();
        self.emptied();
        // No process is killed any more. This record shows the platform which earlier ones are
        // missing.
        let last = self.record_until_heard();
        // Until this time missing records may still come without a command.
        let by_itself = match (self.ack, kind) {
            ("broker", Kind::Mosquitto) => Duration::ZERO,
            ("broker", Kind::Cluster) => REDELIVERED,
            _ => TIMEOUT,
        };
        let begun = Instant::now();
        let mut report = self.platform.report();
        while report.missing > 0 && begun.elapsed() < by_itself {
            self.platform.next_within(LOOK);
            report = self.platform.report();
        }
        let mut end = End { lost: report.missing, commands: 0, report, overtook: 0 };
        if self.ack == "broker" && end.lost > 0 {
            self.platform.tell("mend");
            end.commands = self.platform.says("mended")["commands"].as_u64().unwrap();
        }
        let report = self.platform.report();
        assert!(report.highest >= last && report.missing == 0, "{report:?}");
        assert_eq!(report.differing, 0, "{report:?}");
        let unmarked = self.handed_on_unmarked();
        let sent_twice: Vec<_> = unmarked.iter().filter(|(_, times)| **times > 1).collect();
        assert!(sent_twice.is_empty(), "sent twice without a mark: {sent_twice:?}");
        match kind {
            Kind::Mosquitto => assert!(report.unmarked.is_empty(), "{report:?}"),
            // A dead node may not have replicated that it delivered a message. Another node then
            // delivers the message without a mark (nats-io/nats-server, pull request 6566).
            Kind::Cluster => {
                eprintln!("the cluster delivered twice, unmarked: {:?}", report.unmarked)
            }
        }
        end.overtook = self.compare(last, new);
        assert!(end.overtook > self.records / 10, "a new record overtook {}", end.overtook);
        self.daemon.take().unwrap().stop();
        end
    }

    /// Compares the platform's disk with the ledger. Returns how many older records came after the
    /// new one.
    fn compare(&self, last: u64, new: u64) -> u64 {
        let database = self.site.path("data/gatehouse.db");
        let database =
            Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut rows = database.prepare("SELECT seq, lower(hex(leaf)) FROM entry WHERE seq <= ?1");
        let rows = rows.as_mut().unwrap().query_map([last], |row| Ok((row.get(0)?, row.get(1)?)));
        let recorded: BTreeMap<u64, String> = rows.unwrap().map(Result::unwrap).collect();
        assert!(recorded.keys().copied().eq(1..=last));
        let arrivals = self.platform.arrivals();
        let after_it = arrivals.iter().skip_while(|(seq, _)| *seq != new);
        let overtook = after_it.filter(|(seq, _)| *seq < new).count() as u64;
        let mut arrived: BTreeMap<u64, String> = arrivals.into_iter().collect();
        arrived.retain(|seq, _| *seq <= last);
        assert!(recorded == arrived, "the platform's records differ from the ledger");
        overtook
    }
}
