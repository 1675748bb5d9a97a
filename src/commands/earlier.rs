//! Remembers commands, so that each is carried out once and a repeated one gets the same reply.
//! Each function works inside its caller's transaction, on the tables `command` and
//! `command_forgotten`.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::store::{Sealer, StoreError};

/// Maximum number of commands of an upstream that are remembered. Then the oldest is forgotten.
const REMEMBERED: u64 = 1_000;
/// Maximum size of a reply that is stored, in bytes. A reply to a change has a few hundred bytes.
const REPLY_MAX: usize = 64 * 1024;

/// The data by which a repeated command is recognised.
#[derive(Clone, Debug)]
pub(super) struct CommandKey {
    pub(super) upstream: String,
    pub(super) id: String,
    digest: [u8; 32],
    proof: [u8; 32],
    issued_ms: i64,
    /// Whether the clock is trusted. A wrong time would make later commands look old, so it is not
    /// stored.
    pub(super) trusted: bool,
}

impl CommandKey {
    /// Returns the key of a command. `contents`: its verb and arguments. Their hash is keyed,
    /// because they may contain an ID number (I5).
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

/// The earlier state of a received command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    New,
    /// It was answered with this reply.
    Answered(String),
    /// It was begun. It is not known whether it was carried out. `trusted`: the clock was trusted,
    /// so the command was in its time.
    Begun {
        trusted: bool,
    },
    /// Another command had this id.
    Reused,
    /// It is older than the remembered commands, so it may have been carried out.
    Forgotten,
}

/// Returns the earlier state of a command.
pub(super) fn look(tx: &Transaction<'_>, known: &CommandKey) -> Result<Earlier, StoreError> {
    type Row = ([u8; 32], [u8; 32], Option<String>, bool);
    let row: Option<Row> = tx
        .prepare_cached(
            "SELECT digest, proof, reply, issued_ms IS NOT NULL FROM command
             WHERE upstream = ?1 AND id = ?2",
        )?
        .query_row([&known.upstream, &known.id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    match row {
        // After a change of the sealing key the contents cannot be compared.
        Some((digest, proof, ..)) if proof == known.proof && digest != known.digest => {
            Ok(Earlier::Reused)
        }
        Some((_, _, Some(reply), _)) => Ok(Earlier::Answered(reply)),
        Some((_, _, None, trusted)) => Ok(Earlier::Begun { trusted }),
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

/// Remembers a new command before it is carried out. Returns its earlier state, as [`look`] does.
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

/// Returns whether the same command came over another upstream's link.
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

/// Counts a further attempt at a command. Returns the number of attempts.
pub(super) fn attempt(tx: &Transaction<'_>, known: &CommandKey) -> Result<u32, StoreError> {
    Ok(tx
        .prepare_cached(
            "UPDATE command SET attempts = attempts + 1 WHERE upstream = ?1 AND id = ?2
             RETURNING attempts",
        )?
        .query_row([&known.upstream, &known.id], |row| row.get(0))?)
}

/// Marks all commands issued up to a time as forgotten. A database that replaces a damaged one has
/// no earlier commands, and they may have been carried out.
pub fn forget(tx: &Transaction<'_>, upstream: &str, upto_ms: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO command_forgotten VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET upto_ms = max(upto_ms, excluded.upto_ms)",
        params![upstream, upto_ms],
    )?;
    Ok(())
}

/// Stores a command's reply for its repetitions. A reply that is too large is not stored.
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
