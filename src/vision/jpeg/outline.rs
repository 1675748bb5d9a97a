//! The markers of a picture, without its pixels (ITU-T T.81, B.1).

use memchr::memchr;

/// Marker of a scan's begin.
const SOS: u8 = 0xda;
/// Marker of the picture's end.
const EOI: u8 = 0xd9;

/// The parts of the picture itself. Its thumbnail, and the film or the pictures that a phone appends,
/// do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::vision) struct Outline {
    pub scans: usize,
    /// Number of bytes up to the picture's end. `None`: the end is missing.
    pub length: Option<usize>,
}

/// Reads the markers as libjpeg does. A marker below 0xC0 is an error in pixel data, and has no length.
pub(in crate::vision) fn outline(bytes: &[u8]) -> Outline {
    let (mut outline, mut at) = (Outline::default(), 2);
    while let Some(rest) = bytes.get(at..)
        && let Some(found) = memchr(0xff, rest)
    {
        at += found;
        let Some(marker) = bytes.get(at + 1) else { break };
        at += match *marker {
            0xff => 1,
            EOI => {
                outline.length = Some(at + 2);
                break;
            }
            ..0xc0 | 0xd0..=0xd8 => 2,
            segment => {
                outline.scans += usize::from(segment == SOS);
                let length = bytes.get(at + 2..at + 4).and_then(|length| length.try_into().ok());
                2 + usize::from(length.map_or(0, u16::from_be_bytes))
            }
        };
    }
    outline
}

/// Returns the picture without its end marker, and without the zeros that some cameras write before it.
/// One zero stays, because it may belong to the pixel data.
pub(in crate::vision) fn unpadded(picture: &[u8]) -> &[u8] {
    let data = picture.strip_suffix(&[0xff, EOI]).unwrap_or(picture);
    let zeros = data.iter().rev().take_while(|byte| **byte == 0).count();
    let stuffed = data.get(..data.len() - zeros).is_some_and(|rest| rest.ends_with(&[0xff]));
    let padding = zeros.saturating_sub(1 + usize::from(stuffed));
    data.get(..data.len() - padding).unwrap_or(data)
}
