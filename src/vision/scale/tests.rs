use super::*;
use crate::vision::Image;

/// Returns the red values of a scaled grey picture.
fn grey(values: &[u8], width: u32, to: (u32, u32)) -> Vec<f32> {
    let rgb: Vec<u8> = values.iter().flat_map(|v| [*v; 3]).collect();
    let image = Image::from_rgb(width, values.len() as u32 / width, rgb).unwrap();
    let mut out = Vec::new();
    scaled_rows(image.pixels(), to.0, to.1, |row| out.extend(row.iter().step_by(3)));
    assert_eq!(out.len(), (to.0 * to.1) as usize);
    out
}

#[test]
fn shrinking_averages_the_area() {
    assert_eq!(grey(&[0, 100, 200, 100], 4, (2, 1)), [50.0, 150.0]);
    assert_eq!(grey(&[0, 100, 200, 100], 2, (1, 1)), [100.0]);
    // Three pixels become two, each of one and a half pixels.
    assert_eq!(grey(&[30, 60, 90], 3, (2, 1)), [40.0, 80.0]);
    assert_eq!(grey(&[30, 60, 90], 1, (1, 2)), [40.0, 80.0]);
}

#[test]
fn enlarging_goes_evenly_from_pixel_to_pixel() {
    assert_eq!(grey(&[0, 100], 2, (4, 1)), [0.0, 25.0, 75.0, 100.0]);
    assert_eq!(grey(&[7], 1, (3, 2)), [7.0; 6]);
}

#[test]
fn the_same_size_is_the_same_picture() {
    assert_eq!(grey(&[1, 2, 3, 4, 5, 6], 3, (3, 2)), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn a_part_is_scaled_as_a_picture_of_its_own() {
    let value = |x: u32, y: u32| [(x * 17 % 251) as u8, (y * 29 % 241) as u8, (x * y % 239) as u8];
    let image = RgbImage::from_fn(61, 47, |x, y| image::Rgb(value(x, y)));
    for part in [[(0, 0), (61, 47)], [(5, 9), (40, 31)], [(60, 46), (1, 1)], [(21, 0), (40, 47)]] {
        let [(x, y), (w, h)] = part;
        let alone = image::imageops::crop_imm(&image, x, y, w, h).to_image();
        for to in [(w, h), (13, 11), (90, 1), (w, 80)] {
            assert!(scaled_part(&image, part, to) == scaled(&alone, to.0, to.1), "{part:?} {to:?}");
        }
    }
}

#[test]
fn every_span_lies_inside_and_sums_to_one() {
    for (from, to) in [(1, 1), (1, 640), (785, 640), (720, 359), (16_384, 32), (3, 640), (641, 640)]
    {
        for (first, weights) in Axis::new(from, to).spans {
            assert!(first + weights.len() <= from as usize, "{from} to {to}: {first}");
            let sum: f32 = weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-4, "{from} to {to}: {sum}");
        }
    }
}
