//! A ledger that has lost its end goes on.

use rusqlite::Transaction;

use super::{Detail, Ledger, LedgerError, Lost, Stored, last_seq, size};
use crate::{
    clock::Stamp,
    store::{Mark, meta, set_meta},
};

/// Key in `meta`: the indices of the entries `lost`, 8 bytes each.
const LOST_AT: &str = "lost_at";

/// Number of seqs that are passed over after the last one in the mark. The mark is written about each
/// second, and fewer records are given in the time until it is on the disk.
const PASSED_OVER: u64 = 10_000;

impl Ledger {
    /// Passes over the seqs that the lost entries may have had, and appends an entry that names them.
    /// A new record under one of these seqs would be taken for a repeat.
    pub fn lose(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        mark: Mark,
    ) -> Result<Stored, LedgerError> {
        let last = last_seq(tx)?;
        let lost = Lost {
            first: last + 1,
            last: mark.seq.max(last).saturating_add(PASSED_OVER),
            entries: mark.entries.saturating_sub(size(tx)?),
            detail: Detail::new("database_shortened").with("last", last),
        };
        let lost = self.append(tx, stamp, lost)?;
        let known = meta(tx, LOST_AT)?.unwrap_or_default();
        set_meta(tx, LOST_AT, &[&known[..], &lost.entry.index.to_be_bytes()].concat())?;
        Ok(lost)
    }
}

/// Returns the indices of the entries `lost`. A head that was signed before such an entry, and has it
/// in its tree, is of entries that are lost.
pub fn lost_at(tx: &Transaction<'_>) -> Result<Vec<u64>, LedgerError> {
    let known = meta(tx, LOST_AT)?.unwrap_or_default();
    let (indices, _) = known.as_chunks();
    Ok(indices.iter().map(|index| u64::from_be_bytes(*index)).collect())
}

#[cfg(test)]
mod tests;
