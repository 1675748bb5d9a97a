//! Compares each entry's row with its bytes, and each entry with the entry that it is about.
//!
//! In: a range of entries. Out: the first fault of each entry that has one. Nothing is changed: an
//! altered ledger stays as it is, as evidence.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    Altered, Body, Entry, Kind as _, LedgerError, LedgerId, Lost,
    altered::at_ms,
    leaf_hash, pruned_before, size,
    tree::{Frontier, Hash},
};
use crate::words::words;

words! {
    /// What is wrong with an entry.
    pub enum Fault {
        /// Its row is gone.
        Missing = "missing",
        /// Its bytes are no entry, are of another place, or do not have its leaf hash.
        Bytes = "bytes",
        /// It belongs to another ledger.
        OtherLedger = "other_ledger",
        /// A column of its row differs from its bytes, so that lists would show something else.
        Columns = "columns",
        /// The entry that it is about was altered after it.
        Cause = "cause",
        /// Its seq does not follow the seq before.
        Sequence = "sequence",
    }
}

/// A fault of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub index: u64,
    pub fault: Fault,
}

/// A run over a ledger, page by page.
#[derive(Clone, Debug)]
pub struct Audit {
    ledger: LedgerId,
    /// The index of the next entry.
    next: u64,
    /// The tree of the leaf hashes, if the run began with the first entry.
    tree: Option<Frontier>,
    /// The seq before; `None` after an entry that cannot be read.
    last_seq: Option<u64>,
    /// The roots at these sizes, as they are reached.
    wanted: Vec<(u64, Hash)>,
    /// The wanted sizes whose root is another one.
    pub other_roots: Vec<u64>,
    /// What lists need to know, in an audit for them.
    altered: Option<Altered>,
}

impl Audit {
    /// Begins a run over the whole ledger. `wanted` are the sizes and roots of signed heads.
    pub fn new(ledger: LedgerId, wanted: Vec<(u64, Hash)>) -> Audit {
        let (next, tree, other_roots) = (0, Some(Frontier::default()), Vec::new());
        Audit { ledger, next, tree, last_seq: Some(0), wanted, other_roots, altered: None }
    }

    /// Begins a run over the whole ledger that also notes what lists need to know of its rows.
    pub fn of_rows(ledger: LedgerId, wanted: Vec<(u64, Hash)>) -> Audit {
        Audit { altered: Some(Altered::default()), ..Audit::new(ledger, wanted) }
    }

    /// Returns what a run for lists has found.
    pub fn into_altered(self) -> Altered {
        self.altered.unwrap_or_default()
    }

    /// Returns the number of entries that a run for lists has found.
    pub fn altered(&self) -> u64 {
        self.altered.as_ref().map_or(0, Altered::count)
    }

    /// Passes over one entry that cannot be read from the disk.
    pub fn pass_over(&mut self) {
        if let Some(altered) = &mut self.altered {
            altered.unread(self.next);
        }
        self.last_seq = None;
        self.leaf([0; 32]);
    }

    /// Returns the index of the next entry: the number of entries audited, in a whole run.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Audits at most `limit` further entries. Returns what is wrong, and whether there are more.
    pub fn page(
        &mut self,
        tx: &Transaction<'_>,
        limit: u64,
    ) -> Result<(Vec<Finding>, bool), LedgerError> {
        let (all, from) = (size(tx)?, self.next);
        let until = all.min(from.saturating_add(limit));
        let pruned = pruned_before(tx)?;
        let mut rows = tx.prepare_cached(
            "SELECT idx, leaf, bytes, seq, kind, at_ms, worker, lane, cause FROM entry
             WHERE idx >= ?1 AND idx < ?2 ORDER BY idx",
        )?;
        let mut rows = rows.query(params![from, until])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (index, leaf): (u64, Hash) = (row.get(0)?, row.get(1)?);
            self.missing(index, &mut found);
            let (entry, fault) = self.fault(tx, row, index < pruned)?;
            if let Some(altered) = &mut self.altered {
                match (&entry, fault) {
                    (None, None) => {}
                    (None, Some(_)) => altered.unread(index),
                    (Some(entry), fault) => {
                        altered.read(entry, fault != Some(Fault::Columns));
                        if fault == Some(Fault::Cause) {
                            altered.broken(entry);
                        }
                    }
                }
            }
            found.extend(fault.map(|fault| Finding { index, fault }));
            self.leaf(leaf);
        }
        self.missing(until, &mut found);
        if until == all {
            // A head of more entries than there are: the end of the ledger was removed.
            let beyond = self.wanted.iter().map(|(size, _)| *size).filter(|size| *size > all);
            self.other_roots.extend(beyond);
        }
        Ok((found, until < all))
    }

    /// Passes over the entries before `index` that have no row.
    fn missing(&mut self, index: u64, found: &mut Vec<Finding>) {
        while self.next < index {
            found.push(Finding { index: self.next, fault: Fault::Missing });
            self.pass_over();
        }
    }

    fn leaf(&mut self, leaf: Hash) {
        self.next += 1;
        let (size, Some(tree)) = (self.next, &mut self.tree) else { return };
        tree.push(leaf, |_, _, _| {});
        let root = self.wanted.iter().find(|(wanted, _)| *wanted == size);
        if root.is_some_and(|(_, root)| *root != tree.root()) {
            self.other_roots.push(size);
        }
    }

    /// Returns the entry, if its bytes are those that were appended, and the first fault.
    fn fault(
        &mut self,
        tx: &Transaction<'_>,
        row: &Row<'_>,
        pruned: bool,
    ) -> Result<(Option<Entry>, Option<Fault>), LedgerError> {
        let (index, leaf): (u64, Hash) = (row.get(0)?, row.get(1)?);
        let seq: Option<u64> = row.get(3)?;
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let before = self.last_seq;
        let follows = seq.is_none_or(|seq| before.is_none_or(|before| seq == before + 1));
        self.last_seq = seq.or(before);
        if pruned && bytes.is_empty() {
            let lost = row.get::<_, String>(4)? == Lost::NAME;
            return Ok((None, (!follows && !lost).then_some(Fault::Sequence)));
        }
        // A run for lists has no time to encode each entry again.
        let decode = if self.altered.is_some() { Entry::decode_known } else { Entry::decode };
        let entry = match decode(bytes) {
            Ok(entry) if entry.index == index && leaf_hash(bytes) == leaf => entry,
            _ => return Ok((None, Some(Fault::Bytes))),
        };
        if entry.ledger != self.ledger {
            return Ok((None, Some(Fault::OtherLedger)));
        }
        if !agrees(tx, row, &entry)? {
            return Ok((Some(entry), Some(Fault::Columns)));
        }
        for about in entry.body.refers_to() {
            let there: Option<Hash> = tx
                .prepare_cached("SELECT leaf FROM entry WHERE idx = ?1")?
                .query_row([about.index], |row| row.get(0))
                .optional()?;
            if there != Some(about.hash) {
                return Ok((Some(entry), Some(Fault::Cause)));
            }
        }
        // The seqs that an entry `lost` names are passed over.
        let lost = match &entry.body {
            Body::Lost(lost) => {
                before == lost.first.checked_sub(1) && seq == lost.last.checked_add(1)
            }
            _ => false,
        };
        let sequence = (!follows && !lost).then_some(Fault::Sequence);
        Ok((Some(entry), sequence))
    }
}

/// Returns whether the columns of an entry's row agree with its bytes.
fn agrees(tx: &Transaction<'_>, row: &Row<'_>, entry: &Entry) -> Result<bool, LedgerError> {
    let (body, cause) = (&entry.body, entry.body.cause());
    let text =
        |column| -> rusqlite::Result<Option<&str>> { Ok(row.get_ref(column)?.as_str_or_null()?) };
    let kind = text(4)?.unwrap_or_default();
    if row.get::<_, Option<u64>>(3)? != entry.seq || row.get::<_, Option<u64>>(8)? != cause {
        return Ok(false);
    }
    if let Body::Other(_) = body {
        // A later version knows the other columns of its kinds.
        return Ok(kind == body.word() || kind == body.kind());
    }
    let worker: Option<String> = match (body.worker(), cause) {
        (Some(worker), _) => Some(worker.as_str().to_owned()),
        (None, None) => None,
        (None, Some(cause)) => tx
            .prepare_cached("SELECT worker FROM entry WHERE idx = ?1")?
            .query_row([cause], |row| row.get(0))
            .optional()?
            .flatten(),
    };
    Ok(kind == body.kind()
        && row.get::<_, i64>(5)? == at_ms(entry)
        // The worker of a cause whose retention is over is not known any more.
        && (text(6)? == worker.as_deref() || cause.is_some() && worker.is_none())
        && text(7)? == body.lane())
}

/// Audits at most `limit` entries from `from` on, without the tree. Returns what is wrong, and where
/// the next call begins; `None` at the ledger's end.
#[cfg(test)]
pub fn part(
    tx: &Transaction<'_>,
    ledger: LedgerId,
    from: u64,
    limit: u64,
) -> Result<(Vec<Finding>, Option<u64>), LedgerError> {
    let last = "SELECT seq FROM entry WHERE idx < ?1 AND seq IS NOT NULL ORDER BY idx DESC LIMIT 1";
    let last = tx.prepare_cached(last)?.query_row([from], |row| row.get(0)).optional()?;
    let (next, last_seq) = (from, last.or(Some(0)));
    let mut audit = Audit { next, tree: None, last_seq, ..Audit::new(ledger, Vec::new()) };
    let (found, more) = audit.page(tx, limit)?;
    Ok((found, more.then_some(audit.next)))
}

#[cfg(test)]
mod tests;
