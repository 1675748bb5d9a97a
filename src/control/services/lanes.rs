//! Gates opened by hand, and how lanes work.

use tokio::sync::oneshot;

use super::{Failure, LanePanel, RELEASE_PATIENCE, Refusal, Services, to_json};
use crate::{
    clock::Monotonic,
    config::Direction,
    control::protocol::{ModeSet, Released},
    gate::{
        claim::ManualRelease,
        lane::{self, ModeRequest},
    },
    ledger::{Actor, LaneMode},
    roster::{RosterError, Standing, Worker, WorkerId, checked_text},
};

impl Services {
    pub(super) fn lane(&self, name: &str) -> Result<&LanePanel, Failure> {
        self.lanes.iter().find(|lane| lane.name == name).ok_or_else(|| {
            let names: Vec<_> = self.lanes.iter().map(|lane| lane.name.as_str()).collect();
            let problem = format!("there is no lane {name:?}; there are: {}", names.join(", "));
            Failure::new("no_such_lane", problem)
        })
    }

    /// A guard vouches for who somebody is, not for their being in force.
    fn may_be_vouched_for(&self, worker: &Worker, direction: Direction) -> Result<(), Failure> {
        if direction == Direction::Exit {
            return Ok(());
        }
        let require_training = self.roster_rules.require_training;
        let reason = worker.state_reason.as_deref().unwrap_or("no reason given");
        let day = |day: Option<jiff::civil::Date>| day.map_or_else(String::new, |d| d.to_string());
        let (what, (verb, options)) = match worker.standing(self.today(), require_training) {
            Standing::InForce => return Ok(()),
            Standing::NotYet => (
                format!("admitted from {} on", day(worker.terms.valid_from)),
                ("update", " --valid-from DATE"),
            ),
            Standing::Expired => (
                format!("admitted until {}", day(worker.terms.valid_until)),
                ("update", " --valid-until DATE"),
            ),
            Standing::Suspended => (format!("suspended ({reason})"), ("resume", "")),
            Standing::Barred => (format!("barred ({reason})"), ("resume", "")),
            Standing::TrainingMissing => {
                ("not trained in safety".to_owned(), ("update", " --trained-on DATE"))
            }
        };
        let problem = format!(
            "worker {id} is {what}: `gatehouse worker {verb} {id}{options}` changes that; without \
             --worker the gate opens, and it is nobody's attendance",
            id = worker.person.id
        );
        Err(Failure::new("not_in_force", problem))
    }

    pub(super) async fn mode(
        &self,
        name: String,
        mode: LaneMode,
        reason: String,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let reason = checked_text("reason", &reason, 200)?;
        let lane = self.lane(&name)?;
        let (reply, answer) = oneshot::channel();
        let request = lane::Request::Mode(ModeRequest { mode, reason, by, reply });
        let stopped = || {
            let problem = "the lane has stopped, or restarts after a fault; see `gatehouse status`";
            Failure::new("stopping", problem)
        };
        lane.requests.send(request).await.map_err(|_| stopped())?;
        let set = tokio::time::timeout(RELEASE_PATIENCE, answer)
            .await
            .map_err(|_| Failure::new("timeout", "the lane gave no answer"))?
            .map_err(|_| stopped())?
            .map_err(|problem| Failure::new("not_changed", format!("lane {name}: {problem}")))?;
        to_json(&ModeSet { lane: name, mode: set.mode, reason: set.reason })
    }

    /// `void_after`: nothing is released then, whatever keeps the lane busy until then.
    pub(in crate::control) async fn release(
        &self,
        name: String,
        direction: Direction,
        worker: Option<WorkerId>,
        reason: String,
        by: Actor,
        void_after: Option<Monotonic>,
    ) -> Result<serde_json::Value, Refusal> {
        let reason = checked_text("reason", &reason, 200)?;
        let lane = self.lane(&name)?;
        let person = match worker {
            None => None,
            Some(id) => match self.roster.borrow().worker(&id) {
                Some(worker) => {
                    self.may_be_vouched_for(worker, direction)?;
                    Some(worker.person.clone())
                }
                None => return Err(RosterError::NoSuchWorker(id).into()),
            },
        };
        let (reply, answer) = oneshot::channel();
        let release = ManualRelease { direction, person, reason, by, void_after };
        let stopped = || {
            let problem = "the lane has stopped, or restarts after a fault: whether it released is \
                           not known here; see `gatehouse status` and the attendance";
            Failure::new("stopping", problem)
        };
        let request = lane::Request::Release { release, reply };
        lane.requests.send(request).await.map_err(|_| stopped())?;
        let answered = tokio::time::timeout(RELEASE_PATIENCE, answer)
            .await
            .map_err(|_| Failure::new("timeout", "the lane gave no answer"))?
            .map_err(|_| stopped())?
            .map_err(|problem| Failure::new("not_released", format!("lane {name}: {problem}")))?;
        to_json(&Released { lane: name, direction, answered })
    }
}
