//! Low visits at one entry: the guard who is asked for, and the fallback to `watch` where too many
//! visits are low. Pure; time is an argument.
//!
//! In: visits at an entry whose worker would be granted by face, with the judgement on a living
//! face. Out: whether the face opens, and whose release a guard's button is.
//!
//! A low visit, and a visit without a judgement, never opens by its face. It stays with the guard
//! for [`ASKED_FOR`] after the latest look, so that the next look at a photo is no further attempt.
//!
//! A camera falls back where more than one in [`SHARE`] of an hour's visits is low. Then the model
//! or the light is wrong, and a queue costs more than a photo. A worker counts once an hour, so that
//! one person with one photo cannot bring the fallback about.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::claim::Claim;
use crate::{
    clock::Monotonic,
    ledger::{Evidence, FaceEvidence, Score},
    roster::{Worker, WorkerId},
};

/// Number of a visit's looks that agree from which on a low visit goes to the guard. Before it, the
/// next look may be a better one.
pub const LOOKS: u32 = 4;
/// Time after the latest look at a low visit for which the guard is asked for this worker.
pub const ASKED_FOR: Duration = Duration::from_secs(30);
/// Time whose visits count for the fallback, and after which it may be over.
pub const HOUR: Duration = Duration::from_secs(3600);
/// Of this number of visits one may be low: 5 %.
pub const SHARE: u32 = 20;
/// Minimum number of an hour's visits. An hour with fewer visits counts as this number.
pub const VISITS_LEAST: u32 = 60;
/// Maximum number of workers with a low visit that are remembered; the oldest is forgotten.
pub const LOW_MOST: usize = 256;

/// The decision on a visit at an entry with a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The face opens.
    Passes,
    /// The next look decides.
    Waits,
    /// The visit goes to the guard. `first`: the guard is told now.
    Asks { first: bool },
}

/// A camera that has fallen back to `watch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// When it fell back.
    pub since: Monotonic,
    /// Number of workers with a low visit within the hour before, and of all visits.
    pub low: u32,
    pub visits: u32,
}

/// A worker for whom the guard is asked.
#[derive(Debug)]
struct Asked {
    worker: Arc<Worker>,
    evidence: Vec<Evidence>,
    /// Time of the latest look.
    last: Monotonic,
}

/// The guard of one entry.
#[derive(Debug, Default)]
pub struct Guarding {
    /// The score below which a visit is low; `None` where no guard is asked.
    threshold: Option<Score>,
    asked: Option<Asked>,
    /// The latest low visit: the worker, the visit and the time of its look. A second one goes to the
    /// guard at once, so that short attempts are not for free.
    waited: Option<(WorkerId, Option<u64>, Monotonic)>,
    rate: Rate,
}

impl Guarding {
    pub fn new(threshold: Option<Score>) -> Guarding {
        Guarding { threshold, ..Guarding::default() }
    }

    /// Goes on with a fallback after a restart of the lane. The visits count again from now.
    pub fn resume(&mut self, fallback: Option<Fallback>) {
        self.rate.fallback = fallback;
    }

    /// Decides on a face whose worker would be granted at this entry.
    pub fn judge(&mut self, now: Monotonic, claim: &Claim, worker: &Arc<Worker>) -> Guarded {
        let Some(threshold) = self.threshold.filter(|_| claim.visit.is_some()) else {
            return Guarded::Passes;
        };
        let Some(face) = claim.evidence.iter().find_map(Evidence::face) else {
            return Guarded::Passes;
        };
        let low = is_low(Some(face), threshold);
        let stays = self.asks_for(claim.captured, &worker.person.id);
        if worker.liveness_exempt.is_some() || (self.rate.fallback.is_some() && !stays) {
            return Guarded::Passes;
        }
        if !stays && !low {
            return Guarded::Passes;
        }
        let waits = (worker.person.id.clone(), claim.visit, claim.captured);
        let again = self.waited.replace(waits).is_some_and(|(before, visit, at)| {
            let soon = claim.captured.since(at) <= ASKED_FOR;
            before == worker.person.id && visit != claim.visit && soon
        });
        if !stays && !again && face.frames < LOOKS {
            return Guarded::Waits;
        }
        if !stays {
            // Where this begins the fallback, the next visit is the first one that passes.
            self.rate.low(now, &worker.person.id);
        }
        let (worker, evidence) = (worker.clone(), claim.evidence.clone());
        self.asked = Some(Asked { worker, evidence, last: claim.captured });
        Guarded::Asks { first: !stays }
    }

    /// Counts a visit that the face has opened, and forgets the worker before it.
    pub fn granted(&mut self, now: Monotonic, claim: &Claim) {
        self.asked = None;
        let (Some(threshold), Some(_), Ok(worker)) = (self.threshold, claim.visit, &claim.who)
        else {
            return;
        };
        let face = claim.evidence.iter().find_map(Evidence::face);
        if is_low(face, threshold) && worker.liveness_exempt.is_none() {
            self.rate.low(now, &worker.person.id);
        } else {
            self.rate.passed(now);
        }
    }

    /// Another person stands there.
    pub fn another(&mut self, named: Option<&WorkerId>) {
        self.asked.take_if(|asked| named != Some(&asked.worker.person.id));
    }

    /// The entry's passage is over, and a person went through as far as is known.
    pub fn went(&mut self) {
        self.asked = None;
    }

    /// Returns the worker for whom the guard is asked, with the evidence.
    pub fn asked(&self, now: Monotonic) -> Option<(&Arc<Worker>, &[Evidence])> {
        let asked = self.asked.as_ref().filter(|asked| now.since(asked.last) <= ASKED_FOR)?;
        Some((&asked.worker, &asked.evidence))
    }

    fn asks_for(&self, at: Monotonic, worker: &WorkerId) -> bool {
        self.asked(at).is_some_and(|(asked, _)| asked.person.id == *worker)
    }

    pub fn fallback(&self) -> Option<Fallback> {
        self.rate.fallback
    }

    /// Returns the time at which the fallback may be over.
    pub fn due(&self) -> Option<Monotonic> {
        self.rate.due()
    }

    /// Ends the fallback where its time is over.
    pub fn tick(&mut self, now: Monotonic) {
        self.rate.look(now);
    }
}

/// Returns whether a visit is low, or not judged.
fn is_low(face: Option<&FaceEvidence>, threshold: Score) -> bool {
    let judged = face.and_then(|face| face.presentation.as_ref()).map(|judged| judged.score);
    judged.is_none_or(|score| score < threshold)
}

/// The visits of the last hour.
#[derive(Debug, Default)]
struct Rate {
    /// Each minute with its number of visits that were not low.
    passed: VecDeque<(u64, u32)>,
    /// Each worker with a low visit, and the time of the latest one, oldest first.
    low: VecDeque<(WorkerId, Monotonic)>,
    fallback: Option<Fallback>,
}

fn minute(at: Monotonic) -> u64 {
    at.since(Monotonic::default()).as_secs() / 60
}

impl Rate {
    fn passed(&mut self, now: Monotonic) {
        match self.passed.back_mut() {
            Some((last, visits)) if *last == minute(now) => *visits = visits.saturating_add(1),
            _ => self.passed.push_back((minute(now), 1)),
        }
        self.look(now);
    }

    fn low(&mut self, now: Monotonic, worker: &WorkerId) {
        self.low.retain(|(known, _)| known != worker);
        if self.low.len() >= LOW_MOST {
            self.low.pop_front();
        }
        self.low.push_back((worker.clone(), now));
        self.look(now);
    }

    /// Forgets what is older than an hour, and begins or ends the fallback.
    fn look(&mut self, now: Monotonic) {
        while self.passed.front().is_some_and(|(at, _)| minute(now).saturating_sub(*at) >= 60) {
            self.passed.pop_front();
        }
        while self.low.front().is_some_and(|(_, at)| now.since(*at) >= HOUR) {
            self.low.pop_front();
        }
        // At most `LOW_MOST`.
        let low = u32::try_from(self.low.len()).unwrap_or(u32::MAX);
        let visits = self.passed.iter().fold(low, |sum, (_, visits)| sum.saturating_add(*visits));
        let over = low.saturating_mul(SHARE) > visits.max(VISITS_LEAST);
        match self.fallback {
            None if over => self.fallback = Some(Fallback { since: now, low, visits }),
            Some(Fallback { since, .. }) if !over && now.since(since) >= HOUR => {
                self.fallback = None;
            }
            _ => {}
        }
    }

    fn due(&self) -> Option<Monotonic> {
        let Fallback { since, .. } = self.fallback?;
        let forgotten = self.low.front().map(|(_, at)| *at + HOUR);
        Some(forgotten.unwrap_or_default().max(since + HOUR))
    }
}

#[cfg(test)]
mod tests;
