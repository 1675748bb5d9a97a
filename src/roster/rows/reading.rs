//! What the roster's tables say.

use super::*;

/// A removed worker is not held as well.
const COLUMNS: &str = "id, name, team, contractor, trade, valid_from, valid_until, consent,
    consent_on, contract_signed, trained_on,
    CASE state WHEN 'removed' THEN state ELSE coalesce(held, state) END AS standing, held_reason,
    (SELECT count(*) FROM template WHERE worker = worker.id) AS templates";

fn worker(row: &Row<'_>) -> rusqlite::Result<Worker> {
    let bad = |column: usize, e: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e)
    };
    let date = |column: usize| -> rusqlite::Result<Option<Date>> {
        let text: Option<String> = row.get(column)?;
        text.map(|t| t.parse().map_err(|e: jiff::Error| bad(column, e.into()))).transpose()
    };
    let state: String = row.get(11)?;
    Ok(Worker {
        person: Person {
            id: row.get::<_, String>(0)?.parse().map_err(|e: RosterError| bad(0, e.into()))?,
            name: row.get(1)?,
            team: row.get(2)?,
            contractor: row.get(3)?,
            trade: row.get(4)?,
        },
        terms: Terms {
            valid_from: date(5)?,
            valid_until: date(6)?,
            consent: row.get(7)?,
            consent_on: date(8)?,
            contract_signed: date(9)?,
            trained_on: date(10)?,
        },
        state: State::from_word(&state).unwrap_or(State::Active),
        state_reason: row.get(12)?,
        templates: row.get(13)?,
    })
}

/// Some of the workers.
#[derive(Debug)]
pub struct Page {
    pub workers: Vec<Worker>,
    /// After whom the next page begins; `None` where this is the last.
    pub next: Option<WorkerId>,
}

/// The workers of a state (`None`: all who are on the roster), by id: those after `after`, at most
/// `limit`. A row that cannot be read is left out; the snapshot counts it.
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
        match worker(row) {
            Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => unreadable(&id, &error),
            worker => workers.push(worker?),
        }
        last = id.parse().ok().or(last);
    }
    Ok(Page { workers, next: last.filter(|_| count >= limit) })
}

/// Whether there is, or ever was, such a worker.
pub fn must_exist(tx: &Transaction<'_>, id: &WorkerId) -> Result<(), RosterError> {
    tx.query_row("SELECT 1 FROM worker WHERE id = ?1", [id.as_str()], |_| Ok(()))
        .optional()?
        .ok_or_else(|| RosterError::NoSuchWorker(id.clone()))
}

/// One worker, whatever the state, with the identity opened.
pub fn identity(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    id: &WorkerId,
) -> Result<(Worker, Identity), RosterError> {
    let sql = format!("SELECT {COLUMNS}, identity FROM worker WHERE id = ?1");
    let found =
        tx.query_row(&sql, [id.as_str()], |row| Ok((worker(row)?, row.get::<_, Vec<u8>>(14)?)));
    let found = match found.optional() {
        Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
            unreadable(id.as_str(), &error);
            return Err(RosterError::Damaged(id.clone()));
        }
        found => found?,
    };
    let (worker, sealed) = found
        .filter(|(worker, sealed)| worker.state != State::Removed || !sealed.is_empty())
        .ok_or_else(|| RosterError::NoSuchWorker(id.clone()))?;
    let plain = sealer.open(&place("identity", id, 0), &sealed)?;
    let identity = ciborium::from_reader(plain.as_slice())
        .map_err(|e| RosterError::Invalid { field: "id-number", problem: e.to_string() })?;
    Ok((worker, identity))
}

/// A worker's row, where it can be read.
pub(in crate::roster) fn legible(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Worker> {
    tx.prepare_cached(&format!("SELECT {COLUMNS} FROM worker WHERE id = ?1"))?
        .query_row([id], worker)
}

/// The snapshot that the gate matches against: who is on the roster, and those of their templates
/// that this embedder made. A row or a template that is damaged costs its worker, and nobody else.
pub fn load(tx: &Transaction<'_>, sealer: &Sealer, model: &str) -> Result<Roster, RosterError> {
    let ids: Vec<String> = tx
        .prepare("SELECT id FROM worker WHERE state <> 'removed' ORDER BY id LIMIT ?1")?
        .query_map([MOST_WORKERS], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut damaged = 0;
    let mut filled = Vec::with_capacity(ids.len());
    for id in ids {
        let worker = match legible(tx, &id) {
            Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                damaged += 1;
                unreadable(&id, &error);
                continue;
            }
            worker => worker?,
        };
        let (faces, lost) = templates(tx, sealer, &id, model)?;
        damaged += lost;
        filled.push((worker, faces));
    }
    let mut roster = Roster::new(version(tx)?, filled);
    roster.damaged = damaged;
    Ok(roster)
}

/// One worker as [`load`] has them, for [`Roster::with`]; `None` for one who is off the roster, or
/// whose row is damaged.
pub fn load_one(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    model: &str,
    id: &WorkerId,
) -> Result<Option<(Worker, Vec<Template>)>, RosterError> {
    let worker = match legible(tx, id.as_str()).optional() {
        Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
            unreadable(id.as_str(), &error);
            None
        }
        worker => worker?.filter(|w| w.state != State::Removed),
    };
    worker.map(|worker| Ok((worker, templates(tx, sealer, id.as_str(), model)?.0))).transpose()
}

fn unreadable(id: &str, error: &dyn std::fmt::Display) {
    tracing::error!(worker = id, %error, "this worker's data is damaged");
}

/// A worker's templates of this embedder, and how many of them cannot be read.
fn templates(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    id: &str,
    model: &str,
) -> Result<(Vec<Template>, u64), RosterError> {
    let mut query = tx.prepare_cached(
        "SELECT ordinal, sealed FROM template WHERE worker = ?1 AND model = ?2 ORDER BY ordinal",
    )?;
    let rows = query
        .query_map([id, model], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let (mut faces, mut damaged) = (Vec::new(), 0);
    for row in rows {
        let (ordinal, sealed) = row?;
        let opened = sealer.open(&place("template", id, ordinal as usize), &sealed);
        let face = opened
            .map_err(|e| e.to_string())
            .and_then(|plain| Template::from_bytes(&plain).map_err(|e| e.to_string()));
        match face {
            Ok(face) => faces.push(face),
            Err(error) => {
                damaged += 1;
                unreadable(id, &error);
            }
        }
    }
    Ok((faces, damaged))
}
