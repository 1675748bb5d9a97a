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
//! The loop is compiled twice on x86-64: for every CPU (SSE2), and for AVX2, which most CPUs have. The
//! CPU decides at run time. Both give the same answers to the last bit, because neither fuses or
//! reorders an addition. Times of one look on an AMD EPYC, three templates a worker, best of 200:
//!
//! | templates | plain | AVX2 | AVX-512 | only to read them |
//! |---|---|---|---|---|
//! | 1,000 | 0.008 ms | 0.005 ms | 0.005 ms | 0.002 ms |
//! | 10,000 | 0.088 ms | 0.060 ms | 0.059 ms | 0.048 ms |
//! | 50,000 | 0.63 ms | 0.47 ms | 0.69 ms | 0.51 ms |
//!
//! With AVX2 the memory is the limit, so AVX-512 has no version. On ARM the plain loop uses NEON, which
//! every 64-bit ARM CPU has. FAISS IndexFlatIP takes 0.5 to 0.7 ms for 50,000 templates of as many
//! people, and this loop 0.55 ms (`cargo bench --bench recognition`).

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
    /// For each worker, the number of templates up to the worker's last one.
    ends: Vec<u32>,
    /// The cards, by keyed hash, with the index of the worker.
    tokens: HashMap<[u8; 32], (u32, TokenKind)>,
    /// For each worker, the length of the sum of the templates.
    lengths: Vec<f32>,
    /// Number of templates of workers that are not pending.
    confirmed: usize,
    /// Number of rows and templates that could not be read and are left out.
    pub damaged: u64,
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
        let templates = Numbers::with_capacity(count * TEMPLATE_LEN);
        let mut roster = Roster { version, templates, ..Roster::default() };
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
        let templates = Numbers::with_capacity(self.templates.len() + more * TEMPLATE_LEN);
        let damaged = self.damaged;
        let mut roster = Roster { version, damaged, templates, ..Roster::default() };
        roster.workers.reserve_exact(self.workers.len() + 1);
        roster.ends.reserve_exact(self.workers.len() + 1);
        roster.lengths.reserve_exact(self.workers.len() + 1);
        // The workers are in ascending order of their ids.
        let place = self.workers.partition_point(|worker| worker.person.id < *id);
        for (worker, templates) in self.each().take(place) {
            roster.push(worker.clone(), templates.chunks_exact(TEMPLATE_LEN));
        }
        if let Some((worker, templates)) = changed {
            roster.push(Arc::new(worker), templates.iter().map(Template::as_slice));
        }
        let kept = |(worker, _): &(&Arc<Worker>, &[f32])| worker.person.id != *id;
        for (worker, templates) in self.each().skip(place).filter(kept) {
            roster.push(worker.clone(), templates.chunks_exact(TEMPLATE_LEN));
        }
        roster
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
        self.ends.push(u32::try_from(self.templates.len() / TEMPLATE_LEN).unwrap_or(u32::MAX));
        let own = self.templates.get(first..).unwrap_or_default().as_chunks::<TEMPLATE_LEN>().0;
        self.confirmed += if confirmed { own.len() } else { 0 };
        let squared: f32 = own.iter().flat_map(|a| own.iter().map(|b| dot(a, b))).sum();
        self.lengths.push(squared.max(0.0).sqrt());
    }

    /// Returns each worker with its templates.
    fn each(&self) -> impl Iterator<Item = (&Arc<Worker>, &[f32])> {
        let (templates, mut begin) = (&self.templates[..], 0);
        self.workers.iter().zip(&self.ends).map(move |(worker, end)| {
            let end = *end as usize * TEMPLATE_LEN;
            let own = templates.get(std::mem::replace(&mut begin, end)..end);
            (worker, own.unwrap_or_default())
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
        workers.find(|(worker, _)| worker.person.id == *id).map_or(&[], |(_, own)| own)
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
        let others = self.each().filter(|(worker, _)| worker.person.id != *id);
        let cosines = others.filter_map(|(worker, own)| Some((worker, nearest(own, face)?)));
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
        let all = self.each().zip(&self.lengths).filter(|((worker, _), _)| among(worker));
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: this CPU has AVX2.
            return unsafe { best_by_avx2(all, face, share_of_mean) };
        }
        best_by_plain_loop(all, face, share_of_mean)
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

/// A worker with its templates and the length of their sum.
type Candidate<'r> = ((&'r Arc<Worker>, &'r [f32]), &'r f32);

/// Does the same as [`best_by_plain_loop`], compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn best_by_avx2<'r>(
    all: impl Iterator<Item = Candidate<'r>>,
    face: &[f32; TEMPLATE_LEN],
    share_of_mean: f32,
) -> Option<Match> {
    best_by_plain_loop(all, face, share_of_mean)
}

/// Returns the candidate with the highest score.
#[inline(always)]
fn best_by_plain_loop<'r>(
    all: impl Iterator<Item = Candidate<'r>>,
    face: &[f32; TEMPLATE_LEN],
    share_of_mean: f32,
) -> Option<Match> {
    let mut first: Option<(&Arc<Worker>, f32)> = None;
    let mut second: Option<f32> = None;
    for ((worker, own), length) in all {
        let Some(score) = score(own, *length, face, share_of_mean) else { continue };
        match first {
            Some((_, top)) if score <= top => {
                second = Some(second.map_or(score, |second| second.max(score)));
            }
            _ => {
                second = first.map(|(_, top)| top);
                first = Some((worker, score));
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

#[cfg(test)]
mod tests;
