//! The files of the photo store.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::PhotoStoreError;

/// Maximum number of bytes read of one photo file. A portrait has fewer.
const MOST_BYTES: u64 = 1 << 20;

/// What is kept of a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The photo of the face.
    Face,
    /// The face and what is around it, with every other face blurred.
    Scene,
}

/// A photo on its way to the disk.
pub(super) struct Draft {
    pub(super) passage: [u8; 16],
    pub(super) worker: String,
    pub(super) folder: String,
    pub(super) sealed: Vec<u8>,
    /// The scene, sealed with the same key.
    pub(super) scene: Option<Vec<u8>>,
    /// The photo's own key, sealed.
    pub(super) key: Vec<u8>,
}

impl Draft {
    /// Returns the size of its files.
    pub(super) fn bytes(&self) -> u64 {
        (self.sealed.len() + self.scene.as_ref().map_or(0, Vec::len)) as u64
    }
}

/// Returns the context for which a photo is sealed.
pub(super) fn place(passage: &[u8; 16], part: Part) -> String {
    let table = match part {
        Part::Face => "passage_photo",
        Part::Scene => "passage_scene",
    };
    format!("{table}/{}", hex::encode(passage))
}

/// Follows the passage in the name of a scene's file.
const OF_SCENE: &str = ".scene";

pub(super) fn path(dir: &Path, folder: &str, passage: &[u8; 16], part: Part) -> PathBuf {
    let end = if part == Part::Scene { OF_SCENE } else { "" };
    dir.join(folder).join(hex::encode(passage) + end)
}

/// Returns the digits of the passage in a file's name.
pub(super) fn of_passage(name: &str) -> &str {
    name.strip_suffix(OF_SCENE).unwrap_or(name)
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> PhotoStoreError {
    let path = path.to_owned();
    move |source| PhotoStoreError::File { path, source }
}

/// Writes the files of a passage.
pub(super) fn write(dir: &Path, draft: &Draft) -> Result<(), PhotoStoreError> {
    let path = |part| path(dir, &draft.folder, &draft.passage, part);
    if let Some(scene) = &draft.scene {
        write_file(&path(Part::Scene), scene)?;
    }
    write_file(&path(Part::Face), &draft.sealed)
}

/// Writes a file under another name and renames it, so that a photo's file is always whole. It
/// does not wait for the disk, because a photo is not a record.
fn write_file(path: &Path, sealed: &[u8]) -> Result<(), PhotoStoreError> {
    let fresh = path.with_extension("new");
    let write = || {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut open = OpenOptions::new();
        let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(sealed)?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(&fresh);
        at(path)(source)
    })
}

pub(super) fn read(
    dir: &Path,
    folder: &str,
    passage: &[u8; 16],
    part: Part,
) -> Result<Option<Vec<u8>>, PhotoStoreError> {
    let (path, mut sealed) = (path(dir, folder, passage, part), Vec::new());
    match File::open(&path) {
        Ok(file) => file.take(MOST_BYTES).read_to_end(&mut sealed).map_err(at(&path))?,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(at(&path)(e)),
    };
    Ok(Some(sealed))
}

pub(super) fn unlink(path: &Path) -> Result<(), PhotoStoreError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(at(path)(e)),
        _ => Ok(()),
    }
}

/// Removes the files of a passage, and their folder when the folder is empty.
pub(super) fn remove(dir: &Path, folder: &str, passage: &[u8; 16]) -> Result<(), PhotoStoreError> {
    for part in [Part::Scene, Part::Face] {
        unlink(&path(dir, folder, passage, part))?;
    }
    drop_empty(dir, folder)
}

/// Removes a folder if it is empty.
pub(super) fn drop_empty(dir: &Path, folder: &str) -> Result<(), PhotoStoreError> {
    let _ = std::fs::remove_dir(dir.join(folder));
    Ok(())
}

/// Returns the names in a folder; none if the folder is missing.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, PhotoStoreError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(at(dir)(e)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, _>>().map_err(at(dir))
}

pub(super) fn folders(dir: &Path) -> Result<Vec<String>, PhotoStoreError> {
    Ok(list(dir)?.into_iter().filter(|name| dir.join(name).is_dir()).collect())
}
