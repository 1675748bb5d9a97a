//! The table `meta`: what the database says of itself.

use rusqlite::{Connection, OptionalExtension, params};

/// The place that the sealed word of the row `key_proof` is sealed for.
pub(super) const KEY_PROOF: &str = "meta/key_proof";

/// A value of the database's own table of facts.
pub fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()
}

/// Puts a value into the database's own table of facts.
pub fn set_meta(connection: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![key, value])?;
    Ok(())
}
