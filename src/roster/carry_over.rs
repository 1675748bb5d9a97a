//! Copies the readable workers of a damaged database to a new one.
//!
//! In: the damaged database, and a transaction on the new one. Out: the number of workers copied
//! and lost. Touches: the tables `worker`, `consent`, `template`, `photo`, `card`, and
//! `roster_version` in `meta`.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Transaction, params_from_iter, types::Value};

use super::{
    RosterError,
    faces::seal_context,
    rows::{read_worker, set_version, version},
};
use crate::store::Sealer;

/// Number of workers that were copied, removed workers included, and of workers that were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarriedOver {
    pub workers: u32,
    pub lost: u32,
}

/// Copies each worker whose identity and at least one template can be read and opened. A worker
/// who was enrolled without a face needs no template, and one who was removed long ago no identity.
/// A lost worker can be enrolled again under the same id.
pub fn carry_over(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    old: &Connection,
) -> Result<CarriedOver, RosterError> {
    // Damage ends a scan. A scan from each end finds the workers on both sides of the damage.
    let mut ids = BTreeSet::new();
    for order in ["ASC", "DESC"] {
        let Ok(mut all) = old.prepare(&format!("SELECT id FROM worker ORDER BY id {order}")) else {
            continue;
        };
        if let Ok(rows) = all.query_map([], |row| row.get::<_, String>(0)) {
            ids.extend(rows.map_while(Result::ok));
        }
    }
    let mut done = CarriedOver::default();
    for id in &ids {
        match one(tx, sealer, old, id)? {
            true => done.workers += 1,
            false => done.lost += 1,
        }
    }
    let all: Option<u32> = old.query_row("SELECT count(*) FROM worker", [], |r| r.get(0)).ok();
    done.lost = done.lost.max(all.unwrap_or(0).saturating_sub(done.workers));
    used_codes(tx, old)?;
    set_version(tx, version(old).unwrap_or(0).saturating_add(1))?;
    Ok(done)
}

/// Copies the codes in QR that were used, as far as they can be read. An older database has none.
fn used_codes(tx: &Transaction<'_>, old: &Connection) -> Result<(), RosterError> {
    for order in ["ASC", "DESC"] {
        let all = format!("SELECT code, expires FROM used_code ORDER BY n {order}");
        let Ok(mut all) = old.prepare(&all) else { continue };
        let Ok(rows) =
            all.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)))
        else {
            continue;
        };
        for used in rows.map_while(Result::ok) {
            tx.execute("INSERT OR IGNORE INTO used_code (code, expires) VALUES (?1, ?2)", used)?;
        }
    }
    Ok(())
}

/// Copies one worker with templates and photos. Returns false, and copies nothing, where too much
/// of the worker is damaged.
fn one(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    old: &Connection,
    id: &str,
) -> Result<bool, RosterError> {
    let Some(worker) = rows(old, "worker", "id", id).and_then(|mut r| r.pop()) else {
        return Ok(false);
    };
    let opens = |table: &str, ordinal: usize, sealed: Option<&Value>| matches!(sealed, Some(Value::Blob(b)) if sealer.open(&seal_context(table, id, ordinal), b).is_ok());
    // A worker may have no template. A worker whose template rows cannot be read is lost.
    let Some(had) = rows(old, "template", "worker", id) else { return Ok(false) };
    // A withdrawal must not be lost, so the worker is where the consents cannot be read.
    let consents = match old.prepare("SELECT 1 FROM consent") {
        Ok(_) => rows(old, "consent", "worker", id),
        // An older schema has no such table.
        Err(_) => Some(Vec::new()),
    };
    let Some(consents) = consents else { return Ok(false) };
    let kept = |table: &str| {
        let all = rows(old, table, "worker", id).unwrap_or_default().into_iter();
        let sound = all.filter(|row| match row.get("ordinal") {
            Some(Value::Integer(n)) => {
                usize::try_from(*n).is_ok_and(|n| opens(table, n, row.get("sealed")))
            }
            _ => false,
        });
        sound.collect::<Vec<_>>()
    };
    let (templates, photos) = (kept("template"), kept("photo"));
    // Without the templates that the gate matched, what waits would be compared with nothing.
    let of_gate = |row: &&BTreeMap<String, Value>| {
        row.get("role") != Some(&Value::Text("waiting".to_owned()))
    };
    let lost = !templates.iter().any(|row| of_gate(&row)) && had.iter().any(|row| of_gate(&row));
    // Of a worker who was removed long ago only the id is left; it is never used again.
    let forgotten = matches!(worker.get("identity"), Some(Value::Blob(b)) if b.is_empty())
        && worker.get("state") == Some(&Value::Text("removed".to_owned()));
    if !(forgotten || opens("identity", 0, worker.get("identity"))) || lost {
        return Ok(false);
    }
    // An older database has no cards. Those that cannot be read are lost.
    let cards = rows(old, "card", "worker", id).unwrap_or_default();
    let copies = [
        ("worker", vec![worker]),
        ("consent", consents),
        ("template", templates),
        ("photo", photos),
        ("card", cards),
        // An older database has no numbers of platforms.
        ("platform_code", rows(old, "platform_code", "worker", id).unwrap_or_default()),
    ];
    let copy = || -> rusqlite::Result<()> {
        for (table, row) in
            copies.iter().flat_map(|(table, rows)| rows.iter().map(move |r| (table, r)))
        {
            let columns: Vec<&str> = row.keys().map(String::as_str).collect();
            let places = vec!["?"; row.len()].join(", ");
            // A damaged card or number affects only itself.
            let or = match *table {
                "card" | "platform_code" => "OR IGNORE ",
                _ => "",
            };
            let insert =
                format!("INSERT {or}INTO {table} ({}) VALUES ({places})", columns.join(", "));
            tx.execute(&insert, params_from_iter(row.values()))?;
        }
        read_worker(tx, id).map(drop)
    };
    // A damaged row may break the new database's constraints, or be no valid worker.
    tx.execute_batch("SAVEPOINT worker")?;
    match copy() {
        Ok(()) => tx.execute_batch("RELEASE worker")?,
        Err(error) => {
            tx.execute_batch("ROLLBACK TO worker; RELEASE worker")?;
            let damaged = matches!(error, rusqlite::Error::FromSqlConversionFailure(..))
                || error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation);
            return if damaged { Ok(false) } else { Err(error.into()) };
        }
    }
    Ok(true)
}

/// Returns the rows by column name, because an older schema has fewer columns. Returns `None`
/// where one of the rows cannot be read.
fn rows(
    old: &Connection,
    table: &str,
    column: &str,
    id: &str,
) -> Option<Vec<BTreeMap<String, Value>>> {
    let sql = format!("SELECT * FROM {table} WHERE {column} = ?1");
    let mut found = old.prepare(&sql).ok()?;
    let columns: Vec<String> = found.column_names().map(ToString::to_string).collect();
    let row = |row: &rusqlite::Row<'_>| {
        columns.iter().enumerate().map(|(n, name)| Ok((name.clone(), row.get(n)?))).collect()
    };
    found.query_map([id], row).ok()?.collect::<Result<_, _>>().ok()
}

#[cfg(test)]
pub(super) mod tests;
