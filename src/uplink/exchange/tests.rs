//! A platform that loses answers, judges late, forgets and refuses, against the real store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::uplink::{
    profiles,
    suspects::{Course, Key},
};
use crate::{
    attendance::{EventRecord, Record},
    config::Tls,
    ledger::{self, LedgerError, WithheldFor},
    store::Priority,
    uplink::{
        Online,
        profiles::{Attached, Calls, Made, Message, Moment, Parcel, Request, Unusable, Verdict},
        tests::link::{Base, outbox, record},
        wire::WireError,
    },
};

const ROWS: u64 = 60;
const AT_ONCE: usize = 5;

/// A profile whose records go by three topics. It lacks something for the row with this seq.
struct Terse(u64);

impl Profile for Terse {
    fn topics(&self) -> &str {
        ""
    }

    fn talk(&self) -> Talk {
        Talk::Https(Arc::new(Terse(0)))
    }

    fn record(&self, _: &Record, _: &Attached) -> Made {
        Ok(None)
    }

    fn event(&self, event: &EventRecord) -> Made {
        if event.seq == self.0 {
            return Err(profiles::profile::Unmade::Lacks("the team's number".to_owned()));
        }
        let topic = format!("team {}", event.seq % 3);
        Ok(Some(Message { topic, payload: Vec::new(), retained: false }))
    }

    fn status(&self, _: &Online) -> Made {
        Ok(None)
    }

    fn offline(&self) -> Made {
        Ok(None)
    }
}

impl Calls for Terse {
    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn deliver(&self, _: &[Parcel], _: &Moment) -> Result<Request, profiles::profile::Unmade> {
        unreachable!("the wire of this test makes no requests")
    }

    fn delivered(&self, _: &[Parcel], _: &[u8]) -> Result<Vec<Verdict>, Unusable> {
        unreachable!("the wire of this test makes no requests")
    }

    fn inquire(&self, _: &str, _: &Moment) -> Option<Request> {
        None
    }

    fn inquired(&self, _: &str, _: &[u8]) -> Result<Option<Verdict>, Unusable> {
        Ok(None)
    }
}

/// The platform: what it has, and what it makes of each call.
#[derive(Default)]
struct Platform {
    random: u64,
    disk: BTreeSet<u64>,
    /// It refuses these.
    bad: BTreeSet<u64>,
    /// Each connection ends over these.
    poison: BTreeSet<u64>,
    /// Calls that it judges later, by their number.
    later: BTreeMap<String, Vec<u64>>,
    serial: u32,
    /// It takes what it can at once.
    calm: bool,
    /// It judges no call.
    puts_off: bool,
    /// What was asked, in its order: rows (true), or for a verdict.
    asked: Vec<bool>,
}

impl Platform {
    /// Returns whether something happens that happens once in `n` times.
    fn one_in(&mut self, n: u64) -> bool {
        // Knuth's MMIX generator.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33).is_multiple_of(n)
    }

    fn take(&mut self, rows: &[Parcel]) -> Result<Vec<Verdict>, WireError> {
        assert!(!rows.is_empty() && rows.len() <= AT_ONCE);
        assert!(rows.iter().all(|row| row.message.topic == rows[0].message.topic));
        let seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
        for row in rows {
            let marked = row.resent || !self.disk.contains(&row.seq);
            assert!(marked, "row {} comes again without a mark", row.seq);
        }
        if seqs.iter().any(|seq| self.poison.contains(seq)) {
            return Err(WireError::new("the answer is no JSON"));
        }
        self.asked.push(true);
        if self.puts_off {
            self.serial += 1;
            let serial = format!("S{}", self.serial);
            self.later.insert(serial.clone(), seqs);
            return Ok(vec![Verdict::Later(serial); rows.len()]);
        }
        if self.calm {
            self.disk.extend(&seqs);
            return Ok(vec![Verdict::Taken; rows.len()]);
        }
        if self.one_in(12) {
            return Err(WireError::new("the call is lost"));
        }
        if self.one_in(8) {
            return Ok(seqs.iter().map(|_| Verdict::NotNow("busy".to_owned())).collect());
        }
        if self.one_in(3) {
            self.serial += 1;
            let serial = format!("S{}", self.serial);
            self.later.insert(serial.clone(), seqs);
            return Ok(rows.iter().map(|_| Verdict::Later(serial.clone())).collect());
        }
        let spoils_all = self.one_in(2) && seqs.iter().any(|seq| self.bad.contains(seq));
        let mut verdicts = Vec::new();
        for seq in seqs {
            let refused = spoils_all || self.bad.contains(&seq);
            verdicts.push(match refused {
                true => Verdict::Refused("no such person".to_owned()),
                false => Verdict::Taken,
            });
            if !refused {
                self.disk.insert(seq);
            }
        }
        if self.one_in(12) {
            return Err(WireError::new("the answer is lost"));
        }
        Ok(verdicts)
    }

    fn judge(&mut self, serial: &str) -> Option<Verdict> {
        self.asked.push(false);
        if self.puts_off || self.one_in(2) {
            return None;
        }
        if self.one_in(8) {
            return Some(Verdict::NotNow("no such number".to_owned()));
        }
        let seqs = self.later.get(serial)?;
        if seqs.iter().any(|seq| self.bad.contains(seq)) {
            return Some(Verdict::Refused("no such person".to_owned()));
        }
        self.disk.extend(seqs);
        Some(Verdict::Taken)
    }
}

struct Scripted(Arc<Mutex<Platform>>);

impl Wire for Scripted {
    fn open(&mut self) -> BoxFuture<'_, Result<(), WireError>> {
        Box::pin(async { Ok(()) })
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn deliver(&mut self, rows: Vec<Parcel>) -> BoxFuture<'_, Result<Vec<Verdict>, WireError>> {
        Box::pin(async move { self.0.lock().unwrap().take(&rows) })
    }

    fn inquire(&mut self, serial: String) -> BoxFuture<'_, Result<Option<Verdict>, WireError>> {
        Box::pin(async move {
            // Longer than it takes to read rows.
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(self.0.lock().unwrap().judge(&serial))
        })
    }
}

/// A link to the platform, whose task ends and begins again.
struct Link {
    base: Base,
    /// The gateway lacks something for the row with this seq.
    lacks: u64,
    platform: Arc<Mutex<Platform>>,
    runs:
        Option<(watch::Receiver<UpstreamState>, mpsc::Sender<Asked>, tokio::task::JoinHandle<()>)>,
}

impl Link {
    fn to(base: Base, platform: Platform) -> Link {
        Link { base, lacks: 0, platform: Arc::new(Mutex::new(platform)), runs: None }
    }

    fn begin(&mut self) {
        let text = "name = 'platform'\nurl = 'http://127.0.0.1'";
        let upstream: Upstream = toml::from_str(text).unwrap();
        let (state, watched) = watch::channel(UpstreamState::default());
        let (asked, asks) = mpsc::channel(4);
        let safety = Arc::new(Safety::new(&Tls::default()));
        let platform = self.platform.clone();
        let make = move || Some(Box::new(Scripted(platform.clone())) as Box<dyn Wire>);
        // All rows so far may have been sent by an earlier run, as the daemon assumes.
        let context = Context { sent_before: ROWS, ..self.base.context.clone() };
        let parts = (
            upstream,
            Arc::new(Terse(self.lacks)) as Arc<dyn Profile>,
            safety,
            Duration::from_millis(20),
        );
        let task = tokio::spawn(run_over(make, parts, context, state, asks));
        self.runs = Some((watched, asked, task));
    }

    /// Ends the task where it is, as kill -9 does.
    fn kill(&mut self) {
        if let Some((.., task)) = self.runs.take() {
            task.abort();
        }
    }

    /// Moves the clock until this number of rows stands aside as refused and no other waits.
    async fn until_refused(&mut self, refused: u64) {
        let dir = self.base.context.storage_dir.clone();
        let drains = move |tx: &rusqlite::Transaction<'_>| {
            let next = ledger::next_to_drain(tx, &dir, "platform", 1, |_, _| ())?;
            Ok::<_, LedgerError>((ledger::count_refused(tx, "platform")?, next.is_some()))
        };
        let mut kills = 0;
        loop {
            self.base.clock.advance(Duration::from_secs(61));
            tokio::time::sleep(Duration::from_millis(10)).await;
            let (aside, drains) = self.base.store.read(drains.clone()).await.unwrap();
            if aside == refused && !drains && outbox(&self.base.store).await.is_empty() {
                return;
            }
            let calm = self.platform.lock().unwrap().calm;
            let dies = !calm && kills < 3 && self.platform.lock().unwrap().one_in(20);
            kills += u32::from(dies);
            if dies || self.runs.as_ref().is_none_or(|(.., task)| task.is_finished()) {
                self.kill();
                self.begin();
            }
        }
    }
}

async fn every_row_ends_with_a_verdict(seed: u64) {
    let base = Base::new().await;
    record(&base.store, &base.ledger, ROWS).await;
    let bad = BTreeSet::from([1, 7, 8, 30, ROWS]);
    let platform = Platform { random: seed, bad: bad.clone(), ..Platform::default() };
    let mut link = Link::to(base, platform);
    link.begin();
    link.until_refused(bad.len() as u64).await;
    let all: BTreeSet<u64> = (1..=ROWS).collect();
    assert_eq!(link.platform.lock().unwrap().disk, &all - &bad, "seed {seed}");
    // Each refused row is listed with the platform's words.
    let list = |tx: &rusqlite::Transaction<'_>| ledger::refused(tx, "platform", 0, 100);
    let refused = link.base.store.read(list).await.unwrap();
    assert_eq!(refused.iter().map(|r| r.seq).collect::<BTreeSet<_>>(), bad);
    assert!(refused.iter().all(|r| r.words == "no such person" && !r.here));
    // The cause is mended, and they go.
    link.platform.lock().unwrap().bad.clear();
    let retry = |tx: &rusqlite::Transaction<'_>| ledger::retry_refused(tx, "platform", false);
    let back = link.base.store.write(Priority::Upkeep, retry).await.unwrap();
    assert_eq!(back, Some((1, ROWS)));
    if let Some((_, asked, _)) = &link.runs {
        let _ = asked.send(Asked::Again { from: 1, to: ROWS }).await;
    }
    link.until_refused(0).await;
    assert_eq!(link.platform.lock().unwrap().disk, all);
    let left = |tx: &rusqlite::Transaction<'_>| {
        let of = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, u64>(0));
        Ok::<_, LedgerError>((
            of("SELECT count(*) FROM outbox")?,
            of("SELECT count(*) FROM verdict")?,
        ))
    };
    assert_eq!(link.base.store.read(left).await.unwrap(), (0, 0));
    link.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_each_row_is_taken_or_listed_as_refused_and_none_is_lost() {
    let seeds = (1..=8).map(|seed| tokio::spawn(every_row_ends_with_a_verdict(seed * 0x9E37)));
    for seed in seeds.collect::<Vec<_>>() {
        seed.await.unwrap();
    }
}

#[tokio::test]
async fn i3_a_refused_row_keeps_its_entry_and_goes_when_it_is_asked_for_again() {
    let base = Base::new().await;
    record(&base.store, &base.ledger, 2).await;
    let refusal = ledger::Refusal { seq: 1, words: "no number".to_owned(), here: true, at_ms: 5 };
    let refuse = move |tx: &rusqlite::Transaction<'_>| {
        ledger::refuse(tx, "platform", std::slice::from_ref(&refusal))?;
        // A row that has left the outbox is not refused.
        ledger::strike_off(tx, "platform", &[2])?;
        ledger::refuse(tx, "platform", &[ledger::Refusal { seq: 2, ..refusal.clone() }])?;
        let aside = ledger::aside(tx, "platform", WithheldFor::Refused, (0, 9, 9), |stored, _| {
            stored.entry.seq
        })?;
        assert_eq!((aside, ledger::withheld(tx, "platform")?), (vec![Some(1)], 0));
        // Only what the gateway lacked is retried after a change of the roster.
        assert_eq!(ledger::retry_refused(tx, "platform", true)?, Some((1, 1)));
        assert_eq!(ledger::retry_refused(tx, "platform", true)?, None);
        ledger::refuse(tx, "platform", &[ledger::Refusal { here: false, ..refusal }])?;
        assert_eq!(ledger::retry_refused(tx, "platform", true)?, None);
        ledger::count_refused(tx, "platform")
    };
    assert_eq!(base.store.write::<_, LedgerError>(Priority::Upkeep, refuse).await.unwrap(), 1);
    let again = |tx: &rusqlite::Transaction<'_>| ledger::queue_again(tx, "platform", 1, 1);
    base.store.write(Priority::Upkeep, again).await.unwrap();
    assert_eq!(outbox(&base.store).await, [1]);
}

/// Sets aside a database with records that wait for the platform.
fn set_aside(base: &mut Base, rows: u64) {
    base.context.storage_dir = base.dir.path().into();
    let place = base.dir.path().join("set-aside/1-20261122T033855Z");
    std::fs::create_dir_all(&place).unwrap();
    let mut old = rusqlite::Connection::open(place.join("gatehouse.db")).unwrap();
    old.execute_batch(crate::store::SCHEMA).unwrap();
    let tx = old.transaction().unwrap();
    crate::store::set_meta(&tx, "ledger", &[7; 16]).unwrap();
    let ledger = ledger::Ledger::open(&tx, vec!["platform".into()]).unwrap();
    let stamp = crate::clock::SystemClock::new().unwrap().stamp();
    for _ in 0..rows {
        ledger.append(&tx, stamp, ledger::Boot { version: "1".into() }).unwrap();
    }
    tx.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_records_of_a_database_set_aside_are_taken_or_listed_and_offered_again() {
    let mut base = Base::new().await;
    set_aside(&mut base, 20);
    let platform = Platform { random: 7, bad: BTreeSet::from([3, 20]), ..Platform::default() };
    let mut link = Link::to(base, platform);
    link.lacks = 6;
    link.begin();
    link.until_refused(3).await;
    let all: BTreeSet<u64> = (1..=20).collect();
    assert_eq!(link.platform.lock().unwrap().disk, &all - &BTreeSet::from([3, 6, 20]));
    let list = |tx: &rusqlite::Transaction<'_>| {
        let dir = tx.path().map(std::path::PathBuf::from).unwrap();
        let upstreams = ["platform".to_owned()];
        assert!(ledger::still_drains(tx, dir.parent().unwrap(), &upstreams)?, "not all has gone");
        let first = ledger::not_drained(tx, "platform", ("", 0), 2)?;
        let (place, last) = first.last().cloned().unwrap();
        let rest = ledger::not_drained(tx, "platform", (&place, last.seq), 2)?;
        Ok::<_, LedgerError>(first.into_iter().chain(rest).collect::<Vec<_>>())
    };
    let listed = link.base.store.read(list).await.unwrap();
    assert!(listed.iter().all(|(place, _)| place == "1-20261122T033855Z"), "{listed:?}");
    let shown: Vec<_> = listed.iter().map(|(_, r)| (r.seq, &*r.words, r.here)).collect();
    let refused = "no such person";
    let lacking = "the team's number";
    assert_eq!(shown, [(3, refused, false), (6, lacking, true), (20, refused, false)]);

    // What was lacking goes when the gateway has it. The rest goes at the next start, as all does.
    link.kill();
    link.lacks = 0;
    link.begin();
    let retry =
        |here| move |tx: &rusqlite::Transaction<'_>| ledger::retry_refused(tx, "platform", here);
    assert_eq!(link.base.store.write(Priority::Upkeep, retry(true)).await.unwrap(), None);
    if let Some((_, asked, _)) = &link.runs {
        asked.send(Asked::Earlier).await.unwrap();
    }
    link.until_refused(2).await;
    assert!(link.platform.lock().unwrap().disk.contains(&6));
    link.platform.lock().unwrap().bad.clear();
    link.kill();
    link.base.store.write(Priority::Upkeep, retry(false)).await.unwrap();
    link.begin();
    link.until_refused(0).await;
    assert_eq!(link.platform.lock().unwrap().disk, all);
    link.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_verdicts_hold_up_no_new_row() {
    let base = Base::new().await;
    record(&base.store, &base.ledger, 90).await;
    let mut link = Link::to(base, Platform { puts_off: true, ..Platform::default() });
    link.begin();
    let rows =
        |link: &Link| link.platform.lock().unwrap().later.values().map(Vec::len).sum::<usize>();
    while rows(&link) < 90 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // All verdicts are due, and new rows come.
    link.platform.lock().unwrap().asked.clear();
    link.base.clock.advance(Duration::from_secs(61));
    record(&link.base.store, &link.base.ledger, 30).await;
    while rows(&link) < 120 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    link.kill();
    let asked = link.platform.lock().unwrap().asked.clone();
    let [first, last] = [asked.iter().position(|rows| *rows), asked.iter().rposition(|rows| *rows)];
    let between = &asked[first.unwrap()..=last.unwrap()];
    assert!(between.contains(&false), "{asked:?}");
    assert!(between.windows(2).all(|two| two[0] || two[1]), "inquiries hold rows up: {asked:?}");
}

fn key(seq: u64) -> Key {
    (String::new(), seq)
}

/// A call under way ends the connection.
fn ends(suspects: &mut Suspects, call: &[u64]) {
    suspects.begins(call.iter().map(|seq| key(*seq)));
    suspects.ended("no JSON");
}

fn takes(suspects: &mut Suspects, call: &[u64]) {
    suspects.begins(call.iter().map(|seq| key(*seq)));
    suspects.answered(true);
}

#[test]
fn rows_go_alone_after_three_connections_that_ended_over_their_call() {
    let mut suspects = Suspects::default();
    ends(&mut suspects, &[1, 2, 3]);
    // A connection that ends without a call, and an answer to others, change nothing.
    suspects.ended("it hung up");
    takes(&mut suspects, &[8, 9]);
    ends(&mut suspects, &[1, 2, 3, 4]);
    assert!(!suspects.goes_alone(&key(1)));
    ends(&mut suspects, &[2, 3, 4]);
    let alone: Vec<u64> = (1..9).filter(|seq| suspects.goes_alone(&key(*seq))).collect();
    assert_eq!(alone, [2, 3], "the rows that each of the calls had");
    takes(&mut suspects, &[2]);
    assert!(!suspects.goes_alone(&key(2)) && suspects.goes_alone(&key(3)));
}

#[test]
fn a_row_stands_aside_when_it_ends_a_connection_again_after_another_row_was_taken() {
    let mut suspects = Suspects::default();
    for _ in 0..2 {
        ends(&mut suspects, &[3]);
        assert_eq!(suspects.course(&key(3)), Course::Now);
    }
    ends(&mut suspects, &[3]);
    assert_eq!(suspects.course(&key(3)), Course::Last, "others go first");
    takes(&mut suspects, &[4]);
    assert_eq!(suspects.course(&key(3)), Course::Now, "it has one more try");
    ends(&mut suspects, &[3]);
    assert_eq!(suspects.course(&key(3)), Course::Aside("no JSON".to_owned()));
    suspects.forget(&key(3));
    assert_eq!(suspects.course(&key(3)), Course::Now, "it begins again when it is offered again");
    // A row that is taken at last is no suspect.
    (0..3).for_each(|_| ends(&mut suspects, &[5]));
    takes(&mut suspects, &[6]);
    takes(&mut suspects, &[5]);
    ends(&mut suspects, &[5]);
    assert_eq!(suspects.course(&key(5)), Course::Now);
}

#[test]
fn no_row_stands_aside_while_the_platform_takes_none() {
    let mut suspects = Suspects::default();
    let rows: Vec<Key> = (1..=40).map(key).collect();
    for _ in 0..2000 {
        let now = rows.iter().find(|row| suspects.course(row) == Course::Now);
        let (_, seq) = now.or_else(|| suspects.first(rows.iter())).unwrap().clone();
        ends(&mut suspects, &[seq]);
        assert!(rows.iter().all(|row| !matches!(suspects.course(row), Course::Aside(_))));
    }
    // It is up again: each suspect has another try, and is taken.
    for (_, seq) in rows.clone() {
        takes(&mut suspects, &[seq]);
        assert!(rows.iter().all(|row| !matches!(suspects.course(row), Course::Aside(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_a_row_over_which_each_connection_ends_stands_aside_and_the_others_go() {
    let mut base = Base::new().await;
    record(&base.store, &base.ledger, 9).await;
    set_aside(&mut base, 3);
    let poison = BTreeSet::from([2]);
    let platform = Platform { poison, calm: true, ..Platform::default() };
    let mut link = Link::to(base, platform);
    link.begin();
    // The row itself, and the record with its seq in the database that was set aside.
    link.until_refused(2).await;
    let all: BTreeSet<u64> = (1..=9).collect();
    assert_eq!(link.platform.lock().unwrap().disk, &all - &BTreeSet::from([2]));
    let list = |tx: &rusqlite::Transaction<'_>| {
        let here = ledger::refused(tx, "platform", 0, 9)?;
        let aside = ledger::not_drained(tx, "platform", ("", 0), 9)?;
        Ok::<_, LedgerError>((here, aside))
    };
    let (here, aside) = link.base.store.read(list).await.unwrap();
    assert_eq!((here[0].seq, &*here[0].words), (2, "the answer is no JSON"));
    assert_eq!((aside[0].1.seq, &*aside[0].1.words), (2, "the answer is no JSON"));
    link.kill();
}
