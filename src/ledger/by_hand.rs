//! Attendance that a person adds or disputes.
//!
//! In: a passage that no gate recorded, or the seq of an attendance. Out: an entry. The entries
//! before it stay as they are.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    Actor, Attended, Body, Dates, Dispute, EntryRef, Ledger, LedgerError, Stored, Supplement,
    attended::outcomes, read,
};
use crate::clock::Stamp;

impl Ledger {
    /// Adds a passage that a person reports. A client that got no answer may ask again. A passage
    /// that was already added, and is not disputed, is therefore refused.
    pub fn supplement(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        supplement: Supplement,
    ) -> Result<Stored, LedgerError> {
        let like: Vec<u64> = tx
            .prepare_cached(
                "SELECT idx FROM entry s WHERE worker = ?1 AND at_ms = ?2 AND kind = 'supplement'
                   AND NOT EXISTS (SELECT 1 FROM entry WHERE cause = s.idx AND kind = 'dispute')",
            )?
            .query_map(params![supplement.person.id.as_str(), supplement.at_ms], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for index in like {
            let there = read(tx, index)?.entry;
            if let (Some(seq), Body::Supplement(other)) = (there.seq, &there.body)
                && other.direction == supplement.direction
            {
                return Err(LedgerError::AlreadyAdded { seq });
            }
        }
        self.append(tx, stamp, supplement)
    }

    /// Disputes the attendance of this seq: it was not this person. A dispute names the outcome
    /// that was recorded first, also if `seq` is that of a correction. Returns the attendance and
    /// the new entry.
    pub fn dispute(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        seq: u64,
        reason: String,
        by: Actor,
    ) -> Result<(Attended, Stored), LedgerError> {
        let none = || LedgerError::NoAttendance { seq };
        let (index, cause): (u64, Option<u64>) = tx
            .query_row(
                "SELECT idx, cause FROM entry
                 WHERE seq = ?1 AND kind IN ('outcome', 'correction', 'supplement')",
                [seq],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?
            .ok_or_else(none)?;
        let cause = cause.map(|cause| read(tx, cause)).transpose()?;
        let (first, counts) = match &cause {
            None => (index, index),
            Some(cause) if cause.entry.body.worker().is_none() => return Err(none()),
            Some(cause) => outcomes(tx, cause.entry.index)?.ok_or_else(none)?,
        };
        let already: Option<u64> = tx
            .query_row(
                "SELECT seq FROM entry WHERE cause = ?1 AND kind = 'dispute'",
                [first],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(by_seq) = already {
            return Err(LedgerError::AlreadyDisputed { seq, by_seq });
        }
        let disputes = EntryRef { index: first, hash: read(tx, first)?.leaf };
        let dispute = self.append(tx, stamp, Dispute { disputes, reason, by })?;
        let disputed = dispute.entry.seq;
        let entry = read(tx, counts)?;
        let dated = Dates::read(tx)?.of(&cause.as_ref().unwrap_or(&entry).entry);
        Ok((Attended { entry, cause, disputed, dated }, dispute))
    }
}
