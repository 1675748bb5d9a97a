//! The cards of workers.
//!
//! A number opens the gate, so it is sealed, and is found by a keyed hash. A resident identity card
//! opens for the worker whose number it holds, and needs no row here.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    RosterError, WorkerId,
    faces::seal_context,
    rows::{must_be_on_roster, raise_version},
    tokens::card_lookup,
};
use crate::{reader::CardNumber, store::Sealer, words::words};

/// Maximum number of a worker's cards in force.
pub const CARDS_MAX: usize = 3;
/// Maximum number of a worker's lost cards.
pub const LOST_MAX: usize = 16;

words! {
    /// A change of a worker's cards.
    pub enum CardChange {
        /// The card was given to the worker.
        Added = "added",
        /// The card was taken back.
        Removed = "removed",
        /// The worker lost the card. It opens no entry.
        Lost = "lost",
        /// A code in QR was made for the worker.
        Code = "code",
    }
}

/// A card of a worker, as an admin sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardShown {
    /// The number: decimal, hex, and print.
    pub number: String,
    /// The card is marked as lost.
    pub lost: bool,
}

/// Gives a card to a worker, takes it back, or marks it as lost. The caller appends the ledger's
/// entry.
pub fn change_card(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    id: &WorkerId,
    number: CardNumber,
    change: CardChange,
) -> Result<(), RosterError> {
    must_be_on_roster(tx, id)?;
    let lookup = card_lookup(sealer, number);
    let holder: Option<(String, bool)> = tx
        .query_row("SELECT worker, lost FROM card WHERE lookup = ?1", [lookup], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let own = match holder {
        Some((other, lost)) if other != id.as_str() => {
            return Err(match change {
                CardChange::Added => RosterError::CardTaken { other: other.parse()?, lost },
                CardChange::Removed | CardChange::Lost | CardChange::Code => {
                    RosterError::NoSuchCard(id.clone())
                }
            });
        }
        own => own.map(|(_, lost)| lost),
    };
    let count = |lost: bool| -> Result<usize, RosterError> {
        let sql = "SELECT count(*) FROM card WHERE worker = ?1 AND lost = ?2";
        Ok(tx.query_row(sql, params![id.as_str(), lost], |row| row.get(0))?)
    };
    match (change, own) {
        (CardChange::Code, _) => return Err(RosterError::NoSuchCard(id.clone())),
        (CardChange::Added, Some(false)) | (CardChange::Lost, Some(true)) => {
            return Err(RosterError::CardUnchanged { id: id.clone(), change });
        }
        (CardChange::Removed | CardChange::Lost, None) => {
            return Err(RosterError::NoSuchCard(id.clone()));
        }
        (CardChange::Added, _) if count(false)? >= CARDS_MAX => {
            return Err(RosterError::TooManyCards { id: id.clone(), most: CARDS_MAX });
        }
        (CardChange::Lost, _) if count(true)? >= LOST_MAX => {
            return Err(RosterError::TooManyCards { id: id.clone(), most: LOST_MAX });
        }
        (CardChange::Added, None) => {
            let context = seal_context("card", hex::encode(lookup), 0);
            let sealed = sealer.seal(&context, number.canonical().as_bytes())?;
            tx.execute(
                "INSERT INTO card (lookup, worker, sealed) VALUES (?1, ?2, ?3)",
                params![lookup, id.as_str(), sealed],
            )?;
        }
        (CardChange::Removed, Some(_)) => {
            tx.execute("DELETE FROM card WHERE lookup = ?1", [lookup])?;
        }
        (CardChange::Added | CardChange::Lost, Some(_)) => {
            let lost = change == CardChange::Lost;
            tx.execute("UPDATE card SET lost = ?2 WHERE lookup = ?1", params![lookup, lost])?;
        }
    }
    raise_version(tx)
}

/// Checks whether a card could be given to a worker, who need not be on the roster, after `more` other
/// cards.
pub fn check_new_card(
    tx: &Connection,
    sealer: &Sealer,
    id: &WorkerId,
    (number, more): (CardNumber, usize),
) -> Result<(), RosterError> {
    let holder: Option<(String, bool)> = tx
        .query_row(
            "SELECT worker, lost FROM card WHERE lookup = ?1",
            [card_lookup(sealer, number)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    match holder {
        Some((other, lost)) if other != id.as_str() => {
            return Err(RosterError::CardTaken { other: other.parse()?, lost });
        }
        Some((_, false)) => {
            return Err(RosterError::CardUnchanged { id: id.clone(), change: CardChange::Added });
        }
        Some((_, true)) | None => {}
    }
    let own = "SELECT count(*) FROM card WHERE worker = ?1 AND lost = 0";
    let own: usize = tx.query_row(own, [id.as_str()], |row| row.get(0))?;
    if own + more >= CARDS_MAX {
        return Err(RosterError::TooManyCards { id: id.clone(), most: CARDS_MAX });
    }
    Ok(())
}

/// A card of a worker.
#[derive(Clone, Copy)]
pub struct OwnCard {
    /// The keyed hash of the number, as entries have it.
    pub lookup: [u8; 32],
    /// The number; `None`: the row is damaged.
    pub number: Option<CardNumber>,
    /// The card is marked as lost.
    pub lost: bool,
}

impl OwnCard {
    /// Returns the card with its number as a person compares it with the card.
    pub fn in_full(self) -> CardShown {
        self.shown(CardNumber::shown)
    }

    /// Returns the card with stars for all but the last four digits of its number.
    pub fn masked(self) -> CardShown {
        self.shown(CardNumber::masked)
    }

    fn shown(self, number: impl FnOnce(CardNumber) -> String) -> CardShown {
        let number = self.number.map_or_else(|| "damaged".to_owned(), number);
        CardShown { number, lost: self.lost }
    }
}

/// Returns a worker's cards; those in force first.
pub fn cards(tx: &Connection, sealer: &Sealer, id: &WorkerId) -> Result<Vec<OwnCard>, RosterError> {
    let mut query = tx.prepare_cached(
        "SELECT lookup, sealed, lost FROM card WHERE worker = ?1 ORDER BY lost, lookup",
    )?;
    let rows = query.query_map([id.as_str()], |row| {
        Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, bool>(2)?))
    })?;
    let mut own = Vec::new();
    for row in rows {
        let (lookup, sealed, lost) = row?;
        let opened = sealer.open(&seal_context("card", hex::encode(lookup), 0), &sealed).ok();
        let text = opened.as_deref().and_then(|plain| std::str::from_utf8(plain).ok());
        let number = text.and_then(CardNumber::from_canonical);
        own.push(OwnCard { lookup, number, lost });
    }
    Ok(own)
}

#[cfg(test)]
mod tests;
