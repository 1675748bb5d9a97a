//! What a file is, by its first bytes. Its name does not count.

use super::image::DecodeError;

/// Number of bytes in which the begin of a document is looked for.
const HEAD: usize = 1024;

/// A format that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
    WebP,
    Bmp,
    Tiff,
}

pub(super) const CONVERT: &str = "Open it in a picture program and save it as a JPEG.";
const EXTRACT: &str = "Take the photo out of it and save it as a JPEG.";
const UNPACK: &str = "Unpack it, and use the photo in it.";
const COPY: &str = "Copy the photo again from where it was taken.";
const DOWNLOAD: &str =
    "Download the photo again from the site that has it; a login there may be necessary.";
const IPHONE: &str = "Save it as a JPEG. On an iPhone, Settings, Camera, Formats, Most Compatible \
                      makes JPEGs of all new photos.";

/// Formats that are not decoded: place and bytes of their mark, their name, and the remedy.
const FOREIGN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"GIF8", "a GIF picture, which has too few colours for a face", CONVERT),
    (0, b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (4, b"JXL ", "a JPEG XL picture", CONVERT),
    (4, b"jP  ", "a JPEG 2000 picture", CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", CONVERT),
    (0, b"8BPS", "a Photoshop document", CONVERT),
    (0, b"\0\0\x01\0", "an icon", CONVERT),
    (0, b"%PDF", "a PDF document", EXTRACT),
    (0, b"\xd0\xcf\x11\xe0", "a document of an office program", EXTRACT),
    (0, b"{\\rtf", "a text document", EXTRACT),
    (0, b"PK\x03\x04", "a ZIP archive", UNPACK),
    (0, b"Rar!", "a RAR archive", UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", UNPACK),
    (0, b"\0\x05\x16\x07", "a helper file of macOS, not the photo", COPY),
    (0, b"\x4c\0\0\0\x01\x14\x02\0", "a shortcut to a file, not the file", COPY),
    (0, b"SQLite format 3", "a database", COPY),
];

/// Parts of a ZIP archive that office programs write.
const OFFICE: &[(&[u8], &str)] = &[
    (b"word/", "a Word document"),
    (b"xl/", "a workbook of a spreadsheet program"),
    (b"ppt/", "a presentation"),
    (b"opendocument", "a document of an office program"),
];

/// Brands of ISO base media files that are pictures (ISO/IEC 23008-12, and AV1's).
const AVIF: &[&[u8]] = &[b"avif", b"avis"];
const HEIC: &[&[u8]] = &[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"];

impl Format {
    /// Returns the format of a photo, or what else the file is.
    pub fn of(bytes: &[u8]) -> Result<Format, DecodeError> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Ok(Format::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Format::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Format::WebP),
            // The length of the second header has few values.
            [b'B', b'M', rest @ ..]
                if rest.get(12..16).is_some_and(|b| b[0] >= 12 && b[1..] == [0; 3]) =>
            {
                Ok(Format::Bmp)
            }
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
            _ => Err(foreign(bytes)),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::WebP => "WebP",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
        }
    }
}

fn foreign(bytes: &[u8]) -> DecodeError {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let known = |(at, mark, ..): &&(usize, &[u8], &str, &str)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(mark))
    };
    let (what, remedy) = if bytes.is_empty() {
        ("an empty file", COPY)
    } else if bytes.iter().all(|byte| *byte == 0) {
        ("a file of zeros, as a copy that was interrupted", COPY)
    } else if let Some(what) = media(head) {
        what
    } else if let Some((_, mark, what, remedy)) = FOREIGN.iter().find(known) {
        let holds = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
        let office = OFFICE.iter().find(|(part, _)| mark.starts_with(b"PK") && holds(part));
        office.map_or((*what, *remedy), |(_, what)| (*what, EXTRACT))
    } else {
        let Some(what) = text(head) else { return DecodeError::UnknownFormat };
        what
    };
    DecodeError::Foreign { what, remedy }
}

/// Returns what an ISO base media file is: a picture or a film.
fn media(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let length = u32::from_be_bytes(head.first_chunk().copied()?);
    let brands = head.get(4..)?.strip_prefix(b"ftyp")?;
    let brands = brands.get(..(length as usize).saturating_sub(8)).unwrap_or(brands);
    let of = |some: &[&[u8]]| brands.chunks_exact(4).any(|brand| some.contains(&brand));
    Some(if of(AVIF) {
        ("an AVIF photo", CONVERT)
    } else if of(HEIC) {
        ("a HEIC photo, as iPhones and some other phones take them", IPHONE)
    } else {
        ("a video", "Take a photo, or save a picture of the video as a JPEG.")
    })
}

fn text(head: &[u8]) -> Option<(&'static str, &'static str)> {
    // A page in GB18030 is text too. Only its tags count.
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    if text.contains("<svg") {
        Some(("an SVG drawing", CONVERT))
    } else if begins(&["<!doctype html", "<html", "<head", "<body", "<script", "<!--"])
        || text.contains("<html")
    {
        Some(("a web page, not a photo", DOWNLOAD))
    } else if begins(&["data:image/", "/9j/", "ivborw0kggo"]) {
        Some(("a photo written as text (base64)", CONVERT))
    } else {
        // The head may end within a character.
        let readable = str::from_utf8(head).map_or_else(
            |error| error.error_len().is_none() && head.len() == HEAD,
            |text| !text.contains(|c: char| c.is_control() && !c.is_whitespace()),
        );
        readable.then_some(("a text, not a photo", DOWNLOAD))
    }
}

#[cfg(test)]
mod tests;
