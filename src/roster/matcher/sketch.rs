//! Sketches of templates: each number in 8 bits. They tell which workers are surely not among the
//! best two, so that the search reads a quarter of the memory, which limits it.
//!
//! With a template `a`, its sketch `b`, a face `f` and its sketch `g`, the Cauchy-Schwarz inequality
//! says how far off a cosine of sketches is: `|a.f - b.g| <= |a - b| |f| + |b| |f - g|`.

use zeroize::Zeroizing;

use super::{Candidate, MIN_LENGTH};
use crate::vision::TEMPLATE_LEN;

/// A template's number 1.0. Few numbers of a template are above 0.3. One above 127 / 256 is cut, which
/// makes the sketch worse and the answer no other.
const TEMPLATE_ONE: f32 = 256.0;
/// A face's number 1.0. The sum of all products stays below 2^31.
const FACE_ONE: f32 = 16_384.0;
/// Maximum length of a template or a face, with a tolerance.
const LENGTH_MAX: f32 = 1.01;
/// Share of a cosine that is lost in rounding, with a reserve: 128 additions lose less than 1e-5.
const ROUNDING: f32 = 1e-4;

/// Returns a template's sketch, and the length of the difference between both.
pub fn of_template(template: &[f32; TEMPLATE_LEN]) -> (Zeroizing<[i8; TEMPLATE_LEN]>, f32) {
    // `as` makes the nearest `i8` of a number that is out of range, and 0 of NaN.
    let sketch = Zeroizing::new(template.map(|x| (x * TEMPLATE_ONE).round() as i8));
    let off = std::array::from_fn(|n| template[n] - f32::from(sketch[n]) / TEMPLATE_ONE);
    (sketch, blur(template, &off))
}

/// Returns the length of the difference between a template or a face and its sketch. It is infinite
/// for numbers that are neither.
fn blur(of: &[f32; TEMPLATE_LEN], off: &[f32; TEMPLATE_LEN]) -> f32 {
    let length = |numbers: &[f32; TEMPLATE_LEN]| numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length(of) <= LENGTH_MAX { length(off) } else { f32::INFINITY }
}

/// The sketch of a face that is searched.
pub struct Face {
    sketch: Zeroizing<[i16; TEMPLATE_LEN]>,
    /// Length of the difference between the face and its sketch.
    blur: f32,
}

impl Face {
    pub fn new(face: &[f32; TEMPLATE_LEN]) -> Face {
        let sketch = Zeroizing::new(face.map(|x| (x * FACE_ONE).round() as i16));
        let off = std::array::from_fn(|n| face[n] - f32::from(sketch[n]) / FACE_ONE);
        Face { sketch, blur: blur(face, &off) }
    }

    /// Returns whether a candidate's score is surely below this one. `share`: the share of the mean
    /// template, 0 to 1.
    #[inline(always)]
    pub fn score_is_below(&self, score: f32, candidate: &Candidate<'_>, share: f32) -> bool {
        let blur = candidate.facts.blur;
        let off = LENGTH_MAX * (blur + ROUNDING) + (LENGTH_MAX + blur) * self.blur;
        let (mut nearest, mut sum) = (f32::NEG_INFINITY, 0.0);
        for template in candidate.sketches.as_chunks().0 {
            let most = self.dot(template) + off;
            nearest = nearest.max(most);
            sum += most;
        }
        (1.0 - share) * nearest + share * sum / candidate.facts.length.max(MIN_LENGTH) < score
    }

    #[inline(always)]
    fn dot(&self, template: &[i8; TEMPLATE_LEN]) -> f32 {
        // A compiler that knows the face widens it once for all templates, and packs it again for each.
        let face = std::hint::black_box(&*self.sketch);
        let products = template.iter().zip(face);
        // Checked additions, which the release build has, would not become vector instructions. These
        // cannot overflow.
        let sum = products
            .fold(0_i32, |sum, (a, b)| sum.wrapping_add(i32::from(*a).wrapping_mul(i32::from(*b))));
        sum as f32 / (TEMPLATE_ONE * FACE_ONE)
    }
}
