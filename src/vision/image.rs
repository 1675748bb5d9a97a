//! A picture in memory: its pixels, and how large it may be.

use std::fmt;

use image::RgbImage;

/// Longest side accepted, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Most pixels accepted: 50 Mpx, what the largest phone cameras take. Decoded
/// that is 150 MB, and twice that while an EXIF rotation is carried out.
pub const MAX_PIXELS: u64 = 50_000_000;
/// Most pixels accepted of a camera at a gate, where several frames are in
/// memory at once: 12 Mpx, more than a 4K camera's. Decoded that is 36 MB,
/// twice that while an EXIF rotation is carried out, and 72 MB more while a
/// progressive JPEG is decoded.
pub const MAX_FRAME_PIXELS: u64 = 12_000_000;
/// A picture: RGB, 8 bits a channel, row-major, no padding between rows.
/// Neither side is 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Image(RgbImage);

/// Why bytes are not a picture this program looks at.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("it is neither a JPEG nor a PNG")]
    UnknownFormat,
    #[error("the {format} is damaged: {why}")]
    Damaged { format: &'static str, why: String },
    #[error(
        "it is {width} x {height} pixels, more than this program takes \
         ({MAX_SIDE} a side, {} million in all)",
        .most / 1_000_000
    )]
    TooLarge { width: u32, height: u32, most: u64 },
    #[error("{width} x {height} RGB pixels do not make {bytes} bytes")]
    WrongLength { width: u32, height: u32, bytes: usize },
}

impl Image {
    /// Takes pixels that are decoded already: `rgb` holds 3 * width * height
    /// bytes. They are limited as a decoded photo's are: see [`MAX_PIXELS`].
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Image, DecodeError> {
        check_size(width, height, MAX_PIXELS)?;
        let bytes = rgb.len();
        let fits = bytes > 0 && bytes as u64 == u64::from(width) * u64::from(height) * 3;
        let pixels = RgbImage::from_raw(width, height, rgb).filter(|_| fits);
        pixels.map(Image).ok_or(DecodeError::WrongLength { width, height, bytes })
    }

    pub(super) fn pixels(&self) -> &RgbImage {
        &self.0
    }

    pub(super) fn into_pixels(self) -> RgbImage {
        self.0
    }

    /// In pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.0.width()
    }

    /// In pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.0.height()
    }

    /// 3 * width * height bytes: R, G, B of the first pixel of the top row,
    /// and so on.
    pub fn rgb(&self) -> &[u8] {
        self.0.as_raw()
    }
}

/// Size only: a picture of a person does not belong in a log.
impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} x {})", self.width(), self.height())
    }
}

/// `most`: pixels.
pub(super) fn check_size(width: u32, height: u32, most: u64) -> Result<(), DecodeError> {
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > most {
        return Err(DecodeError::TooLarge { width, height, most });
    }
    Ok(())
}
