//! Seals the roster's sealed values with another key.
//!
//! In: the old and the new key. Out: the number of values sealed and of damaged values. Touches:
//! the tables `worker`, `template`, `photo` and `card`.

use rusqlite::{OptionalExtension, Params, Transaction, params};
use zeroize::Zeroizing;

use super::{Identity, RosterError, faces::seal_context, rows::lookup, tokens::card_lookup};
use crate::{
    reader::CardNumber,
    store::{SealError, Sealer},
};

/// Number of values that were sealed again, and of damaged values. A damaged value could not be
/// opened and stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    pub values: u64,
    pub damaged: u64,
}

impl Resealed {
    fn count(&mut self, old: &Sealer, context: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match old.open(context, sealed) {
            Ok(plain) => {
                self.values += 1;
                Some(plain)
            }
            Err(SealError::DoesNotOpen { .. } | SealError::Random(_)) => {
                self.damaged += 1;
                None
            }
        }
    }
}

/// Seals each value again, row by row, so that at most one of thousands of photos is in memory.
pub fn reseal(tx: &Transaction<'_>, old: &Sealer, new: &Sealer) -> Result<Resealed, RosterError> {
    let mut done = Resealed::default();
    identities(tx, old, new, &mut done)?;
    for table in ["template", "photo"] {
        faces(tx, old, new, table, &mut done)?;
    }
    cards(tx, old, new, &mut done)?;
    Ok(done)
}

fn identities(
    tx: &Transaction<'_>,
    old: &Sealer,
    new: &Sealer,
    done: &mut Resealed,
) -> Result<(), RosterError> {
    let mut next = tx.prepare(
        "SELECT id, identity FROM worker WHERE id > ?1 AND length(identity) > 0
         ORDER BY id LIMIT 1",
    )?;
    let mut update =
        tx.prepare("UPDATE worker SET identity = ?2, identity_lookup = ?3 WHERE id = ?1")?;
    let mut after = String::new();
    loop {
        let row: Option<(String, Vec<u8>)> =
            next.query_row([&after], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((id, sealed)) = row else { return Ok(()) };
        let context = seal_context("identity", &id, 0);
        if let Some(plain) = done.count(old, &context, &sealed) {
            let identity = Identity::from_bytes(&plain)?;
            update.execute(params![id, new.seal(&context, &plain)?, lookup(new, &identity)])?;
        }
        after = id;
    }
}

fn faces(
    tx: &Transaction<'_>,
    old: &Sealer,
    new: &Sealer,
    table: &str,
    done: &mut Resealed,
) -> Result<(), RosterError> {
    let next = format!(
        "SELECT worker, ordinal, sealed FROM {table} WHERE (worker, ordinal) > (?1, ?2)
         ORDER BY worker, ordinal LIMIT 1"
    );
    let update = format!("UPDATE {table} SET sealed = ?3 WHERE worker = ?1 AND ordinal = ?2");
    let (mut next, mut update) = (tx.prepare(&next)?, tx.prepare(&update)?);
    let (mut worker, mut ordinal) = (String::new(), -1i64);
    while let Some(row) = one(&mut next, params![worker, ordinal])? {
        let sealed;
        (worker, ordinal, sealed) = row;
        let context = seal_context(table, &worker, usize::try_from(ordinal).unwrap_or_default());
        if let Some(plain) = done.count(old, &context, &sealed) {
            update.execute(params![worker, ordinal, new.seal(&context, &plain)?])?;
        }
    }
    Ok(())
}

/// Seals the cards again. Their keyed hashes change too, so all are read first: at most three in
/// force for each worker.
fn cards(
    tx: &Transaction<'_>,
    old: &Sealer,
    new: &Sealer,
    done: &mut Resealed,
) -> Result<(), RosterError> {
    let mut all = tx.prepare("SELECT lookup, sealed FROM card")?;
    let rows =
        all.query_map([], |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
    let mut update = tx.prepare("UPDATE card SET lookup = ?2, sealed = ?3 WHERE lookup = ?1")?;
    let context = |lookup: [u8; 32]| seal_context("card", hex::encode(lookup), 0);
    for (before, sealed) in rows {
        let Some(plain) = done.count(old, &context(before), &sealed) else { continue };
        let text = std::str::from_utf8(&plain).ok();
        let Some(number) = text.and_then(CardNumber::from_canonical) else { continue };
        let after = card_lookup(new, number);
        update.execute(params![before, after, new.seal(&context(after), &plain)?])?;
    }
    Ok(())
}

fn one(
    next: &mut rusqlite::Statement<'_>,
    after: impl Params,
) -> rusqlite::Result<Option<(String, i64, Vec<u8>)>> {
    next.query_row(after, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
}
