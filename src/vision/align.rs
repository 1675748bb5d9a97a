//! A face is turned upright and cut out, as in the embedder's training. Eyes,
//! nose and mouth are always at the same places of a 112 x 112 picture.

use std::fmt;

use image::Rgb;

use super::face::Landmarks;
use super::image::Image;
use super::portrait;

/// Side of an aligned face, in pixels.
pub(super) const ALIGNED_SIDE: usize = 112;

/// The places of the five landmarks in the aligned face, in the order of
/// [`Landmarks`]. From OpenCV's `FaceRecognizerSF::alignCrop` (ArcFace's).
const TEMPLATE_LANDMARKS: Landmarks = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
];

/// A map of the plane that turns, scales evenly and shifts, and never mirrors:
/// (x, y) -> (a x - b y + tx, b x + a y + ty).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Similarity {
    a: f64,
    b: f64,
    tx: f64,
    ty: f64,
}

impl Similarity {
    /// Returns the similarity that maps `from` to `to` with the least sum of
    /// squared distances (Umeyama 1991). In the plane its SVD has a closed
    /// form. With both sets centred, (a, b) are the sums of dot and of cross
    /// products over the sum of squared lengths. `None` if `from` is one point
    /// or a value is not finite.
    pub(super) fn fit(from: &Landmarks, to: &Landmarks) -> Option<Similarity> {
        let (from_mean, to_mean) = (mean(from), mean(to));
        let (mut dot, mut cross, mut square) = (0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(to) {
            let (x, y) = (f64::from(p[0]) - from_mean[0], f64::from(p[1]) - from_mean[1]);
            let (u, v) = (f64::from(q[0]) - to_mean[0], f64::from(q[1]) - to_mean[1]);
            dot += x * u + y * v;
            cross += x * v - y * u;
            square += x * x + y * y;
        }
        let (a, b) = (dot / square, cross / square);
        let fitted = Similarity {
            a,
            b,
            tx: to_mean[0] - a * from_mean[0] + b * from_mean[1],
            ty: to_mean[1] - b * from_mean[0] - a * from_mean[1],
        };
        fitted.is_usable().then_some(fitted)
    }

    fn inverse(self) -> Option<Similarity> {
        let square = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / square, -self.b / square);
        let inverse =
            Similarity { a, b, tx: -(a * self.tx - b * self.ty), ty: -(b * self.tx + a * self.ty) };
        inverse.is_usable().then_some(inverse)
    }

    fn is_usable(self) -> bool {
        [self.a, self.b, self.tx, self.ty].iter().all(|v| v.is_finite())
            && (self.a != 0.0 || self.b != 0.0)
    }

    pub(super) fn apply(self, x: f64, y: f64) -> (f64, f64) {
        (self.a * x - self.b * y + self.tx, self.b * x + self.a * y + self.ty)
    }
}

fn mean(points: &Landmarks) -> [f64; 2] {
    let sum = points
        .iter()
        .fold([0.0, 0.0], |sum, p| [sum[0] + f64::from(p[0]), sum[1] + f64::from(p[1])]);
    [sum[0] / points.len() as f64, sum[1] / points.len() as f64]
}

/// A face as the embedder sees it: three planes R, G, B of 112 x 112 values in
/// 0..=255.
#[derive(Clone, PartialEq)]
pub struct Aligned(pub(super) Vec<f32>);

/// Shows nothing of the face, which does not belong in a log.
impl fmt::Debug for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aligned(..)")
    }
}

impl Aligned {
    /// Returns a JPEG of it; `None` if encoding fails.
    pub fn portrait(&self) -> Option<Vec<u8>> {
        let plane = ALIGNED_SIDE * ALIGNED_SIDE;
        let (red, rest) = self.0.split_at_checked(plane)?;
        let (green, blue) = rest.split_at_checked(plane)?;
        // `as` saturates values that rounding moved outside 0 to 255.
        let pixels = red.iter().zip(green).zip(blue);
        let rgb = pixels.flat_map(|((r, g), b)| [*r, *g, *b].map(|c| c.round() as u8)).collect();
        let side = u32::try_from(ALIGNED_SIDE).ok()?;
        portrait::small(&Image::from_rgb(side, side, rgb).ok()?).ok()
    }
}

/// Cuts out the face with these landmarks (in pixels of `image`). Sampling is
/// bilinear, and black beyond the image's edge. Returns `None` if the landmarks
/// are not a face.
pub(super) fn align(image: &Image, landmarks: &Landmarks) -> Option<Aligned> {
    let back = Similarity::fit(landmarks, &TEMPLATE_LANDMARKS)?.inverse()?;
    let plane = ALIGNED_SIDE * ALIGNED_SIDE;
    let mut planes = vec![0.0; 3 * plane];
    let (red, rest) = planes.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    let targets = red.iter_mut().zip(green).zip(blue);
    for (i, ((r, g), b)) in targets.enumerate() {
        let (x, y) = back.apply((i % ALIGNED_SIDE) as f64, (i / ALIGNED_SIDE) as f64);
        [*r, *g, *b] = sample(image, x, y);
    }
    Some(Aligned(planes))
}

/// Returns the colour between four pixels. Pixel centres are whole numbers.
fn sample(image: &Image, x: f64, y: f64) -> [f32; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (dx, dy) = ((x - left) as f32, (y - top) as f32);
    // `as` saturates, so a point far outside stays outside.
    let (left, top) = (left as i64, top as i64);
    let corners = [
        (left, top, (1.0 - dx) * (1.0 - dy)),
        (left.saturating_add(1), top, dx * (1.0 - dy)),
        (left, top.saturating_add(1), (1.0 - dx) * dy),
        (left.saturating_add(1), top.saturating_add(1), dx * dy),
    ];
    let mut colour = [0.0; 3];
    for (x, y, weight) in corners {
        if let Some(pixel) = pixel(image, x, y) {
            for (sum, value) in colour.iter_mut().zip(pixel.0) {
                *sum += weight * f32::from(value);
            }
        }
    }
    colour
}

fn pixel(image: &Image, x: i64, y: i64) -> Option<&Rgb<u8>> {
    image.pixels().get_pixel_checked(x.try_into().ok()?, y.try_into().ok()?)
}

#[cfg(test)]
mod tests;
