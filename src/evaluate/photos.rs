//! A photo to its two templates: as an enrolment photo, and as a frame of the gate's camera.

use std::{io::Cursor, sync::Arc};

use image::{ImageFormat, ImageReader};

use super::Photo;
use crate::{
    camera::Picture,
    config::{FaceLimits, Recognition},
    gate::vision_pool::{GATE_LONGEST_SIDE, Lost},
    vision::{PhotoError, Template, View, Vision},
    words::words,
};

words! {
    /// Why a photo has no template.
    pub enum Lacks {
        /// No JPEG, PNG or PGM, or damaged.
        Unreadable = "unreadable",
        NoFace = "no_face",
        SeveralFaces = "several_faces",
        TooSmall = "too_small",
        /// As an enrolment photo: blurred, dark, bright, or turned away.
        Poor = "poor",
        /// A model failed.
        Failed = "failed",
    }
}

/// The templates of a photo, and the reasons why one is absent.
pub struct Examined {
    pub photo: Photo,
    pub not_enrolled: Option<Lacks>,
    pub not_seen: Option<Lacks>,
}

/// Examines a photo.
pub fn examine(
    vision: &Vision,
    bytes: Vec<u8>,
    enrolment: &FaceLimits,
    rules: &Recognition,
) -> Examined {
    let Some(bytes) = readable(bytes) else {
        let lacks = Some(Lacks::Unreadable);
        let photo = Photo { enrolled: None, seen: None };
        return Examined { photo, not_enrolled: lacks, not_seen: lacks };
    };
    let (enrolled, not_enrolled) = match vision.face_for_enrolment(&bytes, enrolment) {
        Ok(found) => (Some(found.template), None),
        Err(error) => (None, Some(of_photo(&error))),
    };
    let (seen, not_seen) = match seen(vision, bytes, rules) {
        Ok(Ok(template)) => (Some(template), None),
        Ok(Err(lacks)) => (None, Some(lacks)),
        Err(Lost::Decoding(_)) => (None, Some(Lacks::Unreadable)),
        Err(Lost::Model(_)) => (None, Some(Lacks::Failed)),
    };
    Examined { photo: Photo { enrolled, seen }, not_enrolled, not_seen }
}

/// Returns the photo as JPEG or PNG. Public sets of faces are often in PGM, which no camera sends
/// and no worker brings.
pub(super) fn readable(bytes: Vec<u8>) -> Option<Vec<u8>> {
    if !bytes.starts_with(b"P5") && !bytes.starts_with(b"P6") {
        return Some(bytes);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Pnm);
    reader.limits(image::Limits::default());
    let mut png = Cursor::new(Vec::new());
    reader.decode().ok()?.to_rgb8().write_to(&mut png, ImageFormat::Png).ok()?;
    Some(png.into_inner())
}

fn of_photo(error: &PhotoError) -> Lacks {
    match error {
        PhotoError::Unreadable { .. } => Lacks::Unreadable,
        PhotoError::NoFace => Lacks::NoFace,
        PhotoError::SeveralFaces { .. } => Lacks::SeveralFaces,
        PhotoError::FaceTooSmall { .. } => Lacks::TooSmall,
        PhotoError::NotUpright | PhotoError::Poor { .. } => Lacks::Poor,
        PhotoError::Vision(_) => Lacks::Failed,
    }
}

/// Looks at a frame as the gate does. The widest face is the nearest one.
fn seen(
    vision: &Vision,
    bytes: Vec<u8>,
    rules: &Recognition,
) -> Result<Result<Template, Lacks>, Lost> {
    let picture = Picture::Encoded(Arc::from(bytes));
    let view = View::new(&picture)?;
    let small = view.for_detection(GATE_LONGEST_SIDE)?;
    let faces = vision.detect(small.image(), GATE_LONGEST_SIDE)?;
    let faces = faces.into_iter().map(|face| small.in_frame(face));
    let Some(face) = faces.max_by(|a, b| a.bbox.w.total_cmp(&b.bbox.w)) else {
        return Ok(Err(Lacks::NoFace));
    };
    if face.bbox.w < rules.min_face_px {
        return Ok(Err(Lacks::TooSmall));
    }
    let cut_out = view.for_face(&face, small)?.cut_out(&face)?;
    Ok(Ok(vision.embed_aligned(cut_out)?))
}
