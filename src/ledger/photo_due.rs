//! The photos that are still to go to an upstream, which has their records.

use rusqlite::{Transaction, params};

use super::{Body, Grant, LedgerError, Stored, WithheldFor, known};

/// Maximum number of seqs between the newest photo that waits for an upstream and the oldest one.
const PHOTO_SEQS: u64 = 100_000;

/// Notes the photos of records that an upstream has acknowledged, before the records are struck off:
/// of these seqs, and of all up to `upto`. Returns the number of photos that gave way to newer ones.
pub fn note_photos(
    tx: &Transaction<'_>,
    upstream: &str,
    seqs: &[u64],
    upto: Option<u64>,
) -> Result<u64, LedgerError> {
    let mut seqs = seqs.to_vec();
    seqs.sort_unstable();
    let runs = seqs.chunk_by(|a, b| a + 1 == *b);
    let runs = runs.filter_map(|run| Some((*run.first()?, *run.last()?)));
    let all = upto.map(|upto| (0, upto));
    // The platform has only a stub of a record that stands aside.
    let aside = WithheldFor::ALL.map(|why| format!("?1 || '/{why}'")).join(", ");
    let mut records = tx.prepare_cached(&format!(
        "SELECT o.seq, c.idx, c.bytes, c.leaf FROM outbox o
         JOIN entry e ON e.seq = o.seq AND e.kind = 'outcome'
         JOIN entry c ON c.idx = e.cause AND c.kind = 'grant'
         WHERE o.upstream = ?1 AND o.seq BETWEEN ?2 AND ?3 AND NOT EXISTS
             (SELECT 1 FROM outbox a WHERE a.seq = o.seq AND a.upstream IN ({aside}))"
    ))?;
    let mut note = tx.prepare_cached("INSERT OR IGNORE INTO photo_due VALUES (?1, ?2)")?;
    let mut noted = 0;
    for (first, last) in runs.chain(all) {
        let mut rows = records.query(params![upstream, first, last])?;
        while let Some(row) = rows.next()? {
            let seq: u64 = row.get(0)?;
            if let Ok(Stored { entry, .. }) = known(row, 1)
                && matches!(entry.body, Body::Grant(Grant { photo: Some(_), .. }))
            {
                noted += note.execute(params![upstream, seq])?;
            }
        }
    }
    if noted == 0 {
        return Ok(0);
    }
    let crowded_out = tx
        .prepare_cached(
            "DELETE FROM photo_due WHERE upstream = ?1
             AND seq < (SELECT max(seq) FROM photo_due WHERE upstream = ?1) - ?2",
        )?
        .execute(params![upstream, PHOTO_SEQS])?;
    Ok(crowded_out as u64)
}

/// A photo that waits: its seq, and its record with the grant. They are `None` if they cannot be
/// read.
pub type PhotoDue = (u64, Option<(Stored, Stored)>);

/// Returns the photos that wait for an upstream, oldest first, at most `limit`, and the number of
/// all.
pub fn photos_due(
    tx: &Transaction<'_>,
    upstream: &str,
    limit: usize,
) -> Result<(Vec<PhotoDue>, u64), LedgerError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query = tx.prepare_cached(
        "SELECT d.seq, e.idx, e.bytes, e.leaf, c.idx, c.bytes, c.leaf FROM photo_due d
         LEFT JOIN entry e ON e.seq = d.seq LEFT JOIN entry c ON c.idx = e.cause
         WHERE d.upstream = ?1 ORDER BY d.seq LIMIT ?2",
    )?;
    let mut rows = query.query(params![upstream, most])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        let record = known(row, 1).and_then(|record| Ok((record, known(row, 4)?)));
        due.push((row.get(0)?, record.ok()));
    }
    Ok((due, photos_waiting(tx, upstream)?))
}

/// Returns the number of photos that wait for an upstream.
pub fn photos_waiting(tx: &Transaction<'_>, upstream: &str) -> Result<u64, LedgerError> {
    let count = "SELECT count(*) FROM photo_due WHERE upstream = ?1";
    Ok(tx.prepare_cached(count)?.query_row([upstream], |row| row.get(0))?)
}

/// Notes that these photos no longer wait.
pub fn photos_done(tx: &Transaction<'_>, upstream: &str, seqs: &[u64]) -> Result<(), LedgerError> {
    let mut delete = tx.prepare_cached("DELETE FROM photo_due WHERE upstream = ?1 AND seq = ?2")?;
    for seq in seqs {
        delete.execute(params![upstream, seq])?;
    }
    Ok(())
}

/// Forgets the photos that wait for upstreams other than these.
pub fn keep_photos_of(tx: &Transaction<'_>, upstreams: &[String]) -> Result<(), LedgerError> {
    let waiting: Vec<String> = tx
        .prepare("SELECT DISTINCT upstream FROM photo_due")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in waiting.iter().filter(|name| !upstreams.contains(name)) {
        tx.execute("DELETE FROM photo_due WHERE upstream = ?1", [name])?;
    }
    Ok(())
}
