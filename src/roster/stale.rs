//! A roster in doubt: entries were lost, and with them perhaps changes of the roster.
//!
//! In: the entry that told the loss. Out: whether each decision is to be flagged, until a person
//! confirms the roster. Touches: `roster_stale` in `meta`.

use rusqlite::{Connection, Transaction};

use crate::store::{StoreError, meta, set_meta};

/// Key in `meta`: the index of the entry that told the loss, 8 bytes.
const STALE: &str = "roster_stale";

/// Returns the index of the entry since which the roster is in doubt; `None` if it is not.
pub fn stale_since(database: &Connection) -> Result<Option<u64>, StoreError> {
    let bytes = meta(database, STALE)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
}

/// Puts the roster in doubt. A doubt that stands already stays.
pub fn doubt(tx: &Transaction<'_>, since: u64) -> Result<(), StoreError> {
    match stale_since(tx)? {
        None => Ok(set_meta(tx, STALE, &since.to_be_bytes())?),
        Some(_) => Ok(()),
    }
}

/// Ends the doubt.
pub fn confirmed(tx: &Transaction<'_>) -> Result<(), StoreError> {
    Ok(tx.execute("DELETE FROM meta WHERE key = ?1", [STALE]).map(drop)?)
}
