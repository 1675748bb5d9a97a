//! Makes codes in QR for workers.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Code, Failure, Services, refusal::Refusal};
use crate::{
    gate::codes::LIFE_MAX,
    ledger::{Actor, Card, LedgerError},
    roster::{CardChange, WorkerId},
    store::Priority,
};

/// Minutes for which a code counts, where the request names none.
const USUAL_MINUTES: u16 = 10;

/// A request for a code.
#[derive(Clone, Args, Serialize, Deserialize)]
pub struct MakeCode {
    /// The worker's id
    pub id: WorkerId,
    /// Time for which the code counts: 1 to 60 minutes
    #[arg(long, default_value_t = USUAL_MINUTES)]
    pub minutes: u16,
}

/// A code that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodeMade {
    /// The worker's id.
    pub id: WorkerId,
    /// The text that the QR code holds.
    pub code: String,
    /// The time from which on it does not count.
    pub expires_at: String,
    /// Why it opens no entry now, only an exit, and the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_only: Option<String>,
}

impl Services {
    /// Makes a code, which opens one passage. The entry `card` says who made it. A worker who may not
    /// enter gets one too, because it opens an exit.
    pub async fn make_code(&self, asked: MakeCode, by: Actor) -> Result<CodeMade, Failure> {
        let MakeCode { id, minutes } = asked;
        let life = Duration::from_secs(60 * u64::from(minutes));
        if life.is_zero() || life > LIFE_MAX {
            let problem = format!("must be 1 to {}", LIFE_MAX.as_secs() / 60);
            return Err(Failure::of(Code::Invalid, "minutes", problem));
        }
        let (worker, _) = self.on_roster(&id).await?;
        let standing = worker.standing(self.day(), self.roster_rules.require_training);
        let exit_only = Refusal::standing_in_words(&worker, standing);
        let stamp = self.clock.stamp();
        if !stamp.synced {
            let problem = "the clock of this gateway is not synchronised, so that no code would count; \
                           give the worker a card, or release the turnstile by hand";
            return Err(Failure::new(Code::Clock, problem));
        }
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(Failure::internal)?;
        let code = self.codes.make(&id, stamp, life, nonce);
        let entry = Card { worker: id.clone(), what: CardChange::Code, commitment: code.id(), by };
        let ledger = self.ledger.clone();
        let append = self.store.write(Priority::Upkeep, move |tx| {
            ledger.append(tx, stamp, entry)?;
            Ok::<_, LedgerError>(())
        });
        append.await?;
        let expires = jiff::Timestamp::from_second(code.says().expires).unwrap_or_default();
        Ok(CodeMade { id, code: code.text(), expires_at: self.origin.time(expires), exit_only })
    }
}
