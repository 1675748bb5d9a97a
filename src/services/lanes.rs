//! Releases by hand, and the lanes' modes.

use std::{fmt::Display, time::Duration};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Code, Failure, LanePanel, Services, asked::checked_reason};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{
        claim::ManualRelease,
        lane::{self, ModeRequest},
        passage::Answered,
    },
    ledger::{Actor, LaneMode},
    roster::{RosterError, Standing, Worker, WorkerId},
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

pub(super) fn no_such_lane(name: impl Display, lanes: &[String]) -> Failure {
    let problem = format!("there is no lane {name}; there are: {}", lanes.join(", "));
    Failure::new(Code::NoSuchLane, problem)
}

impl Services {
    pub(super) fn lane(&self, name: &str) -> Result<&LanePanel, Failure> {
        self.lanes.iter().find(|lane| lane.name == name).ok_or_else(|| {
            let names: Vec<_> = self.lanes.iter().map(|lane| lane.name.clone()).collect();
            no_such_lane(format_args!("{name:?}"), &names)
        })
    }

    /// Checks that a guard may vouch for a worker. The guard confirms the worker's identity. The
    /// worker must be in force all the same.
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
                format!("admitted only from {} on", day(worker.terms.valid_from)),
                ("update", " --valid-from DATE"),
            ),
            Standing::Expired => (
                format!("admitted only until {}", day(worker.terms.valid_until)),
                ("update", " --valid-until DATE"),
            ),
            Standing::Suspended => (format!("suspended ({reason})"), ("resume", "")),
            Standing::Barred => (format!("barred ({reason})"), ("resume", "")),
            Standing::TrainingMissing => {
                ("not trained in safety".to_owned(), ("update", " --trained-on DATE"))
            }
        };
        let problem = format!(
            "worker {id} is {what}; `gatehouse worker {verb} {id}{options}` changes that. Without \
             --worker the gate opens, but no attendance is recorded",
            id = worker.person.id
        );
        Err(Failure::new(Code::NotInForce, problem))
    }

    /// Changes a lane's mode, and returns the mode that the lane has then.
    pub async fn mode(&self, asked: ModeChange, by: Actor) -> Result<ModeChange, Failure> {
        let ModeChange { lane, mode, reason } = asked;
        let reason = checked_reason(&reason)?;
        let (reply, answer) = oneshot::channel();
        let request = lane::Request::Mode(ModeRequest { mode, reason, by, reply });
        let answered = self.answer(&lane, request, answer, "").await?;
        let set = answered
            .map_err(|problem| Failure::new(Code::NotChanged, format!("lane {lane}: {problem}")))?;
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
        let unknown = "; it is not known whether it released the turnstile";
        let answered = self.answer(&lane, request, answer, unknown).await?.map_err(|problem| {
            Failure::new(Code::NotReleased, format!("lane {lane}: {problem}"))
        })?;
        Ok(Released { lane, direction, answered })
    }

    /// Returns a lane's answer. `unknown`: what the error says is not known, where the lane stops
    /// first.
    async fn answer<T>(
        &self,
        name: &str,
        request: lane::Request,
        answer: oneshot::Receiver<T>,
        unknown: &str,
    ) -> Result<T, Failure> {
        let stopped = || {
            let attendance = if unknown.is_empty() { "" } else { " and the attendance" };
            let problem = format!(
                "the lane has stopped, or restarts after a fault{unknown}; see `gatehouse \
                 status`{attendance}"
            );
            Failure::new(Code::Stopping, problem)
        };
        self.lane(name)?.requests.send(request).await.map_err(|_| stopped())?;
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| Failure::new(Code::Timeout, "the lane gave no answer"))?
            .map_err(|_| stopped())
    }
}
