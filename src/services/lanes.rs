//! Releases by hand, and the lanes' modes.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Failure, LanePanel, Services, asked::checked_reason, refusal::Refusal};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{
        claim::ManualRelease,
        lane::{self, ModeRequest},
        passage::Answered,
    },
    ledger::{Actor, LaneMode},
    roster::{RosterError, Worker, WorkerId},
};

/// Timeout for a lane's answer. A release is answered with its outcome, which has its own bounds.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A request to release a turnstile once, by hand.
#[derive(Clone, Args, Serialize, Deserialize)]
pub struct Release {
    /// The lane's name in the configuration
    pub lane: String,
    /// entry or exit
    #[arg(long)]
    pub direction: Direction,
    /// Why, in words
    #[arg(long)]
    pub reason: String,
    /// The worker that the guard vouches for
    #[arg(long, value_name = "ID")]
    pub worker: Option<WorkerId>,
}

/// The result of a release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Released {
    /// The lane's name in the configuration.
    pub lane: String,
    /// The direction of the release.
    pub direction: Direction,
    /// What became of the release.
    #[serde(flatten)]
    pub answered: Answered,
}

/// A change of a lane's mode; the request and the result.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ModeChange {
    /// The lane's name in the configuration
    pub lane: String,
    /// normal; free: the lane stands open in both directions; closed: no worker enters, and workers
    /// inside may leave
    pub mode: LaneMode,
    /// Why, in words
    #[arg(long)]
    pub reason: String,
}

impl Services {
    pub(super) fn lane(&self, name: &str) -> Result<&LanePanel, Failure> {
        self.lanes.iter().find(|lane| lane.name == name).ok_or_else(|| {
            let lanes = self.lanes.iter().map(|lane| lane.name.clone()).collect();
            Refusal::NoSuchLane { name: format!("{name:?}"), lanes }.into()
        })
    }

    /// Checks that a guard may vouch for a worker. The guard confirms the worker's identity. The
    /// worker must be in force all the same.
    fn may_be_vouched_for(&self, worker: &Worker, direction: Direction) -> Result<(), Failure> {
        if direction == Direction::Exit {
            return Ok(());
        }
        let standing = worker.standing(self.day(), self.roster_rules.require_training);
        Refusal::of_standing(worker, standing).map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Changes a lane's mode, and returns the mode that the lane has then.
    pub async fn mode(&self, asked: ModeChange, by: Actor) -> Result<ModeChange, Failure> {
        let ModeChange { lane, mode, reason } = asked;
        let reason = checked_reason(&reason)?;
        let (reply, answer) = oneshot::channel();
        let request = lane::Request::Mode(ModeRequest { mode, reason, by, reply });
        let answered = self.answer(&lane, request, answer, || Refusal::LaneStopped).await?;
        let refused = |refusal| Refusal::ModeNotChanged { lane: lane.clone(), refusal };
        let set = answered.map_err(refused)?;
        Ok(ModeChange { lane, mode: set.mode, reason: set.reason })
    }

    /// Releases a turnstile. `void_after`: time from which the release is void, even if the lane
    /// was busy until then.
    pub async fn release(
        &self,
        Release { lane, direction, reason, worker }: Release,
        by: Actor,
        void_after: Option<Monotonic>,
    ) -> Result<Released, Failure> {
        let reason = checked_reason(&reason)?;
        self.lane(&lane)?;
        let person = match worker {
            None => None,
            Some(id) => {
                let known = self.roster.borrow().worker(&id).cloned();
                let Some(worker) = known else {
                    // The database knows a worker who was removed.
                    self.on_roster(&id).await?;
                    return Err(RosterError::NoSuchWorker(id).into());
                };
                self.may_be_vouched_for(&worker, direction)?;
                Some(worker.person.clone())
            }
        };
        let (reply, answer) = oneshot::channel();
        let release = ManualRelease { direction, person, reason, by, void_after };
        let request = lane::Request::Release { release, reply };
        let stopped = || Refusal::LaneStoppedInRelease;
        let answered = self.answer(&lane, request, answer, stopped).await?;
        let refused = |refusal| Refusal::NotReleased { lane: lane.clone(), refusal };
        let answered = answered.map_err(refused)?;
        Ok(Released { lane, direction, answered })
    }

    /// Returns a lane's answer. `stopped`: the error if the lane stops first.
    async fn answer<T>(
        &self,
        name: &str,
        request: lane::Request,
        answer: oneshot::Receiver<T>,
        stopped: fn() -> Refusal,
    ) -> Result<T, Failure> {
        self.lane(name)?.requests.send(request).await.map_err(|_| stopped())?;
        let answered = tokio::time::timeout(TIMEOUT, answer).await;
        Ok(answered.map_err(|_| Refusal::LaneSilent)?.map_err(|_| stopped())?)
    }
}
