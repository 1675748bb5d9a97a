//! A camera's frame, decoded no further than whoever looks at it needs.
//!
//! Most frames of a gate show nobody and are seen as a grey thumbnail only. The detector gets the
//! smallest picture that still has the size it searches at, and the embedder the smallest in which
//! the face still has the pixels that become its template. All coordinates that leave this file
//! are in pixels of the frame as it stands upright.

use std::borrow::Cow;

use super::align::{self, Aligned};
use super::detect::{Face, Landmarks};
use super::error::VisionError;
use super::image::{
    DecodeError, Image, JPEG_MAGIC, MAX_FRAME_PIXELS, decode_frame, guarded, jpeg_pixels,
};
use super::jpeg::{self, Scale};
use super::portrait::portrait;
use super::raw;
use crate::camera::{Picture, Yuv};

/// A face of at least so many pixels in width loses nothing on its way to the embedder's 112 x
/// 112, in which a face is some 80 wide.
const FACE_PX: f32 = 140.0;

/// A frame whose header was read and is within bounds.
#[derive(Debug)]
pub struct View<'a> {
    pixels: Pixels<'a>,
    width: u32,
    height: u32,
}

#[derive(Debug)]
enum Pixels<'a> {
    Jpeg(&'a [u8]),
    Raw(&'a Yuv),
    /// A PNG: no camera sends them, only recordings hold them.
    Whole(Image),
}

/// A frame in grey at an eighth of its width and height, as the camera gave it, not turned
/// upright. Good for nothing but to see whether something moves.
#[derive(Clone, PartialEq, Eq)]
pub struct Luma {
    pub width: u32,
    pub height: u32,
    /// Row by row; `width * height` of them.
    pub values: Vec<u8>,
}

/// Size only: a picture of a person does not belong in a log.
impl std::fmt::Debug for Luma {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Luma({} x {})", self.width, self.height)
    }
}

/// The frame, or a part of it, at a reduced scale.
#[derive(Debug)]
pub struct Reduced<'a> {
    image: Cow<'a, Image>,
    /// Pixels of the frame, along a side, that one pixel stands for.
    step: u32,
    /// Where in the frame it begins.
    left: u32,
    top: u32,
}

impl<'a> View<'a> {
    /// Reads the header of a frame of at most [`MAX_FRAME_PIXELS`]; a PNG is decoded at once.
    pub fn new(picture: &'a Picture) -> Result<View<'a>, DecodeError> {
        match picture {
            Picture::Encoded(bytes) if bytes.starts_with(JPEG_MAGIC) => {
                jpeg::check_scans(bytes)?;
                let header = guarded("JPEG", || jpeg::header(bytes, MAX_FRAME_PIXELS))?;
                let (mut width, mut height) = (header.width, header.height);
                if jpeg::is_on_its_side(header.orientation) {
                    std::mem::swap(&mut width, &mut height);
                }
                Ok(View { pixels: Pixels::Jpeg(bytes), width, height })
            }
            Picture::Encoded(bytes) => {
                let image = decode_frame(bytes)?;
                let (width, height) = (image.width(), image.height());
                Ok(View { pixels: Pixels::Whole(image), width, height })
            }
            Picture::Raw(yuv) => {
                raw::check(yuv)?;
                Ok(View { pixels: Pixels::Raw(yuv), width: yuv.width, height: yuv.height })
            }
        }
    }

    /// In pixels, upright.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The thumbnail, for [`Motion`](super::Motion).
    pub fn luma(&self) -> Result<Luma, DecodeError> {
        let (width, height, values) = match &self.pixels {
            Pixels::Jpeg(bytes) => guarded("JPEG", || jpeg::thumbnail(bytes, MAX_FRAME_PIXELS))?,
            Pixels::Raw(yuv) => raw::thumbnail(yuv),
            Pixels::Whole(image) => {
                let step = Scale::Eighth.step();
                let (width, height) = (image.width().div_ceil(step), image.height().div_ceil(step));
                let rows = image.rgb().chunks_exact(3 * image.width() as usize);
                let green = rows.step_by(step as usize).flat_map(|row| {
                    row.as_chunks::<3>().0.iter().step_by(step as usize).map(|pixel| pixel[1])
                });
                (width, height, green.collect())
            }
        };
        Ok(Luma { width, height, values })
    }

    /// The whole frame, at the smallest scale whose longer side is still `longest_side`.
    pub fn for_detection(&self, longest_side: u32) -> Result<Reduced<'_>, DecodeError> {
        let longer = self.width.max(self.height);
        self.whole_at(Scale::keeping(longer as f32, longest_side as f32))
    }

    /// A picture in which this face (in pixels of the frame) is large enough for the embedder.
    /// `searched` is given back where it is that already.
    pub fn for_face<'v>(
        &'v self,
        face: &Face,
        searched: Reduced<'v>,
    ) -> Result<Reduced<'v>, DecodeError> {
        let scale = Scale::keeping(face.bbox.w, FACE_PX);
        if searched.step <= scale.step() {
            return Ok(searched);
        }
        match &self.pixels {
            Pixels::Raw(yuv) => {
                // The 112 x 112 reach beyond the box by less than its size.
                let span = |at: f32, size: f32, limit: u32| {
                    let from = (at - size).max(0.0) as u32;
                    let from = from.min(limit - 1);
                    (from, ((3.0 * size) as u32).clamp(1, limit - from))
                };
                let (left, width) = span(face.bbox.x, face.bbox.w, self.width);
                let (top, height) = span(face.bbox.y, face.bbox.h, self.height);
                let image = raw::part(yuv, (left, top), (width, height), scale)?;
                Ok(Reduced { image: Cow::Owned(image), step: scale.step(), left, top })
            }
            _ => self.whole_at(scale),
        }
    }

    fn whole_at(&self, scale: Scale) -> Result<Reduced<'_>, DecodeError> {
        let (image, step) = match &self.pixels {
            Pixels::Jpeg(bytes) => {
                let image = guarded("JPEG", || jpeg_pixels(bytes, MAX_FRAME_PIXELS, scale))?;
                (Cow::Owned(image), scale.step())
            }
            Pixels::Raw(yuv) => {
                let image = raw::part(yuv, (0, 0), (self.width, self.height), scale)?;
                (Cow::Owned(image), scale.step())
            }
            Pixels::Whole(image) => (Cow::Borrowed(image), 1),
        };
        Ok(Reduced { image, step, left: 0, top: 0 })
    }
}

impl Reduced<'_> {
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn into_image(self) -> Image {
        self.image.into_owned()
    }

    /// A face found in this picture, in pixels of the frame.
    pub fn in_frame(&self, mut face: Face) -> Face {
        let step = self.step as f32;
        let (left, top) = (self.left as f32, self.top as f32);
        let place = |x: &mut f32, y: &mut f32| {
            *x = *x * step + left;
            *y = *y * step + top;
        };
        let bbox = &mut face.bbox;
        place(&mut bbox.x, &mut bbox.y);
        bbox.w *= step;
        bbox.h *= step;
        for [x, y] in &mut face.landmarks {
            place(x, y);
        }
        face
    }

    /// A JPEG of the head whose face is given in pixels of the frame, at most 320 pixels a side;
    /// `None` where it cannot be made.
    pub fn portrait(&self, face: &Face) -> Option<Vec<u8>> {
        let mut here = face.clone();
        let step = self.step as f32;
        let bbox = &mut here.bbox;
        (bbox.x, bbox.y) = ((bbox.x - self.left as f32) / step, (bbox.y - self.top as f32) / step);
        (bbox.w, bbox.h) = (bbox.w / step, bbox.h / step);
        portrait(&self.image, &here).ok()
    }

    /// Cuts out a face that is given in pixels of the frame.
    pub fn cut_out(&self, face: &Face) -> Result<Aligned, VisionError> {
        // Pixel centres lie on whole numbers there and here: a pixel here has its own in the
        // middle of those it stands for.
        let step = self.step as f32;
        let here = |at: f32, from: u32| (at - from as f32 + 0.5) / step - 0.5;
        let landmarks: Landmarks =
            face.landmarks.map(|[x, y]| [here(x, self.left), here(y, self.top)]);
        align::align(&self.image, &landmarks).ok_or(VisionError::Landmarks)
    }
}

#[cfg(test)]
mod tests {
    use mozjpeg::{ColorSpace, Compress};
    use proptest::prelude::*;

    use super::*;
    use crate::camera::Layout;
    use crate::vision::detect::Rect;

    /// A JPEG by another encoder, with a slope from dark to light.
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

    /// All that a gate does with a frame. Whether it could.
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
    fn each_look_gets_the_smallest_picture_that_does() {
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
        for (wide, step) in [(48.0, 1), (279.0, 1), (280.0, 2), (559.0, 2), (560.0, 4), (1200.0, 4)]
        {
            let small = view.for_detection(320).unwrap();
            let near = view.for_face(&face(10.0, 10.0, wide), small).unwrap();
            assert_eq!(near.image().width(), 1280 / step, "{wide}");
        }
        // Without compression, only what lies around the face.
        let picture = raw(1280, 720, Layout::I420);
        let view = View::new(&picture).unwrap();
        let near = view.for_face(&face(400.0, 600.0, 100.0), view.for_detection(320).unwrap());
        assert_eq!(size(near.unwrap().image()), (300, 220));
    }

    #[test]
    fn a_thumbnail_is_the_frame_at_an_eighth_whatever_it_came_in() {
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
    fn a_frame_of_inks_is_refused_as_at_full_scale() {
        let inks = encoded(&jpeg(64, 64, ColorSpace::JCS_CMYK, false));
        let Picture::Encoded(bytes) = &inks else { panic!() };
        assert!(matches!(decode_frame(bytes), Err(DecodeError::Damaged { .. })));
        assert!(matches!(looked_at(&inks, &face(0.0, 0.0, 9.0)), Err(DecodeError::Damaged { .. })));
    }

    #[test]
    fn i8_a_header_beyond_the_bounds_is_refused_before_a_pixel_is_made() {
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
        // The pixels that were promised do not come; what is missing is grey.
        looked_at(&claiming(1600, 1200), &face(0.0, 0.0, 100.0)).unwrap();
    }

    #[test]
    fn i8_a_picture_of_endless_scans_is_refused() {
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
    fn raw_samples_that_are_not_what_they_say_are_refused() {
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
                let picture =
                    Picture::Raw(Yuv { width, height, layout, data: vec![0; length] }.into());
                assert!(View::new(&picture).is_err(), "{layout:?} {width} x {height}: {length}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Each look at it ends, as a picture or as an error.
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
}
