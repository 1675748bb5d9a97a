//! A picture at another size, ready for the detector.
//!
//! Shrinking averages over exactly the area that becomes one pixel (OpenCV's
//! INTER_AREA). Enlarging is bilinear (INTER_LINEAR). The method matters: when
//! only the nearest four pixels stand for the area, YuNet's landmarks move by
//! several per cent of the face. Even Pillow's averaging bilinear filter makes
//! a template whose cosine with ours is 0.99. Our method gives OpenCV's
//! figures. The resizing crates offer no exact area average.

use image::RgbImage;
use multiversion::multiversion;

/// For each pixel along one side of the result: its first source pixel, and the
/// weights of this and the following source pixels, which sum to 1.
struct Axis {
    spans: Vec<(usize, Vec<f32>)>,
}

impl Axis {
    fn new(from: u32, to: u32) -> Axis {
        let step = f64::from(from) / f64::from(to);
        let spans = (0..to).map(|i| {
            if step > 1.0 {
                area(f64::from(i) * step, f64::from(i + 1) * step, from)
            } else {
                between((f64::from(i) + 0.5) * step - 0.5, from)
            }
        });
        Axis { spans: spans.collect() }
    }
}

/// Returns the span from `start` to `end`, with each pixel weighted by its part in it.
fn area(start: f64, end: f64, from: u32) -> (usize, Vec<f32>) {
    let first = start.floor() as u32;
    let last = (end.ceil() as u32).min(from);
    let weights = (first..last.max(first + 1)).map(|pixel| {
        let covered = end.min(f64::from(pixel) + 1.0) - start.max(f64::from(pixel));
        (covered / (end - start)) as f32
    });
    (first as usize, weights.collect())
}

/// Returns the two pixels around the point `at`, with their weights. Pixel
/// centres are whole numbers. Beyond the edge, the edge's pixel counts.
fn between(at: f64, from: u32) -> (usize, Vec<f32>) {
    let at = at.clamp(0.0, f64::from(from - 1));
    let second = at.fract() as f32;
    let weights = if second > 0.0 { vec![1.0 - second, second] } else { vec![1.0] };
    (at as usize, weights)
}

/// Scales to `width` x `height` (at least 1 each), row by row. `row` gets
/// 3 * width values in 0..=255, in the order R, G, B.
///
/// Values are rounded to whole numbers, as an 8-bit picture would hold them.
pub(super) fn scaled_rows(image: &RgbImage, width: u32, height: u32, row: impl FnMut(&[f32])) {
    scaled_rows_of(image, [(0, 0), image.dimensions()], (width, height), row);
}

/// Does the same for a part of the picture, from a corner with a size.
fn scaled_rows_of(
    image: &RgbImage,
    [(left, top), from]: [(u32, u32); 2],
    (width, height): (u32, u32),
    mut row: impl FnMut(&[f32]),
) {
    let samples = 3 * left as usize..3 * (left + from.0) as usize;
    let rows = image.as_raw().chunks_exact(3 * image.width() as usize);
    let rows = rows.skip(top as usize).take(from.1 as usize);
    let part_of = |row| <[u8]>::get(row, samples.clone()).unwrap_or_default();
    if (width, height) == from {
        let mut result = vec![0.0f32; samples.len()];
        for source in rows {
            result.iter_mut().zip(part_of(source)).for_each(|(to, from)| *to = f32::from(*from));
            row(&result);
        }
        return;
    }
    let across = Axis::new(from.0, width);
    let down = Axis::new(from.1, height);
    // Columns are summed first. These sums run along whole rows, which the
    // compiler turns into vector instructions.
    let mut column_sums = vec![0.0f32; samples.len()];
    let mut result = vec![0.0f32; 3 * width as usize];
    for (first, weights) in &down.spans {
        column_sums.fill(0.0);
        for (source, weight) in rows.clone().skip(*first).zip(weights) {
            add_row(&mut column_sums, part_of(source), *weight);
        }
        let (pixels, _) = column_sums.as_chunks::<3>();
        let targets = result.as_chunks_mut::<3>().0.iter_mut();
        for (target, (first, weights)) in targets.zip(&across.spans) {
            let mut colour = [0.0f32; 3];
            for (pixel, weight) in pixels.iter().skip(*first).zip(weights) {
                for (sum, value) in colour.iter_mut().zip(pixel) {
                    *sum += weight * value;
                }
            }
            // Rounds halves upwards, as there is nothing below 0. `f32::round` calls a function.
            *target = colour.map(|value| (value + 0.5).trunc());
        }
        row(&result);
    }
}

/// Returns the picture at another size, at least 1 x 1.
pub(super) fn scaled(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    scaled_part(image, [(0, 0), image.dimensions()], (width, height))
}

/// Returns a part of the picture, from a corner with a size, at another size. The part is not copied,
/// because it may be large.
pub(super) fn scaled_part(
    image: &RgbImage,
    part: [(u32, u32); 2],
    (width, height): (u32, u32),
) -> RgbImage {
    let mut scaled = RgbImage::new(width, height);
    let mut rows = scaled.chunks_exact_mut(3 * width as usize);
    scaled_rows_of(image, part, (width, height), |values| {
        let row = rows.next().into_iter().flatten();
        row.zip(values).for_each(|(to, from)| *to = *from as u8);
    });
    scaled
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx"))]
fn add_row(sums: &mut [f32], row: &[u8], weight: f32) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += weight * f32::from(*value);
    }
}

#[cfg(test)]
mod tests;
