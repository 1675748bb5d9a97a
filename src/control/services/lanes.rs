//! Gates opened by hand, and how lanes work.

use tokio::sync::oneshot;

use super::{Failure, LanePanel, RELEASE_PATIENCE, Refusal, Services, to_json};
use crate::{
    config::Direction,
    control::protocol::{ModeSet, Released},
    gate::{
        lane::{self, ModeRequest},
        passage::ManualRelease,
    },
    ledger::{Actor, LaneMode},
    roster::{RosterError, State, Worker, WorkerId, checked_text},
};

impl Services {
    pub(super) fn lane(&self, name: &str) -> Result<&LanePanel, Failure> {
        self.lanes.iter().find(|lane| lane.name == name).ok_or_else(|| {
            let names: Vec<_> = self.lanes.iter().map(|lane| lane.name.as_str()).collect();
            let problem = format!("there is no lane {name:?}; there are: {}", names.join(", "));
            Failure::new("no_such_lane", problem)
        })
    }

    /// A guard vouches for who somebody is, not against the site's decision to keep them out.
    fn may_be_vouched_for(&self, worker: &Worker, direction: Direction) -> Result<(), Failure> {
        let kept_out = matches!(worker.state, State::Suspended | State::Barred);
        if direction == Direction::Exit || !kept_out {
            return Ok(());
        }
        let problem = format!(
            "worker {} is {} ({}): `gatehouse worker resume` readmits them",
            worker.person.id,
            worker.state.word(),
            worker.state_reason.as_deref().unwrap_or("no reason given")
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

    pub(super) async fn release(
        &self,
        name: String,
        direction: Direction,
        worker: Option<WorkerId>,
        reason: String,
        by: Actor,
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
        let release = ManualRelease { direction, person, reason, by };
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
