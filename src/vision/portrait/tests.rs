use super::*;
use crate::vision::{Rect, decode};

#[test]
fn a_portrait_is_small_for_every_box() {
    let image = Image::from_rgb(900, 600, vec![90; 900 * 600 * 3]).unwrap();
    for (x, y, w, h) in [
        (300.0, 200.0, 200.0, 260.0),
        (-50.0, -50.0, 100.0, 100.0),
        (880.0, 590.0, 100.0, 100.0),
        (5000.0, 5000.0, 10.0, 10.0),
        (0.0, 0.0, 0.0, 0.0),
    ] {
        let (bbox, landmarks) = (Rect { x, y, w, h }, [[0.0; 2]; 5]);
        let jpeg = portrait(&image, &Face { score: 0.9, bbox, landmarks }).unwrap();
        let back = decode(&jpeg).unwrap();
        assert!(back.width().max(back.height()) <= LONGEST_SIDE, "{x} {y} {w} {h}");
    }
}

#[test]
fn a_photo_is_reduced_until_it_fits() {
    // Noise is what JPEG takes most bytes for.
    let noise = |x: u32, y: u32| (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) as u8;
    let picture = RgbImage::from_fn(640, 360, |x, y| image::Rgb([noise(x, y); 3]));
    let whole = encode(&picture).unwrap();
    assert!(whole.len() > 60 << 10, "{}", whole.len());
    assert_eq!(fitting(whole.clone(), whole.len()), Some(whole.clone()));
    for most in [whole.len() - 1, 60 << 10, 10 << 10] {
        let fits = fitting(whole.clone(), most).unwrap();
        assert!(fits.len() <= most, "{} of {most}", fits.len());
        let back = decode(&fits).unwrap();
        assert_eq!(back.width() * 9 / 16, back.height(), "the picture keeps its form");
    }
    assert_eq!(fitting(whole, 500), None);
    assert_eq!(fitting(vec![7; 500], 400), None);
}
