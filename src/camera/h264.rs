//! H.264 to pictures, by openh264.
//!
//! In: access units in Annex B form. Out: their pictures in I420, without padding. openh264 is C++
//! that reads what a camera, or whoever took its place, sends: the decoder is the one part of this
//! room in which such bytes are not handled by memory-safe code. It refuses pictures beyond
//! [`MAX_PIXELS`] before it makes room for them, and keeps at most 18 (255 MB of the largest; a camera
//! that means well needs two or three).
//!
//! A picture may need any before it, and so each is decoded; errors last until the next key frame.

use memchr::memmem;
use openh264::{decoder, formats::YUVSource};

use super::{Layout, Yuv};

/// The most pixels of a picture: what level 5.2 allows. A 4K camera's has 8.3 million.
pub(super) const MAX_PIXELS: u64 = 36_864 * 16 * 16;

/// Failures in a row after which the decoder is made anew, in case that it is what fails.
const GIVES_UP: u32 = 30;

/// One stream's decoder.
pub(super) struct Decoder {
    inner: decoder::Decoder,
    /// The stream's parameter sets as they came last.
    parameters: Vec<u8>,
    failures: u32,
}

impl Decoder {
    pub fn new() -> Result<Self, String> {
        let inner = decoder::Decoder::new().map_err(|e| format!("no H.264 decoder: {e}"))?;
        Ok(Self { inner, parameters: Vec::new(), failures: 0 })
    }

    /// The picture of one access unit. `Ok(None)`: there is none yet. `Err(())`: it is of no use.
    pub fn decode(&mut self, access_unit: &[u8]) -> Result<Option<Yuv>, ()> {
        // A decoder that has once believed broken ones may draw the right ones wrong for ever.
        let parameters = parameter_sets(access_unit);
        if !parameters.is_empty() && parameters != self.parameters {
            if !self.parameters.is_empty() {
                self.begin_anew();
            }
            self.parameters = parameters;
        }
        let picture = match self.inner.decode(access_unit) {
            Ok(None) => return Ok(None),
            Ok(Some(decoded)) => unpadded(&decoded),
            Err(_) => None,
        };
        self.failures = if picture.is_some() { 0 } else { self.failures + 1 };
        if self.failures >= GIVES_UP {
            self.begin_anew();
        }
        picture.map(Some).ok_or(())
    }

    fn begin_anew(&mut self) {
        if let Ok(anew) = Self::new() {
            *self = anew;
        }
    }
}

/// The units of an access unit that say how to decode the others (ITU-T H.264, table 7-1).
fn parameter_sets(access_unit: &[u8]) -> Vec<u8> {
    const SEQUENCE: u8 = 7;
    const PICTURE: u8 = 8;
    let starts: Vec<_> = memmem::find_iter(access_unit, &[0, 0, 1]).collect();
    let ends = starts.iter().skip(1).copied().chain([access_unit.len()]);
    let units = starts.iter().zip(ends).filter_map(|(start, end)| access_unit.get(*start..end));
    let says = |unit: &&[u8]| unit.get(3).is_some_and(|k| matches!(k & 31, SEQUENCE | PICTURE));
    units.filter(says).flatten().copied().collect()
}

/// The three planes without the padding of their rows.
fn unpadded(decoded: &decoder::DecodedYUV<'_>) -> Option<Yuv> {
    let (width, height) = decoded.dimensions();
    if width < 2 || height < 2 || width % 2 != 0 || height % 2 != 0 {
        return None;
    }
    let (y, u, v) = decoded.strides();
    let mut data = Vec::with_capacity(width * height / 2 * 3);
    for (plane, stride, width, height) in [
        (decoded.y(), y, width, height),
        (decoded.u(), u, width / 2, height / 2),
        (decoded.v(), v, width / 2, height / 2),
    ] {
        for row in 0..height {
            let begins = row * stride;
            data.extend_from_slice(plane.get(begins..begins + width)?);
        }
    }
    let (width, height) = (width.try_into().ok()?, height.try_into().ok()?);
    Some(Yuv { width, height, layout: Layout::I420, data })
}

#[cfg(test)]
mod tests;
