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
            if !self.parameters.is_empty()
                && let Ok(anew) = Self::new()
            {
                *self = anew;
            }
            self.parameters = parameters;
        }
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
mod tests {
    use std::sync::LazyLock;

    use openh264::{
        OpenH264API,
        encoder::{Encoder, EncoderConfig, IntraFramePeriod, RateControlMode},
        formats::YUVBuffer,
    };
    use proptest::prelude::*;

    use super::*;

    const KEY_FRAME_EACH: usize = 6;

    /// A grey picture with a brighter square that moves.
    fn scene(width: usize, height: usize, n: usize) -> Vec<u8> {
        let mut yuv = vec![128; width * height / 2 * 3];
        for row in 8..24 {
            yuv[row * width + 8 + n..row * width + 24 + n].fill(200);
        }
        yuv
    }

    /// As a camera sends it: a key frame and those that need it, and so on.
    fn stream(width: usize, height: usize, frames: usize) -> Vec<Vec<u8>> {
        let config = EncoderConfig::new()
            .skip_frames(false)
            .rate_control_mode(RateControlMode::Off)
            .intra_frame_period(IntraFramePeriod::from_num_frames(KEY_FRAME_EACH as u32));
        let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).unwrap();
        let picture = |n| YUVBuffer::from_vec(scene(width, height, n), width, height);
        (0..frames).map(|n| encoder.encode(&picture(n)).unwrap().to_vec()).collect()
    }

    fn is_scene(picture: &Yuv, n: usize) -> bool {
        let expected = scene(picture.width as usize, picture.height as usize, n);
        picture.data.len() == expected.len()
            && picture.data.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) < 40)
    }

    #[test]
    fn each_picture_comes_out_whole_and_without_padding() {
        let mut decoder = Decoder::new().unwrap();
        // 36 x 46 is padded to whole macroblocks on its way.
        for (n, unit) in stream(36, 46, 9).iter().enumerate() {
            let picture = decoder.decode(unit).unwrap().unwrap();
            assert_eq!((picture.width, picture.height), (36, 46));
            assert!(is_scene(&picture, n), "frame {n}");
        }
    }

    #[test]
    fn a_stream_may_change_its_size() {
        let mut decoder = Decoder::new().unwrap();
        for (width, height) in [(64, 48), (160, 120), (48, 64)] {
            let pictures = stream(width, height, 3);
            let last = pictures.iter().filter_map(|unit| decoder.decode(unit).unwrap()).last();
            let last = last.unwrap();
            assert_eq!((last.width as usize, last.height as usize), (width, height));
            assert!(is_scene(&last, 2));
        }
    }

    #[test]
    fn after_broken_pictures_the_next_key_frame_is_whole() {
        let mut decoder = Decoder::new().unwrap();
        let units = stream(64, 48, 2 * KEY_FRAME_EACH);
        decoder.decode(&units[0]).unwrap().unwrap();
        // One is lost, and the next is cut off.
        let _ = decoder.decode(&units[2][..units[2].len() / 2]);
        for unit in &units[3..KEY_FRAME_EACH] {
            let _ = decoder.decode(unit);
        }
        for (n, unit) in units.iter().enumerate().skip(KEY_FRAME_EACH) {
            assert!(is_scene(&decoder.decode(unit).unwrap().unwrap(), n), "frame {n}");
        }
    }

    #[test]
    fn i10_parameters_that_were_broken_once_leave_no_trace() {
        let units = stream(64, 48, 1);
        for at in 0..parameter_sets(&units[0]).len() + 8 {
            for bit in 0..8 {
                let mut decoder = Decoder::new().unwrap();
                let mut broken = units[0].clone();
                broken[at] ^= 1 << bit;
                let _ = decoder.decode(&broken);
                let whole = (0..=GIVES_UP).any(|_| {
                    decoder.decode(&units[0]).is_ok_and(|p| p.is_some_and(|p| is_scene(&p, 0)))
                });
                assert!(whole, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn i10_a_decoder_that_only_fails_is_made_anew() {
        let mut decoder = Decoder::new().unwrap();
        let units = stream(64, 48, 2);
        let mut failed = 0;
        // Without the key frame before it, it is of no use.
        while failed < GIVES_UP {
            assert!(decoder.decode(&units[1]).is_err());
            failed += 1;
        }
        assert_eq!(decoder.failures, 0);
        assert!(is_scene(&decoder.decode(&units[0]).unwrap().unwrap(), 0));
    }

    /// Two pieces of a stream, the second of another size.
    static UNITS: LazyLock<Vec<Vec<u8>>> =
        LazyLock::new(|| [stream(64, 48, 8), stream(96, 80, 4)].concat());

    proptest! {
        #[test]
        fn i10_mutated_streams_never_panic_and_what_comes_after_decodes(
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
            changes in prop::collection::vec(
                (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..24),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut units: Vec<_> = order.iter().map(|at| at.get(&UNITS).clone()).collect();
            for (unit, at, value) in changes {
                let unit = unit.index(units.len());
                let unit = &mut units[unit];
                let at = at.index(unit.len());
                unit[at] = value;
            }
            let last = units.last_mut().unwrap();
            last.truncate(cut.index(last.len() + 1));
            let mut decoder = Decoder::new().unwrap();
            for unit in &units {
                if let Ok(Some(picture)) = decoder.decode(unit) {
                    let pixels = u64::from(picture.width) * u64::from(picture.height);
                    prop_assert!(pixels <= MAX_PIXELS);
                    prop_assert_eq!(picture.data.len() as u64, pixels / 2 * 3);
                }
            }
            // Within as many key frames as make it anew at the worst.
            let whole = (0..=GIVES_UP)
                .any(|_| decoder.decode(&UNITS[0]).is_ok_and(|p| p.is_some_and(|p| is_scene(&p, 0))));
            prop_assert!(whole);
        }

        #[test]
        fn i10_bytes_that_are_no_h264_never_panic(
            units in prop::collection::vec(
                (0_u8..32, prop::collection::vec(any::<u8>(), 0..200)), 1..8),
        ) {
            let mut decoder = Decoder::new().unwrap();
            for (kind, bytes) in units {
                let unit = [&[0, 0, 0, 1, 0x60 | kind], &bytes[..]].concat();
                let _ = decoder.decode(&unit);
            }
        }
    }
}
