//! The numbers under which platforms know the workers. Each function works inside its caller's
//! transaction, on the table `platform_code`.
//!
//! A number stays when its worker leaves the roster, because records of that worker may still wait.

use rusqlite::{OptionalExtension, Transaction, params};

use super::WorkerId;

/// Notes the number of a worker at a platform. Returns whether the number is new.
pub fn note_number(
    tx: &Transaction<'_>,
    upstream: &str,
    worker: &WorkerId,
    number: &str,
) -> rusqlite::Result<bool> {
    let changed = tx
        .prepare_cached(
            "INSERT INTO platform_code VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET code = excluded.code WHERE code <> excluded.code",
        )?
        .execute(params![upstream, worker.as_str(), number])?;
    Ok(changed > 0)
}

/// Returns the number of a worker at a platform.
pub fn number_at(
    tx: &Transaction<'_>,
    upstream: &str,
    worker: &str,
) -> rusqlite::Result<Option<String>> {
    tx.prepare_cached("SELECT code FROM platform_code WHERE upstream = ?1 AND worker = ?2")?
        .query_row([upstream, worker], |row| row.get(0))
        .optional()
}
