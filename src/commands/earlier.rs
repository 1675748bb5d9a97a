//! Which commands have been seen: one is done once, and answered again. Every function works inside
//! its caller's transaction, on the tables `command` and `command_forgotten`.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::store::{Sealer, StoreError};

/// Commands of an upstream that are remembered; the oldest goes.
const REMEMBERED: u64 = 1_000;
/// A reply's bytes. Those of verbs that change something are a few hundred.
const REPLY_MAX: usize = 64 * 1024;

/// What a command is known by.
#[derive(Clone, Debug)]
pub(super) struct CommandKey {
    pub(super) upstream: String,
    pub(super) id: String,
    digest: [u8; 32],
    proof: [u8; 32],
    issued_ms: i64,
    /// The clock is: an untrue time, remembered, would make all that comes after look old.
    trusted: bool,
}

impl CommandKey {
    /// `contents`: what was asked for. Its hash has a key, for it may hold an ID number (I5).
    pub(super) fn new(
        sealer: &Sealer,
        upstream: &str,
        id: &str,
        contents: &str,
        issued_ms: i64,
        trusted: bool,
    ) -> CommandKey {
        CommandKey {
            upstream: upstream.to_owned(),
            id: id.to_owned(),
            digest: sealer.lookup(&format!("command {contents}")),
            proof: sealer.lookup("command"),
            issued_ms,
            trusted,
        }
    }
}

/// What is known of a command that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    New,
    /// With this reply.
    Answered(String),
    /// It was begun; whether it was done is not known.
    Begun,
    /// Another one had this id.
    Reused,
    /// It is older than what is remembered: it may have been done.
    Forgotten,
}

pub(super) fn look(tx: &Transaction<'_>, known: &CommandKey) -> Result<Earlier, StoreError> {
    type Row = ([u8; 32], [u8; 32], Option<String>);
    let row: Option<Row> = tx
        .prepare_cached("SELECT digest, proof, reply FROM command WHERE upstream = ?1 AND id = ?2")?
        .query_row([&known.upstream, &known.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    match row {
        // With another key nothing can be said of the contents.
        Some((digest, proof, _)) if proof == known.proof && digest != known.digest => {
            Ok(Earlier::Reused)
        }
        Some((_, _, Some(reply))) => Ok(Earlier::Answered(reply)),
        Some((_, _, None)) => Ok(Earlier::Begun),
        None => {
            let upto: Option<i64> = tx
                .prepare_cached("SELECT upto_ms FROM command_forgotten WHERE upstream = ?1")?
                .query_row([&known.upstream], |row| row.get(0))
                .optional()?;
            let old = upto.is_some_and(|upto| known.issued_ms < upto);
            Ok(if old { Earlier::Forgotten } else { Earlier::New })
        }
    }
}

/// Remembers a new command, before it is carried out; says what [`look`] says of it.
pub(super) fn begin(tx: &Transaction<'_>, known: &CommandKey) -> Result<Earlier, StoreError> {
    let earlier = look(tx, known)?;
    if earlier != Earlier::New {
        return Ok(earlier);
    }
    let CommandKey { upstream, id, digest, proof, .. } = known;
    let issued_ms = known.trusted.then_some(known.issued_ms);
    tx.prepare_cached(
        "INSERT INTO command (upstream, id, digest, proof, issued_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![upstream, id, digest, proof, issued_ms])?;
    let last: Option<i64> = tx
        .prepare_cached(
            "SELECT n FROM command WHERE upstream = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2",
        )?
        .query_row(params![upstream, REMEMBERED], |row| row.get(0))
        .optional()?;
    if let Some(last) = last {
        tx.execute(
            "INSERT INTO command_forgotten
                 SELECT ?1, max(issued_ms) FROM command WHERE upstream = ?1 AND n <= ?2
                 HAVING max(issued_ms) IS NOT NULL
             ON CONFLICT DO UPDATE SET upto_ms = max(upto_ms, excluded.upto_ms)",
            params![upstream, last],
        )?;
        tx.execute("DELETE FROM command WHERE upstream = ?1 AND n <= ?2", params![upstream, last])?;
    }
    Ok(Earlier::New)
}

/// Whether the same command came over another upstream's link.
pub(super) fn is_known_elsewhere(
    tx: &Transaction<'_>,
    known: &CommandKey,
) -> Result<bool, StoreError> {
    let CommandKey { upstream, id, digest, issued_ms, .. } = known;
    Ok(tx
        .prepare_cached(
            "SELECT 1 FROM command
             WHERE upstream <> ?1 AND id = ?2 AND digest = ?3 AND coalesce(issued_ms, ?4) = ?4",
        )?
        .exists(params![upstream, id, digest, issued_ms])?)
}

/// A command that was begun is tried once more; says how many times that is now.
pub(super) fn attempt(tx: &Transaction<'_>, known: &CommandKey) -> Result<u32, StoreError> {
    Ok(tx
        .prepare_cached(
            "UPDATE command SET attempts = attempts + 1 WHERE upstream = ?1 AND id = ?2
             RETURNING attempts",
        )?
        .query_row([&known.upstream, &known.id], |row| row.get(0))?)
}

/// In a database that takes a damaged one's place nothing is known of the commands of before: what was
/// issued until now may have been done.
pub fn forget(tx: &Transaction<'_>, upstream: &str, upto_ms: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO command_forgotten VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET upto_ms = max(upto_ms, excluded.upto_ms)",
        params![upstream, upto_ms],
    )?;
    Ok(())
}

/// What a command is answered from now on. A reply that is too large is not kept.
pub(super) fn answered(
    tx: &Transaction<'_>,
    known: &CommandKey,
    reply: &str,
) -> Result<(), StoreError> {
    let reply = (reply.len() <= REPLY_MAX).then_some(reply);
    tx.prepare_cached("UPDATE command SET reply = ?3 WHERE upstream = ?1 AND id = ?2")?
        .execute(params![known.upstream, known.id, reply])?;
    Ok(())
}

#[cfg(test)]
mod tests;
