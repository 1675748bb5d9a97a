//! Finds the worker whose template is nearest to a face, by the cosine over all templates.

use std::sync::Arc;

use super::{WaitsWhat, Worker, WorkerId};
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
    /// For each template, the index of its worker in `workers`.
    owners: Vec<u32>,
    /// For each template, whether its worker waits for a confirmation.
    pending: Vec<bool>,
    /// Number of rows and templates that could not be read and are left out.
    pub damaged: u64,
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (workers, templates) = (self.workers.len(), self.owners.len());
        write!(f, "Roster(version {}, {workers} workers, {templates} templates)", self.version)
    }
}

/// The best worker for a face.
#[derive(Clone, Debug)]
pub struct Match {
    pub worker: Arc<Worker>,
    /// Cosine of the worker's nearest template, -1 to 1.
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
        roster.owners.reserve_exact(self.owners.len() + more);
        roster.pending.reserve_exact(self.owners.len() + more);
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
        let pending = worker.is_pending();
        self.workers.push(worker);
        for template in templates {
            self.templates.extend_from_slice(template);
            self.owners.push(owner);
            self.pending.push(pending);
        }
    }

    /// Returns each worker with its templates.
    fn each(&self) -> impl Iterator<Item = (&Arc<Worker>, &[f32])> {
        // The owners are in the order of the workers.
        let mut of_workers = self.owners.chunk_by(|a, b| a == b).peekable();
        let mut templates = &self.templates[..];
        (0..).zip(&self.workers).map(move |(owner, worker)| {
            let own = of_workers.next_if(|of| of.first() == Some(&owner));
            let own = templates.split_off(..own.map_or(0, <[u32]>::len) * TEMPLATE_LEN);
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

    /// Returns the score of a face against a worker's own templates; `None` where there are none.
    pub fn likeness(&self, id: &WorkerId, face: &Template) -> Option<f32> {
        let face: &[f32; TEMPLATE_LEN] = face.as_slice().try_into().ok()?;
        let (_, own) = self.each().find(|(worker, _)| worker.person.id == *id)?;
        own.chunks_exact(TEMPLATE_LEN).map(|template| dot(template, face)).reduce(f32::max)
    }

    /// Returns the best match among all workers except one: the worker whose face it is.
    pub fn best_but(&self, face: &Template, id: &WorkerId) -> Option<Match> {
        match self.worker(id) {
            Some(_) => self.with(self.version, id, None).best(face),
            None => self.best(face),
        }
    }

    /// Returns the worker with the nearest template; `None` where there are no templates.
    pub fn best(&self, face: &Template) -> Option<Match> {
        self.nearest(face, None)
    }

    /// Returns the best match among the confirmed workers, or among the pending ones.
    pub fn best_of(&self, face: &Template, pending: bool) -> Option<Match> {
        self.nearest(face, Some(pending))
    }

    fn nearest(&self, face: &Template, only: Option<bool>) -> Option<Match> {
        let face: &[f32; TEMPLATE_LEN] = face.as_slice().try_into().ok()?;
        let mut first: Option<(u32, f32)> = None;
        let mut second: Option<f32> = None;
        let owned = self.templates.chunks_exact(TEMPLATE_LEN).zip(&self.owners);
        for ((template, owner), pending) in owned.zip(&self.pending) {
            if only.is_some_and(|only| only != *pending) {
                continue;
            }
            let score = dot(template, face);
            match first {
                Some((best, top)) if *owner == best => first = Some((best, top.max(score))),
                Some((_, top)) if score > top => {
                    second = Some(top);
                    first = Some((*owner, score));
                }
                Some(_) => second = Some(second.map_or(score, |s| s.max(score))),
                None => first = Some((*owner, score)),
            }
        }
        let (owner, score) = first?;
        let worker = self.workers.get(owner as usize)?.clone();
        Some(Match { worker, score, margin: second.map(|s| score - s) })
    }

    /// Returns the number of workers for whom this waits.
    pub fn waiting(&self, what: WaitsWhat) -> usize {
        let waits = |worker: &&Arc<Worker>| worker.waits.as_ref().is_some_and(|w| w.what == what);
        self.workers.iter().filter(waits).count()
    }

    /// Returns the number of templates.
    pub fn templates(&self) -> usize {
        self.owners.len()
    }
}

/// Returns the dot product, as eight partial sums that the compiler makes vector instructions of.
fn dot(a: &[f32], b: &[f32; TEMPLATE_LEN]) -> f32 {
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
