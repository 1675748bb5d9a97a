//! Erasure of templates and photos long after a worker's last day, and in databases that were set
//! aside (I7).
//!
//! In: the days for which faces are kept after a worker's last day; a corroborated date. Out: erased
//! templates and photos; the workers who have not come for long. Touches: the tables `template`,
//! `photo` and `passage_photo`, also those of databases that were set aside. It reads from the
//! ledger's table when a worker was last seen.

use std::{collections::HashSet, path::Path};

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, config::DbConfig, params};

use super::{Erased, RosterError, WorkerId, faces, rows};
use crate::{clock::Corroborated, store::photo_store};

/// Number of days without a passage after which a worker is proposed for removal.
pub const ABSENT_DAYS: u16 = 180;
/// Maximum number of workers in a list of proposals.
const MOST_PROPOSED: usize = 20;

const PASSAGES: &str = "kind IN ('grant', 'release', 'supplement')";

/// The rule for the erasure of templates and photos.
#[derive(Clone, Debug)]
pub struct FaceRule {
    /// Number of days after a worker's last day and last passage.
    pub keep_days: u16,
    pub timezone: TimeZone,
}

impl FaceRule {
    /// Returns the workers, or the one worker, whose faces are over on a day, with their last days.
    /// A worker who still comes, for example to leave, is not over.
    pub fn over(
        &self,
        tx: &Transaction<'_>,
        on: Date,
        worker: Option<&WorkerId>,
    ) -> Result<Vec<(WorkerId, Date)>, RosterError> {
        let Ok(before) = on.checked_sub(Span::new().days(self.keep_days)) else {
            return Ok(Vec::new());
        };
        // An entry that a wrong clock dated in the future proves no passage.
        let (seen_since, now) = (start(before, &self.timezone), start(on, &self.timezone));
        let sql = format!(
            "SELECT id, valid_until FROM worker WHERE state <> 'removed' AND valid_until < ?1
               AND (?4 IS NULL OR id = ?4)
               AND (EXISTS (SELECT 1 FROM template WHERE worker = id)
                 OR EXISTS (SELECT 1 FROM photo WHERE worker = id))
               AND NOT EXISTS (SELECT 1 FROM entry WHERE worker = worker.id
                 AND at_ms >= ?2 AND at_ms < ?3 AND {PASSAGES})
             ORDER BY id"
        );
        let mut over = tx.prepare_cached(&sql)?;
        let mut rows =
            over.query(params![before, seen_since, now, worker.map(WorkerId::as_str)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            // A damaged row affects only its own worker.
            if let (Ok(id), Ok(until)) = (row.get::<_, String>(0)?.parse(), row.get(1)) {
                found.push((id, until));
            }
        }
        Ok(found)
    }
}

/// Erases the templates and photos of a worker who stays on the roster, photos of passages too. The
/// caller has found the worker with [`FaceRule::over`], appends the ledger's entry, and empties the
/// write-ahead log after the commit.
pub fn erase_faces(
    tx: &Transaction<'_>,
    id: &WorkerId,
    _date: Corroborated,
) -> Result<Erased, RosterError> {
    let erased = faces::erase(tx, id)?;
    photo_store::erase(tx, id.as_str())?;
    rows::raise_version(tx)?;
    Ok(erased)
}

/// Clears the rows of removed workers without an entry in the ledger, and returns their number. The
/// id stays, because an id is never used again.
pub fn forget_removed(tx: &Transaction<'_>, _date: Corroborated) -> Result<usize, RosterError> {
    let over = "state = 'removed' AND length(identity) > 0
        AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.worker = worker.id)";
    let consents =
        format!("DELETE FROM consent WHERE worker IN (SELECT id FROM worker WHERE {over})");
    tx.execute(&consents, [])?;
    let rows = format!(
        "UPDATE worker SET name = '', team = '', contractor = '', trade = '', identity = x'',
             identity_lookup = x'', valid_from = NULL, valid_until = NULL, consent = NULL,
             consent_on = NULL, contract_signed = NULL, trained_on = NULL, held_reason = NULL,
             pending = NULL, pending_from = NULL
         WHERE {over}"
    );
    Ok(tx.execute(&rows, [])?)
}

/// The start of a day; wall time in ms since 1970.
fn start(day: Date, timezone: &TimeZone) -> i64 {
    day.to_zoned(timezone.clone()).map_or(i64::MAX, |at| at.timestamp().as_millisecond())
}

/// Returns the number of workers with no entry in the last [`ABSENT_DAYS`], and the first ones.
pub fn absent(
    tx: &Transaction<'_>,
    today: Date,
    timezone: &TimeZone,
) -> Result<(u64, Vec<WorkerId>), RosterError> {
    let Ok(since) = today.checked_sub(Span::new().days(ABSENT_DAYS)) else {
        return Ok((0, Vec::new()));
    };
    let since = start(since, timezone);
    // A worker who came over from an earlier ledger has no entry in this one.
    if first_ms(tx)?.is_none_or(|first| first >= since) {
        return Ok((0, Vec::new()));
    }
    let mut absent = tx.prepare_cached(
        "SELECT id FROM worker WHERE state <> 'removed' AND NOT EXISTS
           (SELECT 1 FROM entry WHERE worker = worker.id AND at_ms >= ?1) ORDER BY id",
    )?;
    let (mut count, mut first) = (0, Vec::new());
    let mut rows = absent.query([since])?;
    while let Some(row) = rows.next()? {
        count += 1;
        if first.len() < MOST_PROPOSED {
            first.push(row.get::<_, String>(0)?.parse()?);
        }
    }
    Ok((count, first))
}

/// Returns the time of the first entry.
fn first_ms(tx: &Transaction<'_>) -> Result<Option<i64>, RosterError> {
    let first = "SELECT at_ms FROM entry ORDER BY idx LIMIT 1";
    Ok(tx.query_row(first, [], |row| row.get(0)).optional()?)
}

/// Returns the day of the last passage of all, if no one has passed for [`ABSENT_DAYS`]. A ledger
/// without a passage counts from its first entry.
pub fn no_passage_since(
    tx: &Transaction<'_>,
    today: Date,
    timezone: &TimeZone,
) -> Result<Option<Date>, RosterError> {
    let Ok(since) = today.checked_sub(Span::new().days(ABSENT_DAYS)) else { return Ok(None) };
    let tomorrow = start(today.saturating_add(Span::new().days(1)), timezone);
    let sql = format!(
        "SELECT at_ms FROM entry WHERE worker IS NOT NULL AND {PASSAGES} AND at_ms < ?1
         ORDER BY at_ms DESC LIMIT 1"
    );
    let last: Option<i64> = tx.query_row(&sql, [tomorrow], |row| row.get(0)).optional()?;
    let last = match last {
        Some(last) => Some(last),
        None => first_ms(tx)?,
    };
    let day = last
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map(|at| at.to_zoned(timezone.clone()).date());
    Ok(day.filter(|day| *day < since))
}

/// Returns the ids of the workers who have no template: removed, erased, or enrolled without a
/// face. A worker who was lost with a damaged database has no row and is not among them.
pub fn without_faces(tx: &Transaction<'_>) -> Result<HashSet<String>, RosterError> {
    let mut without = tx.prepare_cached(
        "SELECT id FROM worker WHERE NOT EXISTS (SELECT 1 FROM template WHERE worker = id)",
    )?;
    Ok(without.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The tables with a worker's face, and how a row of them is erased. The second statement leaves
/// the row in its place, and may succeed where a damaged page prevents the deletion.
const FACES: [(&str, &str, [&str; 2]); 3] = [
    (
        "template",
        "length(sealed) > 0 AND sealed <> zeroblob(length(sealed))",
        [
            "DELETE FROM template WHERE worker = ?1",
            "UPDATE template SET sealed = zeroblob(length(sealed)) WHERE worker = ?1",
        ],
    ),
    (
        "photo",
        "length(sealed) > 0 AND sealed <> zeroblob(length(sealed))",
        [
            "DELETE FROM photo WHERE worker = ?1",
            "UPDATE photo SET sealed = zeroblob(length(sealed)) WHERE worker = ?1",
        ],
    ),
    (
        "passage_photo",
        "length(key) > 0",
        [
            "UPDATE passage_photo SET key = x'' WHERE worker = ?1",
            "UPDATE passage_photo SET key = zeroblob(length(key)) WHERE worker = ?1",
        ],
    ),
];

/// Erases the faces of these workers in a database that was set aside. Its ledger stays as it is.
/// Returns the number of rows erased. An error is the first one: what can be erased beside the
/// damage is erased.
pub fn erase_set_aside(place: &Path, workers: &HashSet<String>) -> Result<usize, rusqlite::Error> {
    let path = place.join("gatehouse.db");
    if workers.is_empty() || !path.exists() {
        return Ok(0);
    }
    let (mut failed, mut erased) = (None, 0);
    let mut held = HashSet::new();
    // Where nothing is to be erased, the database and its log stay unchanged.
    let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    reader.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    for (table, there, _) in FACES {
        // Damage ends a scan. A scan from each end finds the rows on both sides of the damage.
        for order in ["ASC", "DESC"] {
            let sql = format!("SELECT worker FROM {table} WHERE {there} ORDER BY 1 {order}");
            let scan = |held: &mut HashSet<(&str, String)>| {
                let mut all = reader.prepare(&sql)?;
                let mut rows = all.query([])?;
                while let Some(row) = rows.next()? {
                    let worker: String = row.get(0)?;
                    if workers.contains(&worker) {
                        held.insert((table, worker));
                    }
                }
                Ok(())
            };
            failed = failed.or(scan(&mut held).err());
        }
    }
    drop(reader);
    if held.is_empty() {
        return failed.map_or(Ok(0), Err);
    }
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    for (table, _, ways) in FACES {
        for (_, worker) in held.iter().filter(|(of, _)| *of == table) {
            let first = connection.execute(ways[0], [worker]);
            match first.or_else(|_| connection.execute(ways[1], [worker])) {
                Ok(rows) => erased += rows,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    // The write-ahead log holds copies of the erased rows.
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    failed.or(emptied.err()).map_or(Ok(erased), Err)
}

#[cfg(test)]
mod tests;
