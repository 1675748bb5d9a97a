use super::*;

const GREY: PixelFormat = PixelFormat::from_fourcc(*b"GREY");

fn listed(format: PixelFormat, (width, height): Size) -> Offer {
    Offer { format, least: (width, height), most: (width, height), step: (1, 1) }
}

fn range(least: Size, most: Size, step: Size) -> [Offer; 1] {
    [Offer { format: PixelFormat::YUYV, least, most, step }]
}

#[test]
fn mjpeg_is_preferred_to_yuyv_and_other_formats_are_ignored() {
    let all = [
        listed(GREY, (1280, 720)),
        listed(PixelFormat::YUYV, (1280, 720)),
        listed(PixelFormat::JPEG, (1280, 720)),
        listed(PixelFormat::MJPG, (640, 480)),
    ];
    let chosen = |offers| choose(offers, (1280, 720));
    assert_eq!(chosen(&all), Some((PixelFormat::MJPG, (640, 480))));
    assert_eq!(chosen(&all[..3]), Some((PixelFormat::JPEG, (1280, 720))));
    assert_eq!(chosen(&all[..2]), Some((PixelFormat::YUYV, (1280, 720))));
    assert_eq!(chosen(&all[..1]), None);
    assert_eq!(chosen(&[]), None);
}

#[test]
fn the_nearest_listed_size_is_chosen_and_none_beyond_12_million_pixels() {
    let sizes = [(320, 240), (640, 480), (1280, 960), (1920, 1080), (8000, 6000), (0, 720)];
    let offers = sizes.map(|size| listed(PixelFormat::MJPG, size));
    let chosen = |wanted| choose(&offers, wanted).unwrap().1;
    assert_eq!(chosen((1280, 720)), (1280, 960));
    assert_eq!(chosen((160, 120)), (320, 240));
    assert_eq!(chosen((4096, 4096)), (1920, 1080));
    let huge = [listed(PixelFormat::MJPG, (8000, 6000)), listed(PixelFormat::YUYV, (640, 480))];
    assert_eq!(choose(&huge, (1280, 720)), Some((PixelFormat::YUYV, (640, 480))));
    assert_eq!(choose(&huge[..1], (1280, 720)), None);
}

#[test]
fn a_size_within_a_range_keeps_to_its_steps() {
    let chosen = |offers: &[Offer], wanted| choose(offers, wanted).map(|(_, size)| size);
    let steps = range((48, 32), (1920, 1080), (16, 8));
    assert_eq!(chosen(&steps, (1280, 720)), Some((1280, 720)));
    assert_eq!(chosen(&steps, (1289, 719)), Some((1280, 712)));
    assert_eq!(chosen(&steps, (4096, 16)), Some((1920, 32)));
    let large = range((2, 2), (8192, 8192), (2, 2));
    assert_eq!(chosen(&large, (4096, 4096)), Some((4096, 2928)));
    // Errors of drivers.
    assert_eq!(chosen(&range((640, 480), (0, 0), (0, 0)), (1280, 720)), Some((640, 480)));
    assert_eq!(chosen(&range((0, 0), (0, 0), (0, 0)), (1280, 720)), None);
    let untold = range(ANY.0, ANY.1, ANY.2);
    assert_eq!(chosen(&untold, (1280, 720)), Some((1280, 720)));
}

#[test]
fn an_offered_format_is_shown_with_its_sizes() {
    let shown = |offer: &Offer| offer.to_string();
    assert_eq!(shown(&listed(GREY, (640, 480))), format!("{GREY} 640 x 480"));
    let [steps] = range((48, 32), (1920, 1080), (16, 8));
    assert_eq!(shown(&steps), format!("{} 48 x 32 to 1920 x 1080", steps.format));
    let [untold] = range(ANY.0, ANY.1, ANY.2);
    assert_eq!(shown(&untold), untold.format.to_string());
}

#[test]
fn the_nearest_rate_is_chosen_and_fractions_with_a_zero_are_ignored() {
    let offered = [(1, 30), (1, 20), (2, 25), (1, 5), (0, 1), (1, 0)];
    let chosen = |fps| nearest_rate(offered.into_iter(), fps);
    assert_eq!(chosen(15.0), Some((2, 25)));
    assert_eq!(chosen(60.0), Some((1, 30)));
    assert_eq!(chosen(0.1), Some((1, 5)));
    assert_eq!(nearest_rate([(0, 30), (1, 0)].into_iter(), 15.0), None);
}

#[test]
fn padded_rows_are_packed_and_missing_ones_refused() {
    let row = [1, 2, 3, 4, 5, 6, 7, 8];
    let padded = [&row[..], &[0xEE; 4], &row[..], &[0xEE; 4]].concat();
    let yuv = packed(&padded, (4, 2), 12).unwrap();
    assert_eq!((yuv.width, yuv.height, yuv.layout), (4, 2, Layout::Yuyv));
    assert_eq!(yuv.data, [row, row].concat());
    // The last row's padding may be missing, but not the row.
    assert_eq!(packed(&padded[..20], (4, 2), 12).unwrap(), yuv);
    assert_eq!(packed(&padded[..19], (4, 2), 12), None);
    assert_eq!(packed(&[], (4, 2), 12), None);
    // A stride of 0 means no padding. An odd last row is left out.
    assert_eq!(packed(&[row, row, row].concat(), (4, 3), 0).unwrap(), yuv);
    assert_eq!(packed(&padded, (4, 2), usize::MAX), None);
    assert_eq!(packed(&padded, (1, 1), 12), None);
}

#[test]
fn a_jpeg_is_taken_from_soi_to_eoi() {
    let jpeg = [0xFF, 0xD8, 0xFF, 0xDA, 7, 7, 0xFF, 0xD9];
    assert_eq!(whole_jpeg(&jpeg), Some(&jpeg[..]));
    assert_eq!(whole_jpeg(&[&jpeg[..], &[0; 9]].concat()), Some(&jpeg[..]));
    assert_eq!(whole_jpeg(&jpeg[..7]), None, "cut short");
    assert_eq!(whole_jpeg(&jpeg[1..]), None, "no beginning");
    assert_eq!(whole_jpeg(&[]), None);
    let mut large = vec![0; MAX_IMAGE + 1];
    large[..3].copy_from_slice(&jpeg[..3]);
    large[MAX_IMAGE - 1..].copy_from_slice(&[0xFF, 0xD9]);
    assert_eq!(whole_jpeg(&large), None, "too large");
}

#[test]
fn a_jpeg_without_huffman_tables_is_decoded_with_the_standard_ones() {
    let mut jpeg = io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 3, 9, y as u8]));
    picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let mut jpeg = jpeg.into_inner();
    let whole = crate::vision::decode_frame(&jpeg).unwrap();
    let mut tables = 0;
    while let Some(at) = jpeg.windows(2).position(|w| w == [0xFF, 0xC4]) {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        jpeg.drain(at..at + 2 + length);
        tables += 1;
    }
    assert!(tables > 0);
    assert!(crate::vision::decode_frame(whole_jpeg(&jpeg).unwrap()).unwrap() == whole);
}

#[test]
fn a_path_that_is_no_camera_is_refused_with_a_remedy() {
    let refusal = |path: &Path| match V4l2::open(path, (1280, 720), 15.0) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(e) => e.to_string(),
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "no camera").unwrap();
    for path in [Path::new("/dev/null"), &file, dir.path()] {
        let said = refusal(path);
        assert!(said.contains(&path.display().to_string()) && said.contains("by-id"), "{said}");
    }
    let said = refusal(&dir.path().join("video7"));
    assert!(said.contains("video7: No such file") && said.contains("plug the camera"), "{said}");
}

#[test]
fn a_failure_names_the_device_the_reason_and_the_remedy() {
    for (errno, remedy) in [
        (Errno::ENODEV, "plug the camera in"),
        (Errno::EACCES, "group video"),
        (Errno::EPERM, "group video"),
        (Errno::EBUSY, "the other program"),
        (Errno::EIO, "its cable"),
    ] {
        let said = failure("/dev/video0", errno.into()).to_string();
        assert!(said.starts_with("/dev/video0: ") && said.contains(remedy), "{said}");
        assert!(said.contains(&format!("os error {}", errno as i32)), "{said}");
    }
}
