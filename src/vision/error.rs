//! What can go wrong with models, pictures and faces, split by who acts on
//! it: [`ModelError`] stops the start, [`VisionError`] costs one frame,
//! [`PhotoError`] is an answer to the person who handed in a photo.

use std::path::PathBuf;

use super::image::DecodeError;
use super::quality::Flaw;

/// A model file that cannot be used. Nothing works without the models, so the
/// daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(
        "the face model {} is missing. Run models/fetch in a source checkout, or install the \
         gatehouse package again", path.display()
    )]
    Missing { path: PathBuf },
    #[error("the face model {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "the face model {} is not the one this program was tested with: its sha256 is {found}, \
         expected {expected}. Run models/fetch in a source checkout, or install the gatehouse \
         package again", path.display()
    )]
    Altered { path: PathBuf, expected: &'static str, found: String },
    /// The file is the right one, so this is a fault of the program or the
    /// machine (memory).
    #[error("the face model {} cannot be loaded: {why}", path.display())]
    Unloadable { path: PathBuf, why: String },
}

/// Looking at one picture failed. The next one may well succeed.
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
    #[error("the face's landmarks are no face: they lie on one point or are not numbers")]
    Landmarks,
}

/// Why a photo does not enrol anybody. Each is a sentence for the person at
/// the desk, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    #[error("The photo cannot be read: {0}. Use a JPEG or PNG photo.")]
    Unreadable(#[from] DecodeError),
    #[error(
        "There is no face in the photo. Use one that shows the worker's face from the front, \
         in good light."
    )]
    NoFace,
    #[error("There are {count} faces in the photo. Use one that shows the worker alone.")]
    SeveralFaces { count: usize },
    #[error(
        "The face in the photo is {width_px:.0} pixels wide, and at least {min_px:.0} are needed. \
         Use a photo on which the face is larger."
    )]
    FaceTooSmall { width_px: f32, min_px: f32 },
    #[error(
        "The face in the photo is {}: take another photo, {}.",
        flaw.word().replace('_', " "),
        flaw.remedy_of_photo()
    )]
    Poor { flaw: Flaw },
    #[error("The photo could not be examined: {0}.")]
    Vision(#[from] VisionError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_photo_speaks_to_nobody_before_a_camera() {
        for flaw in [Flaw::Blurred, Flaw::TurnedAway, Flaw::TooDark, Flaw::TooBright] {
            let said = PhotoError::Poor { flaw }.to_string();
            assert!(said.contains(": take another photo, "), "{said}");
            assert!(["hold still", "lens", "camera"].iter().all(|w| !said.contains(w)), "{said}");
        }
        let small = PhotoError::FaceTooSmall { width_px: 20.0, min_px: 80.0 }.to_string();
        for said in [small, PhotoError::NoFace.to_string()] {
            assert!(!said.contains("camera") && !said.contains("loser"), "{said}");
        }
    }
}
