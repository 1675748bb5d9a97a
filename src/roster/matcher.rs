//! Finds the worker whose templates are most like a face, by the cosine over all templates.
//!
//! A worker's score is half of the cosine of the nearest template and half of the cosine of the mean
//! template. A single template scores its cosine. The mean smooths the light and the pose of single
//! photos, which let strangers through. The share of the mean was chosen on people 1 to 20 of the ORL
//! set: it is the largest with which no more looks at workers are refused than with the nearest
//! template alone. Shares of looks, with a roster of 10 workers, the nearest alone and this rule:
//!
//! | photos of each worker | strangers at 0.45, people 1 to 20 | workers refused at 0.50, people 21 to 40 |
//! |---|---|---|
//! | 1 | 0.33 %, 0.33 % | 2.44 %, 2.44 % |
//! | 2 | 0.60 %, 0.24 % | 0.84 %, 0.80 % |
//! | 3 | 0.70 %, 0.23 % | 0.29 %, 0.27 % |
//!
//! No stranger of people 21 to 40 reaches 0.40. `docs/operate/accuracy.md` has more.
//!
//! The mean costs no time, because the cosines of the templates are summed.
//!
//! Memory limits the search of a large roster. So each template has a sketch (module `sketch`) of a
//! quarter of its size. A worker's score is not calculated if the sketches show that it is below the
//! second-best so far. The answer is the same as without sketches, to the last bit.
//!
//! The loop is compiled twice on x86-64: for every CPU (SSE2), and for AVX2, which most CPUs have. The
//! CPU decides at run time. On ARM the plain loop uses NEON, which every 64-bit ARM CPU has. A search
//! among 50,000 templates of as many people takes 0.37 ms on an AMD EPYC, and 0.55 ms without
//! sketches; FAISS IndexFlatIP takes 0.6 ms (`cargo bench --bench recognition`).

use std::{collections::HashMap, sync::Arc};

use super::{TokenKind, WaitsWhat, Worker, WorkerId};
use crate::{
    memory::locked::Numbers,
    vision::{TEMPLATE_LEN, Template},
};

/// The roster at one moment. It is never changed; a new snapshot replaces it.
#[derive(Default)]
pub struct Roster {
    version: u64,
    workers: Vec<Arc<Worker>>,
    /// The templates in sequence, [`TEMPLATE_LEN`] numbers each.
    templates: Numbers,
    /// The templates' sketches, in the same sequence.
    sketches: Numbers<i8>,
    /// For each worker, what is known of the templates.
    facts: Vec<Facts>,
    /// The cards, by keyed hash, with the index of the worker.
    tokens: HashMap<[u8; 32], (u32, TokenKind)>,
    /// Number of templates of workers that are not pending.
    confirmed: usize,
    /// Number of rows and templates that could not be read and are left out.
    pub damaged: u64,
}

/// What is known of a worker's templates.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Facts {
    /// Number of templates up to the worker's last one.
    end: u32,
    /// Length of the sum of the templates.
    length: f32,
    /// Maximum length of the difference between a template and its sketch.
    blur: f32,
}

/// A worker with the templates and their sketches.
struct Candidate<'r> {
    worker: &'r Arc<Worker>,
    own: &'r [f32],
    sketches: &'r [i8],
    facts: Facts,
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (workers, templates) = (self.workers.len(), self.templates());
        write!(f, "Roster(version {}, {workers} workers, {templates} templates)", self.version)
    }
}

/// The best worker for a face.
#[derive(Clone, Debug)]
pub struct Match {
    pub worker: Arc<Worker>,
    /// Score of the worker's templates, -1 to 1; see the module.
    pub score: f32,
    /// Difference to the score of the second-best worker; `None` where there is no second.
    pub margin: Option<f32>,
}

impl Roster {
    /// Returns a snapshot of workers with their templates. The ids must be in ascending order.
    pub fn new(version: u64, workers: Vec<(Worker, Vec<Template>)>) -> Roster {
        let count: usize = workers.iter().map(|(_, templates)| templates.len()).sum();
        let mut roster = Roster::with_room(version, workers.len(), count);
        for (worker, templates) in workers {
            roster.push(Arc::new(worker), templates.iter().map(Template::as_slice));
        }
        roster
    }

    /// Returns a copy with one worker changed, added or (`None`) removed.
    pub fn with(
        &self,
        version: u64,
        id: &WorkerId,
        changed: Option<(Worker, Vec<Template>)>,
    ) -> Roster {
        let more = changed.as_ref().map_or(0, |(_, faces)| faces.len());
        let mut roster =
            Roster::with_room(version, self.workers.len() + 1, self.templates() + more);
        roster.damaged = self.damaged;
        // The workers are in ascending order of their ids.
        let place = self.workers.partition_point(|worker| worker.person.id < *id);
        for kept in self.each().take(place) {
            roster.push(kept.worker.clone(), kept.own.chunks_exact(TEMPLATE_LEN));
        }
        if let Some((worker, templates)) = changed {
            roster.push(Arc::new(worker), templates.iter().map(Template::as_slice));
        }
        for kept in self.each().skip(place).filter(|other| other.worker.person.id != *id) {
            roster.push(kept.worker.clone(), kept.own.chunks_exact(TEMPLATE_LEN));
        }
        roster
    }

    /// Returns an empty snapshot with room for this number of workers and templates.
    fn with_room(version: u64, workers: usize, templates: usize) -> Roster {
        Roster {
            version,
            workers: Vec::with_capacity(workers),
            facts: Vec::with_capacity(workers),
            templates: Numbers::with_capacity(templates * TEMPLATE_LEN),
            sketches: Numbers::with_capacity(templates * TEMPLATE_LEN),
            ..Roster::default()
        }
    }

    fn push<'t>(&mut self, worker: Arc<Worker>, templates: impl Iterator<Item = &'t [f32]>) {
        let owner = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let tokens = worker.tokens.iter().map(|token| (token.lookup, (owner, token.kind)));
        self.tokens.extend(tokens);
        let (first, confirmed) = (self.templates.len(), !worker.is_pending());
        self.workers.push(worker);
        for template in templates {
            self.templates.extend_from_slice(template);
        }
        let end = u32::try_from(self.templates()).unwrap_or(u32::MAX);
        let own = self.templates.get(first..).unwrap_or_default().as_chunks::<TEMPLATE_LEN>().0;
        self.confirmed += if confirmed { own.len() } else { 0 };
        let squared: f32 = own.iter().flat_map(|a| own.iter().map(|b| dot(a, b))).sum();
        let mut blur = 0.0_f32;
        for template in own {
            let (sketch, off) = sketch::of_template(template);
            self.sketches.extend_from_slice(&*sketch);
            blur = blur.max(off);
        }
        self.facts.push(Facts { end, length: squared.max(0.0).sqrt(), blur });
    }

    /// Returns each worker with the templates.
    fn each(&self) -> impl Iterator<Item = Candidate<'_>> {
        let (templates, sketches, mut begin) = (&self.templates[..], &self.sketches[..], 0);
        self.workers.iter().zip(&self.facts).map(move |(worker, facts)| {
            let end = facts.end as usize * TEMPLATE_LEN;
            let range = std::mem::replace(&mut begin, end)..end;
            let own = templates.get(range.clone()).unwrap_or_default();
            let sketches = sketches.get(range).unwrap_or_default();
            Candidate { worker, own, sketches, facts: *facts }
        })
    }

    /// Returns the version. It rises with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    pub fn worker(&self, id: &WorkerId) -> Option<&Arc<Worker>> {
        let at = self.workers.binary_search_by(|w| w.person.id.cmp(id)).ok()?;
        self.workers.get(at)
    }

    /// Returns the worker of a card, by the keyed hash of its number.
    pub fn holder(&self, lookup: &[u8; 32]) -> Option<(&Arc<Worker>, TokenKind)> {
        let (owner, kind) = self.tokens.get(lookup)?;
        Some((self.workers.get(*owner as usize)?, *kind))
    }

    /// Returns a worker's templates in sequence.
    pub(super) fn own(&self, id: &WorkerId) -> &[f32] {
        let mut workers = self.each();
        workers.find(|each| each.worker.person.id == *id).map_or(&[], |found| found.own)
    }

    /// Returns whether the worker has templates that faces are compared with.
    pub fn is_matched(&self, id: &WorkerId) -> bool {
        !self.own(id).is_empty()
    }

    /// Returns the cosine of a face and the nearest of a worker's templates; `None` where there are
    /// none.
    pub fn likeness(&self, id: &WorkerId, face: &Template) -> Option<f32> {
        nearest(self.own(id), face.as_slice().try_into().ok()?)
    }

    /// Returns the worker with the template that is nearest to a face, and the cosine. One worker is
    /// left out: the one whose face it is.
    pub fn nearest_but(&self, face: &Template, id: &WorkerId) -> Option<(&Arc<Worker>, f32)> {
        let face = face.as_slice().try_into().ok()?;
        let others = self.each().filter(|each| each.worker.person.id != *id);
        let cosines = others.filter_map(|other| Some((other.worker, nearest(other.own, face)?)));
        cosines.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Returns the worker with the highest score; `None` where there are no templates.
    pub fn best(&self, face: &Template) -> Option<Match> {
        self.best_with(face, SHARE_OF_MEAN)
    }

    /// Returns the best match among the confirmed workers, or among the pending ones.
    pub fn best_of(&self, face: &Template, pending: bool) -> Option<Match> {
        self.best_among(face, SHARE_OF_MEAN, |worker| worker.is_pending() == pending)
    }

    /// Does the same as [`best`](Self::best) with another share of the mean template in the scores,
    /// 0 to 1.
    pub fn best_with(&self, face: &Template, share_of_mean: f32) -> Option<Match> {
        self.best_among(face, share_of_mean, |_| true)
    }

    fn best_among(
        &self,
        face: &Template,
        share_of_mean: f32,
        among: impl Fn(&Worker) -> bool,
    ) -> Option<Match> {
        let face = face.as_slice().try_into().ok()?;
        let all = self.each().filter(|each| among(each.worker));
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: this CPU has AVX2.
            return unsafe { best_by_avx2(all, face, share_of_mean) };
        }
        best_by(all, face, share_of_mean, Some(&sketch::Face::new(face)))
    }

    /// Returns the number of workers for whom this waits.
    pub fn waiting(&self, what: WaitsWhat) -> usize {
        let waits = |worker: &&Arc<Worker>| worker.waits.as_ref().is_some_and(|w| w.what == what);
        self.workers.iter().filter(waits).count()
    }

    /// Returns the number of templates.
    pub fn templates(&self) -> usize {
        self.templates.len() / TEMPLATE_LEN
    }

    /// Returns the number of templates of confirmed workers, from which the threshold follows. What
    /// comes from afar must not raise it.
    pub fn confirmed_templates(&self) -> usize {
        self.confirmed
    }
}

/// Does the same as [`best_by`] with the face's sketch, compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn best_by_avx2<'r>(
    all: impl Iterator<Item = Candidate<'r>>,
    face: &[f32; TEMPLATE_LEN],
    share_of_mean: f32,
) -> Option<Match> {
    best_by(all, face, share_of_mean, Some(&sketch::Face::new(face)))
}

/// Returns the candidate with the highest score. With the face's sketch, a score that is surely below
/// the second-best so far is not calculated; the answer is the same.
#[inline(always)]
fn best_by<'r>(
    all: impl Iterator<Item = Candidate<'r>>,
    face: &[f32; TEMPLATE_LEN],
    share_of_mean: f32,
    sketch: Option<&sketch::Face>,
) -> Option<Match> {
    let mut first: Option<(&Arc<Worker>, f32)> = None;
    let mut second: Option<f32> = None;
    for candidate in all {
        if let (Some(sketch), Some(second)) = (sketch, second)
            && sketch.score_is_below(second, &candidate, share_of_mean)
        {
            continue;
        }
        let score = score(candidate.own, candidate.facts.length, face, share_of_mean);
        let Some(score) = score.filter(|score| !score.is_nan()) else { continue };
        match first {
            Some((_, top)) if score <= top => {
                second = Some(second.map_or(score, |second| second.max(score)));
            }
            _ => {
                second = first.map(|(_, top)| top);
                first = Some((candidate.worker, score));
            }
        }
    }
    let (worker, score) = first?;
    Some(Match { worker: worker.clone(), score, margin: second.map(|s| score - s) })
}

/// Share of the mean template in a score; see the module.
pub const SHARE_OF_MEAN: f32 = 0.5;

/// Minimum length of a sum of templates. Below it the direction of the mean is lost in rounding.
/// Its cosine then counts less, so that the score never rises.
const MIN_LENGTH: f32 = 1e-3;

/// Returns a worker's score; `None` without templates. The sum of the cosines, divided by the length
/// of the sum of the templates, is the cosine of the mean template.
#[inline(always)]
fn score(own: &[f32], length: f32, face: &[f32; TEMPLATE_LEN], share: f32) -> Option<f32> {
    let mut sum = 0.0;
    let cosines = own.as_chunks().0.iter().map(|template| dot(template, face));
    let nearest = cosines.inspect(|cosine| sum += cosine).reduce(f32::max)?;
    let mean = sum / length.max(MIN_LENGTH);
    Some(nearest + share * (mean - nearest))
}

/// Returns the cosine of the nearest template.
fn nearest(own: &[f32], face: &[f32; TEMPLATE_LEN]) -> Option<f32> {
    own.as_chunks().0.iter().map(|template| dot(template, face)).reduce(f32::max)
}

/// Returns the dot product, as eight partial sums that the compiler makes vector instructions of.
#[inline(always)]
fn dot(a: &[f32; TEMPLATE_LEN], b: &[f32; TEMPLATE_LEN]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

mod sketch;
#[cfg(test)]
mod tests;
