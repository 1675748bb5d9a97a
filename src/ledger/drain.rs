//! The outboxes of databases that were set aside drain under their own ledger ids.
//!
//! In: the databases, read only, and how far each has come. Out: their waiting records, page by page.
//! Touches: `drained/…` in `meta` of the present database.

use std::path::Path;

use rusqlite::Transaction;

use super::{LedgerError, Stored, outbox::waiting_or_aside};
use crate::store::{all_set_aside, meta, open_set_aside, read_from, set_meta};

/// The seq up to which an outbox has drained, if nothing in it waits any more.
const ALL: u64 = u64::MAX;

/// Some waiting records of one database that was set aside.
pub struct Drained<T> {
    pub rows: Vec<T>,
    /// The key in `meta`, and the seq up to which the outbox has drained with these rows.
    progress: (String, u64),
}

fn key(place: &Path, upstream: &str) -> String {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    format!("drained/{name}/{}/{upstream}", read_from(place))
}

fn upto(tx: &Transaction<'_>, key: &str) -> Result<u64, LedgerError> {
    let bytes = meta(tx, key)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// Returns the next records that wait for an upstream, oldest database first; `None` if no legible
/// record waits. `tx` is of the present database. [`drained`] must follow.
pub fn next_to_drain<T>(
    tx: &Transaction<'_>,
    dir: &Path,
    upstream: &str,
    limit: usize,
    mut make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Result<Option<Drained<T>>, LedgerError> {
    for place in all_set_aside(dir) {
        let key = key(&place, upstream);
        let after = upto(tx, &key)?;
        if after == ALL {
            continue;
        }
        let Some(mut old) = open_set_aside(&place) else { continue };
        let read = old
            .transaction()
            .map_err(LedgerError::from)
            .and_then(|old| waiting_or_aside(&old, upstream, after, limit, &mut make));
        match read {
            Ok(waiting) => {
                let upto = if waiting.more { waiting.upto } else { ALL };
                return Ok(Some(Drained { rows: waiting.rows, progress: (key, upto) }));
            }
            Err(error) => {
                tracing::debug!(%error, place = %place.display(), "its outbox cannot be read");
            }
        }
    }
    Ok(None)
}

/// Notes that an upstream has these records.
pub fn drained(tx: &Transaction<'_>, (key, upto): &(String, u64)) -> Result<(), LedgerError> {
    Ok(set_meta(tx, key, &upto.to_be_bytes())?)
}

impl<T> Drained<T> {
    /// Returns the rows, and what [`drained`] is to note when the upstream has them.
    pub fn split(self) -> (Vec<T>, (String, u64)) {
        (self.rows, self.progress)
    }
}

/// Returns whether records of databases that were set aside may still wait for one of these
/// upstreams.
pub fn still_drains(
    tx: &Transaction<'_>,
    dir: &Path,
    upstreams: &[String],
) -> Result<bool, LedgerError> {
    for place in all_set_aside(dir) {
        for upstream in upstreams {
            if upto(tx, &key(&place, upstream))? != ALL {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
