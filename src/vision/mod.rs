//! Faces: from a picture to who it might be.
//!
//! In comes a picture, as bytes from a camera or a file. Out come the faces in
//! it and, for a face, a [`Template`] that can be compared with others. The
//! room reads its two model files once, when it is loaded, and touches nothing
//! else: no network, no clock, no store. It knows nothing of workers or gates.
//!
//! ```text
//! bytes --decode--> Image --scale, detect--> Face --align, embed--> Template
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `image` | a picture in memory |
//! | `decode` | bytes to pixels, with limits |
//! | `jpeg` | JPEG to pixels, libjpeg's to the last bit, or at a reduced scale |
//! | `raw` | uncompressed video to pixels, at the scale needed |
//! | `view` | a camera's frame, decoded no further than is looked at |
//! | `motion` | whether anything moves before a camera |
//! | `models` | the model files and their hashes |
//! | `onnx` | model bytes to a network, weights unpacked |
//! | `plans` | the detector made ready for each picture size |
//! | `scale` | a picture at the detector's size |
//! | `detect` | where the faces are (YuNet) |
//! | `face` | a face's box and landmarks |
//! | `align` | a face turned upright and cut out |
//! | `embed` | a face to a template (SFace) |
//! | `quality` | how good a look at a face a frame gives |
//! | `enrolment` | the one face of a photo, or why it enrols no one |
//! | `template` | the template itself |
//! | `portrait` | what is kept of an enrolment photo, or of a passage |

mod align;
mod decode;
mod detect;
mod embed;
mod enrolment;
mod error;
mod face;
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
pub use self::decode::{decode, decode_frame};
pub use self::detect::{LONGEST_SIDE_MAX, LONGEST_SIDE_MIN};
pub use self::enrolment::PhotoError;
pub use self::error::{ModelError, VisionError};
pub use self::face::{Face, Landmarks, Rect};
pub use self::image::{DecodeError, Image, MAX_FRAME_PIXELS, MAX_PIXELS, MAX_SIDE};
pub use self::models::EMBEDDER_NAME;
pub use self::motion::Motion;
pub use self::portrait::portrait;
pub use self::quality::{Flaw, Quality, assess};
pub use self::template::{TEMPLATE_BYTES, TEMPLATE_LEN, Template, TemplateError};
pub use self::view::{Luma, Reduced, View};

use std::path::Path;

use self::detect::Detector;
use self::embed::Embedder;
use self::onnx::OnnxError;
use crate::config::ModelFiles;

/// The two networks, ready. One serves all threads: share it in an `Arc`.
pub struct Vision {
    detector: Detector,
    embedder: Embedder,
}

impl Vision {
    /// Reads, checks and prepares the models. Takes a second or so, and about
    /// 100 MB for the moment.
    pub fn load(models: &ModelFiles) -> Result<Vision, ModelError> {
        let unloadable = |path: &Path| {
            let path = path.to_owned();
            move |error: OnnxError| ModelError::Unloadable { path, why: error.to_string() }
        };
        let bytes = models::read(&models.detector, models::DETECTOR_SHA256)?;
        let detector = Detector::new(bytes).map_err(unloadable(&models.detector))?;
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

    /// The name templates are stored under; only templates of the same name
    /// can be compared.
    pub fn embedder_name(&self) -> &str {
        EMBEDDER_NAME
    }
}
