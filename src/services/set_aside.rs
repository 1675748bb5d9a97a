//! Reads the attendance of databases that were set aside, for lists, sheets and exports.

use std::path::PathBuf;

use rusqlite::Transaction;

use crate::{
    ledger::LedgerError,
    store::{self, StoreError},
};

/// Runs `work` on a database that was set aside. Returns `None`, and logs the error, if the database
/// cannot be read: it is damaged.
pub(super) async fn read<T: Send + 'static>(
    place: PathBuf,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError> + Send + 'static,
) -> Result<Option<T>, StoreError> {
    let read = move || -> Result<T, LedgerError> {
        let missing = || StoreError::Damaged { path: place.clone(), found: "no file".to_owned() };
        let mut database = store::open_set_aside(&place).ok_or_else(missing)?;
        let read = database.transaction().map_err(LedgerError::from).and_then(|tx| work(&tx));
        read.inspect_err(|error| {
            tracing::warn!(%error, place = %place.display(), "a database that was set aside is not legible");
        })
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Stopped)?;
    Ok(read.ok())
}

/// Returns the last part of a path, for people.
pub(super) fn name(place: &std::path::Path) -> String {
    format!("set-aside/{}", place.file_name().unwrap_or_default().to_string_lossy())
}
