use std::sync::LazyLock;

use openh264::{
    OpenH264API,
    encoder::{Encoder, EncoderConfig, IntraFramePeriod, RateControlMode},
    formats::YUVBuffer,
};
use proptest::prelude::*;

use super::*;

const KEY_FRAME_EACH: usize = 6;

/// Returns a grey picture with a brighter square that moves with `n`.
fn scene(width: usize, height: usize, n: usize) -> Vec<u8> {
    let mut yuv = vec![128; width * height / 2 * 3];
    for row in 8..24 {
        yuv[row * width + 8 + n..row * width + 24 + n].fill(200);
    }
    yuv
}

/// Returns a camera's stream: key frames, each with the frames that depend on it.
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
    // The encoder pads 36 x 46 to whole macroblocks.
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
    // One access unit is lost, and the next one is cut short.
    let _ = decoder.decode(&units[2][..units[2].len() / 2]);
    for unit in &units[3..KEY_FRAME_EACH] {
        let _ = decoder.decode(unit);
    }
    for (n, unit) in units.iter().enumerate().skip(KEY_FRAME_EACH) {
        assert!(is_scene(&decoder.decode(unit).unwrap().unwrap(), n), "frame {n}");
    }
}

#[test]
fn i10_pictures_are_whole_again_after_broken_parameter_sets() {
    let units = stream(64, 48, 1);
    for at in 0..parameter_sets(&units[0]).len() + 8 {
        for bit in 0..8 {
            let mut decoder = Decoder::new().unwrap();
            let mut broken = units[0].clone();
            broken[at] ^= 1 << bit;
            let _ = decoder.decode(&broken);
            let whole = (0..=MAX_FAILURES).any(|_| {
                decoder.decode(&units[0]).is_ok_and(|p| p.is_some_and(|p| is_scene(&p, 0)))
            });
            assert!(whole, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn i10_a_decoder_that_only_fails_is_created_again() {
    let mut decoder = Decoder::new().unwrap();
    let units = stream(64, 48, 2);
    let mut failed = 0;
    // The second unit cannot be decoded without the key frame before it.
    while failed < MAX_FAILURES {
        assert!(decoder.decode(&units[1]).is_err());
        failed += 1;
    }
    assert_eq!(decoder.failures, 0);
    assert!(is_scene(&decoder.decode(&units[0]).unwrap().unwrap(), 0));
}

/// Two streams, the second with another picture size.
static UNITS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| [stream(64, 48, 8), stream(96, 80, 4)].concat());

proptest! {
    #[test]
    fn i10_mutated_streams_never_panic_and_a_good_stream_decodes_after_them(
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
        // At most [`MAX_FAILURES`] key frames fail before the decoder is created again.
        let whole = (0..=MAX_FAILURES)
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
