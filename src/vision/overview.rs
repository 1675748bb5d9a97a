//! A small picture of a camera's view, for the person who aims it. It shows where faces are, and no
//! face: each one is reduced to a few squares.

use image::{
    Rgb, RgbImage,
    imageops::{self, FilterType},
};

use super::{face::Rect, image::Image, portrait};

/// Maximum length of the picture's longer side in pixels. A face that the detector misses at this
/// size has too few pixels to be recognised.
pub const OVERVIEW_LONGEST_SIDE: u32 = 640;
/// Number of squares along the side of a face.
const SQUARES: u32 = 4;
/// Factor by which a face's box is widened, so that ears and chin are covered too.
const AROUND: f32 = 1.4;

/// A colour: red, green, blue.
pub type Colour = [u8; 3];

/// Returns a JPEG of the picture. `faces`: all faces, in pixels of the picture; one with a colour has
/// a frame. `edges`: lines in parts of the width and height.
pub fn overview(
    image: &Image,
    faces: &[(Rect, Option<Colour>)],
    edges: impl Iterator<Item = [(f32, f32); 2]>,
    colour: Colour,
) -> Result<Vec<u8>, std::io::Error> {
    let longer = image.width().max(image.height());
    let scale = (OVERVIEW_LONGEST_SIDE as f32 / longer as f32).min(1.0);
    let side = |side: u32| ((side as f32 * scale) as u32).max(1);
    let (width, height) = (side(image.width()), side(image.height()));
    let mut picture = imageops::resize(image.pixels(), width, height, FilterType::Triangle);
    let scaled = |r: &Rect| Rect { x: r.x * scale, y: r.y * scale, w: r.w * scale, h: r.h * scale };
    for (bbox, _) in faces {
        cover(&mut picture, scaled(bbox));
    }
    for (bbox, colour) in faces {
        let (Rect { x, y, w, h }, Some(colour)) = (scaled(bbox), colour) else { continue };
        let corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)];
        corners.windows(2).for_each(|two| line(&mut picture, [two[0], two[1]], *colour));
    }
    let (width, height) = (width as f32, height as f32);
    for ends in edges {
        line(&mut picture, ends.map(|(x, y)| (x * width, y * height)), colour);
    }
    portrait::encode(&picture)
}

/// Replaces a face by squares of its mean colours.
fn cover(picture: &mut RgbImage, face: Rect) {
    let [(x, y), (w, h)] = face.around(AROUND, picture.dimensions());
    let face = imageops::crop_imm(picture, x, y, w, h).to_image();
    let squares = imageops::resize(&face, SQUARES, SQUARES, FilterType::Triangle);
    let squares = imageops::resize(&squares, w, h, FilterType::Nearest);
    imageops::replace(picture, &squares, x.into(), y.into());
}

/// Draws a line of two pixels' width. Parts beyond the picture are left out.
fn line(picture: &mut RgbImage, [(x0, y0), (x1, y1)]: [(f32, f32); 2], colour: Colour) {
    let (width, height) = picture.dimensions();
    let steps = (x1 - x0).abs().max((y1 - y0).abs()).min((width + height) as f32);
    for step in 0..=steps as u32 {
        let part = step as f32 / steps.max(1.0);
        // `as` saturates, and so a place above or at the left of the picture is at its edge.
        let (x, y) = ((x0 + part * (x1 - x0)) as u32, (y0 + part * (y1 - y0)) as u32);
        for (x, y) in [(x, y), (x.saturating_add(1), y), (x, y.saturating_add(1))] {
            if let Some(pixel) = picture.get_pixel_mut_checked(x, y) {
                *pixel = Rgb(colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_an_overview_frames_faces_and_shows_none() {
        // Stripes of one pixel stand for the details of a face.
        let pixels = (0..1280 * 720).flat_map(|n| [if n % 2 == 0 { 0 } else { 255 }; 3]).collect();
        let image = Image::from_rgb(1280, 720, pixels).unwrap();
        let (face, hidden) = (
            Rect { x: 400.0, y: 200.0, w: 160.0, h: 160.0 },
            Rect { x: -1e9, y: 1e9, w: f32::NAN, h: 9.0 },
        );
        let faces = [(face, Some([0, 255, 0])), (hidden, None)];
        let edges = [[(0.25, 0.0), (0.25, 1.0)], [(-4.0, 0.5), (7.0, 0.5)]];
        let jpeg = overview(&image, &faces, edges.into_iter(), [255, 255, 0]).unwrap();
        let seen = image::load_from_memory(&jpeg).unwrap().to_rgb8();
        assert_eq!(seen.dimensions(), (640, 360));
        let near = |x, y, colour: Colour| {
            let differs = |(a, b): (&u8, &u8)| a.abs_diff(*b) < 90;
            seen.get_pixel(x, y).0.iter().zip(&colour).all(differs)
        };
        assert!(near(200, 140, [0, 255, 0]), "{:?}", seen.get_pixel(200, 140));
        assert!(near(160, 20, [255, 255, 0]) && near(600, 180, [255, 255, 0]));
        // Within a square all pixels are alike.
        assert!((225..235).all(|x| seen.get_pixel(x, 130).0[0].abs_diff(seen.get_pixel(x + 1, 130).0[0]) < 12));
    }
}
