//! Gives cards to workers, takes them back, and marks them as lost.

use serde::{Deserialize, Serialize};

use super::{Code, Failure, Services};
use crate::{
    ledger::{Actor, Card},
    reader::{CardFormat, CardNumber},
    roster::{self, CardChange, CardShown, OwnCard, WorkerId},
    store::Priority,
};

/// A change of a worker's cards.
#[derive(Clone, Serialize, Deserialize)]
pub struct ChangeCard {
    /// The worker's id.
    pub id: WorkerId,
    /// The number, as a person typed it; any spelling.
    pub number: String,
    /// What happens to the card.
    pub change: CardChange,
    /// Nothing is changed: says whether the card could be given after this number of other cards. The
    /// worker need not be on the roster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run_after: Option<usize>,
}

/// The result of a change of a card.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CardChanged {
    /// The worker's id.
    pub id: WorkerId,
    /// What happened to the card.
    pub change: CardChange,
    /// The number: decimal, hex, and print.
    pub number: String,
    /// The spelling in which the number was taken.
    pub taken_as: CardFormat,
}

/// A worker's cards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cards {
    /// The worker's id.
    pub id: WorkerId,
    /// The cards; those in force first.
    pub cards: Vec<CardShown>,
}

impl Services {
    /// Gives a card to a worker, takes it back, or marks it as lost.
    pub async fn change_card(&self, asked: ChangeCard, by: Actor) -> Result<CardChanged, Failure> {
        let ChangeCard { id, number, change, dry_run_after } = asked;
        let wrong = |problem| Failure::of(Code::Invalid, "number", problem);
        let (number, taken_as) = CardNumber::typed(&number).map_err(wrong)?;
        let shown = number.shown();
        if let Some(after) = dry_run_after {
            let (sealer, worker) = (self.store.sealer().clone(), id.clone());
            let check = move |tx: &rusqlite::Transaction<'_>| {
                roster::check_new_card(tx, &sealer, &worker, (number, after))
            };
            self.store.read(check).await?;
            return Ok(CardChanged { id, change, number: shown, taken_as });
        }
        let changing = self.changing.lock().await;
        let (sealer, worker) = (self.store.sealer().clone(), id.clone());
        let commitment = roster::card_lookup(&sealer, number);
        self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            roster::change_card(tx, &sealer, &worker, number, change)?;
            Ok((Card { worker, what: change, commitment, by }.into(), ()))
        })
        .await?;
        Ok(CardChanged { id, change, number: shown, taken_as })
    }

    /// Returns the cards of a worker on the roster.
    pub async fn cards(&self, id: WorkerId) -> Result<Cards, Failure> {
        self.on_roster(&id).await?;
        let (sealer, asked) = (self.store.sealer().clone(), id.clone());
        let cards = self.store.read(move |tx| roster::cards(tx, &sealer, &asked)).await?;
        Ok(Cards { id, cards: cards.into_iter().map(OwnCard::in_full).collect() })
    }
}
