//! Opens what a platform's records carry besides: the ID number, the number at the platform.

use rusqlite::Transaction;

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
        let found = roster::number_at(tx, upstream, &record.worker);
        attached.code = found.unwrap_or_else(|error| {
            tracing::error!(%error, "the numbers of a platform cannot be read");
            None
        });
    }
    attached
}
