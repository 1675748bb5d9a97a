//! Face recognition: from a picture to a template.
//!
//! In: a picture, as bytes from a camera or a file. Out: the faces in it and,
//! for a face, a [`Template`] that can be compared with others. Touches: the
//! two model files, which are read once at the start. It uses no network, no
//! clock and no store, and knows nothing of workers or gates.
//!
//! ```text
//! bytes --decode--> Image --scale, detect--> Face --align, embed--> Template
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `image` | a picture in memory |
//! | `decode` | bytes to pixels, with limits |
//! | `format` | what a file is, by its first bytes |
//! | `jpeg` | JPEG to pixels, libjpeg's to the last bit, or at a reduced scale |
//! | `raw` | uncompressed video to pixels, at the scale needed |
//! | `view` | a camera's frame, decoded only as far as needed |
//! | `motion` | whether anything moves before a camera |
//! | `models` | the model files and their hashes |
//! | `onnx` | model bytes to a network, most weights unpacked |
//! | `layers` | the layers of a network that tract computes slowly, as our own |
//! | `plans` | the detector's network prepared for each picture size |
//! | `scale` | a picture at the detector's size |
//! | `detect` | where the faces are (YuNet) |
//! | `face` | a face's box and landmarks |
//! | `align` | a face turned upright and cut out |
//! | `embed` | a face to a template (SFace) |
//! | `quality` | the quality of a sighting |
//! | `enrolment` | the only face of a photo, or why the photo is refused |
//! | `turn` | which way is up in a photo |
//! | `liveness` | a face with its surroundings to a score for a living person |
//! | `surroundings` | whether the surroundings of a face move with it |
//! | `template` | the template itself |
//! | `overview` | a camera's view without recognisable faces, for the person who aims it |
//! | `portrait` | the small picture kept of an enrolment photo, or of a passage |
//! | `scene` | a frame scaled down, with every other face blurred |

mod align;
mod decode;
mod detect;
mod embed;
mod enrolment;
mod error;
mod face;
mod format;
mod image;
mod jpeg;
mod layers;
mod liveness;
mod models;
mod motion;
mod onnx;
mod overview;
mod plans;
mod portrait;
mod quality;
mod raw;
mod scale;
mod scene;
mod surroundings;
mod template;
mod turn;
mod view;

pub use self::align::Aligned;
pub use self::decode::{decode, decode_frame};
pub use self::detect::{LONGEST_SIDE_MAX, LONGEST_SIDE_MIN};
pub use self::enrolment::{PhotoError, PhotoFace};
pub use self::error::{ModelError, VisionError};
pub use self::face::{Face, Landmarks, Rect};
pub use self::format::Format;
pub use self::image::{DecodeError, Image, MAX_FRAME_PIXELS, MAX_PIXELS, MAX_SIDE};
pub use self::jpeg::decodes_with_vectors;
pub use self::models::EMBEDDER_NAME;
pub use self::motion::Motion;
pub use self::overview::{Colour, OVERVIEW_LONGEST_SIDE, overview};
pub use self::portrait::{fitting, portrait};
pub use self::quality::{Flaw, Quality, assess};
pub use self::scene::{SCENE_LONGEST_SIDE, scene};
pub use self::surroundings::{Surroundings, Votes};
pub use self::template::{TEMPLATE_BYTES, TEMPLATE_LEN, Template, TemplateError};
pub use self::view::{Luma, Reduced, View};

use std::path::Path;

use self::detect::Detector;
use self::embed::Embedder;
use self::liveness::Judge;
use self::onnx::OnnxError;
use crate::config::{Liveness, LivenessModel, ModelFiles};

/// The two networks, ready for use. All threads share one in an `Arc`.
pub struct Vision {
    detector: Detector,
    embedder: Embedder,
    judge: Option<Judge>,
}

impl Vision {
    /// Reads, checks and prepares the models. It takes about a second, and
    /// meanwhile about 100 MB.
    pub fn load(models: &ModelFiles) -> Result<Vision, ModelError> {
        let unloadable = |path: &Path| {
            let path = path.to_owned();
            move |error: OnnxError| ModelError::Unloadable { path, why: error.to_string() }
        };
        let bytes = models::read(&models.detector, models::DETECTOR_SHA256)?;
        let detector = Detector::new(bytes).map_err(unloadable(&models.detector))?;
        let bytes = models::read(&models.embedder, models::EMBEDDER_SHA256)?;
        let embedder = Embedder::new(bytes).map_err(unloadable(&models.embedder))?;
        Ok(Vision { detector, embedder, judge: None })
    }

    /// Reads the models as `load` does, and the liveness model where it is in use.
    pub fn configured(models: &ModelFiles, liveness: Liveness) -> Result<Vision, ModelError> {
        let vision = Vision::load(models)?;
        match liveness {
            Liveness::Off => Ok(vision),
            Liveness::Watch | Liveness::Guard => vision.with_liveness(&models.liveness),
        }
    }

    /// Reads and prepares the liveness model, too.
    pub fn with_liveness(self, model: &LivenessModel) -> Result<Vision, ModelError> {
        let bytes = models::read(&model.file, &model.sha256)?;
        let judge = Judge::new(bytes, model).map_err(|error| ModelError::Unloadable {
            path: model.file.clone(),
            why: error.to_string(),
        })?;
        Ok(Vision { judge: Some(judge), ..self })
    }

    /// Returns whether living faces are told from photos.
    pub fn judges(&self) -> bool {
        self.judge.is_some()
    }

    /// Returns the faces in the picture, surest first, in pixels of `image`.
    ///
    /// The picture is searched at a size where its longer side is
    /// `longest_side` pixels ([`LONGEST_SIDE_MIN`] to [`LONGEST_SIDE_MAX`]).
    /// Faces must be some 10 to 300 pixels wide at that size. 416 is fast, and
    /// enough for a person before a gate. The time grows with the area. The
    /// first picture of a new shape takes longer.
    pub fn detect(&self, image: &Image, longest_side: u32) -> Result<Vec<Face>, VisionError> {
        self.detector.detect(image, longest_side)
    }

    /// Returns the template of a face found in this picture.
    pub fn embed(&self, image: &Image, face: &Face) -> Result<Template, VisionError> {
        self.embed_aligned(align::align(image, &face.landmarks).ok_or(VisionError::Landmarks)?)
    }

    /// Returns the template of a face that was cut out: see [`Reduced::cut_out`].
    pub fn embed_aligned(&self, face: Aligned) -> Result<Template, VisionError> {
        self.embedder.embed(face)
    }

    /// Returns the name under which templates are stored. Only templates of
    /// the same name can be compared.
    pub fn embedder_name(&self) -> &str {
        EMBEDDER_NAME
    }
}
