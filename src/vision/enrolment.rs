//! The face that enrols a worker: the only face in its picture, of good quality.

use super::Vision;
use super::align;
use super::decode::decode_photo;
use super::error::VisionError;
use super::face::Face;
use super::image::{DecodeError, Image};
use super::quality::{Flaw, Quality, assess};
use super::template::Template;
use super::turn::Turn;
use crate::config::FaceLimits;

/// Sizes at which a photo is searched, in turn, until a face is found. YuNet
/// finds faces of some 10 to 300 pixels: at 640 all but those that fill the
/// photo, and at 320 those too.
const ENROLMENT_LONGEST_SIDES: [u32; 2] = [640, 320];
/// Maximum number of faces of one search of which one may be upright.
const EXAMINED: usize = 4;

/// The reason why a photo enrols no worker. Each message is for the person at
/// the desk, and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    #[error("The photo cannot be read: {why}. {}", why.remedy_of_photo())]
    Unreadable {
        #[from]
        why: DecodeError,
    },
    #[error(
        "There is no face in the photo. Use a photo that shows the worker's face from the front, \
         in good light."
    )]
    NoFace,
    #[error("There are {count} faces in the photo. Use a photo that shows the worker alone.")]
    SeveralFaces { count: usize },
    #[error(
        "It is not clear which way is up in the photo. Use a photo that shows the worker's face from \
         the front and upright."
    )]
    NotUpright,
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

/// The only face of a photo.
#[derive(Debug)]
pub struct PhotoFace {
    /// The picture, upright. That of a large photo is half as large.
    pub image: Image,
    /// The face, in pixels of `image`.
    pub face: Face,
    pub template: Template,
    pub quality: Quality,
    /// Degrees by which the photo was turned clockwise: 0, 90, 180 or 270.
    pub turned: u16,
}

impl Vision {
    /// Returns the face in an enrolment photo. It must be the only face, and
    /// of sufficient quality. A photo that is not upright is turned.
    pub fn face_for_enrolment(
        &self,
        photo: &[u8],
        limits: &FaceLimits,
    ) -> Result<PhotoFace, PhotoError> {
        let (image, step) = decode_photo(photo)?;
        self.face_in(image, step, &Turn::ALL, limits)
    }

    /// Does the same for a camera's picture, which must be upright: the gate does not turn it.
    pub fn face_alone(&self, image: Image, limits: &FaceLimits) -> Result<PhotoFace, PhotoError> {
        self.face_in(image, 1, &[Turn::None], limits)
    }

    /// `step`: pixels of the photo, along a side, that one pixel of the picture stands for.
    fn face_in(
        &self,
        image: Image,
        step: u32,
        turns: &[Turn],
        limits: &FaceLimits,
    ) -> Result<PhotoFace, PhotoError> {
        let (turn, face) = self.upright_face(&image, turns)?;
        let image = if turn == Turn::None { image } else { turn.apply(&image)?.into_owned() };
        // A limit that is NaN refuses every face.
        let min_px = limits.min_face_px;
        let width_px = face.bbox.w * step as f32;
        if min_px.is_nan() || width_px < min_px {
            return Err(PhotoError::FaceTooSmall { width_px, min_px });
        }
        let aligned = align::align(&image, &face.landmarks).ok_or(VisionError::Landmarks)?;
        let quality = assess(&face, &aligned, limits);
        if let Some(flaw) = quality.flaw {
            return Err(PhotoError::Poor { flaw });
        }
        let template = self.embed_aligned(aligned)?;
        Ok(PhotoFace { image, face, template, quality, turned: turn.degrees() })
    }

    /// Returns the first turn in which a face is upright, and the only face then.
    fn upright_face(&self, image: &Image, turns: &[Turn]) -> Result<(Turn, Face), PhotoError> {
        let mut any = false;
        for turn in turns {
            let turned = turn.apply(image)?;
            for longest_side in ENROLMENT_LONGEST_SIDES {
                let mut faces = self.detect(&turned, longest_side)?;
                any |= !faces.is_empty();
                let mut upright = false;
                for face in faces.iter().take(EXAMINED) {
                    upright = upright || self.is_upright(&turned, face, *turn)?;
                }
                match (upright, faces.len(), faces.pop()) {
                    (true, 1, Some(face)) => return Ok((*turn, face)),
                    (true, count, _) => return Err(PhotoError::SeveralFaces { count }),
                    (false, ..) => {}
                }
            }
        }
        Err(if any { PhotoError::NotUpright } else { PhotoError::NoFace })
    }
}

#[cfg(test)]
mod tests;
