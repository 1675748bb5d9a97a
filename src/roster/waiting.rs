//! What came from afar and waits for a person at the site: workers, and new faces of workers.
//!
//! In: the confirmation or the rejection, in the caller's transaction beside the ledger's entry.
//! Out: what waits, and a digest of it, so that a person confirms what the person has seen. Touches:
//! the columns `pending` of `worker` and `role` of `template`, and the table `photo`.

use rusqlite::{OptionalExtension, Transaction};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    RosterError, WaitsWhat, WorkerId,
    anchor::Anchor,
    faces::{
        MATCHED, WAITING, drop_waiting, matched, nothing_waits, retire, seal_context, templates,
    },
    rows::raise_version,
};
use crate::{store::Sealer, vision::Template};

/// A worker's templates of one embedder.
#[derive(Clone, Debug)]
pub struct OnFile {
    pub anchor: Anchor,
    /// Those that the gate matches.
    pub matched: Vec<Template>,
    pub waiting: Vec<Template>,
    /// Number of rows of each, readable and by this embedder or not.
    pub matched_rows: usize,
    pub waiting_rows: usize,
}

/// Returns a worker's templates.
pub fn on_file(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    model: &str,
    id: &WorkerId,
) -> Result<OnFile, RosterError> {
    let of = |roles| Ok::<_, RosterError>(templates(tx, sealer, id.as_str(), model, roles)?.0);
    let anchor = of("role IN ('anchor', 'past')")?;
    let had = "SELECT face_erased OR EXISTS (SELECT 1 FROM template WHERE worker = ?1
                   AND role <> 'waiting') FROM worker WHERE id = ?1";
    let had: Option<bool> = tx.query_row(had, [id.as_str()], |row| row.get(0)).optional()?;
    let anchor = match had {
        Some(true) if anchor.is_empty() => Anchor::Gone,
        Some(true) => Anchor::Templates(anchor),
        _ => Anchor::None,
    };
    let rows = |roles: &str| -> rusqlite::Result<usize> {
        let sql = format!("SELECT count(*) FROM template WHERE worker = ?1 AND {roles}");
        tx.query_row(&sql, [id.as_str()], |row| row.get(0))
    };
    Ok(OnFile {
        anchor,
        matched: of(MATCHED)?,
        waiting: of(WAITING)?,
        matched_rows: rows(MATCHED)?,
        waiting_rows: rows(WAITING)?,
    })
}

/// Returns the workers for whom something waits, or those of one upstream.
pub fn waiting(tx: &Transaction<'_>, from: Option<&str>) -> Result<Vec<WorkerId>, RosterError> {
    let mut query = tx.prepare_cached(
        "SELECT id FROM worker WHERE pending IS NOT NULL AND state <> 'removed'
             AND (?1 IS NULL OR pending_from = ?1) ORDER BY id",
    )?;
    let ids = query.query_map([from], |row| row.get::<_, String>(0))?;
    ids.map(|id| id?.parse()).collect()
}

/// Returns a digest of what waits for this worker and of the data that it belongs to. It is not to
/// be guessed, because the sealed bytes are random.
pub fn digest(tx: &Transaction<'_>, id: &WorkerId) -> Result<[u8; 32], RosterError> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    let mut row = tx.prepare_cached(
        "SELECT id, name, team, contractor, trade, coalesce(pending, ''),
             coalesce(pending_from, ''), coalesce(valid_from, ''), coalesce(valid_until, ''), identity
         FROM worker WHERE id = ?1",
    )?;
    let mut rows = row.query([id.as_str()])?;
    if let Some(row) = rows.next()? {
        (0..9)
            .try_for_each(|n| row.get_ref(n).map(|v| add(v.as_str().unwrap_or("").as_bytes())))?;
        add(&row.get::<_, Vec<u8>>(9)?);
    }
    let mut faces = tx.prepare_cached(
        "SELECT ordinal, role, sealed FROM template WHERE worker = ?1 ORDER BY ordinal",
    )?;
    let mut rows = faces.query([id.as_str()])?;
    while let Some(row) = rows.next()? {
        add(&row.get::<_, i64>(0)?.to_be_bytes());
        add(row.get::<_, String>(1)?.as_bytes());
        add(&row.get::<_, Vec<u8>>(2)?);
    }
    Ok(hash.finalize().into())
}

/// Returns a worker's photos, as JPEG: those that wait, or those in force. A damaged one is left
/// out.
pub fn photos(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    id: &WorkerId,
    waiting: bool,
) -> Result<Vec<Zeroizing<Vec<u8>>>, RosterError> {
    let roles = if waiting { WAITING } else { MATCHED };
    let mut query = tx.prepare_cached(&format!(
        "SELECT ordinal, photo.sealed FROM photo JOIN template USING (worker, ordinal)
         WHERE worker = ?1 AND {roles} ORDER BY ordinal"
    ))?;
    let mut rows = query.query([id.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (ordinal, sealed): (u32, Vec<u8>) = (row.get(0)?, row.get(1)?);
        found.extend(sealer.open(&seal_context("photo", id, ordinal as usize), &sealed).ok());
    }
    Ok(found)
}

/// Puts in force what waits, and returns the number of templates that the gate matches then. The
/// faces of a confirmed worker become the anchor. `anchor`: so do new faces. The caller appends the
/// ledger's entry, and empties the write-ahead log after the commit.
pub fn confirm(
    tx: &Transaction<'_>,
    id: &WorkerId,
    what: WaitsWhat,
    anchor: bool,
) -> Result<u32, RosterError> {
    let on_this = |sql: &str| tx.execute(sql, [id.as_str()]);
    match (what, anchor) {
        (WaitsWhat::Worker, _) => {
            on_this("DELETE FROM template WHERE worker = ?1 AND role = 'past'")?;
            on_this("UPDATE template SET role = 'anchor' WHERE worker = ?1 AND role = 'later'")?;
        }
        (WaitsWhat::Faces, true) => {
            retire(tx, id)?;
            on_this("DELETE FROM template WHERE worker = ?1 AND role <> 'waiting'")?;
            on_this("UPDATE template SET role = 'anchor' WHERE worker = ?1")?;
        }
        (WaitsWhat::Faces, false) => {
            retire(tx, id)?;
            on_this("UPDATE template SET role = 'later' WHERE worker = ?1 AND role = 'waiting'")?;
        }
    }
    nothing_waits(tx, id, what)?;
    raise_version(tx)?;
    matched(tx, id)
}

/// Erases the faces that wait, and returns the number of templates that the gate matches. The caller
/// does as for [`confirm`].
pub fn reject(tx: &Transaction<'_>, id: &WorkerId) -> Result<u32, RosterError> {
    drop_waiting(tx, id)?;
    raise_version(tx)?;
    matched(tx, id)
}

#[cfg(test)]
mod tests;
