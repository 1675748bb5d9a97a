//! Faces: from a picture to who it might be.
//!
//! In comes a picture, as bytes from a camera or a file. Out come the faces in
//! it and, for a face, a [`Template`] that can be compared with others. The
//! room reads its two model files once, when it is loaded, and touches nothing
//! else: no network, no clock, no store. It knows nothing of workers or gates.
//!
//! ```text
//! bytes --image--> Image --scale, detect--> Face --align, embed--> Template
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `image` | bytes to pixels, with limits |
//! | `jpeg` | JPEG to pixels, libjpeg's to the last bit, or at a reduced scale |
//! | `raw` | uncompressed video to pixels, at the scale needed |
//! | `view` | a camera's frame, decoded no further than is looked at |
//! | `motion` | whether anything moves before a camera |
//! | `models` | the model files and their hashes |
//! | `onnx` | model bytes to a network, weights unpacked |
//! | `plans` | the detector made ready for each picture size |
//! | `scale` | a picture at the detector's size |
//! | `detect` | where the faces are (YuNet) |
//! | `align` | a face turned upright and cut out |
//! | `embed` | a face to a template (SFace) |
//! | `quality` | how good a look at a face a frame gives |
//! | `template` | the template itself |
//! | `portrait` | what is kept of an enrolment photo, or of a passage |

mod align;
mod detect;
mod embed;
mod error;
mod image;
mod jpeg;
mod models;
mod motion;
mod onnx;
mod plans;
mod portrait;
mod quality;
mod raw;
mod scale;
mod template;
mod view;

pub use self::align::Aligned;
pub use self::detect::{DetectOptions, Face, LONGEST_SIDE_MAX, LONGEST_SIDE_MIN, Landmarks, Rect};
pub use self::error::{ModelError, PhotoError, VisionError};
pub use self::image::{
    DecodeError, Image, MAX_FRAME_PIXELS, MAX_PIXELS, MAX_SIDE, decode, decode_frame,
};
pub use self::models::{DETECTOR_FILE, EMBEDDER_FILE, EMBEDDER_NAME, Models};
pub use self::motion::Motion;
pub use self::portrait::portrait;
pub use self::quality::{Flaw, Quality, assess};
pub use self::template::{TEMPLATE_BYTES, TEMPLATE_LEN, Template, TemplateError};
pub use self::view::{Luma, Reduced, View};

use std::path::Path;

use self::detect::Detector;
use self::embed::Embedder;
use self::onnx::OnnxError;
use crate::config::FaceLimits;

/// Sizes a photo is searched at, one after the other until there is a face.
/// YuNet finds faces of some 10 to 300 pixels: at 640 all but those that fill
/// the photo, and those at 320.
const ENROLMENT_LONGEST_SIDES: [u32; 2] = [640, 320];

/// The two networks, ready. One serves all threads: share it in an `Arc`.
pub struct Vision {
    detector: Detector,
    embedder: Embedder,
}

impl Vision {
    /// Reads, checks and prepares the models. Takes a second or so, and about
    /// 100 MB for the moment.
    pub fn load(models: &Models, options: DetectOptions) -> Result<Vision, ModelError> {
        let unloadable = |path: &Path| {
            let path = path.to_owned();
            move |error: OnnxError| ModelError::Unloadable { path, why: error.to_string() }
        };
        let bytes = models::read(&models.detector, models::DETECTOR_SHA256)?;
        let detector = Detector::new(bytes, options).map_err(unloadable(&models.detector))?;
        let bytes = models::read(&models.embedder, models::EMBEDDER_SHA256)?;
        let embedder = Embedder::new(bytes).map_err(unloadable(&models.embedder))?;
        Ok(Vision { detector, embedder })
    }

    /// The faces in the picture, surest first, in pixels of `image`.
    ///
    /// The picture is searched at a size where its longer side is
    /// `longest_side` pixels ([`LONGEST_SIDE_MIN`] to [`LONGEST_SIDE_MAX`]);
    /// faces must be some 10 to 300 pixels wide at that size. 320 is fast and
    /// finds whoever stands before a gate; time grows with the area. The first
    /// picture of a new shape takes longer.
    pub fn detect(&self, image: &Image, longest_side: u32) -> Result<Vec<Face>, VisionError> {
        self.detector.detect(image, longest_side)
    }

    /// The template of a face found in this picture.
    pub fn embed(&self, image: &Image, face: &Face) -> Result<Template, VisionError> {
        self.embed_aligned(align::align(image, &face.landmarks).ok_or(VisionError::Landmarks)?)
    }

    /// The template of a face that is cut out already: see [`Reduced::cut_out`].
    pub fn embed_aligned(&self, face: Aligned) -> Result<Template, VisionError> {
        self.embedder.embed(face)
    }

    /// The one face in a photo that is to enrol a worker: alone, and a good
    /// enough look at it.
    pub fn face_for_enrolment(
        &self,
        photo: &[u8],
        limits: &FaceLimits,
    ) -> Result<(Image, Face, Template, Quality), PhotoError> {
        self.face_alone(decode(photo)?, limits)
    }

    /// The same in a picture that is decoded already.
    pub fn face_alone(
        &self,
        image: Image,
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
        // A limit that is no number refuses rather than lets through.
        let min_px = limits.min_face_px;
        if min_px.is_nan() || face.bbox.w < min_px {
            return Err(PhotoError::FaceTooSmall { width_px: face.bbox.w, min_px });
        }
        let aligned = align::align(&image, &face.landmarks).ok_or(VisionError::Landmarks)?;
        let quality = assess(&face, &aligned, limits);
        if let Some(flaw) = quality.flaw {
            return Err(PhotoError::Poor { flaw });
        }
        let template = self.embed_aligned(aligned)?;
        Ok((image, face, template, quality))
    }

    /// The name templates are stored under; only templates of the same name
    /// can be compared.
    pub fn embedder_name(&self) -> &str {
        EMBEDDER_NAME
    }
}
