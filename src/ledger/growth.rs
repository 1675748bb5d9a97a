//! The ledger's Merkle tree in the database.
//!
//! The tree grows when a head is due, not at each commit: a commit costs nothing more. In: the leaf
//! hashes of the table `entry`. Out: the table `subtree`, and the tree's right edge in `meta`. A
//! proof of 1.3 million entries reads at most some 80 hashes.

use rusqlite::{Transaction, params};

use super::{
    CborError, DIFFERS, LedgerError, leaf_hash, size,
    tree::{Frontier, Hash, Prover},
};
use crate::store::{meta, set_meta};

/// Levels of the subtrees whose hashes are kept. Hashes of other levels are reckoned from these.
const KEPT: [u32; 4] = [4, 8, 12, 16];
/// Key in `meta`: the number of leaves (8 bytes, big-endian), then the subtrees of the right edge.
const EDGE: &str = "tree_edge";

/// Adds at most `most` entries to the tree. Each entry's bytes are compared with its leaf hash.
/// Returns the tree's right edge.
///
/// # Errors
/// An entry that is missing, or whose bytes do not have its leaf hash: the tree ends before it.
pub fn grow(tx: &Transaction<'_>, most: u64) -> Result<Frontier, LedgerError> {
    let mut edge = edge(tx)?;
    // The end of the ledger was removed: its tree is another one.
    if edge.size() > size(tx)? {
        edge = Frontier::default();
    }
    let from = edge.size();
    let mut entries = tx.prepare_cached(
        "SELECT idx, leaf, bytes FROM entry WHERE idx >= ?1 ORDER BY idx LIMIT ?2",
    )?;
    let mut rows = entries.query(params![from, most])?;
    let mut keep = tx.prepare_cached("INSERT OR REPLACE INTO subtree VALUES (?1, ?2, ?3)")?;
    let mut kept = Ok(());
    while let Some(row) = rows.next()? {
        let (index, leaf): (u64, Hash) = (row.get(0)?, row.get(1)?);
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        if index != edge.size() {
            return Err(LedgerError::Missing { index: edge.size() });
        }
        // Entries whose retention is over have no bytes.
        if !bytes.is_empty() && leaf_hash(bytes) != leaf {
            let source = CborError::Content(DIFFERS.to_owned());
            return Err(LedgerError::Damaged { index, source });
        }
        edge.push(leaf, |level, number, hash| {
            if KEPT.contains(&level) && kept.is_ok() {
                kept = keep.execute(params![level, number, hash]).map(drop);
            }
        });
    }
    kept?;
    if edge.size() != from || from == 0 {
        let bytes = [&edge.size().to_be_bytes()[..], edge.subtrees().as_flattened()].concat();
        set_meta(tx, EDGE, &bytes)?;
    }
    Ok(edge)
}

/// Returns the right edge of the tree as it was grown last. An edge that cannot be read counts as
/// none: the tree then grows again from the first entry.
fn edge(tx: &Transaction<'_>) -> Result<Frontier, LedgerError> {
    let kept = meta(tx, EDGE)?;
    let read = |bytes: &[u8]| {
        let (size, hashes) = bytes.split_first_chunk()?;
        let (hashes, rest) = hashes.as_chunks();
        let edge = Frontier::new(u64::from_be_bytes(*size), hashes.to_vec());
        edge.filter(|_| rest.is_empty())
    };
    Ok(kept.as_deref().and_then(read).unwrap_or_default())
}

/// Makes proofs for the tree as it was grown last.
pub fn prover(tx: &Transaction<'_>) -> Prover<impl FnMut(u32, u64) -> Result<Hash, LedgerError>> {
    Prover(|level, number| subtree(tx, level, number))
}

/// Returns the hash of a complete subtree.
fn subtree(tx: &Transaction<'_>, level: u32, number: u64) -> Result<Hash, LedgerError> {
    let below = KEPT.into_iter().rev().find(|kept| *kept <= level).unwrap_or(0);
    let (first, count) = (number << (level - below), 1 << (level - below));
    let mut query = match below {
        0 => tx.prepare_cached("SELECT leaf FROM entry WHERE ?1 = 0 AND idx >= ?2 AND idx < ?3 ORDER BY idx")?,
        _ => tx.prepare_cached(
            "SELECT hash FROM subtree WHERE level = ?1 AND number >= ?2 AND number < ?3 ORDER BY number",
        )?,
    };
    let mut rows = query.query(params![below, first, first + count])?;
    let mut part = Frontier::default();
    while let Some(row) = rows.next()? {
        part.push(row.get(0)?, |_, _, _| {});
    }
    if part.size() != count {
        return Err(LedgerError::Missing { index: (first + part.size()) << below });
    }
    Ok(part.root())
}

/// Returns the root that the ledger has for its first `size` entries, reckoned from their leaf
/// hashes.
pub fn root(tx: &Transaction<'_>, size: u64) -> Result<Hash, LedgerError> {
    prover(tx).root(size)
}

#[cfg(test)]
mod tests;
