//! The table `meta`: facts about the database itself.

use rusqlite::{Connection, OptionalExtension, params};

/// The context for which the word in the row `key_proof` is sealed.
pub(super) const KEY_PROOF: &str = "meta/key_proof";

/// Returns a value of the table `meta`.
pub fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()
}

/// Puts a value into the table `meta`.
pub fn set_meta(connection: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![key, value])?;
    Ok(())
}

/// Deletes a value of the table `meta`.
pub fn clear_meta(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE key = ?1", [key]).map(drop)
}

/// Returns the keys with this prefix, and their values.
pub fn metas(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    connection
        .prepare_cached("SELECT key, value FROM meta WHERE substr(key, 1, length(?1)) = ?1")?
        .query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
