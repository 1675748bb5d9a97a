//! Corrections of outcomes that rested on a passage sensor without a sign of life.
//!
//! In: a lane and a direction. Out: entries that correct `not_passed` to `unconfirmed`. A sensor's
//! last sign of life is the latest `passed` of its lane and direction.

use rusqlite::{Transaction, params};

use super::{
    Body, Closing, Correction, Detail, EntryRef, Flag, Ledger, LedgerError, Outcome, Stored, known,
    size,
};
use crate::{clock::Stamp, config::Direction};

/// Maximum number of outcomes that one call corrects. Each correction is an entry, and its
/// transaction must not delay a passage.
const CORRECTED: usize = 200;
/// Maximum number of latest entries that are searched for silent releases: weeks of a large site.
const LOOK_BACK: u64 = 50_000;
/// The codes of an outcome after which the sensor saw no one walk through in time.
const NOTHING_PASSED: [&str; 2] = ["nothing_passed", "yielded"];

const PASSAGES: &str = "SELECT c.idx, c.bytes, c.leaf, o.idx, o.bytes, o.leaf
    FROM entry c INDEXED BY entry_lane JOIN entry o ON o.cause = c.idx AND o.kind = 'outcome'
    WHERE c.lane = ?1 AND c.kind IN ('grant', 'release') AND c.idx >= ?2
      AND NOT EXISTS (SELECT 1 FROM entry WHERE cause = c.idx AND kind = 'correction')
    ORDER BY c.idx DESC";

impl Ledger {
    /// Corrects to `unconfirmed` the outcomes after the latest `passed` of this lane and direction
    /// that say that no one walked through in time. Returns their number, at most 200. The caller
    /// repeats the call until it returns 0.
    pub fn correct_not_passed(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        lane: &str,
        direction: Direction,
        detail: Detail,
        flag: Flag,
    ) -> Result<u64, LedgerError> {
        let silent = silent(tx, lane, direction, CORRECTED)?;
        // The walk began with the latest one.
        for (stored, closing) in silent.iter().rev() {
            let index = stored.entry.index;
            let correction = Correction {
                passage: closing.passage,
                cause: closing.cause,
                corrects: EntryRef { index, hash: stored.leaf },
                corrects_seq: stored.entry.seq.ok_or(LedgerError::Missing { index })?,
                outcome: Outcome::Unconfirmed,
                detail: Some(detail.clone()),
                flags: [&closing.flags[..], std::slice::from_ref(&flag)].concat(),
            };
            self.append(tx, stamp, correction)?;
        }
        Ok(silent.len() as u64)
    }
}

/// Returns the outcomes of silent releases that are not corrected yet, latest first. An entry that cannot be read is passed
/// over.
fn silent(
    tx: &Transaction<'_>,
    lane: &str,
    direction: Direction,
    most: usize,
) -> Result<Vec<(Stored, Closing)>, LedgerError> {
    let mut query = tx.prepare_cached(PASSAGES)?;
    let from = size(tx)?.saturating_sub(LOOK_BACK);
    let (mut rows, mut silent) = (query.query(params![lane, from])?, Vec::new());
    while silent.len() < most
        && let Some(row) = rows.next()?
    {
        let of = match known(row, 0).map(|cause| cause.entry.body) {
            Ok(Body::Grant(grant)) => grant.direction,
            Ok(Body::GuardRelease(release)) => release.direction,
            Ok(_) | Err(LedgerError::Damaged { .. } | LedgerError::Pruned { .. }) => continue,
            Err(error) => return Err(error),
        };
        if of != direction {
            continue;
        }
        let (stored, closing) = match known(row, 3) {
            Ok(stored) => match stored.entry.body.clone() {
                Body::Closing(closing) => (stored, closing),
                _ => continue,
            },
            Err(LedgerError::Damaged { .. } | LedgerError::Pruned { .. }) => continue,
            Err(error) => return Err(error),
        };
        let nothing = |detail: &Detail| NOTHING_PASSED.contains(&&*detail.code);
        match closing.outcome {
            Outcome::Passed => break,
            Outcome::NotPassed if closing.detail.as_ref().is_some_and(nothing) => {
                silent.push((stored, closing));
            }
            Outcome::NotPassed | Outcome::Unconfirmed => {}
        }
    }
    Ok(silent)
}

#[cfg(test)]
mod tests;
