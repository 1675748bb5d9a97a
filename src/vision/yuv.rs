//! YUV, as H.264 and simple cameras give it, to RGB.
//!
//! Video range (16 to 235), ITU-R BT.601, in integers of 8 fractional bits: within 1 of the exact
//! value. A colour sample is taken for all the pixels that share it.

use super::image::{self, DecodeError, Image, MAX_FRAME_PIXELS};
use crate::camera::{Layout, Yuv};

impl Image {
    /// The picture at its full size; at most [`MAX_FRAME_PIXELS`].
    pub fn from_yuv(yuv: &Yuv) -> Result<Image, DecodeError> {
        let &Yuv { width, height, layout, ref data } = yuv;
        image::check_size(width, height, MAX_FRAME_PIXELS)?;
        let pixels = width as usize * height as usize;
        let expected = match layout {
            Layout::I420 => pixels / 2 * 3,
            Layout::Yuyv => pixels * 2,
        };
        if data.len() != expected || width % 2 != 0 || height % 2 != 0 || pixels == 0 {
            return Err(DecodeError::WrongLength { width, height, bytes: data.len() });
        }
        let width_px = width as usize;
        let mut rgb = vec![0; pixels * 3];
        let rows = rgb.chunks_exact_mut(width_px * 3);
        match layout {
            Layout::Yuyv => {
                for (rgb, row) in rows.zip(data.chunks_exact(width_px * 2)) {
                    for (rgb, two) in rgb.chunks_exact_mut(6).zip(row.chunks_exact(4)) {
                        if let [y0, u, y1, v] = *two {
                            two_pixels(rgb, [y0, y1], u, v);
                        }
                    }
                }
            }
            Layout::I420 => {
                let (y, colours) = data.split_at(pixels);
                let (u, v) = colours.split_at(pixels / 4);
                let half = width_px / 2;
                let twice = |plane| <[u8]>::chunks_exact(plane, half).flat_map(|row| [row, row]);
                let colours = twice(u).zip(twice(v));
                for ((rgb, y), (u, v)) in rows.zip(y.chunks_exact(width_px)).zip(colours) {
                    let two = rgb.chunks_exact_mut(6).zip(y.chunks_exact(2)).zip(u.iter().zip(v));
                    for ((rgb, y), (u, v)) in two {
                        if let [y0, y1] = *y {
                            two_pixels(rgb, [y0, y1], *u, *v);
                        }
                    }
                }
            }
        }
        Image::from_rgb(width, height, rgb)
    }
}

/// Two neighbours that share their colour.
fn two_pixels(rgb: &mut [u8], y: [u8; 2], u: u8, v: u8) {
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    let (red, green, blue) = (409 * v, -100 * u - 208 * v, 516 * u);
    for (rgb, y) in rgb.chunks_exact_mut(3).zip(y) {
        let y = 298 * (i32::from(y) - 16) + 128;
        for (to, colour) in rgb.iter_mut().zip([red, green, blue]) {
            *to = ((y + colour) >> 8).clamp(0, 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Layout::I420 => {
                [row(0, 2).repeat(4), row(1, 1).repeat(2), row(2, 1).repeat(2)].concat()
            }
            Layout::Yuyv => {
                let two = |(_, [y, u, v]): &(_, [u8; 3])| [*y, *u, *y, *v];
                COLOURS.iter().flat_map(two).collect::<Vec<u8>>().repeat(4)
            }
        };
        Yuv { width: 16, height: 4, layout, data }
    }

    #[test]
    fn known_colours_come_out_in_their_places() {
        for layout in [Layout::I420, Layout::Yuyv] {
            let image = Image::from_yuv(&bars(layout)).unwrap();
            assert_eq!((image.width(), image.height()), (16, 4));
            for (at, pixel) in image.rgb().chunks(3).enumerate() {
                let (expected, _) = COLOURS[at % 16 / 2];
                let off = pixel.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max().unwrap();
                assert!(off <= 2, "{layout:?}, pixel {at}: {pixel:?} for {expected:?}");
            }
        }
    }

    #[test]
    fn what_lies_outside_the_range_is_cut_off() {
        let data = vec![255, 255, 255, 255, 255, 255];
        let yuv = Yuv { width: 2, height: 2, layout: Layout::I420, data };
        assert_eq!(Image::from_yuv(&yuv).unwrap().rgb()[..3], [255, 125, 255]);
        let yuv = Yuv { width: 2, height: 2, layout: Layout::Yuyv, data: vec![0; 8] };
        assert_eq!(Image::from_yuv(&yuv).unwrap().rgb()[..3], [0, 135, 0]);
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
            let refused = Image::from_yuv(&wrong).unwrap_err();
            assert!(matches!(refused, DecodeError::WrongLength { .. }), "{refused}");
        }
        let refused = Image::from_yuv(&yuv(4096, 4096, Layout::I420, 0)).unwrap_err();
        assert!(matches!(refused, DecodeError::TooLarge { .. }), "{refused}");
    }
}
