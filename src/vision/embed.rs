//! An aligned face into a template: SFace.

use std::sync::Arc;

use tract_onnx::prelude::*;

use super::align::{ALIGNED_SIDE, Aligned};
use super::error::VisionError;
use super::onnx::{self, OnnxError};
use super::template::Template;

pub(super) struct Embedder {
    plan: Arc<TypedRunnableModel>,
}

impl Embedder {
    pub(super) fn new(model: Vec<u8>) -> Result<Embedder, OnnxError> {
        let plan = onnx::ready(onnx::load(model)?, ALIGNED_SIDE, ALIGNED_SIDE);
        Ok(Embedder { plan: plan.map_err(OnnxError::Tract)? })
    }

    pub(super) fn embed(&self, Aligned(planes): Aligned) -> Result<Template, VisionError> {
        let shape = [1, 3, ALIGNED_SIDE, ALIGNED_SIDE];
        let input = tract_ndarray::Array::from_shape_vec(shape, planes)
            .map_err(|error| VisionError::Embedder(error.to_string()))?;
        let outputs = self.plan.run(tvec!(Tensor::from(input).into_tvalue())).map_err(failed)?;
        let output =
            outputs.first().ok_or_else(|| VisionError::Embedder("it gave no output".to_owned()))?;
        let view = output.to_plain_array_view::<f32>().map_err(failed)?;
        Template::normalised(view.as_slice().unwrap_or_default())
            .map_err(|error| VisionError::Embedder(error.to_string()))
    }
}

fn failed(error: TractError) -> VisionError {
    VisionError::Embedder(format!("{error:#}"))
}
