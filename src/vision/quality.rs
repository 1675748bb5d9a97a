//! The quality of a sighting (a face in one frame). Pure: it is measured from the face's box and
//! landmarks, and from the aligned face.
//!
//! It does not decide on a passage, only which frames are embedded first. The template of a poor
//! sighting is similar to no worker's, or a little similar to every worker's.
//!
//! | what | measured | poor | people looking at a camera |
//! |---|---|---|---|
//! | sharpness | variance of the Laplacian over that of the grey levels, at half of 112 x 112 | below 0.05 | 0.15 to 2.4 |
//! | | the same along rows or columns alone, the lower one | below 0.03 | 0.036 to 0.93 |
//! | pose, aside | the nose beside the middle of eyes and mouth, in distances between the eyes | above 0.3 | 0 to 0.29 |
//! | pose, up or down | the nose between the eyes (0) and the mouth (1) | outside 0.35 to 0.8 | 0.49 to 0.68 |
//! | pose, tilted | the line of the eyes against the horizon | above 35 degrees | 0 to 13 |
//! | exposure | mean grey level | below 45, above 215 | 92 to 182 |
//! | | part of it at 250 and above | above 0.25 | 0 |
//! | covered mouth | variance of the Laplacian around the mouth over that of the face | below 0.15 | 0.31 to 4.6 |
//! | covered eyes | the brighter part of the lighter eye over the skin below the eyes | below 0.4 | 0.57 to 1.2 |
//!
//! The last column was measured on the test photos, and on a public set of 400 pictures of 40
//! people. All of them pass. A Gaussian blur of 2 % of the face's width measures 0.1 to 0.18 at
//! every size of the face. A blur of 4 % measures 0.02 to 0.04. A face that moves by 14 % of its width in
//! one exposure keeps the detail across its way. Along it, all such faces measure 0.03 and below.
//!
//! On the same pictures, painted masks measure 0.00 to 0.13 (dark cloth) and 0.00 to 0.05 in nine of
//! ten (light blue), and painted dark glasses 0.06 to 0.12 in more than half. In the rest the detector
//! places the mouth or the eyes beside the mask. Helmets, hats and hands are not found.

use super::align::{ALIGNED_SIDE, Aligned};
use super::face::{Face, Landmarks};
use crate::config::FaceLimits;
use crate::words::words;

/// The values that count as good in a score. [`FaceLimits`] holds those that are good enough.
const SHARP: f32 = 0.05;
const ASIDE: f32 = 0.3;
const NOSE: std::ops::RangeInclusive<f32> = 0.35..=0.8;
/// The nose's place when a person looks straight ahead.
const NOSE_AHEAD: f32 = 0.58;
const TILTED: f32 = 35.0;
const LIGHT: std::ops::RangeInclusive<f32> = 45.0..=215.0;
const CLIPPED: f32 = 250.0;
const CLIPPED_PART: f32 = 0.25;
/// Minimum sharpness along one line, as a part of the minimum sharpness.
const ALONG: f32 = 0.6;
const MOUTH: f32 = 0.15;
const EYES: f32 = 0.4;
/// Width of a face, in pixels, above which the score does not rise.
const WIDE_PX: f32 = 112.0;

/// Side of the aligned face at half its size.
const SIDE: usize = ALIGNED_SIDE / 2;
/// Parts of the face at half its size: columns, rows.
type Part = (std::ops::Range<usize>, std::ops::Range<usize>);
/// The part that is face and not hair or background.
const INNER: Part = (10..46, 10..46);
const AROUND_MOUTH: Part = (17..39, 40..53);
const AROUND_EYES: [Part; 2] = [(14..24, 22..30), (32..42, 22..30)];
const BELOW_EYES: Part = (14..42, 30..40);

words! {
    /// Why a sighting is poor.
    pub enum Flaw {
        Blurred = "blurred",
        TurnedAway = "turned_away",
        TooDark = "too_dark",
        TooBright = "too_bright",
        Covered = "covered",
    }
}

impl Flaw {
    /// Returns what the person before the camera can do.
    pub fn remedy(self) -> &'static str {
        match self {
            Flaw::Blurred => "hold still, and wipe the lens",
            Flaw::TurnedAway => "look straight at the camera",
            Flaw::TooDark => "more light on the face",
            Flaw::TooBright => "less light on the face, no lamp behind the camera",
            Flaw::Covered => "take off the mask or the dark glasses",
        }
    }

    /// Returns how another photo must be taken, if a photo has this flaw.
    pub fn remedy_of_photo(self) -> &'static str {
        match self {
            Flaw::Blurred => "with the face in focus",
            Flaw::TurnedAway => "on which the worker looks straight ahead",
            Flaw::TooDark => "with more light on the face",
            Flaw::TooBright => "with less light on the face, and no light behind it",
            Flaw::Covered => "without a mask or dark glasses",
        }
    }
}

/// The quality of a sighting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// 0 to 1; of two sightings the higher score is better.
    pub score: f32,
    /// `None`: the sighting is good enough to be embedded at once.
    pub flaw: Option<Flaw>,
}

/// Measures a face (in pixels of the camera's frame) and the aligned face. It does not check the
/// limits' minimum width: the caller refuses a face that is too small before.
pub fn assess(face: &Face, aligned: &Aligned, limits: &FaceLimits) -> Quality {
    let measured = Measured::of(face, aligned);
    Quality { score: measured.score(), flaw: measured.flaw(limits) }
}

/// The measurements of the table above.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    width_px: f32,
    sharpness: f32,
    along: f32,
    aside: f32,
    nose: f32,
    tilt: f32,
    light: f32,
    clipped: f32,
    mouth: f32,
    eyes: f32,
}

impl Measured {
    fn of(face: &Face, aligned: &Aligned) -> Measured {
        let [aside, nose, tilt] = pose(&face.landmarks);
        let half = half(aligned);
        let grey = part(&half, &INNER);
        let count = grey.len().max(1) as f32;
        let light = grey.iter().sum::<f32>() / count;
        let clipped = grey.iter().filter(|v| **v >= CLIPPED).count() as f32 / count;
        let [detail, rows, columns] = detail(&grey, &INNER);
        let spread = variance(&grey);
        let over = |detail: f32| if spread < 1.0 { 0.0 } else { detail / spread };
        let (sharpness, along) = (over(detail), over(rows.min(columns)));
        let mouth = self::detail(&part(&half, &AROUND_MOUTH), &AROUND_MOUTH)[0] / detail;
        let eyes = AROUND_EYES.map(|eye| quantile(part(&half, &eye), 0.75));
        let eyes = eyes[0].max(eyes[1]) / quantile(part(&half, &BELOW_EYES), 0.6).max(1.0);
        Measured {
            width_px: face.bbox.w,
            sharpness,
            along,
            aside,
            nose,
            tilt,
            light,
            clipped,
            mouth,
            eyes,
        }
    }

    fn flaw(&self, limits: &FaceLimits) -> Option<Flaw> {
        let (dark, bright) = limits.light;
        // A value that is NaN is outside of these limits.
        let straight = self.aside <= limits.max_aside && self.tilt <= limits.max_tilt_deg;
        if !(straight && NOSE.contains(&self.nose)) {
            Some(Flaw::TurnedAway)
        } else if self.light < dark {
            Some(Flaw::TooDark)
        } else if self.light > bright || self.clipped > CLIPPED_PART {
            Some(Flaw::TooBright)
        } else if self.sharpness < limits.min_sharpness || self.along < ALONG * limits.min_sharpness
        {
            Some(Flaw::Blurred)
        } else if self.mouth < limits.min_mouth || self.eyes < limits.min_eyes {
            Some(Flaw::Covered)
        } else {
            None
        }
    }

    /// Returns the score. It falls when a sighting gets worse, also within the limits.
    fn score(&self) -> f32 {
        let up_to = |value: f32, full: f32| (value / full).clamp(0.0, 1.0);
        let middle = (LIGHT.start() + LIGHT.end()) / 2.0;
        let parts = [
            up_to(self.width_px, WIDE_PX),
            up_to(self.sharpness, 4.0 * SHARP),
            1.0 - up_to(self.aside, 2.0 * ASIDE),
            1.0 - up_to((self.nose - NOSE_AHEAD).abs(), 0.6),
            1.0 - up_to(self.tilt, 2.0 * TILTED),
            1.0 - up_to((self.light - middle).abs(), 128.0),
            1.0 - up_to(self.clipped, 2.0 * CLIPPED_PART),
            0.5 + up_to(self.along, ALONG * SHARP) / 2.0,
            0.5 + up_to(self.mouth, MOUTH) / 2.0,
            0.5 + up_to(self.eyes, EYES) / 2.0,
        ];
        let score: f32 = parts.iter().product();
        if score.is_finite() { score } else { 0.0 }
    }
}

/// Returns three values: the turn to the side in distances between the eyes; the nose's place
/// between the eyes (0) and the mouth (1); the angle of the eyes to the horizon in degrees.
fn pose(landmarks: &Landmarks) -> [f32; 3] {
    let [left, right, nose, mouth_left, mouth_right] = *landmarks;
    let middle = |a: [f32; 2], b: [f32; 2]| [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
    let (eyes, mouth) = (middle(left, right), middle(mouth_left, mouth_right));
    let across = [right[0] - left[0], right[1] - left[1]];
    let apart = across[0].hypot(across[1]);
    // The axes are along the eyes and at right angles to them. A tilted head is then not measured
    // as turned to the side.
    let unit = [across[0] / apart, across[1] / apart];
    let along = |p: [f32; 2]| (p[0] - eyes[0]) * unit[0] + (p[1] - eyes[1]) * unit[1];
    let below = |p: [f32; 2]| (p[1] - eyes[1]) * unit[0] - (p[0] - eyes[0]) * unit[1];
    let aside = (along(nose) - along(mouth) / 2.0).abs() / apart;
    [aside, below(nose) / below(mouth), across[1].atan2(across[0]).to_degrees().abs()]
}

/// Returns the aligned face in grey, at half its size. A narrower blur does not harm the template,
/// and a small face that was enlarged does not count as blurred.
fn half(Aligned(planes): &Aligned) -> Vec<f32> {
    let plane = ALIGNED_SIDE * ALIGNED_SIDE;
    let value = |x: usize, y: usize| {
        let at = y * ALIGNED_SIDE + x;
        let channel = |n: usize| planes.get(n * plane + at).copied().unwrap_or(0.0);
        0.299 * channel(0) + 0.587 * channel(1) + 0.114 * channel(2)
    };
    let halves = || (0..ALIGNED_SIDE).step_by(2);
    let cells = halves().flat_map(|y| halves().map(move |x| (x, y)));
    let four =
        |(x, y)| (value(x, y) + value(x + 1, y) + value(x, y + 1) + value(x + 1, y + 1)) / 4.0;
    cells.map(four).collect()
}

/// Returns a part of the halved face, row by row.
fn part(half: &[f32], (columns, rows): &Part) -> Vec<f32> {
    let rows = half.chunks_exact(SIDE).take(rows.end).skip(rows.start);
    rows.flat_map(|row| &row[columns.clone()]).copied().collect()
}

/// Returns the variance of the Laplacian within a part, and of its two halves: along the rows and along
/// the columns. Over the variance of the grey levels it is not lower in twilight.
fn detail(part: &[f32], (columns, _): &Part) -> [f32; 3] {
    let rows: Vec<&[f32]> = part.chunks_exact(columns.len()).collect();
    let second = |[before, at, after]: [f32; 3]| before + after - 2.0 * at;
    let halves = rows.windows(3).flat_map(|three| {
        let (above, row, below) = (three[0], three[1], three[2]);
        (1..row.len() - 1).map(move |x| {
            [second([row[x - 1], row[x], row[x + 1]]), second([above[x], row[x], below[x]])]
        })
    });
    let halves: Vec<[f32; 2]> = halves.collect();
    let variance_of =
        |of: fn(&[f32; 2]) -> f32| variance(&halves.iter().map(of).collect::<Vec<_>>());
    [variance_of(|[x, y]| x + y), variance_of(|[x, _]| *x), variance_of(|[_, y]| *y)]
}

/// Returns the value below which this share of the values is.
fn quantile(mut values: Vec<f32>, share: f32) -> f32 {
    let at = (values.len().saturating_sub(1) as f32 * share) as usize;
    if at >= values.len() {
        return 0.0;
    }
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

fn variance(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count
}

#[cfg(test)]
mod tests;
