//! Whether a photo is whole, as its container says. The decoders stop before the end.

use super::super::format::{CONVERT, Format};
use super::super::image::{DecodeError, check_size};
use super::super::jpeg;

/// Returns the photo without what follows after its end.
pub(super) fn whole(format: Format, bytes: &[u8], most: u64) -> Result<&[u8], DecodeError> {
    let length = match format {
        Format::Jpeg => jpeg::outline(bytes).length,
        Format::Png => png_length(bytes),
        Format::WebP => webp_length(bytes, most)?,
        // Their decoders reach each pixel.
        Format::Bmp | Format::Tiff => Some(bytes.len()),
    };
    let whole = length.and_then(|length| bytes.get(..length));
    whole.ok_or(DecodeError::CutOff { format: format.name() })
}

/// Returns the length up to the end of the chunk IEND.
fn png_length(bytes: &[u8]) -> Option<usize> {
    let mut at: usize = 8;
    loop {
        let (length, rest) = bytes.get(at..)?.split_first_chunk()?;
        at = at.checked_add(u32::from_be_bytes(*length) as usize)?.checked_add(12)?;
        if rest.starts_with(b"IEND") {
            return Some(at);
        }
    }
}

/// Returns the length in the header. All chunks must be within it. The size in each chunk of pixels is
/// checked, because the decoder makes room for them first. Films are refused.
fn webp_length(bytes: &[u8], most: u64) -> Result<Option<usize>, DecodeError> {
    let number = |at: usize| {
        let four = bytes.get(at..at.checked_add(4)?)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*four)).ok()
    };
    let Some(length) = number(4).and_then(|length| length.checked_add(8)) else { return Ok(None) };
    let Some(riff) = bytes.get(..length) else { return Ok(None) };
    let mut at: usize = 12;
    while let Some((name, _)) = riff.get(at..).and_then(|rest| rest.split_first_chunk::<4>()) {
        let Some(size) = number(at + 4) else { return Ok(None) };
        let data = riff.get(at + 8..).and_then(|rest| rest.get(..size));
        let Some(data) = data else { return Ok(None) };
        let sides = |at: usize| {
            let four = data.get(at..at + 4).and_then(|four| four.try_into().ok());
            four.map_or(u32::MAX, u32::from_le_bytes)
        };
        match name {
            b"VP8 " => check_size(sides(6) & 0x3fff, (sides(6) >> 16) & 0x3fff, most)?,
            b"VP8L" => check_size((sides(1) & 0x3fff) + 1, ((sides(1) >> 14) & 0x3fff) + 1, most)?,
            b"ANIM" | b"ANMF" => {
                return Err(DecodeError::Foreign { what: "a moving picture", remedy: CONVERT });
            }
            _ => {}
        }
        at = at.saturating_add(8).saturating_add(size.next_multiple_of(2));
    }
    Ok(Some(length))
}
