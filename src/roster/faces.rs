//! The rows of a worker's templates and photos, by their roles.
//!
//! Each function works inside its caller's transaction. Touches: the tables `template` and `photo`,
//! and the columns `pending` and `face_erased` of `worker`.

use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::{FaceOnFile, RosterError, WaitsWhat, WorkerId};
use crate::{store::Sealer, vision::Template};

/// The templates that the gate matches.
pub(super) const MATCHED: &str = "role IN ('anchor', 'later')";
/// The templates that wait for a person at the site.
pub(super) const WAITING: &str = "role = 'waiting'";

/// Returns the context of a sealed value, for [`Sealer::seal`].
pub(super) fn seal_context(table: &str, id: impl std::fmt::Display, ordinal: usize) -> String {
    format!("{table}/{id}/{ordinal}")
}

/// The change of a worker's templates and photos.
#[derive(Clone, Debug)]
pub enum Faces {
    Keep,
    /// `anchor`: later faces are compared with these too.
    Add {
        model: String,
        faces: Vec<FaceOnFile>,
        anchor: bool,
    },
    /// `anchor`: later faces are compared with these, and no longer with earlier ones.
    Replace {
        model: String,
        faces: Vec<FaceOnFile>,
        anchor: bool,
    },
    /// The faces wait beside the present ones, in the place of others that waited.
    Wait {
        model: String,
        faces: Vec<FaceOnFile>,
        from: String,
    },
    Erase,
}

/// Adds templates with their photos.
pub(super) fn add(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    id: &WorkerId,
    role: &str,
    model: &str,
    faces: &[FaceOnFile],
) -> Result<(), RosterError> {
    let from: usize = tx.query_row(
        "SELECT coalesce(max(ordinal) + 1, 0) FROM
             (SELECT worker, ordinal FROM template UNION ALL SELECT worker, ordinal FROM photo)
         WHERE worker = ?1",
        [id.as_str()],
        |r| r.get(0),
    )?;
    for (ordinal, face) in (from..).zip(faces) {
        let template = face.template.to_bytes();
        let template = sealer.seal(&seal_context("template", id, ordinal), template.as_slice())?;
        tx.execute(
            "INSERT INTO template (worker, ordinal, model, sealed, role) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id.as_str(), ordinal as i64, model, template, role],
        )?;
        let photo = sealer.seal(&seal_context("photo", id, ordinal), &face.jpeg)?;
        tx.execute(
            "INSERT INTO photo VALUES (?1, ?2, ?3)",
            params![id.as_str(), ordinal as i64, photo],
        )?;
    }
    Ok(())
}

/// Returns the number of a worker's templates that the gate matches.
pub(super) fn matched(tx: &Transaction<'_>, id: &WorkerId) -> Result<u32, RosterError> {
    let count = format!("SELECT count(*) FROM template WHERE worker = ?1 AND {MATCHED}");
    Ok(tx.query_row(&count, [id.as_str()], |r| r.get(0))?)
}

/// Number of templates and photos of a worker that were erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    pub templates: u32,
    pub photos: u32,
}

pub(super) fn erase(tx: &Transaction<'_>, id: &WorkerId) -> Result<Erased, RosterError> {
    tx.execute(
        "UPDATE worker SET face_erased = 1 WHERE id = ?1 AND EXISTS
             (SELECT 1 FROM template WHERE worker = ?1 AND role <> 'waiting')",
        [id.as_str()],
    )?;
    nothing_waits(tx, id, WaitsWhat::Faces)?;
    let templates = tx.execute("DELETE FROM template WHERE worker = ?1", [id.as_str()])?;
    let photos = tx.execute("DELETE FROM photo WHERE worker = ?1", [id.as_str()])?;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Erased { templates: count(templates), photos: count(photos) })
}

/// Erases the faces that wait.
pub(super) fn drop_waiting(tx: &Transaction<'_>, id: &WorkerId) -> Result<(), RosterError> {
    erase_photos(tx, id, WAITING)?;
    tx.execute(&format!("DELETE FROM template WHERE worker = ?1 AND {WAITING}"), [id.as_str()])?;
    nothing_waits(tx, id, WaitsWhat::Faces)
}

/// Takes out of force the faces that the gate matches. The anchor's templates are kept to compare
/// with.
pub(super) fn retire(tx: &Transaction<'_>, id: &WorkerId) -> Result<(), RosterError> {
    erase_photos(tx, id, MATCHED)?;
    tx.execute("DELETE FROM template WHERE worker = ?1 AND role = 'later'", [id.as_str()])?;
    let past = "UPDATE template SET role = 'past' WHERE worker = ?1 AND role = 'anchor'";
    tx.execute(past, [id.as_str()])?;
    Ok(())
}

/// Notes that this does not wait any longer.
pub(super) fn nothing_waits(
    tx: &Transaction<'_>,
    id: &WorkerId,
    what: WaitsWhat,
) -> Result<(), RosterError> {
    let none =
        "UPDATE worker SET pending = NULL, pending_from = NULL WHERE id = ?1 AND pending = ?2";
    tx.execute(none, params![id.as_str(), what.word()])?;
    Ok(())
}

fn erase_photos(tx: &Transaction<'_>, id: &WorkerId, roles: &str) -> Result<(), RosterError> {
    let erase = format!(
        "DELETE FROM photo WHERE worker = ?1 AND ordinal IN
             (SELECT ordinal FROM template WHERE worker = ?1 AND {roles})"
    );
    tx.execute(&erase, [id.as_str()])?;
    Ok(())
}

/// Returns a worker's templates of this embedder and these roles, and the number of templates that
/// cannot be read.
pub(super) fn templates(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    id: &str,
    model: &str,
    roles: &str,
) -> Result<(Vec<Template>, u64), RosterError> {
    let mut query = tx.prepare_cached(&format!(
        "SELECT ordinal, sealed FROM template WHERE worker = ?1 AND model = ?2 AND {roles}
         ORDER BY ordinal"
    ))?;
    let rows = query
        .query_map([id, model], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let (mut faces, mut damaged) = (Vec::new(), 0);
    for row in rows {
        let (ordinal, sealed) = row?;
        let opened = sealer.open(&seal_context("template", id, ordinal as usize), &sealed);
        let face = opened
            .map_err(|e| e.to_string())
            .and_then(|plain| Template::from_bytes(&plain).map_err(|e| e.to_string()));
        match face {
            Ok(face) => faces.push(face),
            Err(error) => {
                damaged += 1;
                log_damage(id, &error);
            }
        }
    }
    Ok((faces, damaged))
}

pub(super) fn log_damage(id: &str, error: &dyn std::fmt::Display) {
    tracing::error!(worker = id, %error, "the stored data of a worker is damaged");
}
