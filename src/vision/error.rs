//! Errors of models and pictures, split by what the caller does next:
//! [`ModelError`] stops the start, [`VisionError`] costs one frame.

use std::path::PathBuf;

/// A model file cannot be used. Recognition needs the models, so the daemon
/// does not start.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(
        "the face model {} is missing. Run models/fetch in a source checkout (models/fetch --liveness \
         for the liveness model), or install the gatehouse package again", path.display()
    )]
    Missing { path: PathBuf },
    #[error("the face model {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "the face model {} is not the one that is expected: its sha256 is {found}, expected \
         {expected}. Run models/fetch in a source checkout, or install the gatehouse package again. \
         For a liveness model of your own, correct models.liveness.sha256", path.display()
    )]
    Altered { path: PathBuf, expected: String, found: String },
    /// The file's hash is right, so this is a fault of the program or the
    /// machine (memory).
    #[error("the face model {} cannot be loaded: {why}", path.display())]
    Unloadable { path: PathBuf, why: String },
}

/// The examination of one picture failed. The next picture may succeed.
#[derive(Debug, thiserror::Error)]
pub enum VisionError {
    #[error(
        "pictures cannot be searched at {asked} pixels; the longer side must be {min} to {max}"
    )]
    LongestSide { asked: u32, min: u32, max: u32 },
    #[error("the face detector failed: {0}")]
    Detector(String),
    #[error("the face recogniser failed: {0}")]
    Embedder(String),
    #[error("the liveness model failed: {0}")]
    Liveness(String),
    #[error("the face's landmarks are not a face: they lie on one point or are not numbers")]
    Landmarks,
}
