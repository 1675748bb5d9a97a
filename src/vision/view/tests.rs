use mozjpeg::{ColorSpace, Compress};
use proptest::prelude::*;

use super::*;
use crate::camera::Layout;
use crate::vision::Rect;

/// Returns a JPEG by another encoder, with a slope from dark to light.
fn jpeg(width: usize, height: usize, space: ColorSpace, progressive: bool) -> Vec<u8> {
    let mut encoder = Compress::new(space);
    encoder.set_size(width, height);
    if progressive {
        encoder.set_progressive_mode();
    } else {
        encoder.set_fastest_defaults();
    }
    encoder.set_quality(85.0);
    let channels = match space {
        ColorSpace::JCS_GRAYSCALE => 1,
        ColorSpace::JCS_CMYK => 4,
        _ => 3,
    };
    let row = (0..width).flat_map(|x| vec![(x * 255 / width) as u8; channels]);
    let pixels = row.collect::<Vec<u8>>().repeat(height);
    let mut started = encoder.start_compress(Vec::new()).unwrap();
    started.write_scanlines(&pixels).unwrap();
    started.finish().unwrap()
}

fn colour(width: usize, height: usize) -> Vec<u8> {
    jpeg(width, height, ColorSpace::JCS_RGB, false)
}

fn encoded(bytes: &[u8]) -> Picture {
    Picture::Encoded(bytes.into())
}

fn raw(width: u32, height: u32, layout: Layout) -> Picture {
    let pixels = (width * height) as usize;
    let mut data: Vec<u8> = Vec::new();
    match layout {
        Layout::I420 => {
            data.extend(
                (0..pixels).map(|at| (16 + at % width as usize * 219 / width as usize) as u8),
            );
            data.resize(pixels / 2 * 3, 128);
        }
        Layout::Yuyv => data.extend(
            (0..pixels)
                .flat_map(|at| [(16 + at % width as usize * 219 / width as usize) as u8, 128]),
        ),
    }
    Picture::Raw(Yuv { width, height, layout, data }.into())
}

fn face(x: f32, y: f32, w: f32) -> Face {
    let landmarks = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]];
    let landmarks = landmarks.map(|[u, v]| [x + u * w, y + v * w]);
    Face { score: 0.9, bbox: Rect { x, y, w, h: w }, landmarks }
}

/// Does everything that a gate does with a frame. Returns the first error.
fn looked_at(picture: &Picture, face: &Face) -> Result<(), DecodeError> {
    let view = View::new(picture)?;
    let luma = view.luma()?;
    assert_eq!(luma.values.len(), (luma.width * luma.height) as usize);
    assert!(luma.width > 0 && luma.height > 0);
    let small = view.for_detection(320)?;
    assert!(small.image().width() <= view.size().0 && small.image().height() <= view.size().1);
    let _ = view.for_face(face, small)?.cut_out(face);
    Ok(())
}

#[test]
fn each_step_gets_the_smallest_sufficient_picture() {
    let size = |image: &Image| (image.width(), image.height());
    for (picture, thumbnail, small) in [
        (encoded(&colour(1280, 720)), (160, 90), (320, 180)),
        (encoded(&colour(640, 480)), (80, 60), (320, 240)),
        (encoded(&colour(639, 300)), (80, 38), (639, 300)),
        (encoded(&colour(1, 1)), (1, 1), (1, 1)),
        (raw(1280, 720, Layout::I420), (160, 90), (320, 180)),
        (raw(2560, 1440, Layout::Yuyv), (320, 180), (320, 180)),
        (raw(2, 2, Layout::Yuyv), (1, 1), (2, 2)),
    ] {
        let view = View::new(&picture).unwrap();
        let luma = view.luma().unwrap();
        assert_eq!((luma.width, luma.height), thumbnail);
        assert_eq!(size(view.for_detection(320).unwrap().image()), small);
    }
    let picture = encoded(&colour(1280, 720));
    let view = View::new(&picture).unwrap();
    // Only the area around the face is decoded.
    for (wide, width) in
        [(48.0, 144), (279.0, 837), (280.0, 420), (559.0, 640), (560.0, 320), (1200.0, 320)]
    {
        let small = view.for_detection(320).unwrap();
        let near = view.for_face(&face(610.0 - wide / 2.0, 10.0, wide), small).unwrap();
        assert_eq!(near.image().width(), width, "{wide}");
    }
    let picture = raw(1280, 720, Layout::I420);
    let view = View::new(&picture).unwrap();
    let near = view.for_face(&face(400.0, 600.0, 100.0), view.for_detection(320).unwrap());
    assert_eq!(size(near.unwrap().image()), (300, 220));
}

#[test]
fn a_thumbnail_is_the_frame_at_an_eighth_in_every_format() {
    let slope = |picture: &Picture| View::new(picture).unwrap().luma().unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    ::image::RgbImage::from_fn(320, 160, |x, _| ::image::Rgb([(x * 255 / 320) as u8; 3]))
        .write_to(&mut png, ::image::ImageFormat::Png)
        .unwrap();
    for picture in [
        encoded(&colour(320, 160)),
        encoded(&jpeg(320, 160, ColorSpace::JCS_RGB, true)),
        encoded(&jpeg(320, 160, ColorSpace::JCS_GRAYSCALE, false)),
        encoded(png.get_ref()),
    ] {
        let luma = slope(&picture);
        assert_eq!((luma.width, luma.height), (40, 20));
        for (at, value) in luma.values.iter().enumerate() {
            let expected = ((at % 40) * 8 + 4) as f32 * 255.0 / 320.0;
            assert!((f32::from(*value) - expected).abs() < 5.0, "{at}: {value}");
        }
    }
    for layout in [Layout::I420, Layout::Yuyv] {
        let luma = slope(&raw(320, 160, layout));
        assert!(luma.values[..40].is_sorted() && luma.values[39] > 200, "{:?}", luma.values);
    }
}

#[test]
fn a_frame_that_is_not_upright_is_turned_at_every_scale() {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0".to_vec();
    exif.extend([0; 4]);
    let plain = colour(1280, 720);
    let mut turned = vec![0xff, 0xd8, 0xff, 0xe1];
    turned.extend(((exif.len() + 2) as u16).to_be_bytes());
    turned.extend(exif);
    turned.extend(&plain[2..]);
    let picture = encoded(&turned);
    let view = View::new(&picture).unwrap();
    assert_eq!(view.size(), (720, 1280));
    let small = view.for_detection(320).unwrap();
    assert_eq!((small.image().width(), small.image().height()), (180, 320));
    assert_eq!(small.in_frame(face(10.0, 20.0, 12.0)), face(40.0, 80.0, 48.0));
}

#[test]
fn a_cmyk_frame_is_refused_as_at_full_scale() {
    let cmyk = encoded(&jpeg(64, 64, ColorSpace::JCS_CMYK, false));
    let Picture::Encoded(bytes) = &cmyk else { panic!() };
    assert!(matches!(decode_frame(bytes), Err(DecodeError::Damaged { .. })));
    assert!(matches!(looked_at(&cmyk, &face(0.0, 0.0, 9.0)), Err(DecodeError::Damaged { .. })));
}

#[test]
fn i8_a_size_beyond_the_bounds_is_refused_before_decoding() {
    let claiming = |width: u16, height: u16| {
        let mut jpeg = colour(16, 16);
        let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        jpeg[sof + 5..sof + 7].copy_from_slice(&height.to_be_bytes());
        jpeg[sof + 7..sof + 9].copy_from_slice(&width.to_be_bytes());
        encoded(&jpeg)
    };
    let size = |picture: &Picture| View::new(picture).map(|view| view.size());
    assert_eq!(size(&claiming(4000, 3000)), Ok((4000, 3000)));
    for (width, height) in [(4000, 3001), (16_385, 1), (65_500, 65_500)] {
        let refused = size(&claiming(width, height));
        assert!(matches!(refused, Err(DecodeError::TooLarge { .. })), "{refused:?}");
    }
    assert!(matches!(size(&claiming(0, 16)), Err(DecodeError::Damaged { .. })));
    // The picture has fewer pixels than its header says; the missing ones become grey.
    looked_at(&claiming(1600, 1200), &face(0.0, 0.0, 100.0)).unwrap();
}

#[test]
fn i8_a_picture_with_too_many_scans_is_refused() {
    let progressive = jpeg(64, 64, ColorSpace::JCS_RGB, true);
    looked_at(&encoded(&progressive), &face(0.0, 0.0, 9.0)).unwrap();
    let scan = progressive.windows(2).rposition(|w| w == [0xff, 0xda]).unwrap();
    let (head, last) = progressive.split_at(scan);
    let endless = [head, &last[..last.len() - 2].repeat(40), &last[last.len() - 2..]].concat();
    let refused = looked_at(&encoded(&endless), &face(0.0, 0.0, 9.0)).unwrap_err();
    assert!(refused.to_string().contains("scans"), "{refused}");
    assert_eq!(super::super::decode(&endless), Err(refused));
}

#[test]
fn raw_samples_that_do_not_fit_the_size_are_refused() {
    for layout in [Layout::I420, Layout::Yuyv] {
        for (width, height, length) in [
            (4, 4, 23),
            (4, 4, 33),
            (4, 4, 0),
            (3, 2, 9),
            (2, 3, 12),
            (0, 4, 0),
            (4, 0, 0),
            (5000, 4000, 1),
            (u32::MAX, u32::MAX, 1),
            (u32::MAX - 1, 2, 1),
        ] {
            let picture = Picture::Raw(Yuv { width, height, layout, data: vec![0; length] }.into());
            assert!(View::new(&picture).is_err(), "{layout:?} {width} x {height}: {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every step ends with a picture or an error.
    #[test]
    fn mutated_frames_never_panic(
        kind in 0..5_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        keep in prop::option::of(any::<prop::sample::Index>()),
        (x, y, w) in (-200_f32..900.0, -200_f32..900.0, 0.1_f32..900.0),
    ) {
        let mut bytes = match kind {
            0 => colour(649, 41),
            1 => jpeg(330, 48, ColorSpace::JCS_RGB, true),
            2 => jpeg(700, 33, ColorSpace::JCS_GRAYSCALE, false),
            3 => jpeg(700, 33, ColorSpace::JCS_GRAYSCALE, true),
            _ => jpeg(20, 20, ColorSpace::JCS_CMYK, true),
        };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len() + 1));
        }
        let _ = looked_at(&encoded(&bytes), &face(x, y, w));
    }

    #[test]
    fn raw_frames_of_any_size_never_panic(
        (width, height) in (0_u32..700, 0_u32..40),
        i420 in any::<bool>(),
        off in -2_i64..3,
        (x, y, w) in (-200_f32..900.0, -200_f32..900.0, 0.1_f32..900.0),
    ) {
        let layout = if i420 { Layout::I420 } else { Layout::Yuyv };
        let pixels = i64::from(width * height);
        let length = if i420 { pixels / 2 * 3 } else { pixels * 2 } + off;
        let data = vec![77; usize::try_from(length).unwrap_or(0)];
        let picture = Picture::Raw(Yuv { width, height, layout, data }.into());
        let fits = off == 0 && width % 2 == 0 && height % 2 == 0 && pixels > 0;
        prop_assert_eq!(looked_at(&picture, &face(x, y, w)).is_ok(), fits);
    }
}

/// Returns a colourful JPEG, so that a shifted part differs.
fn patterned(width: u32, height: u32) -> Vec<u8> {
    let mut encoder = Compress::new(ColorSpace::JCS_RGB);
    encoder.set_size(width as usize, height as usize);
    encoder.set_quality(90.0);
    let pixel = |at: u32| [at % width, at / width, at % width / 7 * (at / width / 5)];
    let pixels: Vec<u8> = (0..width * height).flat_map(pixel).map(|v| v as u8).collect();
    let mut started = encoder.start_compress(Vec::new()).unwrap();
    started.write_scanlines(&pixels).unwrap();
    started.finish().unwrap()
}

proptest! {
    #[test]
    fn a_part_around_a_face_has_the_pixels_of_the_whole_frame(
        (width, height) in (16..400u32, 16..300u32),
        (x, y, w) in (-50.0..420.0f32, -50.0..320.0f32, 1.0..400.0f32),
        searched in proptest::bool::ANY,
    ) {
        let picture = encoded(&patterned(width, height));
        let view = View::new(&picture).unwrap();
        let face = face(x, y, w);
        let part = if searched {
            view.around(&face).unwrap().unwrap()
        } else {
            let [(left, top), size] = face.bbox.around(3.0, view.size());
            view.part([(left, top), size], Scale::keeping(w, FACE_PX)).unwrap().unwrap()
        };
        let (from, image) = ((part.left / part.step, part.top / part.step), part.image());
        let scale = [Scale::Full, Scale::Half, Scale::Quarter, Scale::Eighth];
        let scale = scale.into_iter().find(|scale| scale.step() == part.step).unwrap();
        let whole = view.whole_at(scale).unwrap().into_image();
        let rows = whole.rgb().chunks_exact(3 * whole.width() as usize).skip(from.1 as usize);
        for (part, whole) in image.rgb().chunks_exact(3 * image.width() as usize).zip(rows) {
            prop_assert_eq!(part, &whole[3 * from.0 as usize..][..part.len()]);
        }
        prop_assert!(from.1 + image.height() <= whole.height());
    }
}

#[test]
fn the_place_of_a_face_is_searched_in_a_small_square() {
    let face = face(600.0, 300.0, 80.0);
    let picture = encoded(&colour(1280, 720));
    for picture in [&picture, &raw(1280, 720, Layout::I420), &raw(1280, 720, Layout::Yuyv)] {
        let view = View::new(picture).unwrap();
        let part = view.around(&face).unwrap().unwrap();
        assert_eq!((part.image().width(), part.image().height()), (240, 240));
        let here = part.here(&face).bbox;
        assert_eq!((here.x, here.y, here.w), (80.0, 80.0, 80.0));
        let back = part.in_frame(part.here(&face)).bbox;
        assert_eq!((back.x, back.y, back.w), (600.0, 300.0, 80.0));
    }
    // Pixels of these cannot be decoded apart.
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(64, 64).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = encoded(&png.into_inner());
    assert!(View::new(&png).unwrap().around(&face).unwrap().is_none());
}
