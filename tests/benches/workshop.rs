//! What the benches share: made-up workers and their passages, and times.
#![allow(dead_code, reason = "no bench uses all of it")]

use std::{sync::Arc, time::Duration};

use gatehouse::{
    clock::SystemClock,
    config::{Config, Direction},
    ledger::{Body, Evidence, Grant, Score},
    roster::{self, Enrolment, FaceOnFile, IdType, Identity, Person, RosterError, Worker},
    store::{self, Priority},
    turnstile::PassageId,
    vision::{EMBEDDER_NAME, TEMPLATE_LEN, Template},
};
use serde::Serialize;

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Times {
    pub fn of(mut samples: Vec<Duration>) -> Times {
        samples.sort();
        let at = |quantile: f64| {
            let index = (samples.len() as f64 * quantile) as usize;
            let sample = samples.get(index.min(samples.len().saturating_sub(1)));
            sample.map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
        };
        Times { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl Times {
    /// A line of a table.
    pub fn row(&self, what: &str) -> String {
        format!("{what:<38}{:9.2} {:9.2} {:9.2}\n", self.p50, self.p99, self.max)
    }
}

pub fn median(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Somebody is let through.
pub fn grant(passage: PassageId, person: Person) -> Body {
    let face = Evidence::of_face(Score(7000), Score(5000), EMBEDDER_NAME);
    Grant::new(passage, "north", Direction::Entry, person, face).into()
}

pub fn person(n: usize) -> anyhow::Result<Person> {
    let text = |what: &str| format!("{what} {}", n % 20);
    Ok(Person {
        id: format!("B{n:05}").parse()?,
        name: text("Worker"),
        team: text("Team"),
        contractor: text("Contractor"),
        trade: text("Trade"),
    })
}

pub fn worker(n: usize) -> anyhow::Result<Worker> {
    let mut worker = Worker { templates: 3, ..Worker::new(person(n)?) };
    worker.terms.consent = Some("BENCH".to_owned());
    Ok(worker)
}

/// A unit vector in a random direction: as far from every face as strangers are.
pub fn random_template() -> anyhow::Result<Template> {
    let mut bytes = [0_u8; TEMPLATE_LEN * 2];
    getrandom::fill(&mut bytes)?;
    let numbers: Vec<f32> = bytes
        .chunks_exact(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) + 0.5)
        .collect();
    let norm = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    let unit: Vec<f32> = numbers.iter().map(|x| x / norm).collect();
    Ok(Template::from_slice(&unit)?)
}

/// Enrols the made-up workers into the bench's database, in one transaction.
pub async fn fill(config: &Config, workers: usize) -> anyhow::Result<()> {
    let enrolments: anyhow::Result<Vec<_>> = (0..workers)
        .map(|n| {
            let photo = |template| FaceOnFile { template, jpeg: vec![0; 8 * 1024] };
            Ok(Enrolment {
                worker: worker(n)?,
                identity: Identity::checked(
                    IdType::Passport,
                    &format!("BENCH{n:05}"),
                    Default::default(),
                    None,
                )?,
                model: EMBEDDER_NAME.to_owned(),
                faces: (0..3)
                    .map(|_| Ok(photo(random_template()?)))
                    .collect::<anyhow::Result<_>>()?,
            })
        })
        .collect();
    let enrolments = enrolments?;
    let (store, thread) = store::open(&config.storage, Arc::new(SystemClock::new()?))?;
    let sealer = store.sealer().clone();
    store
        .write(Priority::Upkeep, move |tx| {
            enrolments.iter().try_for_each(|e| roster::enrol(tx, &sealer, e))?;
            Ok::<_, RosterError>(())
        })
        .await?;
    drop(store);
    Ok(thread.join()?)
}
