//! Planned deletions: what will be deleted is announced first (I11).
//!
//! In: what is over soon. Out: an entry that announces the deletion, and the plan in `meta`. A plan
//! is settled when it was carried out, or when nothing of it is left to delete. Touches:
//! `planned/...` in `meta`.

use rusqlite::Transaction;

use super::{DeletedWhat, Ledger, LedgerError, PlannedDeletion};
use crate::{
    clock::Stamp,
    store::{clear_meta, meta, set_meta},
};

/// Number of days between the announcement of a deletion and the deletion.
pub const NOTICE_DAYS: i32 = 14;

/// Maximum number of workers that an announcement names. The count is of all.
pub const MOST_NAMED: usize = 200;

fn key(what: DeletedWhat) -> String {
    format!("planned/{what}")
}

/// Returns the plan that stands.
pub fn planned(
    tx: &Transaction<'_>,
    what: DeletedWhat,
) -> Result<Option<PlannedDeletion>, LedgerError> {
    // An unreadable plan is no plan: it is announced again.
    Ok(meta(tx, &key(what))?.and_then(|kept| serde_json::from_slice(&kept).ok()))
}

/// Ends the plan that stands.
pub fn settle(tx: &Transaction<'_>, what: DeletedWhat) -> Result<(), LedgerError> {
    Ok(clear_meta(tx, &key(what))?)
}

impl Ledger {
    /// Announces a deletion. The plan keeps all workers, and the entry names the first ones.
    pub fn plan(
        &self,
        tx: &Transaction<'_>,
        now: Stamp,
        mut plan: PlannedDeletion,
    ) -> Result<(), LedgerError> {
        // Serializing plain values cannot fail.
        let kept = serde_json::to_vec(&plan).unwrap_or_default();
        set_meta(tx, &key(plan.what), &kept)?;
        plan.workers.truncate(MOST_NAMED);
        self.append(tx, now, plan).map(drop)
    }
}
