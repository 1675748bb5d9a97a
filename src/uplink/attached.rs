//! Opens what a platform's records carry besides: the ID number, the number at the platform.

use rusqlite::{OptionalExtension, Transaction, params};

use super::profiles::{Attached, Needs};
use crate::{attendance::Record, roster, store::Sealer};

/// Returns what goes with a record, as far as its profile asks for it.
pub(super) fn attached(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    (upstream, needs): (&str, Needs),
    record: &Record,
) -> Attached {
    let mut attached = Attached::default();
    if needs.id_number
        && let Ok(id) = record.worker.parse()
    {
        match roster::identity(tx, sealer, &id) {
            Ok((_, identity)) => {
                attached.identity = Some((identity.id_type, identity.number.clone()));
            }
            Err(error) => tracing::warn!(%error, worker = %id, "an ID number cannot be opened"),
        }
    }
    if needs.code {
        let query = "SELECT code FROM platform_code WHERE upstream = ?1 AND worker = ?2";
        let found = tx.prepare_cached(query).and_then(|mut query| {
            query.query_row(params![upstream, record.worker], |row| row.get(0)).optional()
        });
        attached.code = found.unwrap_or_else(|error| {
            tracing::error!(%error, "the numbers of a platform cannot be read");
            None
        });
    }
    attached
}
