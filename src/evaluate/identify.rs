//! One photo against a roster (1:N): which worker is it, or is it a stranger.
//!
//! Half of the people are workers, and the others are strangers. The threshold is found on one half
//! of the strangers, and the errors are counted on the other half and on the workers' other photos.
//! Then the halves change their parts, so that each person is a worker once. A set of few people is
//! drawn several times, with other photos enrolled.

use std::thread;

use super::{
    At, Measured, People, Photo, Point, Rules,
    chance::Chance,
    rates::{Sample, below, curve, measured, sort, threshold},
};
use crate::{
    config::MatchThreshold,
    gate::policy,
    roster::{Match, Person, Roster, Worker},
    vision::Template,
};

/// Numbers of photos of a worker that are measured.
const PHOTOS: [usize; 3] = [1, 2, 3];
/// Numbers of workers that are measured, beside the largest possible one.
const GALLERIES: [usize; 4] = [10, 50, 250, 1000];
/// The shares of strangers at which the rate is given.
const FPIRS: [(&str, f64); 2] = [("0.01", 0.01), ("0.003", 0.003)];
/// Number of looks from which on a set is not drawn again; and the maximum number of draws.
const LOOKS: usize = 10_000;
const DRAWS: usize = 10;

/// Error rates with a roster of one size.
#[derive(Clone, Debug)]
pub struct Identification {
    /// Number of workers, and of photos of each.
    pub gallery: usize,
    pub photos: usize,
    /// Share of workers' looks that are missed (FNIR), at two shares of accepted strangers (FPIR).
    pub fnir_at_fpir: Vec<At>,
    /// The mean of the thresholds found on strangers, and the share of other strangers that reach
    /// them, for each of `fnir_at_fpir`.
    pub found: Vec<(f64, f64)>,
    pub at_gate: AtGate,
    pub curve: Vec<Point>,
}

/// The errors with the gate's own threshold and margin.
#[derive(Clone, Copy, Debug)]
pub struct AtGate {
    pub threshold: MatchThreshold,
    pub fpir: Measured,
    pub fnir: Measured,
}

/// One assignment of parts to people, by their numbers.
pub(super) struct Fold {
    pub(super) workers: Vec<usize>,
    /// Strangers on whom the threshold is found, and on whom it is tried.
    pub(super) find: Vec<usize>,
    pub(super) report: Vec<usize>,
}

/// The scores of one fold, each sorted.
struct Scores {
    workers: Vec<Sample>,
    find: Vec<Sample>,
    report: Vec<Sample>,
    /// The looks at workers and at strangers; the score is 1 where the gate accepts the look.
    gate: [Vec<Sample>; 2],
}

/// Measures each number of photos, with each number of workers that the set allows.
pub fn identification(
    people: &People,
    rules: &Rules,
    mut progress: impl FnMut(usize, usize),
) -> Vec<Identification> {
    let folds = folds(people.len());
    let sizes = PHOTOS.into_iter().flat_map(|photos| {
        let most = folds.iter().map(|fold| able(people, &fold.workers, photos).len()).min();
        let most = most.unwrap_or(0);
        let galleries = GALLERIES.into_iter().filter(move |size| *size < most).chain([most]);
        galleries.filter(|size| *size > 0).map(move |gallery| (gallery, photos))
    });
    let sizes: Vec<_> = sizes.collect();
    let measure = |(at, size): (usize, &(usize, usize))| {
        progress(at, sizes.len());
        measure(people, rules, &folds, *size)
    };
    sizes.iter().enumerate().map(measure).collect()
}

pub(super) fn folds(people: usize) -> Vec<Fold> {
    let mut order: Vec<usize> = (0..people).collect();
    Chance::of(u64::MAX).shuffle(&mut order);
    let (one, two) = order.split_at(people / 2);
    let parts = [(one, two), (two, one)].into_iter().flat_map(|(workers, strangers)| {
        let (a, b) = strangers.split_at(strangers.len() / 2);
        [(workers, a, b), (workers, b, a)]
    });
    let fold = |(workers, find, report): (&[usize], &[usize], &[usize])| Fold {
        workers: workers.to_vec(),
        find: find.to_vec(),
        report: report.to_vec(),
    };
    parts.map(fold).collect()
}

/// Returns the people who can be enrolled with this number of photos and then be looked at.
fn able(people: &People, workers: &[usize], photos: usize) -> Vec<usize> {
    let can = |worker: &&usize| {
        let own = people.get(**worker).map(Vec::as_slice).unwrap_or_default();
        let enrolled = own.iter().filter(|photo| photo.enrolled.is_some()).count();
        let both = own.iter().filter(|p| p.enrolled.is_some() && p.seen.is_some()).count();
        let seen = own.iter().filter(|photo| photo.seen.is_some()).count();
        // The photos without a look are enrolled first in the worst case.
        enrolled >= photos && seen > photos.min(both)
    };
    workers.iter().filter(can).copied().collect()
}

fn measure(
    people: &People,
    rules: &Rules,
    folds: &[Fold],
    (gallery, photos): (usize, usize),
) -> Identification {
    let gate = rules.recognition.threshold.in_force(gallery * photos);
    let scores: Vec<Scores> = thread::scope(|scope| {
        let scored = |fold| scope.spawn(move || scores(people, rules, fold, gallery, photos, gate));
        let threads: Vec<_> = folds.iter().map(scored).collect();
        // A panic of a thread goes on here.
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .collect()
    });
    let everyone = vec![1.0; people.len()];
    let mut found = Vec::new();
    let fnir = |(name, share): (&'static str, f64)| {
        let least = (1.0 / share).ceil() as usize;
        let looks = |fold: &Fold| -> usize {
            fold.find.iter().map(|person| looks(&people[*person], rules.looks).len()).sum()
        };
        let enough = folds.iter().all(|fold| looks(fold) >= least);
        let rate = |weights: &[f64]| {
            mean(
                scores
                    .iter()
                    .map(|s| below(&s.workers, weights, threshold(&s.find, weights, share))),
            )
        };
        let all = |rate: &dyn Fn(&Scores, f32) -> Option<f64>| {
            mean(scores.iter().map(|s| rate(s, threshold(&s.find, &everyone, share))))
        };
        let at = all(&|_, threshold| Some(f64::from(threshold))).unwrap_or(0.0);
        let reach = all(&|s, threshold| Some(1.0 - below(&s.report, &everyone, threshold)?));
        found.push((at, reach.unwrap_or(0.0)));
        let measured = enough.then(|| measured(people.len(), rate)).flatten();
        At { name, share, found: measured.unwrap_or(Measured::Needs(least)) }
    };
    let fnir_at_fpir = FPIRS.into_iter().map(fnir).collect();
    let at_gate = |of: usize| {
        let rate = |weights: &[f64]| {
            let accepted = scores.iter().map(|s| below(&s.gate[of], weights, 0.5));
            mean(accepted).map(|refused| if of == 0 { refused } else { 1.0 - refused })
        };
        measured(people.len(), rate).unwrap_or(Measured::Needs(1))
    };
    let pooled = |of: &dyn Fn(&Scores) -> &[Sample]| {
        let mut samples: Vec<Sample> = scores.iter().flat_map(of).copied().collect();
        sort(&mut samples);
        samples
    };
    let (own, strangers) = (pooled(&|s| &s.workers), pooled(&|s| &s.report));
    Identification {
        gallery,
        photos,
        fnir_at_fpir,
        found,
        at_gate: AtGate { threshold: gate, fpir: at_gate(1), fnir: at_gate(0) },
        curve: curve(&own, &strangers, &everyone),
    }
}

fn mean(rates: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let rates: Vec<f64> = rates.flatten().collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

fn scores(
    people: &People,
    rules: &Rules,
    fold: &Fold,
    gallery: usize,
    photos: usize,
    gate: MatchThreshold,
) -> Scores {
    let of = |strangers: &[usize]| -> Vec<(usize, Template)> {
        let looks = |person: usize| {
            looks(&people[person], rules.looks).into_iter().map(move |look| (person, look))
        };
        strangers.iter().copied().flat_map(looks).collect()
    };
    let (find, report) = (of(&fold.find), of(&fold.report));
    let all = find.len() + report.len() + gallery;
    let draws = (LOOKS / all.max(1)).clamp(1, DRAWS);
    let mut scores = Scores {
        workers: Vec::new(),
        find: Vec::new(),
        report: Vec::new(),
        gate: Default::default(),
    };
    for draw in 0..draws {
        let mut chance = Chance::of(draw as u64);
        let (roster, probes) = drawn(people, rules, fold, (gallery, photos), &mut chance);
        let judged = |best: &Option<Match>| {
            let sighted = policy::judge(best.clone(), gate, rules.recognition.margin);
            sighted.named().cloned()
        };
        for (person, look) in &probes {
            let best = roster.best_with(look, rules.share_of_mean);
            let own = |found: &Match| found.worker.person.id.as_str() == id(*person);
            // Another worker's name is a miss at each threshold.
            let score = best.as_ref().filter(|found| own(found)).map_or(-2.0, |found| found.score);
            let accepted = judged(&best).is_some_and(|named| named.as_str() == id(*person));
            let sample = |score| Sample { score, person: *person as u32, other: None };
            scores.workers.push(sample(score));
            scores.gate[0].push(sample(f32::from(accepted)));
        }
        for (looks, of) in [(&find, &mut scores.find), (&report, &mut scores.report)] {
            for (person, look) in looks {
                let best = roster.best_with(look, rules.share_of_mean);
                let score = best.as_ref().map_or(-2.0, |found| found.score);
                let accepted = judged(&best).is_some();
                let sample = |score| Sample { score, person: *person as u32, other: None };
                of.push(sample(score));
                scores.gate[1].push(sample(f32::from(accepted)));
            }
        }
    }
    let Scores { workers, find, report, gate: [own, others] } = &mut scores;
    [workers, find, report, own, others].into_iter().for_each(|samples| sort(samples));
    scores
}

/// Returns a roster of some workers with some of their photos, and the looks at their other photos.
fn drawn(
    people: &People,
    rules: &Rules,
    fold: &Fold,
    (gallery, photos): (usize, usize),
    chance: &mut Chance,
) -> (Roster, Vec<(usize, Template)>) {
    let mut workers = able(people, &fold.workers, photos);
    chance.shuffle(&mut workers);
    workers.truncate(gallery);
    workers.sort_unstable();
    let (mut enrolled, mut probes) = (Vec::new(), Vec::new());
    for person in workers {
        let mut own: Vec<&Photo> = people[person].iter().collect();
        chance.shuffle(&mut own);
        // A photo that cannot be looked at is enrolled first, so that a look remains.
        own.sort_by_key(|photo| (photo.enrolled.is_none(), photo.seen.is_some()));
        let (first, rest) = own.split_at(photos);
        let faces = first.iter().filter_map(|photo| photo.enrolled.clone()).collect();
        probes.extend(looks(rest.iter().copied(), rules.looks).into_iter().map(|l| (person, l)));
        if let Ok(worker) = worker(person) {
            enrolled.push((worker, faces));
        }
    }
    (Roster::new(1, enrolled), probes)
}

/// Returns the looks of visits: each is the mean of `count` photos as frames. The rest of the photos
/// is one more look.
fn looks<'p>(photos: impl IntoIterator<Item = &'p Photo>, count: usize) -> Vec<Template> {
    let seen: Vec<&Template> = photos.into_iter().filter_map(|photo| photo.seen.as_ref()).collect();
    seen.chunks(count.max(1)).filter_map(|visit| Template::mean(visit.iter().copied())).collect()
}

fn id(person: usize) -> String {
    format!("P{person:08}")
}

fn worker(person: usize) -> Result<Worker, crate::roster::RosterError> {
    let text = String::new;
    let id = id(person).parse()?;
    Ok(Worker::new(Person { id, name: text(), team: text(), contractor: text(), trade: text() }))
}
