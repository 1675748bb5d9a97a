//! A picture in memory: its pixels, and the limits of its size.

use std::fmt;

use image::RgbImage;

/// Maximum length of a side in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Maximum number of pixels of a photo: 50 Mpx, as of the largest phone
/// cameras. Such a photo is decoded at half its width and height: 38 MB.
pub const MAX_PIXELS: u64 = 50_000_000;
/// Maximum number of pixels of a camera's frame: 12 Mpx, more than a 4K
/// camera's. Several frames are in memory at once. A decoded frame is 36 MB, and
/// 72 MB more while a progressive JPEG is decoded.
pub const MAX_FRAME_PIXELS: u64 = 12_000_000;
/// A picture: RGB, 8 bits a channel, row-major, no padding between rows.
/// Neither side is 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Image(RgbImage);

/// The reason why bytes are not accepted as a picture.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("it is no picture of a known format")]
    UnknownFormat,
    #[error("it is {what}")]
    Foreign { what: &'static str, remedy: &'static str },
    #[error("the {format} is cut off: its end is missing")]
    CutOff { format: &'static str },
    #[error("the {format} is damaged: {why}")]
    Damaged { format: &'static str, why: String },
    #[error(
        "it is {width} x {height} pixels, more than this program accepts \
         ({MAX_SIDE} a side, {} million in all)",
        .most / 1_000_000
    )]
    TooLarge { width: u32, height: u32, most: u64 },
    #[error("{width} x {height} RGB pixels do not make {bytes} bytes")]
    WrongLength { width: u32, height: u32, bytes: usize },
}

impl DecodeError {
    /// Returns what can be done about a photo.
    pub fn remedy_of_photo(&self) -> &'static str {
        match self {
            DecodeError::Foreign { remedy, .. } => remedy,
            DecodeError::UnknownFormat => "Use a photo in JPEG, PNG, WebP, BMP or TIFF.",
            DecodeError::CutOff { .. } => "Copy the photo again from where it was taken.",
            DecodeError::Damaged { .. } => {
                "Copy the photo again from where it was taken. If it looks right there, save it as a \
                 new JPEG."
            }
            DecodeError::TooLarge { .. } => "Scale the photo down.",
            DecodeError::WrongLength { .. } => "Use another photo.",
        }
    }
}

impl Image {
    /// Makes a picture of decoded pixels: `rgb` holds 3 * width * height
    /// bytes. The limit is [`MAX_PIXELS`], as for a decoded photo.
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

    /// Returns the width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.0.width()
    }

    /// Returns the height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.0.height()
    }

    /// Returns 3 * width * height bytes: R, G, B of the first pixel of the top
    /// row, and so on.
    pub fn rgb(&self) -> &[u8] {
        self.0.as_raw()
    }
}

/// Shows the size only, because a picture of a person does not belong in a log.
impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} x {})", self.width(), self.height())
    }
}

/// Refuses a picture with a side above [`MAX_SIDE`], or with more than `most` pixels.
pub(super) fn check_size(width: u32, height: u32, most: u64) -> Result<(), DecodeError> {
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > most {
        return Err(DecodeError::TooLarge { width, height, most });
    }
    Ok(())
}
