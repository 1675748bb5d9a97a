//! A worker's entries that are no passages.
//!
//! In: a worker. Out: entries. Their bytes say of which worker they are. The columns only find them.

use rusqlite::{Transaction, params};

use super::{Altered, Body, LedgerError, Stored, attended::attended_of, read};
use crate::roster::WorkerId;

/// Returns `None` for an entry that is gone; the status names a missing or damaged one.
fn there<T>(read: Result<T, LedgerError>) -> Result<Option<T>, LedgerError> {
    use LedgerError::{Damaged, Missing, Pruned};
    match read {
        Err(Damaged { .. } | Missing { .. } | Pruned { .. }) => Ok(None),
        read => read.map(Some),
    }
}

/// Returns a worker's latest `limit` entries that are not passages, oldest first. A dispute or its
/// withdrawal comes with the seq of the attendance that it is about; of a corrected one, with that
/// of the last correction.
pub fn history(
    tx: &Transaction<'_>,
    worker: &WorkerId,
    limit: usize,
    altered: &Altered,
) -> Result<Vec<(Stored, Option<u64>)>, LedgerError> {
    let kinds = Vec::from_iter(Body::in_history());
    let mut indices: Vec<u64> = tx
        .prepare_cached(&format!(
            "SELECT idx FROM entry WHERE worker = ?1 AND kind IN ('{}') ORDER BY idx DESC LIMIT ?2",
            kinds.join("', '")
        ))?
        .query_map(params![worker.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            row.get(0)
        })?
        .collect::<Result<_, _>>()?;
    indices.extend(altered.rows());
    indices.sort_unstable_by(|a, b| b.cmp(a));
    indices.dedup();
    let mut found = Vec::new();
    for index in indices {
        if found.len() >= limit {
            break;
        }
        let Some(stored) = there(read(tx, index))? else { continue };
        let body = &stored.entry.body;
        let about = match body {
            Body::Dispute(dispute) => Some(dispute.disputes.index),
            Body::Withdrawal(withdrawal) => {
                there(read(tx, withdrawal.withdraws.index))?.and_then(|d| d.entry.body.cause())
            }
            _ => None,
        };
        let about = about.map(|about| there(attended_of(tx, altered, about))).transpose()?;
        let about = about.flatten().flatten();
        let whose = body.worker().or(about.as_ref().and_then(|about| about.worker()));
        // The worker of a dispute whose attendance was pruned is only in its row.
        let theirs = whose.map_or(!altered.has(index), |whose| whose == worker);
        if theirs && kinds.contains(&body.word()) {
            let seq = about.and_then(|about| about.entry.entry.seq);
            found.push((stored, seq));
        }
    }
    found.reverse();
    Ok(found)
}
