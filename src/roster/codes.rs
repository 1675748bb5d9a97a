//! Codes in QR that were used. A code counts once, also after a restart.

use rusqlite::{Connection, Transaction, params};

use crate::{clock::Stamp, store::StoreError};

/// Maximum number of used codes that are remembered. The oldest that has expired is forgotten; if
/// none has, a further code opens nothing.
pub const USED_MAX: u32 = 20_000;

/// A code that a claim uses up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedCode {
    /// The code's hash.
    pub id: [u8; 32],
    /// When it expires, in seconds since the Unix epoch.
    pub expires: i64,
}

/// Why a code opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum CodeRefused {
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The code was used before.
    #[error("the code was used before")]
    Used,
    /// There is no room for a further code.
    #[error("{USED_MAX} codes were used that have not expired, the maximum")]
    TooMany,
}

impl From<rusqlite::Error> for CodeRefused {
    fn from(e: rusqlite::Error) -> Self {
        CodeRefused::Store(e.into())
    }
}

/// Uses a code up, in the transaction of the passage that it opens. Rows are kept as long as there
/// is room, so that a clock that was ahead for a while makes no used code count again.
pub fn use_code(tx: &Transaction<'_>, code: UsedCode, now: Stamp) -> Result<(), CodeRefused> {
    if was_used(tx, &code.id)? {
        return Err(CodeRefused::Used);
    }
    let count: u32 = tx.query_row("SELECT count(*) FROM used_code", [], |row| row.get(0))?;
    if count >= USED_MAX {
        let expired = now.synced.then(|| now.timestamp().as_second());
        let oldest = "DELETE FROM used_code WHERE n =
            (SELECT n FROM used_code WHERE expires <= ?1 ORDER BY n LIMIT 1)";
        if tx.execute(oldest, [expired])? == 0 {
            return Err(CodeRefused::TooMany);
        }
    }
    let insert = "INSERT INTO used_code (code, expires) VALUES (?1, ?2)";
    tx.execute(insert, params![code.id, code.expires])?;
    Ok(())
}

/// Returns whether a code was used.
pub fn was_used(connection: &Connection, id: &[u8; 32]) -> rusqlite::Result<bool> {
    let mut query = connection.prepare_cached("SELECT 1 FROM used_code WHERE code = ?1")?;
    query.exists([id])
}

#[cfg(test)]
mod tests;
