//! The ledger: everything that happened at this gateway, in order, and never changed (I2).
//!
//! In: what happened ([`Body`]) with its time. Out: an entry's bytes, its leaf hash and its
//! outbox rows, written in the caller's transaction together with the caller's other changes.
//! An entry whose retention is over loses its bytes and keeps its place ([`Retention`]).
//! Touches: the tables `entry`, `open_passage`, `upstream`, `outbox`,
//! `photo_due`.

mod altered;
mod attended;
pub mod audit;
mod by_hand;
pub mod cbor;
mod corrections;
mod dates;
mod detail;
mod drain;
mod entry;
mod evidence;
pub mod growth;
mod head;
mod health;
mod history;
pub mod kinds;
mod lost;
mod outbox;
mod photo_due;
mod planned;
pub mod rescue;
mod retention;
mod signed_ack;
pub mod tree;
mod verdict;
mod words;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::{
    clock::Stamp,
    roster::CodeRefused,
    store::{self, StoreError},
    turnstile::PassageId,
};
pub use altered::Altered;
#[cfg(test)]
pub use attended::attendance;
pub use attended::{
    AttendanceFilter, AttendancePage, Attended, Disputed, Said, Search, Word, attended_lanes,
    latest_of_all, latest_of_each,
};
pub use cbor::CborError;
pub use dates::{Bounds, Dated, Dates};
pub use detail::{Detail, Param};
pub use drain::{
    Drained, Progress, drained, next_to_drain, not_drained, of_set_aside, still_drains,
};
pub use entry::{Entry, LedgerId, Unknown, commitment, leaf_hash};
pub use evidence::{CardEvidence, Evidence, FaceEvidence, Flag, Presentation};
pub use head::{Head, HeadError, HeadState, SignedHead};
pub use health::{HEALTH_PAGE, gap_at_start, health, last_stamp};
pub use history::history;
pub use kinds::*;
pub use lost::lost_at;
pub use outbox::{
    Refusal, Requeued, Waiting, WithheldFor, aside, attended_between, backlog, queue_again,
    returned_key, strike_off, strike_off_upto, take_back, waiting, withheld, withhold,
};
pub use photo_due::{
    PhotoDue, keep_photos_of, note_photos, photos_done, photos_due, photos_waiting,
};
pub use planned::{MOST_NAMED, NOTICE_DAYS, planned, settle};
pub use retention::{Retention, passages_before, prunable, pruned_before};
pub use signed_ack::{SignedAck, keep_signed_ack, signed_ack};
pub use verdict::{
    await_verdict, count_refused, dismiss, dismissed, forget_serials, refuse, refuse_behind_stub,
    refused, retry_refused, serial_of, undismiss,
};
pub use words::{
    Actor, Alike, AnchorWas, Compared, DeletedWhat, EntryRef, FacesChanged, FacesWhat, LaneMode,
    Outcome, Score, Via,
};

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("ledger entry {index}: {source}; the database is damaged or was altered")]
    Damaged { index: u64, source: CborError },
    #[error("an entry could not be encoded: {source}; this is a fault in Gatehouse: report it")]
    Unwritten { source: CborError },
    #[error("ledger entry {index} is missing; the database is damaged or was altered")]
    Missing { index: u64 },
    #[error("ledger entry {index} was deleted when its retention was over")]
    Pruned { index: u64 },
    #[error("passage {0} has no grant or release that waits for an outcome")]
    NoCause(PassageId),
    #[error(
        "record {seq} is not a worker's attendance; `gatehouse attendance list` shows the numbers"
    )]
    NoAttendance { seq: u64 },
    #[error("the same passage was already added, as record {seq}")]
    AlreadyAdded { seq: u64 },
    #[error("attendance {seq} is already disputed, by record {by_seq}")]
    AlreadyDisputed { seq: u64, by_seq: u64 },
    #[error("attendance {seq} is not disputed")]
    NotDisputed { seq: u64 },
    #[error(transparent)]
    Code(#[from] CodeRefused),
    #[error("the database has no ledger id; it is damaged")]
    NoLedgerId,
    #[error("the tree head could not be signed: {0}; this is a fault in Gatehouse: report it")]
    Unsigned(#[from] HeadError),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(e: rusqlite::Error) -> Self {
        LedgerError::Store(e.into())
    }
}

/// An entry as the database holds it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub entry: Entry,
    pub leaf: [u8; 32],
}

/// Appends entries. Holds the ledger's id and the upstreams that get outbox rows.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub id: LedgerId,
    /// Each with the highest seq that an earlier run may have sent to it.
    upstreams: Vec<(String, u64)>,
}

impl Ledger {
    /// Reads the ledger's id and fills the outbox. A new upstream gets every record with a seq.
    /// An upstream that returns to the configuration gets the records that it missed.
    pub fn open(tx: &Transaction<'_>, upstreams: Vec<String>) -> Result<Ledger, LedgerError> {
        let id = store::meta(tx, "ledger")?.and_then(|id| id.try_into().ok());
        let last_seq = last_seq(tx)?;
        let known: Vec<(String, Option<u64>)> = tx
            .prepare("SELECT name, left_at FROM upstream")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (name, left_at) in &known {
            if left_at.is_none() && !upstreams.contains(name) {
                tx.execute(
                    "UPDATE upstream SET left_at = ?2 WHERE name = ?1",
                    params![name, last_seq],
                )?;
            }
        }
        let filled = upstreams.into_iter().map(|name| {
            let (missed_from, sent_before) = match known.iter().find(|(n, _)| *n == name) {
                None => (Some(0), 0),
                Some((_, Some(left_at))) => (Some(*left_at), *left_at),
                Some((_, None)) => (None, last_seq),
            };
            if let Some(after) = missed_from {
                tx.execute("INSERT OR REPLACE INTO upstream VALUES (?1, NULL)", [&name])?;
                tx.execute(
                    "INSERT OR IGNORE INTO outbox
                     SELECT ?1, seq FROM entry WHERE seq > ?2 AND coalesce(cause, idx) >= ?3",
                    params![name, after, pruned_before(tx)?],
                )?;
            }
            // What was refused may be mended by now.
            retry_refused(tx, &name, false)?;
            Ok::<_, LedgerError>((name, sent_before))
        });
        let upstreams = filled.collect::<Result<_, _>>()?;
        Ok(Ledger { id: LedgerId(id.ok_or(LedgerError::NoLedgerId)?), upstreams })
    }

    /// Returns the upstreams that get outbox rows.
    pub fn upstreams(&self) -> impl Iterator<Item = &str> {
        self.upstreams.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the highest seq that an earlier run may have sent to this upstream, acknowledged or
    /// not.
    pub fn sent_before(&self, upstream: &str) -> u64 {
        self.upstreams.iter().find(|(name, _)| name == upstream).map_or(0, |(_, upto)| *upto)
    }

    /// Adds one entry. It is on the disk when `tx` is committed, not before.
    pub fn append(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        body: impl Into<Body>,
    ) -> Result<Stored, LedgerError> {
        let body = body.into();
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(StoreError::from)?;
        let (index, last_seq) = next(tx)?;
        let seq = match &body {
            // It has the seq after the lost ones.
            Body::Lost(lost) => Some(lost.last + 1),
            body => body.goes_upstream().then_some(last_seq + 1),
        };
        let (ledger, ran_s, unknown) = (self.id, ran_s(tx, stamp)?, Vec::new());
        let entry = Entry { salt, ledger, index, seq, stamp, ran_s, body, unknown };
        let bytes = entry.encode().map_err(|source| LedgerError::Unwritten { source })?;
        let leaf = leaf_hash(&bytes);
        tx.prepare_cached("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
            .execute(params![
                index,
                seq,
                entry.body.kind(),
                entry.body.at_ms().unwrap_or(stamp.wall_ms),
                self.attended(tx, &entry.body)?,
                entry.body.lane(),
                entry.body.cause(),
                bytes,
                leaf
            ])?;
        if let Some(passage) = entry.body.opens() {
            tx.prepare_cached("INSERT INTO open_passage VALUES (?1, ?2)")?
                .execute(params![passage.0, index])?;
        }
        if let Some(passage) = entry.body.closes() {
            tx.prepare_cached("DELETE FROM open_passage WHERE passage = ?1")?
                .execute([passage.0])?;
        }
        for (upstream, _) in self.upstreams.iter().filter(|_| seq.is_some()) {
            // A ledger whose end was removed may still have the rows of that end.
            tx.prepare_cached("INSERT OR IGNORE INTO outbox VALUES (?1, ?2)")?
                .execute(params![upstream, seq])?;
        }
        Ok(Stored { entry, leaf })
    }

    /// Closes a grant or release with its outcome, once.
    pub fn close(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        passage: PassageId,
        outcome: Outcome,
        detail: Option<Detail>,
    ) -> Result<Stored, LedgerError> {
        self.close_flagged(tx, stamp, passage, (outcome, detail, Vec::new()))
    }

    /// Closes as [`close`](Self::close), and marks the outcome with flags.
    pub fn close_flagged(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        passage: PassageId,
        (outcome, detail, flags): (Outcome, Option<Detail>, Vec<Flag>),
    ) -> Result<Stored, LedgerError> {
        let (index, hash) = tx
            .prepare_cached(
                "SELECT idx, leaf FROM open_passage o JOIN entry ON idx = o.cause WHERE passage = ?1",
            )?
            .query_row([passage.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or(LedgerError::NoCause(passage))?;
        let cause = EntryRef { index, hash };
        self.append(tx, stamp, Closing { passage, cause, outcome, detail, flags })
    }

    /// Closes as `unconfirmed` the passages that a crash, or a fault of one lane, left without an
    /// outcome. Runs before the cameras open, and before a lane restarts. Returns their number.
    pub fn close_interrupted(
        &self,
        tx: &Transaction<'_>,
        stamp: Stamp,
        lane: Option<&str>,
    ) -> Result<usize, LedgerError> {
        let open: Vec<[u8; 16]> = tx
            .prepare(
                "SELECT passage FROM open_passage o JOIN entry ON idx = o.cause
                 WHERE ?1 IS NULL OR lane = ?1 ORDER BY idx",
            )?
            .query_map([lane], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let code = if lane.is_some() { "lane_restarted" } else { "gateway_restarted" };
        for passage in &open {
            let detail = Some(Detail::new(code));
            self.close(tx, stamp, PassageId(*passage), Outcome::Unconfirmed, detail)?;
        }
        Ok(open.len())
    }

    /// Returns the worker of an entry; of an outcome or a dispute, the worker of its cause.
    fn attended(&self, tx: &Transaction<'_>, body: &Body) -> Result<Option<String>, LedgerError> {
        match (body.worker(), body.cause()) {
            (None, Some(cause)) => Ok(tx
                .prepare_cached("SELECT worker FROM entry WHERE idx = ?1")?
                .query_row([cause], |row| row.get(0))?),
            (worker, _) => Ok(worker.map(|id| id.as_str().to_owned())),
        }
    }
}

/// Returns the next index and the last seq given. Each subquery reads the end of one index. With
/// both `max` in one SELECT's own list, SQLite would read every entry.
fn next(tx: &Transaction<'_>) -> Result<(u64, u64), LedgerError> {
    Ok(tx
        .prepare_cached(
            "SELECT coalesce((SELECT max(idx) + 1 FROM entry), 0),
                    coalesce((SELECT max(seq) FROM entry), 0)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Returns the seconds that this box has run in all, at least: the sum in the last readable entry,
/// and the time since that entry. The time between a boot's last entry and its end is not counted.
fn ran_s(tx: &Transaction<'_>, now: Stamp) -> Result<u64, LedgerError> {
    let Some(Entry { stamp: last, ran_s, .. }) = health::last_entry(tx)? else {
        return Ok(now.uptime_ms / 1000);
    };
    let began = if last.boot == now.boot { last.uptime_ms } else { 0 };
    Ok(ran_s.saturating_add(now.uptime_ms / 1000 - (began / 1000).min(now.uptime_ms / 1000)))
}

/// Returns the last entry of a damaged ledger whose row can be read.
pub fn last_known(connection: &rusqlite::Connection) -> Option<EntryRef> {
    let sql = "SELECT idx, leaf FROM entry ORDER BY idx DESC LIMIT 1";
    let head = |row: &rusqlite::Row<'_>| Ok(EntryRef { index: row.get(0)?, hash: row.get(1)? });
    connection.query_row(sql, [], head).ok()
}

/// Returns the number of entries.
pub fn size(tx: &Transaction<'_>) -> Result<u64, LedgerError> {
    // A set-aside database may have no index of seqs any more.
    let size = "SELECT coalesce(max(idx) + 1, 0) FROM entry";
    Ok(tx.prepare_cached(size)?.query_row([], |row| row.get(0))?)
}

/// Returns the last seq given; 0 when nothing has gone upstream.
pub fn last_seq(tx: &Transaction<'_>) -> Result<u64, LedgerError> {
    Ok(next(tx)?.1)
}

/// Returns the entry at an index.
pub fn read(tx: &Transaction<'_>, index: u64) -> Result<Stored, LedgerError> {
    let (bytes, leaf): (Vec<u8>, [u8; 32]) = tx
        .prepare_cached("SELECT bytes, leaf FROM entry WHERE idx = ?1")?
        .query_row([index], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(LedgerError::Missing { index })?;
    if bytes.is_empty() && index < pruned_before(tx)? {
        return Err(LedgerError::Pruned { index });
    }
    checked(index, &bytes, leaf, Entry::decode)
}

const DIFFERS: &str = "its leaf hash or its index differs";

/// Returns an entry's place and leaf hash, also of an entry whose retention is over.
pub fn reference(tx: &Transaction<'_>, index: u64) -> Result<EntryRef, LedgerError> {
    tx.prepare_cached("SELECT leaf FROM entry WHERE idx = ?1")?
        .query_row([index], |row| Ok(EntryRef { index, hash: row.get(0)? }))
        .optional()?
        .ok_or(LedgerError::Missing { index })
}

/// Returns an entry's bytes as they are.
pub fn bytes(tx: &Transaction<'_>, index: u64) -> Result<Vec<u8>, LedgerError> {
    tx.prepare_cached("SELECT bytes FROM entry WHERE idx = ?1")?
        .query_row([index], |row| row.get(0))
        .optional()?
        .ok_or(LedgerError::Missing { index })
}

/// Decodes an entry, and compares its index and its leaf hash.
fn checked(
    index: u64,
    bytes: &[u8],
    leaf: [u8; 32],
    decode: fn(&[u8]) -> Result<Entry, CborError>,
) -> Result<Stored, LedgerError> {
    let other = || CborError::Content(DIFFERS.to_owned());
    let is_it = |entry: &Entry| entry.index == index && leaf_hash(bytes) == leaf;
    let entry = decode(bytes).and_then(|entry| is_it(&entry).then_some(entry).ok_or_else(other));
    let entry = entry.map_err(|source| LedgerError::Damaged { index, source })?;
    Ok(Stored { entry, leaf })
}

/// Returns the passage of the record with this seq, if the record is an outcome, a correction or a release.
pub fn passage_of(tx: &Transaction<'_>, seq: u64) -> Result<Option<PassageId>, LedgerError> {
    let index: Option<u64> =
        tx.query_row("SELECT idx FROM entry WHERE seq = ?1", [seq], |row| row.get(0)).optional()?;
    let Some(index) = index else { return Ok(None) };
    Ok(match read(tx, index)?.entry.body {
        Body::GuardRelease(GuardRelease { passage, .. }) => Some(passage),
        body => body.said().map(|said| said.passage),
    })
}

/// Returns the entry whose index, bytes and leaf are a row's columns from `at` on. The leaf hash
/// proves that the bytes are the appended ones.
fn known(row: &rusqlite::Row<'_>, at: usize) -> Result<Stored, LedgerError> {
    let (index, leaf) = (row.get(at)?, row.get(at + 2)?);
    let bytes = row.get_ref(at + 1)?.as_blob().map_err(rusqlite::Error::from)?;
    if bytes.is_empty() {
        return Err(LedgerError::Pruned { index });
    }
    checked(index, bytes, leaf, Entry::decode_known)
}

#[cfg(test)]
mod tests;
