//! Reads and writes the roster's tables. Each function works inside its caller's transaction.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, types::Type};

use super::{
    Enrolment, Erased, Faces, Identity, Person, Roster, RosterError, State, Terms, Waits,
    WaitsWhat, Worker, WorkerId,
    faces::{
        MATCHED, add, drop_waiting, erase, log_damage, matched, retire, seal_context, templates,
    },
    tokens,
};
use crate::{
    store::{Sealer, photo_store},
    vision::Template,
};

/// Maximum number of workers on the roster. It is three times the largest known site, and a lane
/// matches a face against all of them in a few milliseconds.
pub const MOST_WORKERS: usize = 10_000;
/// Maximum number of workers from afar that wait for a confirmation. Clients of a broker could
/// otherwise fill the roster.
pub const MOST_PENDING: usize = 2_000;

/// Adds a worker with templates and photos. The caller appends the ledger's entry.
pub fn enroll(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    enrolment: &Enrolment,
) -> Result<(), RosterError> {
    let id = &enrolment.worker.person.id;
    let state: Option<String> = tx
        .query_row("SELECT state FROM worker WHERE id = ?1", [id.as_str()], |r| r.get(0))
        .optional()?;
    match state.as_deref() {
        None => {}
        Some("removed") => return Err(RosterError::IdRetired(id.clone())),
        Some(_) => return Err(RosterError::IdTaken(id.clone())),
    }
    let active: usize =
        tx.query_row("SELECT count(*) FROM worker WHERE state <> 'removed'", [], |r| r.get(0))?;
    if active >= MOST_WORKERS {
        return Err(RosterError::Full { most: MOST_WORKERS });
    }
    let waits = enrolment.worker.waits.as_ref();
    if waits.is_some() {
        let pending = "SELECT count(*) FROM worker WHERE pending = 'worker' AND state <> 'removed'";
        if tx.query_row(pending, [], |r| r.get::<_, usize>(0))? >= MOST_PENDING {
            return Err(RosterError::ManyPending { most: MOST_PENDING });
        }
    }
    if let Some(other) = holder_of(tx, sealer, &enrolment.identity)? {
        return Err(RosterError::IdentityTaken(other));
    }
    tx.execute(
        "INSERT INTO worker (id, name, team, contractor, trade, identity, identity_lookup, state,
             pending, pending_from)
         VALUES (?1, '', '', '', '', x'', x'', 'active', ?2, ?3)",
        params![id.as_str(), waits.map(|w| w.what.word()), waits.map(|w| &w.from)],
    )?;
    write_row(tx, sealer, &enrolment.worker, &enrolment.identity)?;
    add(tx, sealer, id, "anchor", &enrolment.model, &enrolment.faces)?;
    raise_version(tx)
}

/// Returns the worker on the roster who has this document.
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

/// Writes the worker's row, except the state.
fn write_row(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    worker: &Worker,
    identity: &Identity,
) -> Result<(), RosterError> {
    let Worker { person, terms, .. } = worker;
    let sealed = sealer.seal(&seal_context("identity", &person.id, 0), &identity.to_bytes()?)?;
    let changed = tx.execute(
        "UPDATE worker SET name = ?2, team = ?3, contractor = ?4, trade = ?5, valid_from = ?6,
             valid_until = ?7, consent = ?8, consent_on = ?9, contract_signed = ?10,
             trained_on = ?11, identity = ?12, identity_lookup = ?13
         WHERE id = ?1 AND state <> 'removed'",
        params![
            person.id.as_str(),
            person.name,
            person.team,
            person.contractor,
            person.trade,
            terms.valid_from,
            terms.valid_until,
            terms.consent,
            terms.consent_on,
            terms.contract_signed,
            terms.trained_on,
            sealed,
            lookup(sealer, identity)
        ],
    )?;
    on_the_roster(tx, changed, &person.id)
}

/// A worker's new data, except the state.
#[derive(Clone, Debug)]
pub struct Updated {
    pub worker: Worker,
    pub identity: Identity,
    pub faces: Faces,
}

/// Changes a worker who is on the roster. Returns the number of templates after the change. The
/// caller appends the ledger's entry. Where faces were erased, the caller empties the write-ahead
/// log after the commit.
pub fn update(tx: &Transaction<'_>, sealer: &Sealer, to: &Updated) -> Result<u32, RosterError> {
    let id = &to.worker.person.id;
    match holder_of(tx, sealer, &to.identity)? {
        Some(other) if other != *id => return Err(RosterError::IdentityTaken(other)),
        _ => {}
    }
    write_row(tx, sealer, &to.worker, &to.identity)?;
    match &to.faces {
        Faces::Keep => {}
        Faces::Erase => {
            erase(tx, id)?;
            photo_store::erase(tx, id.as_str())?;
        }
        Faces::Replace { model, faces, anchor: true } => {
            erase(tx, id)?;
            add(tx, sealer, id, "anchor", model, faces)?;
        }
        Faces::Replace { model, faces, anchor: false } => {
            drop_waiting(tx, id)?;
            retire(tx, id)?;
            add(tx, sealer, id, "later", model, faces)?;
        }
        Faces::Add { model, faces, anchor } => {
            let role = if *anchor { "anchor" } else { "later" };
            add(tx, sealer, id, role, model, faces)?;
        }
        Faces::Wait { model, faces, from } => {
            drop_waiting(tx, id)?;
            add(tx, sealer, id, "waiting", model, faces)?;
            let waits = "UPDATE worker SET pending = 'faces', pending_from = ?2 WHERE id = ?1";
            tx.execute(waits, params![id.as_str(), from])?;
        }
    }
    raise_version(tx)?;
    matched(tx, id)
}

/// Fails where a change found no worker on the roster.
pub(super) fn on_the_roster(
    tx: &Transaction<'_>,
    changed: usize,
    id: &WorkerId,
) -> Result<(), RosterError> {
    if changed > 0 {
        return Ok(());
    }
    must_exist(tx, id)?;
    Err(RosterError::Removed(id.clone()))
}

/// Erases a worker's templates and photos, photos of passages too, and marks the row as removed.
/// The attendance stays (I7). The caller appends the ledger's entry, and empties the write-ahead
/// log after the commit.
pub fn remove(tx: &Transaction<'_>, id: &WorkerId) -> Result<Erased, RosterError> {
    let changed = tx.execute(
        "UPDATE worker SET state = 'removed', held = NULL, pending = NULL, pending_from = NULL,
             liveness_exempt = NULL
         WHERE id = ?1 AND state <> 'removed'",
        [id.as_str()],
    )?;
    on_the_roster(tx, changed, id)?;
    let erased = erase(tx, id)?;
    photo_store::erase(tx, id.as_str())?;
    tokens::delete(tx, id)?;
    raise_version(tx)?;
    Ok(erased)
}

/// Suspends, bars or readmits a worker. The caller appends the ledger's entry.
pub fn set_state(
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
    on_the_roster(tx, changed, id)?;
    raise_version(tx)
}

/// Exempts a worker from the guard's look for this reason, or ends the exemption. The caller appends
/// the ledger's entry.
pub fn exempt(
    tx: &Transaction<'_>,
    id: &WorkerId,
    reason: Option<&str>,
) -> Result<(), RosterError> {
    let sql = "UPDATE worker SET liveness_exempt = ?2 WHERE id = ?1 AND state <> 'removed'";
    on_the_roster(tx, tx.execute(sql, params![id.as_str(), reason])?, id)?;
    raise_version(tx)
}

/// Returns whether a worker is exempt from the guard's look. In doubt, no.
pub fn is_exempt(tx: &Transaction<'_>, id: &WorkerId) -> bool {
    let sql = "SELECT liveness_exempt IS NOT NULL FROM worker WHERE id = ?1";
    tx.query_row(sql, [id.as_str()], |row| row.get(0)).unwrap_or(false)
}

pub(super) fn raise_version(tx: &Transaction<'_>) -> Result<(), RosterError> {
    set_version(tx, version(tx)?.saturating_add(1))
}

pub(super) fn set_version(tx: &Transaction<'_>, version: u64) -> Result<(), RosterError> {
    Ok(crate::store::set_meta(tx, "roster_version", &version.to_be_bytes())?)
}

/// Returns the roster's version. It rises with each change.
pub fn version(tx: &Connection) -> Result<u64, RosterError> {
    let bytes = crate::store::meta(tx, "roster_version")?;
    Ok(bytes.and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// The columns of a [`Worker`]. For a removed worker the column `held` is ignored.
const COLUMNS: &str = "id, name, team, contractor, trade, valid_from, valid_until, consent,
    consent_on, contract_signed, trained_on,
    CASE WHEN state = 'removed' THEN state WHEN held IS NOT NULL THEN held
         WHEN pending = 'worker' THEN 'pending' ELSE state END AS standing, held_reason,
    (SELECT count(*) FROM template WHERE worker = worker.id AND role IN ('anchor', 'later'))
        AS templates,
    (SELECT json_group_array(json_object('purpose', purpose, 'form', form, 'given_on', given_on,
        'withdrawn_on', withdrawn_on)) FROM consent WHERE worker = worker.id) AS consents,
    pending, pending_from, liveness_exempt";

fn worker(row: &Row<'_>) -> rusqlite::Result<Worker> {
    let id: String = row.get(0)?;
    let no_id =
        |e: RosterError| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(e));
    let (state, consents): (String, String) = (row.get(11)?, row.get(14)?);
    let no_consents = |e| rusqlite::Error::FromSqlConversionFailure(14, Type::Text, Box::new(e));
    let (waits, from): (Option<String>, Option<String>) = (row.get(15)?, row.get(16)?);
    let waits = waits.and_then(|what| WaitsWhat::from_word(&what));
    Ok(Worker {
        person: Person {
            id: id.parse().map_err(no_id)?,
            name: row.get(1)?,
            team: row.get(2)?,
            contractor: row.get(3)?,
            trade: row.get(4)?,
        },
        terms: Terms {
            valid_from: row.get(5)?,
            valid_until: row.get(6)?,
            consent: row.get(7)?,
            consent_on: row.get(8)?,
            contract_signed: row.get(9)?,
            trained_on: row.get(10)?,
        },
        state: State::from_word(&state).unwrap_or(State::Active),
        state_reason: row.get(12)?,
        templates: row.get(13)?,
        tokens: Vec::new(),
        consents: serde_json::from_str(&consents).map_err(no_consents)?,
        waits: waits.map(|what| Waits { what, from: from.unwrap_or_default() }),
        liveness_exempt: row.get(17)?,
    })
}

/// One page of workers.
#[derive(Debug)]
pub struct Page {
    pub workers: Vec<Worker>,
    /// The id after which the next page begins; `None` where this page is the last.
    pub next: Option<WorkerId>,
}

/// Returns the workers in a state (`None`: all on the roster) in the order of their ids, from after
/// `after`, at most `limit`. A row that cannot be read is left out; the snapshot counts it.
pub fn list(
    tx: &Transaction<'_>,
    state: Option<State>,
    after: Option<&WorkerId>,
    limit: usize,
) -> Result<Page, RosterError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM worker
         WHERE (?1 IS NULL AND state <> 'removed' OR standing = ?1) AND (?2 IS NULL OR id > ?2)
         ORDER BY id LIMIT ?3"
    );
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query = tx.prepare_cached(&sql)?;
    let mut rows =
        query.query(params![state.map(State::word), after.map(WorkerId::as_str), most])?;
    let (mut workers, mut count, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        count += 1;
        let id: String = row.get(0)?;
        workers.extend(unless_damaged(&id, worker(row))?);
        last = id.parse().ok().or(last);
    }
    Ok(Page { workers, next: last.filter(|_| count >= limit) })
}

/// Fails where there is no worker with this id, or no longer.
pub(super) fn must_be_on_roster(tx: &Transaction<'_>, id: &WorkerId) -> Result<(), RosterError> {
    let sql = "SELECT 1 FROM worker WHERE id = ?1 AND state <> 'removed'";
    let found = tx.query_row(sql, [id.as_str()], |_| Ok(())).optional()?;
    on_the_roster(tx, found.iter().count(), id)
}

/// Fails where there is no worker with this id and never was.
pub fn must_exist(tx: &Transaction<'_>, id: &WorkerId) -> Result<(), RosterError> {
    tx.query_row("SELECT 1 FROM worker WHERE id = ?1", [id.as_str()], |_| Ok(()))
        .optional()?
        .ok_or_else(|| RosterError::NoSuchWorker(id.clone()))
}

/// Returns one worker in any state, with the opened identity. Fails where the worker was removed so
/// long ago that the identity is forgotten.
pub fn identity(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    id: &WorkerId,
) -> Result<(Worker, Identity), RosterError> {
    let sql = format!("SELECT {COLUMNS}, identity FROM worker WHERE id = ?1");
    let found = tx.query_row(&sql, [id.as_str()], |row| {
        Ok((worker(row)?, row.get::<_, Vec<u8>>("identity")?))
    });
    let (worker, sealed) = unless_damaged(id.as_str(), found.optional())?
        .ok_or_else(|| RosterError::Damaged(id.clone()))?
        .ok_or_else(|| RosterError::NoSuchWorker(id.clone()))?;
    if worker.state == State::Removed && sealed.is_empty() {
        return Err(RosterError::Removed(id.clone()));
    }
    let plain = sealer.open(&seal_context("identity", id, 0), &sealed)?;
    Ok((worker, Identity::from_bytes(&plain)?))
}

/// Returns one worker in any state; `None` if there never was one, or the row is damaged.
pub fn find(tx: &Transaction<'_>, id: &WorkerId) -> Result<Option<Worker>, RosterError> {
    let found = unless_damaged(id.as_str(), read_worker(tx, id.as_str()).optional())?;
    Ok(found.flatten())
}

/// Reads a worker's row.
pub(super) fn read_worker(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Worker> {
    tx.prepare_cached(&format!("SELECT {COLUMNS} FROM worker WHERE id = ?1"))?
        .query_row([id], worker)
}

/// Returns the snapshot that the gate matches against: the workers on the roster, and their
/// templates that this embedder made. A damaged row or template affects only its own worker.
pub fn load(tx: &Transaction<'_>, sealer: &Sealer, model: &str) -> Result<Roster, RosterError> {
    let ids: Vec<String> = tx
        .prepare("SELECT id FROM worker WHERE state <> 'removed' ORDER BY id LIMIT ?1")?
        .query_map([MOST_WORKERS], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut damaged = 0;
    let mut filled = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(mut worker) = unless_damaged(&id, read_worker(tx, &id))? else {
            damaged += 1;
            continue;
        };
        worker.tokens = tokens::tokens(tx, &id)?;
        let (faces, lost) = templates(tx, sealer, &id, model, MATCHED)?;
        damaged += lost;
        filled.push((worker, faces));
    }
    let mut roster = Roster::new(version(tx)?, filled);
    roster.damaged = damaged;
    Ok(roster)
}

/// Returns one worker as [`load`] does, for [`Roster::with`]. Returns `None` for a worker who is
/// not on the roster, or whose row is damaged.
pub fn load_one(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    model: &str,
    id: &WorkerId,
) -> Result<Option<(Worker, Vec<Template>)>, RosterError> {
    let worker = unless_damaged(id.as_str(), read_worker(tx, id.as_str()).optional())?.flatten();
    let Some(mut worker) = worker.filter(|worker| worker.state != State::Removed) else {
        return Ok(None);
    };
    worker.tokens = tokens::tokens(tx, id.as_str())?;
    Ok(Some((worker, templates(tx, sealer, id.as_str(), model, MATCHED)?.0)))
}

/// Returns what was read of a worker. Returns `None`, and logs an error, where it is damaged.
fn unless_damaged<T>(id: &str, read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match read {
        Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
            log_damage(id, &error);
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// Returns the number of templates that the gate matches.
pub fn count_templates(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row(
        "SELECT count(*) FROM template WHERE role IN ('anchor', 'later')",
        [],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests;
