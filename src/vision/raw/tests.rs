use super::*;

fn whole(yuv: &Yuv) -> Result<Image, DecodeError> {
    check(yuv)?;
    part(yuv, (0, 0), (yuv.width, yuv.height), Scale::Full)
}

/// The eight colours of a test card, each with its Y, U, V by BT.601.
const COLOURS: [([u8; 3], [u8; 3]); 8] = [
    ([0, 0, 0], [16, 128, 128]),
    ([255, 255, 255], [235, 128, 128]),
    ([255, 0, 0], [81, 90, 240]),
    ([0, 255, 0], [145, 54, 34]),
    ([0, 0, 255], [41, 240, 110]),
    ([255, 255, 0], [210, 16, 146]),
    ([0, 255, 255], [170, 166, 16]),
    ([255, 0, 255], [106, 202, 222]),
];

/// The colours as bars, two pixels wide and four high.
fn bars(layout: Layout) -> Yuv {
    let row = |n: usize, times: usize| {
        COLOURS.iter().flat_map(move |(_, yuv)| vec![yuv[n]; times]).collect::<Vec<u8>>()
    };
    let data = match layout {
        Layout::I420 => [row(0, 2).repeat(4), row(1, 1).repeat(2), row(2, 1).repeat(2)].concat(),
        Layout::Yuyv => {
            let two = |(_, [y, u, v]): &(_, [u8; 3])| [*y, *u, *y, *v];
            COLOURS.iter().flat_map(two).collect::<Vec<u8>>().repeat(4)
        }
    };
    Yuv { width: 16, height: 4, layout, data }
}

#[test]
fn known_colours_are_converted_at_their_places() {
    for layout in [Layout::I420, Layout::Yuyv] {
        let image = whole(&bars(layout)).unwrap();
        assert_eq!((image.width(), image.height()), (16, 4));
        for (at, pixel) in image.rgb().chunks(3).enumerate() {
            let (expected, _) = COLOURS[at % 16 / 2];
            let off = pixel.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(off <= 2, "{layout:?}, pixel {at}: {pixel:?} for {expected:?}");
        }
    }
}

#[test]
fn each_pixel_has_its_own_brightness_and_a_shared_colour() {
    let (width, height) = (64, 32);
    for (layout, bytes) in
        [(Layout::I420, width * height / 2 * 3), (Layout::Yuyv, width * height * 2)]
    {
        let data: Vec<u8> = (0..bytes).map(|at| (at * 37 % 251) as u8).collect();
        let at = |at: usize| f32::from(data[at]);
        let expected = (0..width * height).flat_map(|n| {
            let (x, y) = (n % width, n / width);
            let (luma, u, v) = match layout {
                Layout::I420 => {
                    let shared = y / 2 * (width / 2) + x / 2;
                    let planes = width * height;
                    (at(n), at(planes + shared), at(planes / 4 * 5 + shared))
                }
                Layout::Yuyv => (at(2 * n), at(4 * (n / 2) + 1), at(4 * (n / 2) + 3)),
            };
            let (luma, u, v) = (255.0 / 219.0 * (luma - 16.0), u - 128.0, v - 128.0);
            [luma + 1.596 * v, luma - 0.391 * u - 0.813 * v, luma + 2.018 * u]
        });
        let expected: Vec<f32> = expected.map(|value| value.clamp(0.0, 255.0)).collect();
        let (width, height) = (width as u32, height as u32);
        let image = whole(&Yuv { width, height, layout, data: data.clone() }).unwrap();
        assert_eq!(image.rgb().len(), expected.len());
        for (at, (is, should)) in image.rgb().iter().zip(expected).enumerate() {
            assert!((f32::from(*is) - should).abs() <= 2.0, "{layout:?} {at}: {is}, {should}");
        }
    }
}

#[test]
fn values_outside_the_range_are_clamped() {
    let data = vec![255, 255, 255, 255, 255, 255];
    let yuv = Yuv { width: 2, height: 2, layout: Layout::I420, data };
    assert_eq!(whole(&yuv).unwrap().rgb()[..3], [255, 125, 255]);
    let yuv = Yuv { width: 2, height: 2, layout: Layout::Yuyv, data: vec![0; 8] };
    assert_eq!(whole(&yuv).unwrap().rgb()[..3], [0, 135, 0]);
}

#[test]
fn data_that_does_not_fill_the_picture_is_refused() {
    let yuv = |width, height, layout, len| Yuv { width, height, layout, data: vec![0; len] };
    for wrong in [
        yuv(4, 4, Layout::I420, 23),
        yuv(4, 4, Layout::Yuyv, 33),
        yuv(3, 2, Layout::I420, 9),
        yuv(2, 3, Layout::I420, 9),
        yuv(0, 4, Layout::I420, 0),
    ] {
        let refused = whole(&wrong).unwrap_err();
        assert!(matches!(refused, DecodeError::Damaged { .. }), "{refused}");
    }
    let refused = whole(&yuv(4096, 4096, Layout::I420, 0)).unwrap_err();
    assert!(matches!(refused, DecodeError::TooLarge { .. }), "{refused}");
}

proptest::proptest! {
    #[test]
    fn a_part_at_full_size_has_the_pixels_of_the_averages(
        (width, height) in (1..20u32, 1..20u32),
        (left, top) in (0..40u32, 0..40u32),
        (w, h) in (1..40u32, 1..40u32),
        layout in proptest::sample::select(vec![Layout::I420, Layout::Yuyv]),
    ) {
        let (width, height) = (2 * width, 2 * height);
        let (left, top) = (left % width, top % height);
        let size = (w.min(width - left), h.min(height - top));
        let bytes = width * height * if layout == Layout::I420 { 3 } else { 4 } / 2;
        let data = (0..bytes).map(|at| (at * 37 % 251) as u8).collect();
        let yuv = Yuv { width, height, layout, data };
        check(&yuv).unwrap();
        let wanted = averaged(&yuv, (left, top), size, Scale::Full).unwrap();
        proptest::prop_assert_eq!(part(&yuv, (left, top), size, Scale::Full).unwrap(), wanted);
    }
}
