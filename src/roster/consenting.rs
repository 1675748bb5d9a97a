//! Records consents on the roster. Each function works inside its caller's transaction.
//!
//! A consent to the face that is recorded here is in the worker's row too. So lists and entries
//! have it in the same place as a consent that came with an enrolment.

use jiff::civil::Date;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    Consent, Identity, Purpose, RosterError, WorkerId,
    faces::{Erased, erase},
    rows::{lookup, on_the_roster, raise_version},
};
use crate::store::{Sealer, photo_store};

/// Records that a worker gave a consent. It ends an earlier withdrawal of the same person, also one
/// under the id of a removed worker. The caller appends the ledger's entry.
pub fn give(
    tx: &Transaction<'_>,
    id: &WorkerId,
    purpose: &Purpose,
    form: &str,
    on: Date,
) -> Result<(), RosterError> {
    put(tx, id, purpose, (Some(form), Some(on), None))?;
    if *purpose == Purpose::Face {
        tx.execute(
            "UPDATE worker SET consent = ?2, consent_on = ?3 WHERE id = ?1",
            params![id.as_str(), form, on],
        )?;
        tx.execute(
            "DELETE FROM consent WHERE purpose = 'face' AND worker IN
                 (SELECT other.id FROM worker AS other JOIN worker USING (identity_lookup)
                  WHERE worker.id = ?1 AND other.id <> ?1)",
            [id.as_str()],
        )?;
    }
    raise_version(tx)
}

/// Records that a worker withdrew a consent, also one that was never given. `consent`: the consent
/// until now. A withdrawn consent to the face erases templates and photos, photos of passages too
/// (I7). The caller appends the ledger's entry, and empties the write-ahead log after the commit.
pub fn withdraw(
    tx: &Transaction<'_>,
    id: &WorkerId,
    consent: &Consent,
    on: Date,
) -> Result<Option<Erased>, RosterError> {
    put(tx, id, &consent.purpose, (consent.form.as_deref(), consent.given_on, Some(on)))?;
    let mut erased = None;
    if consent.purpose == Purpose::Face {
        tx.execute(
            "UPDATE worker SET consent = NULL, consent_on = NULL WHERE id = ?1",
            [id.as_str()],
        )?;
        erased = Some(erase(tx, id)?);
        photo_store::erase(tx, id.as_str())?;
    }
    raise_version(tx)?;
    Ok(erased)
}

type Papers<'a> = (Option<&'a str>, Option<Date>, Option<Date>);

fn put(
    tx: &Transaction<'_>,
    id: &WorkerId,
    purpose: &Purpose,
    (form, given_on, withdrawn_on): Papers<'_>,
) -> Result<(), RosterError> {
    let changed = tx.execute(
        "INSERT OR REPLACE INTO consent SELECT id, ?2, ?3, ?4, ?5 FROM worker
         WHERE id = ?1 AND state <> 'removed'",
        params![id.as_str(), purpose.to_string(), form, given_on, withdrawn_on],
    )?;
    on_the_roster(tx, changed, id)
}

/// Returns the consent to the face that the person with this document withdrew under the id of a
/// removed worker.
pub fn withdrawn_by(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    identity: &Identity,
) -> Result<Option<Consent>, RosterError> {
    let found = tx.query_row(
        "SELECT form, given_on, withdrawn_on FROM consent JOIN worker ON worker.id = consent.worker
         WHERE identity_lookup = ?1 AND purpose = 'face' AND withdrawn_on IS NOT NULL
         ORDER BY withdrawn_on DESC LIMIT 1",
        [lookup(sealer, identity)],
        |row| {
            let (form, given_on, withdrawn_on) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Consent { purpose: Purpose::Face, form, given_on, withdrawn_on })
        },
    );
    Ok(found.optional()?)
}

/// Notes an earlier withdrawal of a person who is enrolled again under another id. The entry of the
/// enrolment has it.
pub fn keep_withdrawal(
    tx: &Transaction<'_>,
    id: &WorkerId,
    withdrawn: &Consent,
) -> Result<(), RosterError> {
    let Consent { purpose, form, given_on, withdrawn_on } = withdrawn;
    put(tx, id, purpose, (form.as_deref(), *given_on, *withdrawn_on))
}

#[cfg(test)]
mod tests;
