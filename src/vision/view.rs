//! A camera's frame, decoded only as far as the next step needs.
//!
//! Most frames of a gate show no person, and only their grey thumbnail is used. The detector gets
//! the smallest picture that still has the size at which it searches. The embedder gets the
//! smallest picture in which the face still has enough pixels for its template. All coordinates
//! that leave this file are in pixels of the upright frame.

use std::borrow::Cow;

use image::metadata::Orientation;

use super::Vision;
use super::align::{self, Aligned};
use super::decode::{JPEG_MAGIC, decode_frame, guarded};
use super::error::VisionError;
use super::face::{Face, Landmarks};
use super::image::{DecodeError, Image, MAX_FRAME_PIXELS};
use super::jpeg::{self, Scale};
use super::portrait::portrait;
use super::raw;
use super::surroundings::Surroundings;
use crate::camera::{Picture, Yuv};

/// Minimum width of a face, in pixels, at which scaling it to the embedder's 112 x 112 loses
/// nothing. A face is some 80 pixels wide there.
const FACE_PX: f32 = 140.0;

/// A frame whose header was read and is within the bounds.
#[derive(Debug)]
pub struct View<'a> {
    pixels: Pixels<'a>,
    width: u32,
    height: u32,
}

#[derive(Debug)]
enum Pixels<'a> {
    /// Whether it is stored upright, too.
    Jpeg(&'a [u8], bool),
    Raw(&'a Yuv),
    /// A PNG. No camera sends one, but recordings hold them.
    Whole(Image),
}

/// A grey frame at an eighth of its width and height, as the camera gave it, not turned upright. It
/// serves only to detect motion.
#[derive(Clone, PartialEq, Eq)]
pub struct Luma {
    pub width: u32,
    pub height: u32,
    /// `width * height` grey levels, row by row.
    pub values: Vec<u8>,
}

/// Shows the size only, because a picture of a person does not belong in a log.
impl std::fmt::Debug for Luma {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Luma({} x {})", self.width, self.height)
    }
}

/// The frame, or a part of it, at a reduced scale.
#[derive(Debug)]
pub struct Reduced<'a> {
    image: Cow<'a, Image>,
    /// Pixels of the frame, along a side, that one pixel stands for.
    step: u32,
    /// The place in the frame at which it begins.
    left: u32,
    top: u32,
}

impl<'a> View<'a> {
    /// Reads the header of a frame of at most [`MAX_FRAME_PIXELS`]; a PNG is decoded at once.
    pub fn new(picture: &'a Picture) -> Result<View<'a>, DecodeError> {
        match picture {
            Picture::Encoded(bytes) if bytes.starts_with(JPEG_MAGIC) => {
                jpeg::check_scans(jpeg::outline(bytes))?;
                let header = guarded("JPEG", || jpeg::header(bytes, MAX_FRAME_PIXELS))?;
                let (mut width, mut height) = (header.width, header.height);
                if jpeg::is_on_its_side(header.orientation) {
                    std::mem::swap(&mut width, &mut height);
                }
                let upright = header.orientation == Orientation::NoTransforms;
                Ok(View { pixels: Pixels::Jpeg(bytes, upright), width, height })
            }
            Picture::Encoded(bytes) => {
                let image = decode_frame(bytes)?;
                let (width, height) = (image.width(), image.height());
                Ok(View { pixels: Pixels::Whole(image), width, height })
            }
            Picture::Raw(yuv) => {
                raw::check(yuv)?;
                Ok(View { pixels: Pixels::Raw(yuv), width: yuv.width, height: yuv.height })
            }
        }
    }

    /// Returns width and height of the upright frame in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Returns the thumbnail, for [`Motion`](super::Motion).
    pub fn luma(&self) -> Result<Luma, DecodeError> {
        let (width, height, values) = match &self.pixels {
            Pixels::Jpeg(bytes, _) => guarded("JPEG", || jpeg::thumbnail(bytes, MAX_FRAME_PIXELS))?,
            Pixels::Raw(yuv) => raw::thumbnail(yuv),
            Pixels::Whole(image) => {
                let step = Scale::Eighth.step();
                let (width, height) = (image.width().div_ceil(step), image.height().div_ceil(step));
                let rows = image.rgb().chunks_exact(3 * image.width() as usize);
                let green = rows.step_by(step as usize).flat_map(|row| {
                    row.as_chunks::<3>().0.iter().step_by(step as usize).map(|pixel| pixel[1])
                });
                (width, height, green.collect())
            }
        };
        Ok(Luma { width, height, values })
    }

    /// Returns the whole frame, at the smallest scale whose longer side has at least `longest_side`
    /// pixels.
    pub fn for_detection(&self, longest_side: u32) -> Result<Reduced<'_>, DecodeError> {
        let longer = self.width.max(self.height);
        self.whole_at(Scale::keeping(longer as f32, longest_side as f32))
    }

    /// Returns a picture in which this face (in pixels of the frame) is large enough for the
    /// embedder. This is `searched` itself, if the face is large enough there.
    pub fn for_face<'v>(
        &'v self,
        face: &Face,
        searched: Reduced<'v>,
    ) -> Result<Reduced<'v>, DecodeError> {
        let scale = Scale::keeping(face.bbox.w, FACE_PX);
        if searched.step <= scale.step() {
            return Ok(searched);
        }
        // The 112 x 112 extend beyond the box by less than the size of the box.
        match self.part(face.bbox.around(3.0, self.size()), scale)? {
            Some(part) => Ok(part),
            None => self.whole_at(scale),
        }
    }

    /// Returns a square around a face (in pixels of the frame), in which to search the face again a
    /// moment later, and which serves as [`for_face`](Self::for_face) for it. `None` where a part of
    /// the frame is not cheaper than the frame.
    pub fn around(&self, face: &Face) -> Result<Option<Reduced<'_>>, DecodeError> {
        let (from, side) = face.bbox.square(3.0, self.size());
        // The face may come nearer. It is not smaller than this in the picture for the embedder.
        self.part([from, (side, side)], Scale::keeping(face.bbox.w / 2.0, FACE_PX / 2.0))
    }

    /// Returns a part of the frame; `None` where its pixels cannot be decoded apart.
    fn part(
        &self,
        [(left, top), (width, height)]: [(u32, u32); 2],
        scale: Scale,
    ) -> Result<Option<Reduced<'_>>, DecodeError> {
        let step = scale.step();
        match &self.pixels {
            Pixels::Raw(yuv) => {
                let image = raw::part(yuv, (left, top), (width, height), scale)?;
                Ok(Some(Reduced { image: Cow::Owned(image), step, left, top }))
            }
            Pixels::Jpeg(bytes, true) => {
                // In pixels of the result, from the one in which the part begins.
                let from = (left / step, top / step);
                let size = (
                    (left + width).div_ceil(step) - from.0,
                    (top + height).div_ceil(step) - from.1,
                );
                let rgb = guarded("JPEG", || {
                    jpeg::decode_part(bytes, MAX_FRAME_PIXELS, scale, [from, size])
                })?;
                let image = Cow::Owned(Image::from_rgb(size.0, size.1, rgb)?);
                Ok(Some(Reduced { image, step, left: from.0 * step, top: from.1 * step }))
            }
            Pixels::Jpeg(_, false) | Pixels::Whole(_) => Ok(None),
        }
    }

    fn whole_at(&self, scale: Scale) -> Result<Reduced<'_>, DecodeError> {
        let (image, step) = match &self.pixels {
            Pixels::Jpeg(bytes, _) => {
                let image = guarded("JPEG", || jpeg::decode(bytes, MAX_FRAME_PIXELS, scale))?;
                (Cow::Owned(image), scale.step())
            }
            Pixels::Raw(yuv) => {
                let image = raw::part(yuv, (0, 0), (self.width, self.height), scale)?;
                (Cow::Owned(image), scale.step())
            }
            Pixels::Whole(image) => (Cow::Borrowed(image), 1),
        };
        Ok(Reduced { image, step, left: 0, top: 0 })
    }
}

impl Reduced<'_> {
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn into_image(self) -> Image {
        self.image.into_owned()
    }

    /// Returns a face found in this picture, in pixels of the frame.
    pub fn in_frame(&self, mut face: Face) -> Face {
        let step = self.step as f32;
        let (left, top) = (self.left as f32, self.top as f32);
        let place = |x: &mut f32, y: &mut f32| {
            *x = *x * step + left;
            *y = *y * step + top;
        };
        let bbox = &mut face.bbox;
        place(&mut bbox.x, &mut bbox.y);
        bbox.w *= step;
        bbox.h *= step;
        for [x, y] in &mut face.landmarks {
            place(x, y);
        }
        face
    }

    /// Returns a JPEG of the head whose face is given in pixels of the frame, at most 320 pixels a
    /// side; `None` if encoding fails.
    pub fn portrait(&self, face: &Face) -> Option<Vec<u8>> {
        portrait(&self.image, &self.here(face)).ok()
    }

    /// Returns the liveness score of a face that is given in pixels of the frame, 0 (a photo) to 1;
    /// `None` without a liveness model.
    pub fn liveness(&self, vision: &Vision, face: &Face) -> Result<Option<f32>, VisionError> {
        let judge = vision.judge.as_ref();
        judge.map(|judge| judge.score(&self.image, self.here(face).bbox)).transpose()
    }

    /// Returns the surroundings of a face that is given in pixels of the frame.
    pub fn surroundings(&self, face: &Face) -> Surroundings {
        Surroundings::of(&self.image, &self.here(face))
    }

    /// Returns a face that is given in pixels of the frame, in pixels of this picture.
    pub(super) fn here(&self, face: &Face) -> Face {
        let mut here = face.clone();
        let (step, left, top) = (self.step as f32, self.left as f32, self.top as f32);
        let bbox = &mut here.bbox;
        (bbox.x, bbox.y) = ((bbox.x - left) / step, (bbox.y - top) / step);
        (bbox.w, bbox.h) = (bbox.w / step, bbox.h / step);
        here.landmarks = here.landmarks.map(|[x, y]| [(x - left) / step, (y - top) / step]);
        here
    }

    /// Cuts out a face that is given in pixels of the frame.
    pub fn cut_out(&self, face: &Face) -> Result<Aligned, VisionError> {
        // Pixel centres are whole numbers in both pictures. The centre of a reduced pixel is the
        // middle of the pixels that it stands for.
        let step = self.step as f32;
        let here = |at: f32, from: u32| (at - from as f32 + 0.5) / step - 0.5;
        let landmarks: Landmarks =
            face.landmarks.map(|[x, y]| [here(x, self.left), here(y, self.top)]);
        align::align(&self.image, &landmarks).ok_or(VisionError::Landmarks)
    }
}

#[cfg(test)]
mod tests;
