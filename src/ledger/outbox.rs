//! The outbox: rows that wait for upstreams are read, struck off and put back.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Body, Closing, Correction, LedgerError, Stored, known, last_seq, read};
use crate::{clock::Stamp, words::words};

/// Some rows of an outbox.
#[derive(Debug)]
pub struct Waiting<T> {
    pub rows: Vec<T>,
    /// The seq of the last row that was read.
    pub upto: u64,
    /// Whether there may be more rows.
    pub more: bool,
}

/// Returns rows that one upstream has not acknowledged, oldest first: after the seq `after`, up to
/// `until`, at most `limit`. `make` gets each entry, and with an outcome or its correction the
/// grant or release. An unreadable entry, or one with an unreadable cause, is left out and must not block later rows.
pub fn waiting<T>(
    tx: &Transaction<'_>,
    upstream: &str,
    after: u64,
    until: u64,
    limit: usize,
    make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Result<Waiting<T>, LedgerError> {
    read_waiting(tx, "o.upstream = ?1", upstream, (after, until, limit), make)
}

/// Does the same in a database that was set aside, with the rows that stood aside there.
pub(super) fn waiting_or_aside<T>(
    tx: &Transaction<'_>,
    upstream: &str,
    after: u64,
    limit: usize,
    make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Result<Waiting<T>, LedgerError> {
    let names = WithheldFor::ALL.map(|why| format!("?1 || '/{why}'")).join(", ");
    let of = format!("o.upstream IN (?1, {names})");
    read_waiting(tx, &of, upstream, (after, i64::MAX as u64, limit), make)
}

/// Does the same for rows that stand aside. `span`: after a seq, up to a seq, at most a number of rows.
/// Refused rows include dismissed ones.
pub fn aside<T>(
    tx: &Transaction<'_>,
    upstream: &str,
    why: WithheldFor,
    span: (u64, u64, usize),
    make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Result<Vec<T>, LedgerError> {
    let of = "o.upstream IN (?1, replace(?1, '/refused', '/dismissed'))";
    Ok(read_waiting(tx, of, &why.aside(upstream), span, make)?.rows)
}

fn read_waiting<T>(
    tx: &Transaction<'_>,
    of: &str,
    upstream: &str,
    (after, until, limit): (u64, u64, usize),
    mut make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Result<Waiting<T>, LedgerError> {
    let (most, until) = (i64::try_from(limit).unwrap_or(i64::MAX), until.min(i64::MAX as u64));
    let mut waiting = Waiting { rows: Vec::new(), upto: after, more: false };
    let mut query = tx.prepare_cached(&format!(
        "SELECT o.seq, e.idx, e.bytes, e.leaf, c.idx, c.bytes, c.leaf
         FROM outbox o JOIN entry e ON e.seq = o.seq
         LEFT JOIN entry c ON e.kind IN ('outcome', 'correction') AND c.idx = e.cause
         WHERE {of} AND o.seq > ?2 AND o.seq <= ?3 ORDER BY o.seq LIMIT ?4"
    ))?;
    let mut rows = query.query(params![upstream, after, until, most])?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        waiting.upto = row.get(0)?;
        looked_at += 1;
        let has_cause = row.get::<_, Option<u64>>(4)?.is_some();
        let entry = known(row, 1).and_then(|stored| match &stored.entry.body {
            _ if has_cause => Ok((stored, Some(known(row, 4)?))),
            Body::Closing(Closing { cause, .. }) | Body::Correction(Correction { cause, .. }) => {
                Err(LedgerError::Missing { index: cause.index })
            }
            _ => Ok((stored, None)),
        });
        match entry {
            Ok((stored, cause)) => waiting.rows.push(make(stored, cause)),
            Err(error) => {
                tracing::error!(%error, upstream, seq = waiting.upto, "a record that cannot be read is not sent");
            }
        }
    }
    waiting.more = looked_at >= limit;
    Ok(waiting)
}

/// Strikes off rows that the upstream has acknowledged (I3). Returns the number of deleted rows.
pub fn strike_off(tx: &Transaction<'_>, upstream: &str, seqs: &[u64]) -> Result<u64, LedgerError> {
    let mut delete =
        tx.prepare_cached("DELETE FROM outbox WHERE upstream = ?1 AND seq BETWEEN ?2 AND ?3")?;
    let mut seqs = seqs.to_vec();
    seqs.sort_unstable();
    let mut struck = 0;
    for run in seqs.chunk_by(|a, b| a + 1 == *b) {
        if let (Some(first), Some(last)) = (run.first(), run.last()) {
            struck += delete.execute(params![upstream, first, last])? as u64;
        }
    }
    Ok(struck)
}

/// Strikes off all rows up to a seq that the platform has acknowledged. Returns the number of
/// deleted rows.
pub fn strike_off_upto(
    tx: &Transaction<'_>,
    upstream: &str,
    upto: u64,
) -> Result<u64, LedgerError> {
    let struck = tx
        .prepare_cached("DELETE FROM outbox WHERE upstream = ?1 AND seq <= ?2")?
        .execute(params![upstream, upto])?;
    Ok(struck as u64)
}

words! {
    /// Why the platform has a stub in place of a record.
    pub enum WithheldFor {
        /// The broker takes no message of its size.
        TooLarge = "too_large",
        /// The broker takes no message on its topic.
        TopicRefused = "topic_refused",
        /// The platform refused the record, or the gateway lacks something for it: there is no stub.
        /// Or each connection ended over it: then a stub may have gone.
        Refused = "refused",
    }
}

impl WithheldFor {
    /// Returns the name under which rows of an upstream stand aside. No upstream has a name with a
    /// slash. As rows of the outbox they keep their entries from deletion.
    pub(super) fn aside(self, upstream: &str) -> String {
        format!("{upstream}/{}", self.word())
    }
}

/// A row that does not reach the platform until its cause is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub seq: u64,
    /// The platform's words, or what the gateway lacks.
    pub words: String,
    /// The gateway lacks something that the platform asks for; the platform did not see the row.
    pub here: bool,
    /// Wall time of the refusal.
    pub at_ms: i64,
}

/// Notes rows of which the platform has a stub only. They stand aside until [`take_back`].
pub fn withhold(
    tx: &Transaction<'_>,
    upstream: &str,
    stubs: &[(u64, WithheldFor)],
) -> Result<(), LedgerError> {
    let mut note = tx.prepare_cached("INSERT OR IGNORE INTO outbox VALUES (?1, ?2)")?;
    for (seq, why) in stubs {
        note.execute(params![why.aside(upstream), seq])?;
    }
    Ok(())
}

/// Returns the number of rows of which the platform has a stub.
pub fn withheld(tx: &Transaction<'_>, upstream: &str) -> Result<u64, LedgerError> {
    let stubs = [WithheldFor::TooLarge, WithheldFor::TopicRefused].map(|why| why.aside(upstream));
    let count = "SELECT count(DISTINCT seq) FROM outbox WHERE upstream IN (?1, ?2)";
    Ok(tx.prepare_cached(count)?.query_row(stubs, |row| row.get(0))?)
}

/// Returns the name under which rows stand aside that a person has dismissed. They are listed, and
/// offered again only when a person asks for it. They do not keep their entries from deletion.
pub(super) fn dismissed_name(upstream: &str) -> String {
    format!("{upstream}/dismissed")
}

/// Returns the key in `meta` of the last row that stood aside and was put back.
pub fn returned_key(upstream: &str) -> String {
    format!("returned/{upstream}")
}

/// Puts rows that stand aside back into the upstream's outbox. Returns the first and the last one.
pub fn take_back(
    tx: &Transaction<'_>,
    upstream: &str,
    why: WithheldFor,
) -> Result<Option<(u64, u64)>, LedgerError> {
    let aside = why.aside(upstream);
    let range = tx
        .prepare_cached("SELECT min(seq), max(seq) FROM outbox WHERE upstream = ?1")?
        .query_row([&aside], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)) = range else { return Ok(None) };
    let back = "INSERT OR IGNORE INTO outbox SELECT ?2, seq FROM outbox WHERE upstream = ?1";
    tx.prepare_cached(back)?.execute([aside.as_str(), upstream])?;
    tx.prepare_cached("DELETE FROM outbox WHERE upstream = ?1")?.execute([&aside])?;
    Ok(Some((first, last)))
}

/// The records that were put back into an outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requeued {
    /// Number of records that wait now, including records that already waited.
    pub rows: u64,
    /// Records that cannot be sent: pruned when their retention was over, or damaged.
    pub gone: Vec<u64>,
}

/// Puts records from one seq to another, both included, back into an upstream's outbox. Each record
/// is read first with its cause, so that no row waits that cannot be sent.
pub fn queue_again(
    tx: &Transaction<'_>,
    upstream: &str,
    from: u64,
    to: u64,
) -> Result<Requeued, LedgerError> {
    let mut requeued = Requeued::default();
    let mut find = tx.prepare_cached(
        "SELECT idx, CASE WHEN kind IN ('outcome', 'correction') THEN cause END FROM entry WHERE seq = ?1",
    )?;
    let mut queue = tx.prepare_cached("INSERT OR IGNORE INTO outbox VALUES (?1, ?2)")?;
    for seq in from..=to.min(last_seq(tx)?) {
        let found: Option<(u64, Option<u64>)> =
            find.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let legible = |index| match read(tx, index) {
            Ok(_) => Ok(true),
            Err(
                LedgerError::Damaged { .. }
                | LedgerError::Missing { .. }
                | LedgerError::Pruned { .. },
            ) => Ok(false),
            Err(e) => Err(e),
        };
        let whole = match found {
            None => false,
            Some((index, cause)) => legible(index)? && cause.map_or(Ok(true), legible)?,
        };
        if whole {
            // A person or the platform asks for it again.
            tx.prepare_cached("DELETE FROM outbox WHERE upstream = ?1 AND seq = ?2")?
                .execute(params![dismissed_name(upstream), seq])?;
            queue.execute(params![upstream, seq])?;
            requeued.rows += 1;
        } else {
            requeued.gone.push(seq);
        }
    }
    Ok(requeued)
}

/// Returns the first and the last seq of the records of passages that began between two times, both
/// included.
pub fn attended_between(
    tx: &Transaction<'_>,
    since_ms: i64,
    until_ms: i64,
) -> Result<Option<(u64, u64)>, LedgerError> {
    let range = tx
        .prepare_cached(
            "SELECT min(e.seq), max(e.seq) FROM entry c JOIN entry e ON e.cause = c.idx
             WHERE c.at_ms BETWEEN ?1 AND ?2 AND e.kind IN ('outcome', 'correction')",
        )?
        .query_row([since_ms, until_ms], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (first, last): (Option<u64>, Option<u64>) = range;
    Ok(first.zip(last))
}

/// Returns the number of rows that wait for an upstream, and the time of the oldest readable one.
pub fn backlog(tx: &Transaction<'_>, upstream: &str) -> Result<(u64, Option<Stamp>), LedgerError> {
    let rows = tx
        .prepare_cached("SELECT count(*) FROM outbox WHERE upstream = ?1")?
        .query_row([upstream], |row| row.get(0))?;
    let mut after = 0;
    loop {
        let next = waiting(tx, upstream, after, u64::MAX, 1, |stored, _| stored.entry.stamp)?;
        match next.rows.first() {
            None if next.more => after = next.upto,
            oldest => return Ok((rows, oldest.copied())),
        }
    }
}
