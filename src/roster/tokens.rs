//! What a reader may read of a worker: keyed hashes of the numbers of cards and of the resident
//! identity card.

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{IdType, WorkerId};
use crate::{reader::CardNumber, store::Sealer};

/// What a reader may read of a worker: the keyed hash of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub lookup: [u8; 32],
    pub kind: TokenKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Card,
    LostCard,
    /// The resident identity card.
    IdCard,
}

/// Returns the keyed hash of a card's number.
pub fn card_lookup(sealer: &Sealer, number: CardNumber) -> [u8; 32] {
    sealer.lookup(&format!("card:{}", number.canonical()))
}

/// Returns the keyed hash of the number on a resident identity card.
pub fn id_card_lookup(sealer: &Sealer, number: &str) -> [u8; 32] {
    sealer.lookup(&format!("{}:{}", IdType::Resident.word(), number.to_uppercase()))
}

/// Returns what a reader may read of a worker who is on the roster.
pub(super) fn tokens(tx: &Connection, id: &str) -> rusqlite::Result<Vec<Token>> {
    let mut query = tx.prepare_cached("SELECT lookup, lost FROM card WHERE worker = ?1")?;
    let cards = query.query_map([id], |row| {
        let kind = if row.get(1)? { TokenKind::LostCard } else { TokenKind::Card };
        Ok((row.get::<_, Vec<u8>>(0)?, kind))
    })?;
    let mut tokens = Vec::new();
    for card in cards {
        let (lookup, kind) = card?;
        // A damaged row affects only its own card.
        tokens.extend(lookup.try_into().ok().map(|lookup| Token { lookup, kind }));
    }
    let document: Option<Vec<u8>> = tx
        .prepare_cached("SELECT identity_lookup FROM worker WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let lookup = document.and_then(|document| document.try_into().ok());
    tokens.extend(lookup.map(|lookup| Token { lookup, kind: TokenKind::IdCard }));
    Ok(tokens)
}

/// Deletes the cards of a worker who leaves the roster.
pub(super) fn delete(tx: &Transaction<'_>, id: &WorkerId) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM card WHERE worker = ?1", [id.as_str()]).map(drop)
}
