//! A person confirms a roster that was in doubt.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Failure, Services, asked::checked_reason, refusal::Refusal};
use crate::{
    ledger::{self, Actor, RosterConfirmation},
    roster,
    store::Priority,
};

/// A request to end the doubt about the roster.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ConfirmRoster {
    /// What you have checked, in your own words
    #[arg(long)]
    pub reason: Option<String>,
}

/// The roster that was confirmed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RosterConfirmed {
    /// Number of workers on it.
    pub workers: u32,
    /// Its version.
    pub version: u64,
    /// The seq of the entry that says so.
    pub seq: Option<u64>,
}

impl Services {
    /// Confirms the roster: from now on, records are not flagged any more.
    pub async fn confirm_roster(
        &self,
        ConfirmRoster { reason }: ConfirmRoster,
        by: Actor,
    ) -> Result<RosterConfirmed, Failure> {
        let reason = reason.as_deref().map(checked_reason).transpose()?;
        // No change of the roster comes between the numbers and the entry.
        let _changing = self.changing.lock().await;
        let snapshot = self.roster.borrow().clone();
        let workers = u32::try_from(snapshot.workers().len()).unwrap_or(u32::MAX);
        let (version, ledger, stamp) =
            (snapshot.version(), self.ledger.clone(), self.clock.stamp());
        let confirm = move |tx: &rusqlite::Transaction<'_>| {
            let since = roster::stale_since(tx)?.ok_or(Refusal::RosterNotInDoubt)?;
            let since = ledger::reference(tx, since)?;
            let entry = RosterConfirmation { since, workers, roster: version, reason, by };
            let written = ledger.append(tx, stamp, entry)?;
            roster::confirmed(tx)?;
            Ok::<_, Failure>(written.entry.seq)
        };
        let seq = self.store.write(Priority::Upkeep, confirm).await?;
        self.roster_stale.send_replace(false);
        Ok(RosterConfirmed { workers, version, seq })
    }
}
