//! The roster's tables. Every function works inside its caller's transaction.

use jiff::civil::Date;
use rusqlite::{OptionalExtension, Row, Transaction, params, types::Type};
use zeroize::Zeroizing;

use super::{Enrolment, Identity, Person, Roster, RosterError, State, Worker, WorkerId};
use crate::{store::Sealer, vision::Template};

/// Workers on the roster at once: three times the largest site known, and what a lane matches in a
/// few milliseconds.
const MOST_WORKERS: usize = 10_000;

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
    let Worker { person, valid_from, valid_until, consent, .. } = &enrolment.worker;
    let id = &person.id;
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
    let identity = &enrolment.identity;
    let lookup = sealer.lookup(&format!("{}:{}", identity.id_type, *identity.number));
    let same: Option<String> = tx
        .query_row(
            "SELECT id FROM worker WHERE identity_lookup = ?1 AND state <> 'removed'",
            [lookup],
            |r| r.get(0),
        )
        .optional()?;
    if let Some(other) = same {
        return Err(RosterError::IdentityTaken(other.parse()?));
    }
    let mut plain = Zeroizing::new(Vec::new());
    ciborium::into_writer(identity, &mut *plain)
        .map_err(|e| RosterError::Invalid { field: "id-number", problem: e.to_string() })?;
    tx.execute(
        "INSERT INTO worker VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'active')",
        params![
            id.as_str(),
            person.name,
            person.team,
            person.contractor,
            person.trade,
            sealer.seal(&place("identity", id, 0), &plain)?,
            lookup,
            valid_from.map(|d| d.to_string()),
            valid_until.map(|d| d.to_string()),
            consent
        ],
    )?;
    for (ordinal, face) in enrolment.faces.iter().enumerate() {
        let template = face.template.to_bytes();
        let template = sealer.seal(&place("template", id, ordinal), template.as_slice())?;
        tx.execute(
            "INSERT INTO template VALUES (?1, ?2, ?3, ?4)",
            params![id.as_str(), ordinal as i64, enrolment.model, template],
        )?;
        let photo = sealer.seal(&place("photo", id, ordinal), &face.jpeg)?;
        tx.execute(
            "INSERT INTO photo VALUES (?1, ?2, ?3)",
            params![id.as_str(), ordinal as i64, photo],
        )?;
    }
    raise_version(tx)
}

/// Erases a worker's templates and photos and marks the row; attendance stays (I7). The caller
/// appends the ledger's entry, and empties the write-ahead log after the commit.
pub fn remove(tx: &Transaction<'_>, id: &WorkerId) -> Result<(), RosterError> {
    let changed = tx.execute(
        "UPDATE worker SET state = 'removed' WHERE id = ?1 AND state <> 'removed'",
        [id.as_str()],
    )?;
    if changed == 0 {
        return Err(RosterError::NoSuchWorker(id.clone()));
    }
    tx.execute("DELETE FROM template WHERE worker = ?1", [id.as_str()])?;
    tx.execute("DELETE FROM photo WHERE worker = ?1", [id.as_str()])?;
    raise_version(tx)
}

fn raise_version(tx: &Transaction<'_>) -> Result<(), RosterError> {
    let raised = version(tx)?.saturating_add(1);
    Ok(crate::store::set_meta(tx, "roster_version", &raised.to_be_bytes())?)
}

fn version(tx: &Transaction<'_>) -> Result<u64, RosterError> {
    let bytes = crate::store::meta(tx, "roster_version")?;
    Ok(bytes.and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes))
}

const COLUMNS: &str = "id, name, team, contractor, trade, valid_from, valid_until, consent, state,
    (SELECT count(*) FROM template WHERE worker = worker.id)";

fn worker(row: &Row<'_>) -> rusqlite::Result<Worker> {
    let bad = |column: usize, e: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e)
    };
    let date = |column: usize| -> rusqlite::Result<Option<Date>> {
        let text: Option<String> = row.get(column)?;
        text.map(|t| t.parse().map_err(|e: jiff::Error| bad(column, e.into()))).transpose()
    };
    Ok(Worker {
        person: Person {
            id: row.get::<_, String>(0)?.parse().map_err(|e: RosterError| bad(0, e.into()))?,
            name: row.get(1)?,
            team: row.get(2)?,
            contractor: row.get(3)?,
            trade: row.get(4)?,
        },
        valid_from: date(5)?,
        valid_until: date(6)?,
        consent: row.get(7)?,
        state: match row.get::<_, String>(8)?.as_str() {
            "removed" => State::Removed,
            _ => State::Active,
        },
        templates: row.get(9)?,
    })
}

/// The workers of a state, by id: those after `after`, at most `limit`.
pub fn list(
    tx: &Transaction<'_>,
    state: State,
    after: Option<&WorkerId>,
    limit: usize,
) -> Result<Vec<Worker>, RosterError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM worker
         WHERE (state = 'removed') = ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3"
    );
    let (removed, limit) = (state == State::Removed, i64::try_from(limit).unwrap_or(i64::MAX));
    let workers = tx
        .prepare(&sql)?
        .query_map(params![removed, after.map(WorkerId::as_str), limit], worker)?
        .collect::<Result<_, _>>()?;
    Ok(workers)
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
    let (worker, sealed): (Worker, Vec<u8>) = tx
        .query_row(&sql, [id.as_str()], |row| Ok((worker(row)?, row.get(10)?)))
        .optional()?
        .ok_or_else(|| RosterError::NoSuchWorker(id.clone()))?;
    let plain = sealer.open(&place("identity", id, 0), &sealed)?;
    let identity = ciborium::from_reader(plain.as_slice())
        .map_err(|e| RosterError::Invalid { field: "id-number", problem: e.to_string() })?;
    Ok((worker, identity))
}

/// A worker's row, where it can be read.
pub(super) fn legible(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Worker> {
    tx.prepare_cached(&format!("SELECT {COLUMNS} FROM worker WHERE id = ?1"))?
        .query_row([id], worker)
}

/// The snapshot that the gate matches against: active workers, and those of their templates that
/// this embedder made. A row or a template that is damaged costs its worker, and nobody else.
pub fn load(tx: &Transaction<'_>, sealer: &Sealer, model: &str) -> Result<Roster, RosterError> {
    let ids: Vec<String> = tx
        .prepare("SELECT id FROM worker WHERE state <> 'removed' ORDER BY id LIMIT ?1")?
        .query_map([MOST_WORKERS], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut damaged = 0;
    let mut unreadable = |id: &str, error: &dyn std::fmt::Display| {
        tracing::error!(worker = id, %error, "this worker's data is damaged");
        damaged += 1;
    };
    let mut templates = tx.prepare(
        "SELECT ordinal, sealed FROM template WHERE worker = ?1 AND model = ?2 ORDER BY ordinal",
    )?;
    let mut filled = Vec::with_capacity(ids.len());
    for id in ids {
        let worker = match legible(tx, &id) {
            Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                unreadable(&id, &error);
                continue;
            }
            worker => worker?,
        };
        let rows = templates.query_map([&id[..], model], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let mut faces = Vec::new();
        for row in rows {
            let (ordinal, sealed) = row?;
            match sealer.open(&place("template", &id, ordinal as usize), &sealed) {
                Ok(plain) => match Template::from_bytes(&plain) {
                    Ok(face) => faces.push(face),
                    Err(error) => unreadable(&id, &error),
                },
                Err(error) => unreadable(&id, &error),
            }
        }
        filled.push((worker, faces));
    }
    let mut roster = Roster::new(version(tx)?, filled);
    roster.damaged = damaged;
    Ok(roster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::carry_over::tests::enrolment;

    #[test]
    fn i8_a_full_roster_refuses_one_more_until_somebody_leaves() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../store/migrations/0001.sql")).unwrap();
        let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
            INSERT INTO worker SELECT 'X' || n, 'x', 'x', 'x', 'x', x'00', n || '', NULL, NULL, NULL,
            'active' FROM n";
        connection.execute(&fill.replace("n || ''", "CAST(n AS BLOB)"), [MOST_WORKERS]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let key = crate::config::Secret::File(dir.path().join("key"));
        let sealer = Sealer::load(&key, true).unwrap();
        let tx = connection.transaction().unwrap();
        let refused = enrol(&tx, &sealer, &enrolment(1)).unwrap_err();
        assert!(refused.to_string().contains("10000 workers"), "{refused}");
        remove(&tx, &"X7".parse().unwrap()).unwrap();
        enrol(&tx, &sealer, &enrolment(1)).unwrap();
    }

    #[test]
    fn a_damaged_row_or_template_costs_its_worker_and_nobody_else() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../store/migrations/0001.sql")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let key = crate::config::Secret::File(dir.path().join("key"));
        let sealer = Sealer::load(&key, true).unwrap();
        let tx = connection.transaction().unwrap();
        (0..4).for_each(|n| enrol(&tx, &sealer, &enrolment(n)).unwrap());
        assert_eq!(load(&tx, &sealer, "m").unwrap().damaged, 0);
        let harm = [
            "UPDATE worker SET valid_until = '2026-61-01' WHERE id = 'W001'",
            "UPDATE template SET sealed = zeroblob(90) WHERE worker = 'W002'",
        ];
        harm.iter().for_each(|sql| assert_eq!(tx.execute(sql, []).unwrap(), 1));
        let roster = load(&tx, &sealer, "m").unwrap();
        assert_eq!((roster.damaged, roster.templates()), (2, 2));
        for (n, known) in [(0, true), (1, false), (2, false), (3, true)] {
            let best = roster.best(&enrolment(n).faces[0].template);
            assert_eq!(best.is_some_and(|m| m.score > 0.9), known, "{n}");
        }
    }
}
