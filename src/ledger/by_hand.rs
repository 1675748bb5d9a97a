//! Attendance that a person adds or disputes, and disputes that are withdrawn.
//!
//! In: a passage that no gate recorded, or the seq of an attendance. Out: an entry. The entries
//! before it stay as they are.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    Actor, Altered, Attended, Body, Dates, Dispute, EntryRef, Ledger, LedgerError, Stored,
    Supplement, Withdrawal, attended::attended_of, read,
};
use crate::clock::Stamp;

/// Returns the attendance with this seq, or the attendance whose dispute has it.
fn attendance_of(tx: &Transaction<'_>, seq: u64) -> Result<(Stored, Attended), LedgerError> {
    let none = || LedgerError::NoAttendance { seq };
    let index: Option<u64> =
        tx.query_row("SELECT idx FROM entry WHERE seq = ?1", [seq], |row| row.get(0)).optional()?;
    let named = read(tx, index.ok_or_else(none)?)?;
    let body = &named.entry.body;
    let of = match body {
        Body::Supplement(_) => Some(named.entry.index),
        Body::Dispute(dispute) => Some(dispute.disputes.index),
        body => body.said().and(body.cause()),
    };
    let attended = attended_of(tx, &Altered::default(), of.ok_or_else(none)?)?;
    Ok((named, attended.ok_or_else(none)?.dated_by(&Dates::read(tx)?)))
}

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
                "SELECT idx FROM entry WHERE worker = ?1 AND at_ms = ?2 AND kind = 'supplement'",
            )?
            .query_map(params![supplement.person.id.as_str(), supplement.at_ms], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for index in like {
            let Some(there) = attended_of(tx, &Altered::default(), index)? else { continue };
            let (entry, disputed) = (&there.entry.entry, &there.disputed);
            if let (Some(seq), Body::Supplement(other), None) = (entry.seq, &entry.body, disputed)
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
        let (named, attended) = attendance_of(tx, seq)?;
        if let Body::Dispute(_) = named.entry.body {
            return Err(LedgerError::NoAttendance { seq });
        }
        if let Some(disputed) = attended.disputed {
            return Err(LedgerError::AlreadyDisputed { seq, by_seq: disputed.seq });
        }
        let disputes = attended.first;
        let dispute = self.append(tx, stamp, Dispute { disputes, reason, by })?;
        Ok((attendance_of(tx, seq)?.1, dispute))
    }

    /// Withdraws the dispute of the attendance of this seq, or the dispute of this seq. Returns the
    /// attendance and the new entry.
    pub fn withdraw(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        seq: u64,
        reason: String,
        by: Actor,
    ) -> Result<(Attended, Stored), LedgerError> {
        let (_, attended) = attendance_of(tx, seq)?;
        let disputed = attended.disputed.ok_or(LedgerError::NotDisputed { seq })?;
        let find = "SELECT idx FROM entry WHERE seq = ?1";
        let dispute = read(tx, tx.query_row(find, [disputed.seq], |row| row.get(0))?)?;
        let withdraws = EntryRef { index: dispute.entry.index, hash: dispute.leaf };
        let withdrawal = self.append(tx, stamp, Withdrawal { withdraws, reason, by })?;
        Ok((attendance_of(tx, seq)?.1, withdrawal))
    }
}
