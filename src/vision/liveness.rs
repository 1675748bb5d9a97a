//! A face with its surroundings to a score for a living person.
//!
//! The model is the integrator's file. It looks for traces of printing and of paper around a face. It
//! says nothing on screens, masks or cut-outs that it was not trained on.

use std::sync::Arc;

use tract_onnx::prelude::*;

use super::{
    error::VisionError,
    face::Rect,
    image::Image,
    onnx::{self, OnnxError},
    scale::scaled_rows,
};
use crate::config::LivenessModel;

pub(super) struct Judge {
    plan: Arc<TypedRunnableModel>,
    size: u32,
    crop: f32,
    live: usize,
}

impl Judge {
    /// Prepares the model, and checks on a grey picture that it is used as it must be.
    pub(super) fn new(bytes: Vec<u8>, model: &LivenessModel) -> Result<Judge, OnnxError> {
        let side = model.size as usize;
        let plan = onnx::ready(onnx::load(bytes)?, side, side).map_err(OnnxError::Tract)?;
        let judge = Judge { plan, size: model.size, crop: model.crop, live: model.live as usize };
        let grey = vec![127.0; 3 * side * side];
        judge.run(grey).map_err(|error| OnnxError::Use(error.to_string()))?;
        Ok(judge)
    }

    /// Returns the score, 0 (a photo) to 1 (a living person), of the face with this box.
    pub(super) fn score(&self, image: &Image, face: Rect) -> Result<f32, VisionError> {
        let [(x, y), (w, h)] = self.area(face, (image.width(), image.height()));
        let part = image::imageops::crop_imm(image.pixels(), x, y, w, h).to_image();
        let part = Image::from_rgb(w, h, part.into_raw())
            .map_err(|error| VisionError::Liveness(error.to_string()))?;
        let plane = (self.size * self.size) as usize;
        let mut planes = Vec::with_capacity(3 * plane);
        let mut rgb = Vec::with_capacity(3 * plane);
        scaled_rows(part.pixels(), self.size, self.size, |row| rgb.extend_from_slice(row));
        for channel in [2, 1, 0] {
            planes.extend(rgb.iter().skip(channel).step_by(3));
        }
        self.run(planes)
    }

    /// Returns the corner and the size of the face's box, widened about its middle, and moved into
    /// the picture. It is widened less if the picture is smaller (Silent-Face's `CropImage`).
    fn area(&self, face: Rect, (width, height): (u32, u32)) -> [(u32, u32); 2] {
        let (full_w, full_h) = (width as f32, height as f32);
        let (w, h) = (face.w.max(1.0), face.h.max(1.0));
        let times = self.crop.min((full_w - 1.0) / w).min((full_h - 1.0) / h);
        // `as` saturates, so that both are within the picture.
        let span = |at: f32, size: f32, full: f32| {
            let wide = (size * times).clamp(1.0, full);
            let from = (at + size / 2.0 - wide / 2.0).clamp(0.0, full - wide);
            (from as u32, (wide as u32).max(1))
        };
        let ((x, w), (y, h)) = (span(face.x, w, full_w), span(face.y, h, full_h));
        [(x, y), (w.min(width - x.min(width - 1)), h.min(height - y.min(height - 1)))]
    }

    /// Runs the network on three planes B, G, R in 0..=255. Returns the softmax of the live class.
    fn run(&self, planes: Vec<f32>) -> Result<f32, VisionError> {
        let side = self.size as usize;
        let failed = |error: TractError| VisionError::Liveness(format!("{error:#}"));
        let input = tract_ndarray::Array::from_shape_vec([1, 3, side, side], planes)
            .map_err(|error| VisionError::Liveness(error.to_string()))?;
        let outputs = self.plan.run(tvec!(Tensor::from(input).into_tvalue())).map_err(failed)?;
        let odd = |what: String| VisionError::Liveness(what);
        let output = outputs.first().ok_or_else(|| odd("it gave no output".to_owned()))?;
        let view = output.to_plain_array_view::<f32>().map_err(failed)?;
        let logits = view.as_slice().unwrap_or_default();
        let Some(live) = logits.get(self.live).filter(|_| logits.len() < 100) else {
            let (classes, live) = (logits.len(), self.live);
            return Err(odd(format!("it has {classes} classes, and `live` is {live}")));
        };
        let sum: f32 = logits.iter().map(|logit| (logit - live).exp()).sum();
        let score = 1.0 / sum;
        if score.is_nan() { Err(odd("its score is not a number".to_owned())) } else { Ok(score) }
    }
}
