//! Decodes H.264 with openh264.
//!
//! In: access units in Annex B form. Out: their pictures in I420, without padding. It touches
//! nothing.
//!
//! openh264 is C++ code that reads bytes from a camera, or from an attacker in its place. It is the
//! only part of this room that handles these bytes outside memory-safe code. It refuses pictures
//! beyond [`MAX_PIXELS`] before it allocates memory for them. It keeps at most 18 pictures, 255 MB
//! at the largest size. A normal camera needs two or three.
//!
//! A picture may depend on any picture before it, so each one is decoded. Errors last until the
//! next key frame.

use h264_reader::{
    nal::sps::{ChromaFormat, FrameMbsFlags, SeqParameterSet},
    rbsp::{BitReader, ByteReader},
};
use memchr::memmem;
use openh264::{decoder, formats::YUVSource};

use super::{Layout, Yuv};

/// Maximum number of pixels of a picture. Source: level 5.2. A 4K picture has 8.3 million.
pub(super) const MAX_PIXELS: u64 = 36_864 * 16 * 16;

/// Maximum number of failures in a row. Then a new decoder is created, because the decoder itself
/// may have failed.
const MAX_FAILURES: u32 = 30;

/// One stream's decoder.
pub(super) struct Decoder {
    inner: decoder::Decoder,
    /// The last parameter sets of the stream.
    parameters: Vec<u8>,
    failures: u32,
}

impl Decoder {
    pub fn new() -> Result<Self, String> {
        let inner =
            decoder::Decoder::new().map_err(|e| format!("cannot create an H.264 decoder: {e}"))?;
        Ok(Self { inner, parameters: Vec::new(), failures: 0 })
    }

    /// Decodes the picture of one access unit. Returns `Ok(None)` if there is no picture yet, and
    /// `Err(())` if the picture is not usable.
    pub fn decode(&mut self, access_unit: &[u8]) -> Result<Option<Yuv>, ()> {
        // A decoder that has read broken parameter sets may decode all later pictures wrongly. So
        // other parameter sets begin a new decoder.
        let parameters = parameter_sets(access_unit);
        let is_key = !parameters.is_empty();
        if is_key && parameters != self.parameters {
            if !self.parameters.is_empty() {
                self.reset();
            }
            self.parameters = parameters;
        }
        let picture = match self.inner.decode(access_unit) {
            Ok(None) if !is_key => return Ok(None),
            // A decoder in a wrong state may take one key frame after the other and show none.
            Ok(None) => Ok(None),
            Ok(Some(decoded)) => unpadded(&decoded).map(Some).ok_or(()),
            Err(_) => Err(()),
        };
        self.failures = if matches!(picture, Ok(Some(_))) { 0 } else { self.failures + 1 };
        if self.failures >= MAX_FAILURES {
            self.reset();
        }
        picture
    }

    fn reset(&mut self) {
        if let Ok(new) = Self::new() {
            *self = new;
        }
    }
}

/// Returns an access unit's sequence and picture parameter sets (ITU-T H.264, table 7-1).
fn parameter_sets(access_unit: &[u8]) -> Vec<u8> {
    const SEQUENCE: u8 = 7;
    const PICTURE: u8 = 8;
    let starts: Vec<_> = memmem::find_iter(access_unit, &[0, 0, 1]).collect();
    let ends = starts.iter().skip(1).copied().chain([access_unit.len()]);
    let units = starts.iter().zip(ends).filter_map(|(start, end)| access_unit.get(*start..end));
    let says = |unit: &&[u8]| unit.get(3).is_some_and(|k| matches!(k & 31, SEQUENCE | PICTURE));
    units.filter(says).flatten().copied().collect()
}

/// Returns what the decoder cannot do with a stream, and what to do, from the parameters that retina
/// found. Returns `None` if they cannot be read: then the decoder tries.
pub(super) fn unsupported(parameters: &[u8]) -> Option<String> {
    let sps = sequence_parameters(parameters)?;
    let sps = SeqParameterSet::from_bits(BitReader::new(ByteReader::skipping_h264_header(sps)));
    let sps = sps.ok()?;
    let chroma = &sps.chroma_info;
    let what = if sps.frame_mbs_flags != FrameMbsFlags::Frames {
        "interlaced H.264, which this program does not decode; set the camera to progressive \
         pictures (such as 720p, not 1080i)"
    } else if chroma.bit_depth_luma_minus8 > 0 || chroma.bit_depth_chroma_minus8 > 0 {
        "H.264 of more than 8 bits a colour, which this program does not decode; set its profile to \
         Main or High"
    } else if !matches!(chroma.chroma_format, ChromaFormat::YUV420 | ChromaFormat::Monochrome) {
        "H.264 in 4:2:2 or 4:4:4, which this program does not decode; set its profile to Main or High"
    } else {
        return None;
    };
    Some(format!("the camera sends {what}"))
}

/// Returns the sequence parameter set among the parameters of a stream, which are in Annex B form or
/// in an `avcC` box (ISO 14496-15, 5.3.3).
fn sequence_parameters(parameters: &[u8]) -> Option<&[u8]> {
    if let [1, _, _, _, _, _, high, low, rest @ ..] = parameters {
        return rest.get(..u16::from_be_bytes([*high, *low]).into());
    }
    let begins = memmem::find(parameters, &[0, 0, 1])? + 3;
    let unit = parameters.get(begins..)?;
    Some(unit.get(..memmem::find(unit, &[0, 0, 1]).unwrap_or(unit.len())).unwrap_or(unit))
}

/// Returns the three planes without the padding of their rows.
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
