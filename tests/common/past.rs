//! Records from before the test: workers and passages, written as the daemon writes them.

use std::sync::Arc;

use gatehouse::{
    attendance::Means,
    clock::{BootId, Clock, Stamp, SystemClock},
    config::{Direction, Secret, Storage},
    ledger::{
        Actor, Body, CardEvidence, Detail, Evidence, Flag, Grant, GuardRelease, Ledger,
        LedgerError, Outcome, Score, Via,
    },
    roster::{self, Enrolment, IdType, Identity, Person, RosterError, Worker},
    store::{self, Priority},
    turnstile::PassageId,
};

use rusqlite::Transaction;

use super::Site;

/// A passage of a worker.
#[derive(Clone)]
pub struct Went {
    pub person: Person,
    pub direction: Direction,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub lane: &'static str,
    pub outcome: Outcome,
    /// A guard vouched for the worker, instead of a camera.
    pub vouched: bool,
    /// How the worker was known: by face, card, ID card or QR code.
    pub means: Means,
}

pub fn person(id: &str, name: &str, team: &str) -> Person {
    Person {
        id: id.parse().unwrap(),
        name: name.into(),
        team: team.into(),
        contractor: "福鼎劳务".into(),
        trade: "steel fixer".into(),
    }
}

/// Returns a passage by face at the lane `north`. `at` is in RFC 3339.
pub fn went(person: &Person, direction: Direction, at: &str) -> Went {
    let at_ms = at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let (person, outcome) = (person.clone(), Outcome::Passed);
    Went { person, direction, at_ms, lane: "north", outcome, vouched: false, means: Means::Face }
}

/// Writes the past of a site before the daemon starts. Each of `people` is on the roster, without a
/// template. No passage is sent upstream twice.
pub fn write(site: &Site, people: &[Person], passages: impl Iterator<Item = Went>) {
    write_for(site, &["platform"], people, passages);
}

/// As `write`, with outbox rows for these upstreams. An upstream that is added later gets all
/// records.
pub fn write_for(
    site: &Site,
    upstreams: &[&str],
    people: &[Person],
    passages: impl Iterator<Item = Went>,
) {
    let dir = site.path("data");
    let config = Storage::usual(dir.clone(), Secret::File(dir.join("key")));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, thread) = store::open(&config, clock.clone()).unwrap();
    let (sealer, people) = (store.sealer().clone(), people.to_vec());
    let enrolled = store.write(Priority::Photo, move |tx| {
        for person in people {
            let number = format!("E{:0>8}", person.id.as_str());
            let worker = Worker::new(person);
            let identity = Identity::checked(IdType::Passport, &number, Default::default(), None)?;
            let (model, faces) = ("m".to_owned(), vec![]);
            roster::enroll(tx, &sealer, &Enrolment { worker, identity, model, faces })?;
        }
        Ok::<_, RosterError>(())
    });
    runtime.block_on(enrolled).unwrap();
    // The past is of another boot than the test's.
    let stamp = Stamp { boot: BootId([9; 16]), ..clock.stamp() };
    let mut passages = passages.peekable();
    while passages.peek().is_some() {
        let some: Vec<Went> = passages.by_ref().take(20_000).collect();
        let names = upstreams.iter().map(ToString::to_string).collect();
        runtime
            .block_on(store.write(Priority::Attendance, move |tx| record(tx, names, stamp, some)))
            .unwrap();
    }
    drop(store);
    thread.join().unwrap();
}

/// Corrects the outcomes of a passage sensor without a sign of life, as a lane does.
pub fn correct(site: &Site, lane: &'static str, direction: Direction) -> u64 {
    let dir = site.path("data");
    let config = Storage::usual(dir.clone(), Secret::File(dir.join("key")));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, thread) = store::open(&config, clock.clone()).unwrap();
    let stamp = clock.stamp();
    let corrected = store.write(Priority::Attendance, move |tx| {
        let ledger = Ledger::open(tx, vec!["platform".to_owned()])?;
        let detail = Detail::new("nothing_passed");
        ledger.correct_not_passed(tx, stamp, lane, direction, detail, Flag::SENSOR_SUSPECT)
    });
    let corrected: Result<u64, LedgerError> = runtime.block_on(corrected);
    drop(store);
    thread.join().unwrap();
    corrected.unwrap()
}

/// Writes entries with these times, as the last ones before the daemon starts.
pub fn journal(site: &Site, entries: Vec<(Stamp, Body)>) {
    let dir = site.path("data");
    let config = Storage::usual(dir.clone(), Secret::File(dir.join("key")));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, thread) = store::open(&config, clock).unwrap();
    let written = store.write(Priority::Attendance, move |tx| {
        let ledger = Ledger::open(tx, vec!["platform".to_owned()])?;
        entries.into_iter().try_for_each(|(at, body)| ledger.append(tx, at, body).map(drop))
    });
    let written: Result<(), LedgerError> = runtime.block_on(written);
    written.unwrap();
    drop(store);
    thread.join().unwrap();
}

fn record(
    tx: &Transaction<'_>,
    upstreams: Vec<String>,
    stamp: Stamp,
    some: Vec<Went>,
) -> Result<(), LedgerError> {
    let ledger = Ledger::open(tx, upstreams)?;
    for went in some {
        let passage = PassageId::random().unwrap();
        let stamp = Stamp { wall_ms: went.at_ms, synced: true, ..stamp };
        let cause = if went.vouched {
            let guard = Actor { uid: 0, user: "root".into(), via: Via::Socket };
            let release = GuardRelease {
                passage,
                lane: went.lane.to_owned(),
                direction: went.direction,
                person: Some(went.person),
                reason: "helmet".into(),
                evidence: vec![Evidence::Guard(guard)],
                flags: Vec::new(),
            };
            Body::from(release)
        } else {
            let card = CardEvidence { reader: "r".into(), commitment: [7; 32] };
            let evidence = match went.means {
                Means::Card => Evidence::Card(card),
                Means::IdCard => Evidence::IdCard(card),
                Means::Qr => Evidence::Qr(card),
                _ => Evidence::of_face(Score::of(0.7), Score::of(0.5), "m"),
            };
            Grant::new(passage, went.lane, went.direction, went.person, evidence).into()
        };
        ledger.append(tx, stamp, cause)?;
        let after = Stamp { wall_ms: went.at_ms + 1500, ..stamp };
        let detail = (went.outcome == Outcome::NotPassed).then(|| Detail::new("nothing_passed"));
        ledger.close(tx, after, passage, went.outcome, detail)?;
    }
    Ok(())
}
