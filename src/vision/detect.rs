//! Where the faces are in a picture: YuNet, and the reading of its output.
//!
//! YuNet looks at the picture on three grids (one cell for 8, 16 and 32
//! pixels). Every cell says how sure it is of a face near it, and where its
//! box and landmarks would be. Sure cells become candidates; of candidates on
//! one face the surest stays.

use tract_onnx::prelude::*;

use super::error::VisionError;
use super::image::Image;
use super::onnx::{self, OnnxError};
use super::plans::Plans;
use super::scale::scaled_rows;

/// Five points, (x, y) each: the eye at the image's left, the eye at its
/// right, the tip of the nose, the corners of the mouth at left and right.
pub type Landmarks = [[f32; 2]; 5];

/// An upright rectangle; (x, y) is its corner at the top left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    pub x: f32,
    pub y: f32,
    pub w: f32,
    pub h: f32,
}

/// One face found. Box and landmarks are in pixels of the picture given, and
/// finite; at the edge they may reach beyond the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// How sure the detector is, from its threshold to 1.
    pub score: f32,
    pub bbox: Rect,
    pub landmarks: Landmarks,
}

/// How sure, and how far apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectOptions {
    /// Faces less sure than this are not reported. 0.6 to 0.7 is usual.
    pub score_threshold: f32,
    /// Of two faces whose boxes overlap by more than this share of their
    /// union, the surer one stays.
    pub overlap_threshold: f32,
}

impl Default for DetectOptions {
    fn default() -> Self {
        DetectOptions { score_threshold: 0.6, overlap_threshold: 0.3 }
    }
}

/// Range of the longer side a picture may be searched at, in pixels.
pub const LONGEST_SIDE_MIN: u32 = 32;
pub const LONGEST_SIDE_MAX: u32 = 2048;

/// YuNet's three grids: pixels a cell.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Both sides of YuNet's input are multiples of this.
const INPUT_MULTIPLE: u32 = 32;
/// Candidates compared with each other. A crowd gives some dozens a face; a
/// picture made to look like faces everywhere costs no more than this.
const MAX_CANDIDATES: usize = 1000;

pub(super) struct Detector {
    plans: Plans,
    options: DetectOptions,
}

impl Detector {
    pub(super) fn new(model: Vec<u8>, options: DetectOptions) -> Result<Detector, OnnxError> {
        Ok(Detector { plans: Plans::new(onnx::load(model)?), options })
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
        let (width, height) = searched_size(image, longest_side);
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
        let candidates =
            candidates(&slices, padded_width, padded_height, self.options.score_threshold)?;
        let mut faces = surest(candidates, self.options.overlap_threshold);
        // One scale for both axes, as the reference figures have it: the
        // shorter side's rounding moves nothing by more than half a pixel of
        // the scaled picture.
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

/// The picture's size when its longer side is `longest_side`. A small picture
/// is enlarged: YuNet places the landmarks of a large face better, and they
/// decide how good the template is.
fn searched_size(image: &Image, longest_side: u32) -> (u32, u32) {
    let longer = image.width().max(image.height());
    let scaled = |side: u32| {
        let side = f64::from(side) * f64::from(longest_side) / f64::from(longer);
        (side.round() as u32).max(1)
    };
    (scaled(image.width()), scaled(image.height()))
}

/// What YuNet is given: the scaled picture at the top left, black to the next
/// multiple of 32 at the right and the bottom; planes B, G, R, 0..=255.
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
        scaled_rows(image, width, height, |values| {
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

/// Reads YuNet's twelve outputs: cls, obj, bbox and kps, each for strides 8,
/// 16 and 32, with 1, 1, 4 and 10 values a cell, cells row by row.
///
/// score = sqrt(cls * obj), both clipped to 0..=1; centre = (cell + d) *
/// stride, size = exp(d) * stride, landmark = (cell + k) * stride (OpenCV,
/// `modules/objdetect/src/face_detect.cpp`).
fn candidates(
    outputs: &[&[f32]],
    width: u32,
    height: u32,
    threshold: f32,
) -> Result<Vec<Face>, VisionError> {
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
            // NaN is not sure of anything.
            if score.is_nan() || score < threshold {
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

/// Keeps, surest first, each face that overlaps none kept before it
/// (non-maximum suppression).
fn surest(mut candidates: Vec<Face>, overlap_threshold: f32) -> Vec<Face> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Face> = Vec::new();
    for face in candidates {
        if kept.iter().all(|other| overlap(&face.bbox, &other.bbox) <= overlap_threshold) {
            kept.push(face);
        }
    }
    kept
}

/// Intersection over union, 0 to 1.
fn overlap(a: &Rect, b: &Rect) -> f32 {
    let w = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
    let h = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
    let common = w.max(0.0) * h.max(0.0);
    common / (a.w * a.h + b.w * b.h - common)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(score: f32, x: f32, w: f32) -> Face {
        Face { score, bbox: Rect { x, y: 0.0, w, h: 10.0 }, landmarks: [[0.0; 2]; 5] }
    }

    #[test]
    fn of_overlapping_faces_the_surest_stays() {
        let kept =
            surest(vec![face(0.7, 2.0, 10.0), face(0.9, 0.0, 10.0), face(0.8, 40.0, 10.0)], 0.3);
        let scores: Vec<f32> = kept.iter().map(|face| face.score).collect();
        assert_eq!(scores, [0.9, 0.8]);
        // 5 of 15 in common is just above 0.3, 4 of 16 below.
        assert_eq!(surest(vec![face(0.9, 0.0, 10.0), face(0.8, 5.0, 10.0)], 0.3).len(), 1);
        assert_eq!(surest(vec![face(0.9, 0.0, 10.0), face(0.8, 6.0, 10.0)], 0.3).len(), 2);
    }

    #[test]
    fn i8_of_too_many_faces_the_surest_are_examined() {
        let crowd = |n: u16| face(0.6 + f32::from(n) * 1e-5, f32::from(n) * 20.0, 10.0);
        let kept = surest((0..1_500).map(crowd).collect(), 0.3);
        assert_eq!(kept.len(), MAX_CANDIDATES);
        assert_eq!(kept.last().unwrap().bbox.x, 500.0 * 20.0);
    }

    /// Outputs for a 64 x 32 picture, no cell sure of anything.
    fn silent() -> Vec<Vec<f32>> {
        let cells = STRIDES.map(|stride| (64 / stride) * (32 / stride));
        [1, 1, 4, 10].iter().flat_map(|size| cells.map(|cells| vec![0.0; cells * size])).collect()
    }

    fn read(outputs: &[Vec<f32>]) -> Result<Vec<Face>, VisionError> {
        let slices: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
        candidates(&slices, 64, 32, 0.6)
    }

    #[test]
    fn a_cell_is_read_at_its_place() {
        let mut outputs = silent();
        // Stride 16, second row, third column of four: cell 6.
        outputs[1][6] = 0.81;
        outputs[4][6] = 1.7;
        outputs[7][24..28].copy_from_slice(&[0.5, 0.25, 0.0, 2f32.ln()]);
        outputs[10][60..62].copy_from_slice(&[-0.5, 1.0]);
        let faces = read(&outputs).unwrap();
        assert_eq!(faces.len(), 1);
        assert!((faces[0].score - 0.9).abs() < 1e-6);
        let Rect { x, y, w, h } = faces[0].bbox;
        assert_eq!((x, y, w), (40.0 - 8.0, 20.0 - h / 2.0, 16.0));
        assert!((h - 32.0).abs() < 1e-4);
        assert_eq!(faces[0].landmarks[0], [24.0, 32.0]);
        assert_eq!(faces[0].landmarks[1], [32.0, 16.0]);
    }

    #[test]
    fn numbers_that_are_none_make_no_face() {
        let mut outputs = silent();
        outputs[0][0] = f32::NAN;
        outputs[3][0] = 1.0;
        outputs[0][1] = 1.0;
        outputs[3][1] = 1.0;
        outputs[6][4 + 2] = 1000.0;
        assert_eq!(read(&outputs).unwrap(), vec![]);
        outputs[6].pop();
        assert!(read(&outputs).is_err());
        assert!(read(&outputs[..5]).is_err());
    }

    #[test]
    fn the_longer_side_becomes_what_is_asked() {
        let image = |w, h| Image::from_rgb(w, h, vec![0; (w * h * 3) as usize]).unwrap();
        assert_eq!(searched_size(&image(1280, 720), 640), (640, 360));
        assert_eq!(searched_size(&image(200, 100), 640), (640, 320));
        assert_eq!(searched_size(&image(16_000, 2), 640), (640, 1));
    }

    #[test]
    fn the_input_is_bgr_and_padded_with_black() {
        let image = Image::from_rgb(33, 1, [1, 2, 3].repeat(33)).unwrap();
        let input = Input::new(&image, 33, 1);
        assert_eq!((input.width, input.height), (64, 32));
        assert_eq!(input.planes[32..34], [3.0, 0.0]);
        assert_eq!(input.planes[64 * 32 + 32], 2.0);
        assert_eq!(input.planes[2 * 64 * 32 + 32], 1.0);
        assert_eq!(input.planes[64], 0.0);
    }
}
