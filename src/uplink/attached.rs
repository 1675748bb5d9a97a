//! Opens what a platform's records carry besides: the ID number, the number at the platform.

use super::{profiles::Attached, rows::Maker};
use crate::{attendance::Record, roster};

/// Returns what goes with a record, as far as its profile asks for it.
pub(super) fn attached(maker: &Maker<'_>, record: &Record) -> Attached {
    let (needs, mut attached) = (maker.profile.needs(), Attached::default());
    if needs.id_number
        && let Ok(id) = record.worker.parse()
    {
        match roster::identity(maker.tx, maker.store.sealer(), &id) {
            Ok((_, identity)) => {
                attached.identity = Some((identity.id_type, identity.number.clone()));
            }
            Err(error) => tracing::warn!(%error, worker = %id, "an ID number cannot be opened"),
        }
    }
    if needs.code {
        let found = roster::number_at(maker.tx, maker.upstream, &record.worker);
        attached.code = found.unwrap_or_else(|error| {
            tracing::error!(%error, "the numbers of a platform cannot be read");
            None
        });
    }
    attached
}
