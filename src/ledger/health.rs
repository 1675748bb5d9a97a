//! The health journal: the entries that say when the gate was down or blind.

use rusqlite::{Connection, Transaction};

use super::{Entry, Gap, LedgerError, Stored, checked};
use crate::clock::Stamp;

/// The journal's kinds, as the index has them. Heartbeats are not in it.
macro_rules! journal {
    ($columns:literal, $more:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM entry INDEXED BY entry_health
             WHERE kind IN ('boot', 'shutdown', 'gap', 'alarm', 'storage', 'clock') ",
            $more
        )
    };
}

/// Maximum number of entries of the journal that one read returns.
pub const HEALTH_PAGE: usize = 1000;

/// Returns the time of the last entry that can be read.
pub fn last_stamp(connection: &Connection) -> Result<Option<Stamp>, LedgerError> {
    Ok(last_entry(connection)?.map(|entry| entry.stamp))
}

pub(super) fn last_entry(connection: &Connection) -> Result<Option<Entry>, LedgerError> {
    let sql = "SELECT bytes FROM entry WHERE bytes <> x'' ORDER BY idx DESC";
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        // A damaged entry gives no time: the entry before it is read.
        let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        if let Ok(entry) = Entry::decode_known(bytes) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Returns the gap between the last entry and this start, before the start has recorded anything.
pub fn gap_at_start(tx: &Transaction<'_>, now: Stamp) -> Result<Option<Gap>, LedgerError> {
    let Some(last) = last_stamp(tx)? else { return Ok(None) };
    let mut kinds = tx.prepare(journal!("kind", "ORDER BY idx DESC"))?;
    let mut kinds = kinds.query_map([], |row| row.get::<_, String>(0))?;
    let last_kind = kinds.find(|kind| !matches!(kind.as_deref(), Ok(kind) if !is_turn(kind)));
    let shut_down = last_kind.transpose()?.as_deref() == Some("shutdown");
    Ok(Gap::at_start(last, shut_down, now))
}

fn is_turn(kind: &str) -> bool {
    matches!(kind, "boot" | "shutdown")
}

/// Returns the journal's entries from an index on, at most [`HEALTH_PAGE`]. Entries that cannot be
/// read, or whose retention is over, are left out. The second value is the next page's first index.
pub fn health(tx: &Transaction<'_>, from: u64) -> Result<(Vec<Stored>, Option<u64>), LedgerError> {
    let sql = journal!("idx, leaf, bytes", "AND idx >= ?1 ORDER BY idx LIMIT ?2");
    let mut query = tx.prepare_cached(sql)?;
    let mut rows = query.query((from, HEALTH_PAGE))?;
    let (mut found, mut seen, mut next) = (Vec::new(), 0, from);
    while let Some(row) = rows.next()? {
        let index: u64 = row.get(0)?;
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        (seen, next) = (seen + 1, index + 1);
        found.extend(checked(index, bytes, row.get(1)?, Entry::decode_known).ok());
    }
    Ok((found, (seen == HEALTH_PAGE).then_some(next)))
}

#[cfg(test)]
mod tests;
