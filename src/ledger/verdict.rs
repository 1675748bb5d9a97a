//! The verdicts of a platform that judges each row: what it refused, and what it has not decided.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    LedgerError, WithheldFor,
    drain::{count_not_drained, retry_drained},
    outbox::{Refusal, dismissed_name, returned_key, withhold},
};
use crate::store::set_meta;

/// Lets refused rows stand aside with the reason. A row that has left the outbox meanwhile does not.
pub fn refuse(
    tx: &Transaction<'_>,
    upstream: &str,
    refusals: &[Refusal],
) -> Result<(), LedgerError> {
    for Refusal { seq, words, here, at_ms } in refusals {
        let gone = tx
            .prepare_cached("DELETE FROM outbox WHERE upstream = ?1 AND seq = ?2")?
            .execute(params![upstream, seq])?;
        if gone == 0 {
            continue;
        }
        withhold(tx, upstream, &[(*seq, WithheldFor::Refused)])?;
        keep_words(tx, upstream, (*seq, words, *here, *at_ms))?;
    }
    Ok(())
}

fn keep_words(
    tx: &Transaction<'_>,
    upstream: &str,
    (seq, words, here, at_ms): (u64, &str, bool, i64),
) -> Result<(), LedgerError> {
    tx.prepare_cached("INSERT OR REPLACE INTO verdict VALUES (?1, ?2, NULL, ?3, ?4, ?5)")?
        .execute(params![upstream, seq, words, here, at_ms])?;
    Ok(())
}

/// Lets rows stand aside with the reason, of which the broker has a stub. They stay in the outbox
/// until the stub is acknowledged.
pub fn refuse_behind_stub(
    tx: &Transaction<'_>,
    upstream: &str,
    refusals: &[Refusal],
) -> Result<(), LedgerError> {
    // The words go with the row that stands aside, not with the one that the stub strikes off.
    let aside = WithheldFor::Refused.aside(upstream);
    for Refusal { seq, words, here, at_ms } in refusals {
        withhold(tx, upstream, &[(*seq, WithheldFor::Refused)])?;
        keep_words(tx, &aside, (*seq, words, *here, *at_ms))?;
    }
    Ok(())
}

/// Notes that a person has seen refused rows, and that nothing more is to be done about them. Returns
/// the first seq that is none of a refused row; then the caller rolls back.
pub fn dismiss(
    tx: &Transaction<'_>,
    upstream: &str,
    seqs: &[u64],
) -> Result<Option<u64>, LedgerError> {
    let (aside, dismissed) = (WithheldFor::Refused.aside(upstream), dismissed_name(upstream));
    let mut note = tx.prepare_cached(
        "UPDATE OR REPLACE outbox SET upstream = ?3 WHERE upstream IN (?1, ?3) AND seq = ?2",
    )?;
    for seq in seqs {
        if note.execute(params![aside, seq, dismissed])? == 0 {
            return Ok(Some(*seq));
        }
    }
    Ok(None)
}

/// Counts dismissed rows as refused again.
pub fn undismiss(tx: &Transaction<'_>, upstream: &str) -> Result<(), LedgerError> {
    let again = "UPDATE OR REPLACE outbox SET upstream = ?1 WHERE upstream = ?2";
    let (aside, dismissed) = (WithheldFor::Refused.aside(upstream), dismissed_name(upstream));
    tx.prepare_cached(again)?.execute([aside, dismissed])?;
    Ok(())
}

/// Returns the seqs of dismissed rows.
pub fn dismissed(tx: &Transaction<'_>, upstream: &str) -> Result<BTreeSet<u64>, LedgerError> {
    let mut query = tx.prepare_cached("SELECT seq FROM outbox WHERE upstream = ?1")?;
    let seqs = query.query_map([dismissed_name(upstream)], |row| row.get(0))?;
    Ok(seqs.collect::<Result<_, _>>()?)
}

/// Returns the number of refused rows, with those of databases that were set aside.
pub fn count_refused(tx: &Transaction<'_>, upstream: &str) -> Result<u64, LedgerError> {
    let aside = WithheldFor::Refused.aside(upstream);
    let count = "SELECT count(*) FROM outbox WHERE upstream = ?1";
    let rows: u64 = tx.prepare_cached(count)?.query_row([aside], |row| row.get(0))?;
    Ok(rows + count_not_drained(tx, upstream)?)
}

/// Returns refused rows after a seq, dismissed ones among them, oldest first, at most `limit`.
pub fn refused(
    tx: &Transaction<'_>,
    upstream: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<Refusal>, LedgerError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query = tx.prepare_cached(
        "SELECT o.seq, coalesce(v.words, ''), coalesce(v.here, 0), coalesce(v.at_ms, 0) FROM outbox o
         LEFT JOIN verdict v ON v.upstream IN (?1, ?2) AND v.seq = o.seq
         WHERE o.upstream IN (?1, ?5) AND o.seq > ?3 ORDER BY o.seq LIMIT ?4",
    )?;
    let (aside, dismissed) = (WithheldFor::Refused.aside(upstream), dismissed_name(upstream));
    let rows = query.query_map(params![aside, upstream, after, most, dismissed], |row| {
        Ok(Refusal { seq: row.get(0)?, words: row.get(1)?, here: row.get(2)?, at_ms: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Puts refused rows back into the outbox: all of them, or with `here` those for which the gateway
/// lacked something. Offers those of databases that were set aside again too. Returns the first and
/// the last one of the outbox.
pub fn retry_refused(
    tx: &Transaction<'_>,
    upstream: &str,
    here: bool,
) -> Result<Option<(u64, u64)>, LedgerError> {
    retry_drained(tx, upstream, here)?;
    let aside = WithheldFor::Refused.aside(upstream);
    let chosen =
        "FROM outbox o WHERE o.upstream = ?1 AND (NOT ?3 OR EXISTS (SELECT 1 FROM verdict v
                  WHERE v.upstream = ?2 AND v.seq = o.seq AND v.here = 1))";
    let range = tx
        .prepare_cached(&format!("SELECT min(seq), max(seq) {chosen}"))?
        .query_row(params![aside, upstream, here], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let range: (Option<u64>, Option<u64>) = range;
    let (Some(first), Some(last)) = range else { return Ok(None) };
    tx.prepare_cached(&format!("INSERT OR IGNORE INTO outbox SELECT ?2, seq {chosen}"))?
        .execute(params![aside, upstream, here])?;
    // A row that waits again is in both places until here.
    tx.prepare_cached(
        "DELETE FROM outbox WHERE upstream = ?1
         AND EXISTS (SELECT 1 FROM outbox b WHERE b.upstream = ?2 AND b.seq = outbox.seq)",
    )?
    .execute(params![aside, upstream])?;
    set_meta(tx, &returned_key(upstream), &last.to_be_bytes())?;
    Ok(Some((first, last)))
}

/// Keeps the number under which the verdict on rows is asked for. Their rows stay in the outbox.
pub fn await_verdict(
    tx: &Transaction<'_>,
    upstream: &str,
    serials: &[(u64, String)],
    at_ms: i64,
) -> Result<(), LedgerError> {
    let mut keep = tx.prepare_cached(
        "INSERT OR REPLACE INTO verdict SELECT ?1, ?2, ?3, NULL, 0, ?4
         WHERE EXISTS (SELECT 1 FROM outbox WHERE upstream = ?1 AND seq = ?2)",
    )?;
    for (seq, serial) in serials {
        keep.execute(params![upstream, seq, serial, at_ms])?;
    }
    Ok(())
}

/// Forgets the number of rows whose verdict never came, so that they are sent again.
pub fn forget_serials(
    tx: &Transaction<'_>,
    upstream: &str,
    seqs: &[u64],
) -> Result<(), LedgerError> {
    let mut forget =
        tx.prepare_cached("UPDATE verdict SET serial = NULL WHERE upstream = ?1 AND seq = ?2")?;
    for seq in seqs {
        forget.execute(params![upstream, seq])?;
    }
    Ok(())
}

/// Returns the number under which the verdict on a row is asked for.
pub fn serial_of(
    tx: &Transaction<'_>,
    upstream: &str,
    seq: u64,
) -> Result<Option<String>, LedgerError> {
    let query = "SELECT serial FROM verdict WHERE upstream = ?1 AND seq = ?2";
    let found = tx.prepare_cached(query)?.query_row(params![upstream, seq], |row| row.get(0));
    Ok(found.optional()?.flatten())
}
