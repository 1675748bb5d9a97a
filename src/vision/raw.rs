//! Uncompressed frames at a reduced scale. Only the needed pixels are converted.
//!
//! The colours are ITU-R BT.601, video range, as [`Yuv`] says. The layout gives the order of the
//! samples in memory. A frame with a wrong number of samples is refused before a sample is read.

use super::image::{DecodeError, Image, MAX_FRAME_PIXELS, check_size};
use super::jpeg::Scale;
use crate::camera::{Layout, Yuv};

/// Maximum number of pixels read, along a side, for one pixel of the result.
const SAMPLES: u32 = 4;

/// Refuses a frame whose data does not fit its size and layout.
pub(super) fn check(yuv: &Yuv) -> Result<(), DecodeError> {
    let Yuv { width, height, layout, ref data } = *yuv;
    check_size(width, height, MAX_FRAME_PIXELS)?;
    let pixels = width as usize * height as usize;
    let expected = match layout {
        Layout::I420 => pixels / 2 * 3,
        Layout::Yuyv => pixels * 2,
    };
    if width == 0 || height == 0 || width % 2 != 0 || height % 2 != 0 || data.len() != expected {
        let why = format!("{} bytes are not {width} x {height} of {layout:?}", data.len());
        return Err(DecodeError::Damaged { format: "raw frame", why });
    }
    Ok(())
}

/// Returns the frame in grey, at an eighth of its width and height.
pub(super) fn thumbnail(yuv: &Yuv) -> (u32, u32, Vec<u8>) {
    let step = Scale::Eighth.step();
    let (width, height) = (yuv.width.div_ceil(step), yuv.height.div_ceil(step));
    let mut values = Vec::with_capacity(width as usize * height as usize);
    for y in 0..height {
        values.extend((0..width).map(|x| luma(yuv, x * step, y * step, step) as u8));
    }
    (width, height, values)
}

/// Returns the part of the frame from `from` with `size`, both in pixels and within the frame.
pub(super) fn part(
    yuv: &Yuv,
    from: (u32, u32),
    size: (u32, u32),
    scale: Scale,
) -> Result<Image, DecodeError> {
    if scale == Scale::Full { full_size(yuv, from, size) } else { averaged(yuv, from, size, scale) }
}

fn averaged(
    yuv: &Yuv,
    from: (u32, u32),
    size: (u32, u32),
    scale: Scale,
) -> Result<Image, DecodeError> {
    let step = scale.step();
    let (width, height) = (size.0.div_ceil(step), size.1.div_ceil(step));
    let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
    for row in 0..height {
        let y = from.1 + row * step;
        for column in 0..width {
            let x = from.0 + column * step;
            let [u, v] = chroma(yuv, x, y, step);
            rgb.extend(colour(luma(yuv, x, y, step), u, v));
        }
    }
    Image::from_rgb(width, height, rgb)
}

/// Does the same as [`averaged`] at full size, where each sample is its own average.
fn full_size(
    yuv: &Yuv,
    (left, top): (u32, u32),
    (width, height): (u32, u32),
) -> Result<Image, DecodeError> {
    let (columns, left) = (yuv.width as usize, left as usize);
    let (luma, rest) = yuv.data.split_at_checked(columns * yuv.height as usize).unwrap_or_default();
    let (blue, red) = rest.split_at(rest.len() / 2);
    let mut rgb = vec![0; 3 * width as usize * height as usize];
    for (y, row) in (top as usize..).zip(rgb.chunks_exact_mut(3 * width as usize)) {
        let row = row.as_chunks_mut::<3>().0.iter_mut().enumerate();
        let of = |value: u8| i32::from(value) - 128;
        match yuv.layout {
            Layout::I420 => {
                let luma = luma.get(y * columns..).unwrap_or_default();
                let halves =
                    [blue, red].map(|half| half.get(y / 2 * (columns / 2)..).unwrap_or_default());
                for (x, pixel) in row {
                    let [u, v] =
                        halves.map(|half| half.get((left + x) / 2).copied().unwrap_or(128));
                    let y = luma.get(left + x).copied().unwrap_or(128);
                    *pixel = colour(y.into(), of(u), of(v));
                }
            }
            Layout::Yuyv => {
                let pairs = yuv.data.get(2 * y * columns..).unwrap_or_default().as_chunks::<4>().0;
                for (x, pixel) in row {
                    let x = left + x;
                    let [first, u, second, v] = pairs.get(x / 2).copied().unwrap_or([128; 4]);
                    let y = if x.is_multiple_of(2) { first } else { second };
                    *pixel = colour(y.into(), of(u), of(v));
                }
            }
        }
    }
    Image::from_rgb(width, height, rgb)
}

/// Returns the mean Y of a square of `step` pixels a side, as far as it lies within the frame.
fn luma(yuv: &Yuv, x: u32, y: u32, step: u32) -> i32 {
    let apart = (step / SAMPLES).max(1) as usize;
    let (mut sum, mut count) = (0, 0);
    for y in (y..(y + step).min(yuv.height)).step_by(apart) {
        for x in (x..(x + step).min(yuv.width)).step_by(apart) {
            let pixel = y as usize * yuv.width as usize + x as usize;
            let at = match yuv.layout {
                Layout::I420 => pixel,
                Layout::Yuyv => 2 * pixel,
            };
            sum += i32::from(sample(yuv, at));
            count += 1;
        }
    }
    sum / count.max(1)
}

/// Returns the mean U and V of the same square, minus 128. Two pixels, or two by two pixels, share
/// one colour.
fn chroma(yuv: &Yuv, x: u32, y: u32, step: u32) -> [i32; 2] {
    let (width, height) = (yuv.width as usize, yuv.height as usize);
    let (mut sums, mut count) = ([0; 2], 0);
    for y in (y..(y + step).min(yuv.height)).step_by(2) {
        for x in (x..(x + step).min(yuv.width)).step_by(2) {
            let (x, y) = (x as usize, y as usize);
            let at = match yuv.layout {
                Layout::I420 => {
                    let at = y / 2 * (width / 2) + x / 2;
                    [width * height + at, width * height / 4 * 5 + at]
                }
                Layout::Yuyv => {
                    let pair = 2 * (y * width + x / 2 * 2);
                    [pair + 1, pair + 3]
                }
            };
            for (sum, at) in sums.iter_mut().zip(at) {
                *sum += i32::from(sample(yuv, at)) - 128;
            }
            count += 1;
        }
    }
    sums.map(|sum| sum / count.max(1))
}

fn sample(yuv: &Yuv, at: usize) -> u8 {
    yuv.data.get(at).copied().unwrap_or(128)
}

/// Converts Y, U and V to RGB. The factors are in 1/256: 255/219 for Y; 1.596, 0.391, 0.813 and
/// 2.018 for the colour differences.
fn colour(y: i32, u: i32, v: i32) -> [u8; 3] {
    let y = 298 * (y - 16) + 128;
    [y + 409 * v, y - 100 * u - 208 * v, y + 516 * u].map(|value| (value >> 8).clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests;
