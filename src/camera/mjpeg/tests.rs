use proptest::prelude::*;

use super::*;

fn jpeg(side: u32, shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([shade, (x * 7) as u8, (y * 13) as u8])
    });
    image.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// Returns `outer` with `inner` as the thumbnail of an EXIF segment.
fn with_thumbnail(outer: &[u8], inner: &[u8]) -> Vec<u8> {
    let length = u16::try_from(inner.len() + 8).unwrap().to_be_bytes();
    [&[0xFF, SOI, 0xFF, 0xE1], &length[..], b"Exif\0\0", inner, &outer[2..]].concat()
}

fn split(splitter: &mut Splitter, stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for bytes in stream.chunks(piece) {
        splitter.push(bytes);
        frames.extend(std::iter::from_fn(|| splitter.next_frame()));
    }
    frames
}

#[test]
fn frames_come_whole_in_pieces_of_any_size() {
    let frames = [jpeg(16, 1), jpeg(90, 200), jpeg(8, 77)];
    let stream = frames.concat();
    for piece in [1, 2, 3, 7, 1000, stream.len()] {
        let mut splitter = Splitter::new(1 << 20);
        assert_eq!(split(&mut splitter, &stream, piece), frames, "pieces of {piece}");
        assert_eq!((splitter.garbage(), splitter.torn()), (0, 0));
    }
}

#[test]
fn a_thumbnail_does_not_split_its_frame() {
    let frame = with_thumbnail(&jpeg(64, 9), &jpeg(16, 5));
    assert!(image::load_from_memory(&frame).is_ok());
    let stream = [frame.clone(), frame.clone()].concat();
    assert_eq!(split(&mut Splitter::new(1 << 20), &stream, 5), [frame.clone(), frame]);
}

#[test]
fn stuffed_bytes_and_restarts_are_data() {
    let frame = [
        &[0xFF, SOI, 0xFF, SOS, 0, 2][..],
        &[1, 0xFF, 0x00, 2, 0xFF, 0xD0, 3, 0xFF, 0xFF, 0xD7, 0xFF, 0x00, 0xFF, 0xFF, EOI],
    ]
    .concat();
    for piece in 1..frame.len() {
        let mut splitter = Splitter::new(100);
        assert_eq!(split(&mut splitter, &frame, piece), [&frame[..]], "pieces of {piece}");
    }
}

#[test]
fn bytes_between_frames_are_passed_over() {
    let (a, b) = (jpeg(16, 1), jpeg(16, 2));
    let header = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n";
    let stream = [header, &a[..], b"\r\n\xFF", header, &b[..]].concat();
    let mut splitter = Splitter::new(1 << 20);
    assert_eq!(split(&mut splitter, &stream, 11), [a, b]);
    assert_eq!(splitter.garbage(), 2 * header.len() as u64 + 3);
    assert_eq!(splitter.torn(), 0);
}

#[test]
fn a_frame_cut_short_leaves_the_next_frame_whole() {
    let (a, b) = (jpeg(64, 1), jpeg(64, 2));
    let stream = [&a[..a.len() / 2 + a.len() / 4], &b].concat();
    let mut splitter = Splitter::new(1 << 20);
    assert_eq!(split(&mut splitter, &stream, 100), [b]);
    assert_eq!(splitter.torn(), 1);
    splitter.push(&a[..a.len() / 2]);
    assert_eq!(splitter.next_frame(), None);
    splitter.end();
    assert_eq!(splitter.torn(), 2);
    assert_eq!(split(&mut splitter, &a, 100), [a]);
}

#[test]
fn a_frame_beyond_the_limit_is_discarded_and_memory_stays_bounded() {
    let small = jpeg(16, 3);
    let limit = small.len() + 10;
    let endless = [&[0xFF, SOI, 0xFF, SOS, 0, 2][..], &vec![0x55; 100_000]].concat();
    let mut splitter = Splitter::new(limit);
    for bytes in endless.chunks(50) {
        splitter.push(bytes);
        assert_eq!(splitter.next_frame(), None);
        assert!(splitter.buffer.len() <= limit + 60, "{}", splitter.buffer.len());
    }
    assert_eq!(splitter.torn(), 1);
    assert_eq!(split(&mut splitter, &small, 50), [small]);
}

proptest! {
    #[test]
    fn any_stream_is_split_without_panic_and_alike_in_any_pieces(
        bytes in prop::collection::vec(prop_oneof![
            3 => Just(0xFF), 1 => Just(SOI), 1 => Just(EOI), 1 => Just(SOS), 1 => Just(0),
            2 => any::<u8>(),
        ], 0..400),
        piece in 1..40_usize,
    ) {
        let mut whole = Splitter::new(150);
        let frames = split(&mut whole, &bytes, bytes.len().max(1));
        let mut pieces = Splitter::new(150);
        prop_assert_eq!(&split(&mut pieces, &bytes, piece), &frames);
        for frame in &frames {
            prop_assert!(frame.starts_with(&[0xFF, SOI, 0xFF]) && frame.ends_with(&[0xFF, EOI]));
        }
        whole.end();
        let framed: usize = frames.iter().map(Vec::len).sum();
        prop_assert_eq!(whole.garbage() + framed as u64, bytes.len() as u64);
    }

    /// Parts as cameras send them over HTTP, with any headers, even wrong lengths.
    #[test]
    fn multipart_frames_come_whole_with_any_headers_in_any_pieces(
        parts in prop::collection::vec(
            (1_u32..40, any::<u8>(), "(--)?[a-z]{0,9}", prop::option::of(any::<u32>())), 1..6),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
        piece in 1..700_usize,
    ) {
        let mut frames: Vec<_> = parts.iter().map(|(side, shade, ..)| jpeg(*side, *shade)).collect();
        let mut shown = frames.clone();
        // One frame ends within its scan, as when a camera restarts. Only that frame is lost.
        if let Some((which, at)) = cut {
            let which = which.index(frames.len());
            let scan = frames[which].windows(2).rposition(|w| w == [0xFF, SOS]).unwrap() + 14;
            let keep = scan + at.index(frames[which].len() - 2 - scan);
            frames[which].truncate(keep);
            shown.remove(which);
        }
        let stream: Vec<u8> = parts
            .iter()
            .zip(&frames)
            .flat_map(|((.., boundary, length), frame)| {
                let length = length.map(|n| format!("Content-Length: {n}\r\n"));
                let head = format!(
                    "\r\n{boundary}\r\nContent-Type: image/jpeg\r\n{}\r\n",
                    length.unwrap_or_default()
                );
                [head.as_bytes(), frame].concat()
            })
            .collect();
        let mut splitter = Splitter::new(1 << 16);
        prop_assert_eq!(split(&mut splitter, &stream, piece), shown);
    }

    #[test]
    fn after_garbage_the_next_frame_is_found(
        garbage in prop::collection::vec(0_u8..0xFF, 0..200),
        piece in 1..100_usize,
    ) {
        let frame = jpeg(8, 50);
        let stream = [&garbage[..], &frame].concat();
        prop_assert_eq!(split(&mut Splitter::new(1 << 16), &stream, piece), [frame]);
    }
}
