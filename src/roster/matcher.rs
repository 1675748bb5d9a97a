//! Whose face this is: exact cosine over every template of the snapshot.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Worker, WorkerId};
use crate::vision::{TEMPLATE_LEN, Template};

/// The roster at one moment. Never changed: a new one takes its place.
#[derive(Default)]
pub struct Roster {
    version: u64,
    workers: Vec<Arc<Worker>>,
    /// Templates one after another, [`TEMPLATE_LEN`] numbers each.
    templates: Zeroizing<Vec<f32>>,
    /// For each template, its worker's place in `workers`.
    owners: Vec<u32>,
    /// Rows and templates that could not be read, and are left out.
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
    /// How far behind the second-best worker is; `None` where there is no second.
    pub margin: Option<f32>,
}

impl Roster {
    /// Workers with their templates, by rising id.
    pub fn new(version: u64, workers: Vec<(Worker, Vec<Template>)>) -> Roster {
        let mut roster = Roster { version, ..Roster::default() };
        let count: usize = workers.iter().map(|(_, templates)| templates.len()).sum();
        // Reserved whole, so that no unzeroised copy is left behind by growing.
        roster.templates.reserve_exact(count * TEMPLATE_LEN);
        for (worker, templates) in workers {
            roster.push(Arc::new(worker), templates.iter().map(Template::as_slice));
        }
        roster
    }

    /// The same with one worker changed, added, or (`None`) taken off.
    pub fn with(
        &self,
        version: u64,
        id: &WorkerId,
        changed: Option<(Worker, Vec<Template>)>,
    ) -> Roster {
        let mut roster = Roster { version, damaged: self.damaged, ..Roster::default() };
        roster.workers.reserve_exact(self.workers.len() + 1);
        let more = changed.as_ref().map_or(0, |(_, faces)| faces.len());
        roster.templates.reserve_exact(self.templates.len() + more * TEMPLATE_LEN);
        roster.owners.reserve_exact(self.owners.len() + more);
        // Workers rise with their ids.
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
        self.workers.push(worker);
        for template in templates {
            self.templates.extend_from_slice(template);
            self.owners.push(owner);
        }
    }

    /// Each worker with its templates, one after another.
    fn each(&self) -> impl Iterator<Item = (&Arc<Worker>, &[f32])> {
        // Owners rise with their workers.
        let mut of_workers = self.owners.chunk_by(|a, b| a == b).peekable();
        let mut templates = &self.templates[..];
        (0..).zip(&self.workers).map(move |(owner, worker)| {
            let own = of_workers.next_if(|of| of.first() == Some(&owner));
            let own = templates.split_off(..own.map_or(0, <[u32]>::len) * TEMPLATE_LEN);
            (worker, own.unwrap_or_default())
        })
    }

    /// Rises with each change.
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

    /// How like a worker's own templates a face is; `None` where there are none.
    pub fn likeness(&self, id: &WorkerId, face: &Template) -> Option<f32> {
        let face: &[f32; TEMPLATE_LEN] = face.as_slice().try_into().ok()?;
        let (_, own) = self.each().find(|(worker, _)| worker.person.id == *id)?;
        own.chunks_exact(TEMPLATE_LEN).map(|template| dot(template, face)).reduce(f32::max)
    }

    /// As [`best`](Self::best), but without one worker, who is that person themselves.
    pub fn best_but(&self, face: &Template, id: &WorkerId) -> Option<Match> {
        match self.worker(id) {
            Some(_) => self.with(self.version, id, None).best(face),
            None => self.best(face),
        }
    }

    /// The worker with the nearest template; `None` when there are no templates.
    pub fn best(&self, face: &Template) -> Option<Match> {
        let face: &[f32; TEMPLATE_LEN] = face.as_slice().try_into().ok()?;
        let mut first: Option<(u32, f32)> = None;
        let mut second: Option<f32> = None;
        for (template, owner) in self.templates.chunks_exact(TEMPLATE_LEN).zip(&self.owners) {
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

    /// How many templates there are.
    pub fn templates(&self) -> usize {
        self.owners.len()
    }
}

/// In eight lanes, which the compiler turns into vector instructions.
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
