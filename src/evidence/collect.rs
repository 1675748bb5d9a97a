//! Collects the entries and proofs of a package from the ledger.

use std::collections::BTreeSet;

use jiff::civil::Date;
use rusqlite::{Transaction, params};

use super::{
    health::{Journal, Outage},
    package::{Earlier, Opened, Package, Proved, joined},
};
use crate::{
    attendance::Origin,
    ledger::{
        self, Altered, Body, Dated, Dates, Head, LedgerError, SignedHead, commitment, growth,
        growth::prover, tree::Hash,
    },
    roster::{Identity, WorkerId},
    store::links_to,
};

/// Bytes of a package without its entries, and of an entry's map without its contents, at most.
const FRAME: usize = 16 * 1024;
const FRAME_ENTRY: usize = 32;

/// The days of a package.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    pub from: Date,
    /// The last day.
    pub until: Date,
    /// Start and end of these days, end exclusive; effective time in ms since 1970.
    pub span_ms: (i64, i64),
}

/// Returns the package of a worker, not signed yet. `identity` opens the commitment to the ID number. `earlier` are
/// signed heads that the reader has, of this ledger; others are left out. The entries `lost` are in
/// each package.
pub fn collect(
    tx: &Transaction<'_>,
    origin: &Origin,
    worker: &WorkerId,
    (period, altered): (Period, &Altered),
    head: &SignedHead,
    identity: Option<&Identity>,
    earlier: &[Vec<u8>],
) -> Result<Package, LedgerError> {
    let timezone = origin.timezone.iana_name().unwrap_or("UTC");
    let days = [period.from.to_string(), period.until.to_string()];
    let of = [origin.gateway.as_str(), origin.project.as_str(), timezone];
    let signed = (head.key, head.bytes.clone());
    let mut package = Package::new(of, worker.as_str(), days, signed);
    let lost = ledger::lost_at(tx)?;
    for index in wanted(tx, worker, period, altered)? {
        let stored = match ledger::read(tx, index) {
            Err(LedgerError::Pruned { .. }) => continue,
            stored => stored?,
        };
        if index >= head.head.size {
            break;
        }
        if let Some(identity) = identity
            && commits_to(&stored.entry.body, identity)
        {
            package.opened = Some(Opened {
                index,
                id_type: identity.id_type.word().to_owned(),
                number: identity.number.to_string(),
                salt: identity.salt,
            });
        }
        let path = joined(prover(tx).inclusion(index, head.head.size)?);
        package.entries.push(Proved { bytes: ledger::bytes(tx, index)?, path });
    }
    package.keys = links_to(tx, &head.key)?;
    let mut keys = vec![head.key];
    keys.extend(package.keys.iter().map(|link| link.key));
    for bytes in earlier {
        let Ok((old, _)) = Head::verify_with(bytes, &keys) else { continue };
        // A head over entries that the gateway has lost cannot be proven any more.
        let gone = lost.iter().any(|at| *at < old.size)
            && growth::root(tx, old.size).is_ok_and(|root| root != old.root);
        if old.ledger == head.head.ledger && old.size <= head.head.size && !gone {
            let path = joined(prover(tx).consistency(old.size, head.head.size)?);
            package.earlier.push(Earlier { head: bytes.clone(), path });
        }
    }
    Ok(package)
}

/// Returns the size in bytes that the worker's package has, at most.
pub fn size(
    tx: &Transaction<'_>,
    worker: &WorkerId,
    (period, altered): (Period, &Altered),
    head: &SignedHead,
    earlier: &[Vec<u8>],
) -> Result<usize, LedgerError> {
    // The path to the root of a tree, or the proof for an earlier tree.
    let path = size_of::<Hash>() * (2 + head.head.size.checked_ilog2().unwrap_or(0) as usize);
    let heads: usize = earlier.iter().map(|head| head.len() + path).sum();
    let mut total = FRAME + heads;
    let mut length = tx.prepare_cached("SELECT length(bytes) FROM entry WHERE idx = ?1")?;
    for index in wanted(tx, worker, period, altered)? {
        total += length.query_row([index], |row| row.get::<_, usize>(0))? + path + FRAME_ENTRY;
    }
    Ok(total)
}

/// Returns the entries of a package: the worker's, and those about outages and lost entries.
fn wanted(
    tx: &Transaction<'_>,
    worker: &WorkerId,
    period: Period,
    altered: &Altered,
) -> Result<BTreeSet<u64>, LedgerError> {
    let mut wanted = indices(tx, worker, period.span_ms, altered)?;
    wanted.extend(outages(tx, period.span_ms)?.into_iter().flat_map(|outage| outage.entries));
    wanted.extend(ledger::lost_at(tx)?);
    Ok(wanted)
}

fn commits_to(body: &Body, identity: &Identity) -> bool {
    let committed = match body {
        Body::Enrolment(enrolment) => Some(enrolment.id_commitment),
        Body::Amendment(amendment) => amendment.id_commitment,
        _ => None,
    };
    let Identity { salt, id_type, number, .. } = identity;
    committed == Some(commitment(salt, id_type.word(), number))
}

/// Returns the times in which the gate was down or blind.
pub fn outages(tx: &Transaction<'_>, span_ms: (i64, i64)) -> Result<Vec<Outage>, LedgerError> {
    let mut journal = Journal::new(Some(span_ms));
    for pass in [Journal::learn, Journal::add] {
        let mut from = Some(0);
        while let Some(first) = from {
            let (entries, next) = ledger::health(tx, first)?;
            entries.iter().for_each(|stored| pass(&mut journal, stored));
            from = next;
        }
    }
    Ok(journal.finish())
}

/// Returns the entries of a worker: what is on the roster's history, the passages of the period, and
/// the entries that are about one of these. The effective time counts. A passage without a date is
/// returned if it may be of the period.
fn indices(
    tx: &Transaction<'_>,
    worker: &WorkerId,
    (from, until): (i64, i64),
    altered: &Altered,
) -> Result<BTreeSet<u64>, LedgerError> {
    let dates = Dates::read(tx)?;
    let mut query = tx.prepare_cached(
        "SELECT idx FROM entry INDEXED BY entry_worker
         WHERE worker = ?1
           AND (cause IS NULL AND kind NOT IN ('grant', 'release', 'supplement', 'denial')
                OR cause IS NULL AND at_ms >= ?2 AND at_ms < ?3)",
    )?;
    let rows = query.query_map(params![worker.as_str(), from, until], |row| row.get(0))?;
    let mut indices: BTreeSet<u64> = rows.collect::<Result<_, _>>()?;
    let moved = dates.moved(tx, (Some(worker), None), (from, until))?;
    indices.extend(moved.into_iter().map(|(_, index)| index));
    indices.extend(altered.rows());
    // The columns of a row only find it: its bytes say of which worker and time it is.
    let mut found = BTreeSet::new();
    for index in indices {
        let entry = match ledger::read(tx, index) {
            Err(LedgerError::Pruned { .. }) => continue,
            stored => stored?.entry,
        };
        let passes = matches!(
            entry.body,
            Body::Grant(_) | Body::GuardRelease(_) | Body::Supplement(_) | Body::Denial(_)
        );
        let recorded = entry.body.at_ms().unwrap_or(entry.stamp.wall_ms);
        let is_in = match dates.of(&entry) {
            Dated::Undated(bounds) => bounds.meets((from, until)),
            dated => (from..until).contains(&dated.ms(recorded)),
        };
        if entry.body.worker() == Some(worker) && (!passes || is_in) {
            found.insert(index);
        }
    }
    let mut about = tx.prepare_cached("SELECT idx FROM entry WHERE cause = ?1")?;
    let mut causes: Vec<u64> = found.iter().copied().collect();
    while let Some(cause) = causes.pop() {
        let there: Vec<u64> =
            about.query_map([cause], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for index in there.into_iter().chain(altered.about(cause).iter().copied()) {
            let body = ledger::read(tx, index)?.entry.body;
            if body.cause() == Some(cause) && found.insert(index) {
                causes.push(index);
            }
        }
    }
    Ok(found)
}
