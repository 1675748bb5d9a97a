//! Finds the faces in a picture: runs YuNet, and reads its output.
//!
//! YuNet divides the picture into three grids (one cell for 8, 16 and 32
//! pixels). Each cell has a score for a face near it, with the face's box and
//! landmarks. Cells with a high score become candidates. Of several candidates
//! for one face, the candidate with the highest score stays.

use tract_onnx::prelude::*;

use super::error::VisionError;
use super::face::{Face, Rect};
use super::image::Image;
use super::onnx::{self, OnnxError};
use super::plans::Plans;
use super::scale::scaled_rows;

/// Minimum score of a reported face. 0.6 to 0.7 is usual.
const SCORE_THRESHOLD: f32 = 0.6;
/// Maximum overlap of two faces' boxes, as a share of their union. Beyond it
/// the face with the higher score stays.
const OVERLAP_THRESHOLD: f32 = 0.3;

/// Minimum and maximum of the longer side at which a picture is searched, in pixels.
pub const LONGEST_SIDE_MIN: u32 = 32;
pub const LONGEST_SIDE_MAX: u32 = 2048;

/// Pixels a cell of YuNet's three grids.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Both sides of YuNet's input are multiples of this.
const INPUT_MULTIPLE: u32 = 32;
/// Maximum number of candidates that are compared with each other. A crowd
/// gives some dozens a face. This bounds the cost of a hostile picture that
/// looks like faces everywhere.
const MAX_CANDIDATES: usize = 1000;

pub(super) struct Detector {
    plans: Plans,
}

impl Detector {
    pub(super) fn new(model: Vec<u8>) -> Result<Detector, OnnxError> {
        Ok(Detector { plans: Plans::new(onnx::load(model)?) })
    }

    pub(super) fn detect(
        &self,
        image: &Image,
        longest_side: u32,
    ) -> Result<Vec<Face>, VisionError> {
        if !(LONGEST_SIDE_MIN..=LONGEST_SIDE_MAX).contains(&longest_side) {
            return Err(VisionError::LongestSide {
                asked: longest_side,
                min: LONGEST_SIDE_MIN,
                max: LONGEST_SIDE_MAX,
            });
        }
        let (width, height) = searched_size((image.width(), image.height()), longest_side);
        let input = Input::new(image, width, height);
        let plan = self.plans.get(input.width, input.height).map_err(failed)?;
        let (padded_width, padded_height) = (input.width, input.height);
        let outputs = plan.run(tvec!(input.tensor()?.into_tvalue())).map_err(failed)?;
        let mut values = Vec::with_capacity(outputs.len());
        for output in &outputs {
            values.push(output.to_plain_array_view::<f32>().map_err(failed)?);
        }
        let slices: Vec<&[f32]> =
            values.iter().map(|view| view.as_slice().unwrap_or_default()).collect();
        let mut faces = surest(candidates(&slices, padded_width, padded_height)?);
        // Both axes have one scale, as in the reference figures. Rounding the
        // shorter side moves no point by more than half a pixel of the scaled
        // picture.
        let longer = image.width().max(image.height());
        let scale = longer as f32 / longest_side as f32;
        for face in &mut faces {
            for value in [&mut face.bbox.x, &mut face.bbox.y, &mut face.bbox.w, &mut face.bbox.h]
                .into_iter()
                .chain(face.landmarks.as_flattened_mut())
            {
                *value *= scale;
            }
        }
        Ok(faces)
    }
}

fn failed(error: TractError) -> VisionError {
    VisionError::Detector(format!("{error:#}"))
}

/// Returns the picture's size when its longer side is `longest_side`. A small
/// picture is enlarged, because YuNet places the landmarks of a large face
/// better, and the template depends on the landmarks.
pub(super) fn searched_size((width, height): (u32, u32), longest_side: u32) -> (u32, u32) {
    let longer = width.max(height);
    let scaled = |side: u32| {
        let side = f64::from(side) * f64::from(longest_side) / f64::from(longer);
        (side.round() as u32).max(1)
    };
    (scaled(width), scaled(height))
}

/// YuNet's input: the scaled picture at the top left, and black to the next
/// multiple of 32 at the right and the bottom. Planes B, G, R in 0..=255.
struct Input {
    width: u32,
    height: u32,
    planes: Vec<f32>,
}

impl Input {
    fn new(image: &Image, width: u32, height: u32) -> Input {
        let padded_width = width.next_multiple_of(INPUT_MULTIPLE);
        let padded_height = height.next_multiple_of(INPUT_MULTIPLE);
        let row = padded_width as usize;
        let plane = row * padded_height as usize;
        let mut planes = vec![0.0; 3 * plane];
        let (blue, rest) = planes.split_at_mut(plane);
        let (green, red) = rest.split_at_mut(plane);
        let mut rows = blue
            .chunks_exact_mut(row)
            .zip(green.chunks_exact_mut(row))
            .zip(red.chunks_exact_mut(row));
        scaled_rows(image.pixels(), width, height, |values| {
            let Some(((blue, green), red)) = rows.next() else {
                return;
            };
            let targets = blue.iter_mut().zip(green).zip(red);
            for (((b, g), r), pixel) in targets.zip(values.as_chunks::<3>().0) {
                [*r, *g, *b] = *pixel;
            }
        });
        Input { width: padded_width, height: padded_height, planes }
    }

    fn tensor(self) -> Result<Tensor, VisionError> {
        let shape = [1, 3, self.height as usize, self.width as usize];
        tract_ndarray::Array::from_shape_vec(shape, self.planes)
            .map(Tensor::from)
            .map_err(|error| VisionError::Detector(error.to_string()))
    }
}

/// Reads YuNet's twelve outputs: cls, obj, bbox and kps, each for the strides
/// 8, 16 and 32. They have 1, 1, 4 and 10 values a cell, cells row by row.
///
/// score = sqrt(cls * obj), both clipped to 0..=1; centre = (cell + d) *
/// stride, size = exp(d) * stride, landmark = (cell + k) * stride (OpenCV,
/// `modules/objdetect/src/face_detect.cpp`).
fn candidates(outputs: &[&[f32]], width: u32, height: u32) -> Result<Vec<Face>, VisionError> {
    let odd = || VisionError::Detector("its output has an unknown shape".to_owned());
    let mut faces = Vec::new();
    for (s, stride) in STRIDES.into_iter().enumerate() {
        let (columns, rows) = (width as usize / stride, height as usize / stride);
        let part = |kind: usize, size: usize| {
            let values = outputs.get(3 * kind + s).filter(|v| v.len() == columns * rows * size);
            values.copied().ok_or_else(odd)
        };
        let cls = part(0, 1)?;
        let obj = part(1, 1)?;
        let (boxes, _) = part(2, 4)?.as_chunks::<4>();
        let (points, _) = part(3, 10)?.as_chunks::<10>();
        let cells = cls.iter().zip(obj).zip(boxes).zip(points);
        for (i, (((cls, obj), [dx, dy, dw, dh]), points)) in cells.enumerate() {
            let score = (cls.clamp(0.0, 1.0) * obj.clamp(0.0, 1.0)).sqrt();
            // A score that is NaN is below the threshold.
            if score.is_nan() || score < SCORE_THRESHOLD {
                continue;
            }
            let stride = stride as f32;
            let (column, row) = ((i % columns) as f32, (i / columns) as f32);
            let (w, h) = (dw.exp() * stride, dh.exp() * stride);
            let mut landmarks = [[0.0; 2]; 5];
            for (landmark, [x, y]) in landmarks.iter_mut().zip(points.as_chunks::<2>().0) {
                *landmark = [(column + x) * stride, (row + y) * stride];
            }
            let face = Face {
                score,
                bbox: Rect {
                    x: (column + dx) * stride - w / 2.0,
                    y: (row + dy) * stride - h / 2.0,
                    w,
                    h,
                },
                landmarks,
            };
            if is_finite(&face) {
                faces.push(face);
            }
        }
    }
    Ok(faces)
}

fn is_finite(face: &Face) -> bool {
    let Rect { x, y, w, h } = face.bbox;
    [x, y, w, h].iter().chain(face.landmarks.as_flattened()).all(|v| v.is_finite())
        && w > 0.0
        && h > 0.0
}

/// Keeps each face that overlaps no face with a higher score (non-maximum
/// suppression). Returns the faces, highest score first.
fn surest(mut candidates: Vec<Face>) -> Vec<Face> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Face> = Vec::new();
    for face in candidates {
        if kept.iter().all(|other| overlap(&face.bbox, &other.bbox) <= OVERLAP_THRESHOLD) {
            kept.push(face);
        }
    }
    kept
}

/// Returns the intersection over the union, 0 to 1.
pub(super) fn overlap(a: &Rect, b: &Rect) -> f32 {
    let w = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
    let h = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
    let common = w.max(0.0) * h.max(0.0);
    common / (a.w * a.h + b.w * b.h - common)
}

#[cfg(test)]
mod tests;
