//! Exempts workers on whom the judgement on a living face errs, and ends an exemption.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Failure, Services, asked::checked_reason, refusal::Refusal};
use crate::{
    ledger::{Actor, Exemption, ExemptionWhat},
    roster::{self, State, WorkerId},
    store::Priority,
};

/// A worker whom no guard is asked for from now on, or with `end` again; the request and the result.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct Exempt {
    /// The worker's id
    pub id: WorkerId,
    /// The reason, in your own words: what you saw, and when
    #[arg(long)]
    pub reason: String,
    /// End the exemption
    #[arg(long)]
    pub end: bool,
}

impl Services {
    /// Exempts a worker from the guard's look, or ends the exemption.
    pub async fn exempt(
        &self,
        Exempt { id, reason, end }: Exempt,
        by: Actor,
    ) -> Result<Exempt, Failure> {
        let reason = checked_reason(&reason)?;
        let changing = self.changing.lock().await;
        let (worker, _) = self.on_roster(&id).await?;
        if worker.state == State::Pending && !end {
            return Err(Refusal::IsPending { id }.into());
        }
        if worker.liveness_exempt.is_some() != end {
            return Err(Refusal::ExemptionKnown { id, exempt: !end }.into());
        }
        let what = if end { ExemptionWhat::Ended } else { ExemptionWhat::Given };
        let name = worker.person.name;
        let entry = Exemption { worker: id.clone(), name, what, reason: reason.clone(), by };
        let (exempted, why) = (id.clone(), Some(reason.clone()).filter(|_| !end));
        self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            roster::exempt(tx, &exempted, why.as_deref())?;
            Ok((entry.into(), ()))
        })
        .await?;
        Ok(Exempt { id, reason, end })
    }
}
