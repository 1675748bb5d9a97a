//! The waiting records of databases that were set aside, made messages under their own ledger ids.
//!
//! In: those databases, read only. Out: [`Page`]s. A record for which the gateway lacks something, or
//! that the platform refused, is noted in the present database and holds nothing up.

use std::cell::OnceCell;

use futures_util::future::BoxFuture;
use rusqlite::Transaction;

use super::{
    link::{Context, LinkError},
    rows::{Maker, Row, RowMade, Rows},
};
use crate::{
    ledger::{self, LedgerError, Progress, Refusal, Stored},
    store::Priority,
};

/// Some records of a database that was set aside.
pub struct Page {
    /// The records to send, each with its seq.
    pub rows: Vec<(u64, Row)>,
    /// The records for which the gateway lacks something.
    pub lacking: Vec<Refusal>,
    /// What is noted when the platform has them.
    pub progress: Progress,
}

pub type PageRead = BoxFuture<'static, Result<Option<Page>, LinkError>>;

/// Reads the next records, at most `limit`; `None` if none waits.
pub fn next_page(rows: &Rows<'_>, limit: usize) -> PageRead {
    let context = rows.context;
    let (store, name) = (context.store.clone(), rows.upstream.name.clone());
    let (origin, profile) = (context.origin.clone(), rows.profile.clone());
    let dir = context.storage_dir.clone();
    let at_ms = context.clock.stamp().wall_ms;
    let sealed = store.clone();
    Box::pin(async move {
        let read = store.read(move |tx| {
            let maker = Maker {
                profile: &*profile,
                origin: &origin,
                upstream: &name,
                store: &sealed,
                photos: None,
                at_ms,
                tx,
                dates: OnceCell::new(),
            };
            let make = |stored: Stored, cause| maker.row(&stored, cause, true);
            let next = ledger::next_to_drain(tx, &dir, &name, limit, make)?;
            let Some((made, progress)) = next.map(ledger::Drained::split) else {
                return Ok(None);
            };
            let mut page = Page { rows: Vec::new(), lacking: Vec::new(), progress };
            for made in made.into_iter().flatten() {
                match made? {
                    (seq, RowMade::Row(row)) => page.rows.push((seq, *row)),
                    (_, RowMade::LeftOut) => {}
                    (seq, RowMade::Lacks(words)) => {
                        page.lacking.push(Refusal { seq, words, here: true, at_ms });
                    }
                }
            }
            Ok::<_, LinkError>(Some(page))
        });
        read.await
    })
}

/// Notes that the platform has records, but for the refused ones. Returns the number of all records
/// that stand aside.
pub async fn note(
    context: &Context,
    upstream: &str,
    progress: Progress,
    refusals: Vec<Refusal>,
) -> Result<u64, LinkError> {
    let name = upstream.to_owned();
    let note = move |tx: &Transaction<'_>| {
        ledger::drained(tx, &progress, &refusals)?;
        ledger::count_refused(tx, &name)
    };
    Ok(context.store.write::<_, LedgerError>(Priority::Upkeep, note).await?)
}
