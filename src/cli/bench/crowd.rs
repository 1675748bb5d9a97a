//! Made-up workers and their passages, for `gatehouse bench` and for `tests/benches`.

use std::sync::Arc;

use crate::{
    cli::rig::LANE,
    clock::SystemClock,
    config::{Config, Direction},
    ledger::{Body, Evidence, Grant, Score},
    roster::{self, Enrolment, FaceOnFile, IdType, Identity, Person, Roster, RosterError, Worker},
    store::{self, Priority},
    turnstile::PassageId,
    vision::{EMBEDDER_NAME, TEMPLATE_LEN, Template},
};

/// Returns the entry of a grant by face.
pub fn grant(passage: PassageId, person: Person) -> Body {
    let face = Evidence::of_face(Score(7000), Score(5000), EMBEDDER_NAME);
    Grant::new(passage, LANE, Direction::Entry, person, face).into()
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

fn worker(n: usize) -> anyhow::Result<Worker> {
    let mut worker = Worker { templates: 3, ..Worker::new(person(n)?) };
    worker.terms.consent = Some("BENCH".to_owned());
    Ok(worker)
}

/// Returns a unit vector in a random direction. It is as different from all faces as a stranger's.
fn random_template() -> anyhow::Result<Template> {
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

/// Returns the templates of worker `n`. The first workers have real faces.
fn templates(n: usize, faces: &[Template]) -> anyhow::Result<Vec<Template>> {
    (0..3).map(|_| faces.get(n).map_or_else(random_template, |face| Ok(face.clone()))).collect()
}

pub(super) fn made_up_roster(workers: usize, faces: &[Template]) -> anyhow::Result<Roster> {
    let all: anyhow::Result<Vec<_>> =
        (0..workers).map(|n| Ok((worker(n)?, templates(n, faces)?))).collect();
    Ok(Roster::new(1, all?))
}

/// Enrols the made-up workers into the bench's database, in one transaction.
pub async fn fill(config: &Config, workers: usize, faces: &[Template]) -> anyhow::Result<()> {
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
                faces: templates(n, faces)?.into_iter().map(photo).collect(),
            })
        })
        .collect();
    let enrolments = enrolments?;
    let (store, thread) = store::open(&config.storage, Arc::new(SystemClock::new()?))?;
    let sealer = store.sealer().clone();
    store
        .write(Priority::Upkeep, move |tx| {
            enrolments.iter().try_for_each(|e| roster::enroll(tx, &sealer, e))?;
            Ok::<_, RosterError>(())
        })
        .await?;
    drop(store);
    Ok(thread.join()?)
}
