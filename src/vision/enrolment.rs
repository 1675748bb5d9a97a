//! The face that enrols a worker: the only face in its picture, of good quality.

use super::Vision;
use super::align;
use super::decode::decode_photo;
use super::error::VisionError;
use super::face::Face;
use super::image::{DecodeError, Image};
use super::quality::{Flaw, Quality, assess};
use super::template::Template;
use crate::config::FaceLimits;

/// Sizes at which a photo is searched, in turn, until a face is found. YuNet
/// finds faces of some 10 to 300 pixels: at 640 all but those that fill the
/// photo, and at 320 those too.
const ENROLMENT_LONGEST_SIDES: [u32; 2] = [640, 320];

/// The reason why a photo enrols no worker. Each message is for the person at
/// the desk, and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    #[error("The photo cannot be read: {0}. Use a JPEG or PNG photo.")]
    Unreadable(#[from] DecodeError),
    #[error(
        "There is no face in the photo. Use a photo that shows the worker's face from the front, \
         in good light."
    )]
    NoFace,
    #[error("There are {count} faces in the photo. Use a photo that shows the worker alone.")]
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

impl Vision {
    /// Returns the face in an enrolment photo. It must be the only face, and
    /// of sufficient quality. The picture of a large photo is half as large.
    pub fn face_for_enrolment(
        &self,
        photo: &[u8],
        limits: &FaceLimits,
    ) -> Result<(Image, Face, Template, Quality), PhotoError> {
        let (image, step) = decode_photo(photo)?;
        self.face_in(image, step, limits)
    }

    /// Does the same for a decoded picture.
    pub fn face_alone(
        &self,
        image: Image,
        limits: &FaceLimits,
    ) -> Result<(Image, Face, Template, Quality), PhotoError> {
        self.face_in(image, 1, limits)
    }

    /// `step`: pixels of the photo, along a side, that one pixel of the picture stands for.
    fn face_in(
        &self,
        image: Image,
        step: u32,
        limits: &FaceLimits,
    ) -> Result<(Image, Face, Template, Quality), PhotoError> {
        let mut faces = Vec::new();
        for longest_side in ENROLMENT_LONGEST_SIDES {
            faces = self.detect(&image, longest_side)?;
            if !faces.is_empty() {
                break;
            }
        }
        let count = faces.len();
        let face = match faces.pop() {
            None => return Err(PhotoError::NoFace),
            Some(_) if count > 1 => return Err(PhotoError::SeveralFaces { count }),
            Some(face) => face,
        };
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
        Ok((image, face, template, quality))
    }
}

#[cfg(test)]
mod tests;
