//! From looks at faces to a grant or a denial.

use super::{Action, DECISION_LIFE, Machine, Passage, Rules, State, Taken};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{
        claim::{Claim, Sighting},
        policy::{self, Decision, Reason, Sighted},
        visit::Verdict,
    },
    ledger::{Denial, Evidence, FaceEvidence, Grant, LaneMode, Score},
    roster::{Match, Person},
    turnstile::PassageId,
};

impl Machine {
    pub(super) fn seen(
        &mut self,
        now: Monotonic,
        sighting: Sighting,
        fresh: PassageId,
    ) -> Vec<Action> {
        let (mut taken, mut actions) = self.take(now, &sighting, fresh);
        let undecided = &mut self.undecided[sighting.direction as usize];
        let named = sighting.sighted.named().is_some();
        if undecided.look(sighting.captured, named, taken) {
            let reason = sighting.sighted.reason();
            if let (Taken::Denied(_), deny) = self.unknown(&sighting, reason) {
                (taken, actions) = (Taken::Wavers(reason), deny);
            }
        }
        self.taken = Some(taken);
        actions
    }

    fn take(
        &mut self,
        now: Monotonic,
        sighting: &Sighting,
        fresh: PassageId,
    ) -> (Taken, Vec<Action>) {
        if now.since(sighting.captured) > DECISION_LIFE {
            self.counters.stale += 1;
            return (Taken::Stale, Vec::new());
        }
        let (direction, captured) = (sighting.direction, sighting.captured);
        self.next[direction as usize] = None;
        self.cooling.linger(sighting);
        // Nobody is denied meanwhile.
        let ignores = self.busy() || self.mode == LaneMode::Free;
        let frames_to_agree = self.rules.frames_to_agree;
        let visit = &mut self.visits[direction as usize];
        let verdict = visit.look(sighting, frames_to_agree, !ignores);
        let nothing = |taken| (taken, Vec::new());
        match (&sighting.sighted, verdict) {
            (Sighted::Worker(found), _)
                if self.cooling.holds(now, &found.worker.person.id, direction, captured) =>
            {
                nothing(Taken::CoolingDown)
            }
            (Sighted::Stranger { .. } | Sighted::Ambiguous { .. }, Verdict::Ignored) => {
                nothing(if self.busy() { Taken::Busy } else { Taken::Free })
            }
            (_, Verdict::Agreeing { looks, of }) => nothing(Taken::Agreeing { looks, of }),
            (Sighted::Worker(found), Verdict::Recognised) => {
                let claim = self.claim(sighting, found);
                if !self.busy() {
                    return self.admit(claim, fresh);
                }
                if self.mode == LaneMode::Free {
                    self.next[direction as usize] = Some((claim, fresh));
                }
                nothing(Taken::Busy)
            }
            (_, Verdict::Unknown(reason)) => self.unknown(sighting, reason),
            (_, Verdict::Recognised | Verdict::TurningAway | Verdict::Ignored) => {
                nothing(Taken::TurningAway)
            }
        }
    }

    /// What the looks of a visit claim together.
    fn claim(&self, sighting: &Sighting, found: &Match) -> Claim {
        Claim {
            direction: sighting.direction,
            worker: found.worker.clone(),
            evidence: self.evidence(sighting),
            visit: sighting.visit,
            captured: sighting.captured,
            roster_version: sighting.roster_version,
            today: sighting.today,
            photo: sighting.photo.clone(),
        }
    }

    fn evidence(&self, sighting: &Sighting) -> Vec<Evidence> {
        let side = sighting.direction as usize;
        let margin = match &sighting.sighted {
            Sighted::Worker(found) => found.margin,
            Sighted::Stranger { .. } | Sighted::Ambiguous { .. } => None,
        };
        vec![Evidence::Face(FaceEvidence {
            score: Score::of(sighting.sighted.score()),
            threshold: Score::of(self.rules.threshold.cosine()),
            margin: margin.map(Score::of),
            model: self.rules.model.clone(),
            frames: self.visits[side].looks(),
            camera: self.rules.cameras[side].to_owned(),
            presentation: None,
        })]
    }

    /// Grants or denies what a worker claims.
    fn admit(&mut self, claim: Claim, fresh: PassageId) -> (Taken, Vec<Action>) {
        let Claim { direction, worker, today, .. } = &claim;
        let Rules { require_training, .. } = self.rules;
        let decision = policy::decide(worker, *direction, self.mode, *today, require_training);
        let (direction, person) = (*direction, worker.person.clone());
        if let Decision::Deny(reason) = decision {
            return self.deny(direction, Some(person), reason, claim.evidence);
        }
        self.visits[direction as usize].granted();
        let passage = Passage {
            id: fresh,
            direction,
            worker: Some(person.id.clone()),
            visit: Some(claim.visit),
            manual: false,
            released: false,
        };
        self.state = State::Committing { passage, deadline: claim.captured + DECISION_LIFE };
        let grant = Grant {
            passage: fresh,
            lane: self.rules.lane.clone(),
            direction,
            person,
            evidence: claim.evidence,
            flags: Vec::new(),
            roster: claim.roster_version,
            photo: claim.photo.map(|photo| photo.sha256),
        };
        (Taken::Granted, vec![Action::Commit { passage: fresh, body: grant.into() }])
    }

    fn unknown(&mut self, sighting: &Sighting, reason: Reason) -> (Taken, Vec<Action>) {
        self.deny(sighting.direction, None, reason, self.evidence(sighting))
    }

    /// Once a visit for the same person and reason.
    fn deny(
        &mut self,
        direction: Direction,
        person: Option<Person>,
        reason: Reason,
        evidence: Vec<Evidence>,
    ) -> (Taken, Vec<Action>) {
        let id = person.as_ref().map(|person| person.id.clone());
        if self.visits[direction as usize].denied_before(id, reason) {
            return (Taken::DeniedBefore(reason), Vec::new());
        }
        let lane = self.rules.lane.clone();
        let (reason_word, flags) = (reason.word().to_owned(), Vec::new());
        let denial = Denial { lane, direction, reason: reason_word, person, evidence, flags };
        (Taken::Denied(reason), vec![Action::Deny { body: denial.into() }])
    }

    /// Records who was recognised meanwhile.
    pub(super) fn next(&mut self, now: Monotonic) -> Vec<Action> {
        let waiting = self.next.iter_mut().find_map(Option::take);
        let Some((claim, fresh)) = waiting else { return Vec::new() };
        let Claim { worker, direction, captured, .. } = &claim;
        let id = &worker.person.id;
        if now.since(*captured) > DECISION_LIFE
            || self.cooling.holds(now, id, *direction, *captured)
        {
            return Vec::new();
        }
        self.admit(claim, fresh).1
    }
}
