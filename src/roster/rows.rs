//! The roster's tables. Every function works inside its caller's transaction.

mod reading;

use jiff::civil::Date;
use rusqlite::{OptionalExtension, Row, Transaction, params, types::Type};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(super) use self::reading::legible;
pub use self::reading::{identity, list, load, load_one, must_exist};
use super::{
    Enrolment, FaceOnFile, Identity, Person, Roster, RosterError, State, Terms, Worker, WorkerId,
};
use crate::{
    store::{Sealer, album},
    vision::Template,
};

/// Workers on the roster at once: three times the largest site known, and what a lane matches in a
/// few milliseconds.
pub const MOST_WORKERS: usize = 10_000;

/// Where a sealed value stands, for [`Sealer::seal`].
pub(super) fn place(table: &str, id: impl std::fmt::Display, ordinal: usize) -> String {
    format!("{table}/{id}/{ordinal}")
}

/// Adds a worker with templates and photos. The caller appends the ledger's entry.
pub fn enrol(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    enrolment: &Enrolment,
) -> Result<(), RosterError> {
    let id = &enrolment.worker.person.id;
    match tx
        .query_row("SELECT state FROM worker WHERE id = ?1", [id.as_str()], |r| {
            r.get::<_, String>(0)
        })
        .optional()?
        .as_deref()
    {
        None => {}
        Some("removed") => return Err(RosterError::IdRetired(id.clone())),
        Some(_) => return Err(RosterError::IdTaken(id.clone())),
    }
    let active: usize =
        tx.query_row("SELECT count(*) FROM worker WHERE state <> 'removed'", [], |r| r.get(0))?;
    if active >= MOST_WORKERS {
        return Err(RosterError::Full { most: MOST_WORKERS });
    }
    if let Some(other) = holder_of(tx, sealer, &enrolment.identity)? {
        return Err(RosterError::IdentityTaken(other));
    }
    let sealed = seal_identity(sealer, id, &enrolment.identity)?;
    tx.execute(
        "INSERT INTO worker (id, name, team, contractor, trade, identity, identity_lookup, state)
         VALUES (?1, '', '', '', '', ?2, ?3, 'active')",
        params![id.as_str(), sealed, lookup(sealer, &enrolment.identity)],
    )?;
    describe(tx, &enrolment.worker)?;
    add_faces(tx, sealer, id, &enrolment.model, &enrolment.faces, 0)?;
    raise_version(tx)
}

/// Who on the roster has this document already.
pub fn holder_of(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    identity: &Identity,
) -> Result<Option<WorkerId>, RosterError> {
    let same: Option<String> = tx
        .query_row(
            "SELECT id FROM worker WHERE identity_lookup = ?1 AND state <> 'removed'",
            [lookup(sealer, identity)],
            |r| r.get(0),
        )
        .optional()?;
    same.map(|id| id.parse()).transpose()
}

pub(super) fn lookup(sealer: &Sealer, identity: &Identity) -> [u8; 32] {
    sealer.lookup(&format!("{}:{}", identity.id_type.word(), *identity.number))
}

fn seal_identity(
    sealer: &Sealer,
    id: &WorkerId,
    identity: &Identity,
) -> Result<Vec<u8>, RosterError> {
    let mut plain = Zeroizing::new(Vec::new());
    ciborium::into_writer(identity, &mut *plain)
        .map_err(|e| RosterError::Invalid { field: "id-number", problem: e.to_string() })?;
    Ok(sealer.seal(&place("identity", id, 0), &plain)?)
}

/// Writes what stands in the worker's row in plain, the state apart.
fn describe(tx: &Transaction<'_>, worker: &Worker) -> Result<(), RosterError> {
    let Worker { person, terms, .. } = worker;
    let day = |day: Option<Date>| day.map(|d| d.to_string());
    tx.execute(
        "UPDATE worker SET name = ?2, team = ?3, contractor = ?4, trade = ?5, valid_from = ?6,
             valid_until = ?7, consent = ?8, consent_on = ?9, contract_signed = ?10,
             trained_on = ?11
         WHERE id = ?1",
        params![
            person.id.as_str(),
            person.name,
            person.team,
            person.contractor,
            person.trade,
            day(terms.valid_from),
            day(terms.valid_until),
            terms.consent,
            day(terms.consent_on),
            day(terms.contract_signed),
            day(terms.trained_on)
        ],
    )?;
    Ok(())
}

fn add_faces(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    id: &WorkerId,
    model: &str,
    faces: &[FaceOnFile],
    from: usize,
) -> Result<(), RosterError> {
    for (ordinal, face) in (from..).zip(faces) {
        let template = face.template.to_bytes();
        let template = sealer.seal(&place("template", id, ordinal), template.as_slice())?;
        tx.execute(
            "INSERT INTO template VALUES (?1, ?2, ?3, ?4)",
            params![id.as_str(), ordinal as i64, model, template],
        )?;
        let photo = sealer.seal(&place("photo", id, ordinal), &face.jpeg)?;
        tx.execute(
            "INSERT INTO photo VALUES (?1, ?2, ?3)",
            params![id.as_str(), ordinal as i64, photo],
        )?;
    }
    Ok(())
}

/// What becomes of a worker's templates and photos.
#[derive(Clone, Debug)]
pub enum Faces {
    Keep,
    Add { model: String, faces: Vec<FaceOnFile> },
    Replace { model: String, faces: Vec<FaceOnFile> },
    Erase,
}

/// A worker as they are to be from now on, the state apart.
#[derive(Clone, Debug)]
pub struct Amended {
    pub worker: Worker,
    pub identity: Identity,
    pub faces: Faces,
}

/// Changes a worker who is on the roster. How many templates there are then. The caller appends the
/// ledger's entry and, where faces were erased, empties the write-ahead log after the commit.
pub fn amend(tx: &Transaction<'_>, sealer: &Sealer, to: &Amended) -> Result<u32, RosterError> {
    let id = &to.worker.person.id;
    match holder_of(tx, sealer, &to.identity)? {
        Some(other) if other != *id => return Err(RosterError::IdentityTaken(other)),
        _ => {}
    }
    let sealed = seal_identity(sealer, id, &to.identity)?;
    let changed = tx.execute(
        "UPDATE worker SET identity = ?2, identity_lookup = ?3 WHERE id = ?1 AND state <> 'removed'",
        params![id.as_str(), sealed, lookup(sealer, &to.identity)],
    )?;
    if changed == 0 {
        return Err(RosterError::NoSuchWorker(id.clone()));
    }
    describe(tx, &to.worker)?;
    match &to.faces {
        Faces::Keep => {}
        Faces::Erase => {
            erase(tx, id)?;
            album::erase(tx, id.as_str())?;
        }
        Faces::Replace { model, faces } => {
            erase(tx, id)?;
            add_faces(tx, sealer, id, model, faces, 0)?;
        }
        Faces::Add { model, faces } => {
            let next: usize = tx.query_row(
                "SELECT coalesce(max(ordinal) + 1, 0) FROM
                     (SELECT worker, ordinal FROM template UNION ALL SELECT worker, ordinal FROM photo)
                 WHERE worker = ?1",
                [id.as_str()],
                |r| r.get(0),
            )?;
            add_faces(tx, sealer, id, model, faces, next)?;
        }
    }
    raise_version(tx)?;
    let templates = "SELECT count(*) FROM template WHERE worker = ?1";
    Ok(tx.query_row(templates, [id.as_str()], |r| r.get(0))?)
}

/// How much of a worker was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    pub templates: u32,
    pub photos: u32,
}

fn erase(tx: &Transaction<'_>, id: &WorkerId) -> Result<Erased, RosterError> {
    let templates = tx.execute("DELETE FROM template WHERE worker = ?1", [id.as_str()])?;
    let photos = tx.execute("DELETE FROM photo WHERE worker = ?1", [id.as_str()])?;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Erased { templates: count(templates), photos: count(photos) })
}

/// Erases a worker's templates and photos, those of passages too, and marks the row; attendance stays (I7). The caller
/// appends the ledger's entry, and empties the write-ahead log after the commit.
pub fn remove(tx: &Transaction<'_>, id: &WorkerId) -> Result<Erased, RosterError> {
    let changed = tx.execute(
        "UPDATE worker SET state = 'removed', held = NULL WHERE id = ?1 AND state <> 'removed'",
        [id.as_str()],
    )?;
    if changed == 0 {
        return Err(RosterError::NoSuchWorker(id.clone()));
    }
    let erased = erase(tx, id)?;
    album::erase(tx, id.as_str())?;
    raise_version(tx)?;
    Ok(erased)
}

/// Suspends, bars or readmits a worker. The caller appends the ledger's entry.
pub fn hold(
    tx: &Transaction<'_>,
    id: &WorkerId,
    state: State,
    reason: &str,
) -> Result<(), RosterError> {
    let held = match state {
        State::Active => None,
        held => Some((held.word(), reason)),
    };
    let changed = tx.execute(
        "UPDATE worker SET held = ?2, held_reason = ?3 WHERE id = ?1 AND state <> 'removed'",
        params![id.as_str(), held.map(|h| h.0), held.map(|h| h.1)],
    )?;
    if changed == 0 {
        return Err(RosterError::NoSuchWorker(id.clone()));
    }
    raise_version(tx)
}

/// Whoever was removed, and of whom the ledger says nothing any more, is forgotten but for the id,
/// which is never used again. How many.
pub fn forget_removed(tx: &Transaction<'_>) -> Result<usize, RosterError> {
    Ok(tx.execute(
        "UPDATE worker SET name = '', team = '', contractor = '', trade = '', identity = x'',
             identity_lookup = x'', valid_from = NULL, valid_until = NULL, consent = NULL,
             consent_on = NULL, contract_signed = NULL, trained_on = NULL, held_reason = NULL
         WHERE state = 'removed' AND length(identity) > 0
           AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.worker = worker.id)",
        [],
    )?)
}

fn raise_version(tx: &Transaction<'_>) -> Result<(), RosterError> {
    let raised = version(tx)?.saturating_add(1);
    Ok(crate::store::set_meta(tx, "roster_version", &raised.to_be_bytes())?)
}

/// Rises with each change.
pub fn version(tx: &Transaction<'_>) -> Result<u64, RosterError> {
    let bytes = crate::store::meta(tx, "roster_version")?;
    Ok(bytes.and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes))
}

#[cfg(test)]
mod tests;
