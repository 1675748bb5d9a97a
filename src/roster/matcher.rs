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
    /// `faces`: the templates of each worker, in the workers' order.
    pub fn new(version: u64, workers: Vec<(Worker, Vec<Template>)>) -> Roster {
        let mut roster = Roster { version, ..Roster::default() };
        let count: usize = workers.iter().map(|(_, templates)| templates.len()).sum();
        // Reserved whole, so that no unzeroised copy is left behind by growing.
        roster.templates.reserve_exact(count * TEMPLATE_LEN);
        for (owner, (worker, templates)) in (0..).zip(workers) {
            roster.workers.push(Arc::new(worker));
            for template in templates {
                roster.templates.extend_from_slice(template.as_slice());
                roster.owners.push(owner);
            }
        }
        roster
    }

    /// Rises with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    pub fn worker(&self, id: &WorkerId) -> Option<&Arc<Worker>> {
        self.workers.iter().find(|w| w.person.id == *id)
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
mod tests {
    use super::*;
    use crate::roster::{Person, State};
    use proptest::prelude::*;

    fn worker(id: usize) -> Worker {
        let id: WorkerId = format!("W{id}").parse().unwrap();
        let text = || "x".to_owned();
        let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
        let state = State::Active;
        Worker { person, valid_from: None, valid_until: None, consent: None, state, templates: 1 }
    }

    fn template(numbers: Vec<f32>) -> Template {
        let norm = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
        let unit: Vec<f32> = numbers.iter().map(|x| x / norm).collect();
        Template::from_slice(&unit).unwrap()
    }

    fn any_template() -> impl Strategy<Value = Template> {
        proptest::collection::vec(-1.0_f32..1.0, TEMPLATE_LEN)
            .prop_filter("not all zero", |v| v.iter().any(|x| x.abs() > 0.1))
            .prop_map(template)
    }

    proptest! {
        #[test]
        fn the_match_is_what_sorting_all_scores_gives(
            faces in proptest::collection::vec(proptest::collection::vec(any_template(), 0..4), 0..12),
            probe in any_template(),
        ) {
            let roster = Roster::new(1, faces.iter().enumerate().map(|(i, t)| (worker(i), t.clone())).collect());
            let mut best: Vec<(f32, usize)> = faces.iter().enumerate()
                .filter_map(|(i, t)| t.iter().map(|t| t.cosine(&probe)).reduce(f32::max).map(|s| (s, i)))
                .collect();
            best.sort_by(|a, b| b.0.total_cmp(&a.0));
            match roster.best(&probe) {
                None => prop_assert!(best.is_empty()),
                Some(found) => {
                    prop_assert!((found.score - best[0].0).abs() < 1e-5);
                    let margin = best.get(1).map(|second| best[0].0 - second.0);
                    prop_assert_eq!(found.margin.is_some(), margin.is_some());
                    if let (Some(a), Some(b)) = (found.margin, margin) {
                        prop_assert!((a - b).abs() < 1e-5);
                        if b > 1e-4 {
                            prop_assert_eq!(found.worker.person.id.as_str(), format!("W{}", best[0].1));
                        }
                    }
                }
            }
        }
    }
}
