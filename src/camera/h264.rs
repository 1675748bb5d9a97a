//! H.264 to pictures, by openh264.
//!
//! In: access units in Annex B form. Out: their pictures in I420, without padding. openh264 is C++
//! that reads what a camera, or whoever took its place, sends: the decoder is the one part of the
//! program in which such bytes are not handled by memory-safe code. It refuses pictures beyond
//! level 5.2 (36,864 macroblocks, 9.4 million pixels) before it makes room for them; the caller
//! refuses those beyond [`MAX_PIXELS`](super::MAX_PIXELS) before they come here.
//!
//! A picture may need any before it, and so each is decoded; errors last until the next key frame.

use openh264::{decoder, formats::YUVSource};

use super::{Layout, Yuv};

/// Failures in a row after which the decoder is made anew, in case that it is what fails.
const GIVES_UP: u32 = 30;

/// One stream's decoder.
pub(super) struct Decoder {
    inner: decoder::Decoder,
    failures: u32,
}

impl Decoder {
    pub fn new() -> Result<Self, String> {
        let inner = decoder::Decoder::new().map_err(|e| format!("no H.264 decoder: {e}"))?;
        Ok(Self { inner, failures: 0 })
    }

    /// The picture of one access unit. `Ok(None)`: there is none yet. `Err(())`: it is of no use.
    pub fn decode(&mut self, access_unit: &[u8]) -> Result<Option<Yuv>, ()> {
        let picture = match self.inner.decode(access_unit) {
            Ok(None) => return Ok(None),
            Ok(Some(decoded)) => unpadded(&decoded).ok_or(()),
            Err(_) => Err(()),
        };
        if picture.is_ok() {
            self.failures = 0;
            return picture.map(Some);
        }
        self.failures += 1;
        if self.failures >= GIVES_UP
            && let Ok(anew) = Self::new()
        {
            *self = anew;
        }
        picture.map(Some)
    }
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
