use proptest::prelude::*;

use super::*;

const SESSION: SessionId = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// An answer as a platform sends it.
fn answer(command: u16, content: &[u8], failed: bool) -> Vec<u8> {
    let mut bytes = encode(1, command, &SESSION, content);
    let flag = bytes.len() - 2;
    bytes[flag] = u8::from(failed);
    bytes
}

fn whole(bytes: &[u8]) -> Result<Vec<Frame>, NoFrame> {
    in_pieces(bytes, bytes.len().max(1))
}

fn in_pieces(bytes: &[u8], size: usize) -> Result<Vec<Frame>, NoFrame> {
    let (mut reader, mut frames) = (Reader::default(), Vec::new());
    for piece in bytes.chunks(size) {
        reader.push(piece);
        while let Some(frame) = reader.next()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

#[test]
fn the_vectors_of_a_heartbeat_and_an_attendance_hold() {
    let heartbeat = "01 00000000 00000000 00000000 01 ffff 000102030405060708090a0b0c0d0e0f 00 01";
    assert_eq!(hex::encode(encode(1, 0xffff, &SESSION, &[])), heartbeat.replace(' ', ""));
    let content = hex::decode("67120000202611221026270104000000ffd8ffd9").unwrap();
    assert_eq!(Bcc::Bytes.of(&content), 0x55);
    let expected = "01 15000000 00000000 00000000 01 5003 000102030405060708090a0b0c0d0e0f 67120000 \
                    20261122102627 01 04000000 ffd8ffd9 55 00 01";
    let attendance = encode(1, 848, &SESSION, &Bcc::Bytes.sealed(content));
    assert_eq!(hex::encode(attendance), expected.replace(' ', ""));
}

#[test]
fn the_check_byte_over_hexadecimal_text_is_that_of_its_characters() {
    for content in [&b""[..], b"\x00", b"\x67\x12\x00\x20\xff\xd8", &[0xab; 999]] {
        let text = hex::encode_upper(content);
        assert_eq!(Bcc::Hex.of(content), text.bytes().fold(0, |sum, byte| sum ^ byte));
        for bcc in Bcc::ALL {
            let sealed = bcc.sealed(content.to_vec());
            assert_eq!(bcc.opened(&sealed), Some(content));
            let wrong = [content, &[sealed[content.len()] ^ 1]].concat();
            assert_eq!(bcc.opened(&wrong), None);
        }
    }
    assert_eq!(Bcc::Bytes.opened(b""), None);
}

#[test]
fn frames_are_read_whole_wherever_the_stream_is_cut() {
    let long = vec![0x01; 300];
    let stream = [
        answer(843, b"", false),
        answer(848, "编号不存在".as_bytes(), true),
        answer(849, &long, false),
    ];
    let frames = whole(&stream.concat()).unwrap();
    assert_eq!(frames.iter().map(|frame| frame.command).collect::<Vec<_>>(), [843, 848, 849]);
    assert_eq!(frames.iter().map(|frame| frame.failed).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!((&frames[2].content, frames[2].session), (&long, SESSION));
    let bytes = stream.concat();
    for cut in 0..bytes.len() {
        let mut reader = Reader::default();
        let mut read = Vec::new();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            reader.push(piece);
            while let Some(frame) = reader.next().unwrap() {
                read.push(frame);
            }
        }
        assert_eq!(read, frames, "cut after {cut} bytes");
    }
}

#[test]
fn noise_and_hostile_lengths_are_no_frames() {
    let good = answer(848, b"text", true);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        whole(&bytes)
    };
    assert_eq!(with(0, 0x02), Err(NoFrame::Begin(0x02)));
    assert_eq!(with(good.len() - 1, 0x00), Err(NoFrame::End(0x00)));
    assert_eq!(with(good.len() - 2, 0x7f), Err(NoFrame::Flag(0x7f)));
    // A length one byte too short or too long moves the flag.
    assert!(with(1, 3).is_err());
    assert_eq!(with(1, 5), Ok(Vec::new()));
    assert_eq!(whole(&[good.clone(), vec![0x55]].concat()), Err(NoFrame::Begin(0x55)));
    // A length that no memory holds is refused before its bytes come.
    for length in [CONTENT_MAX as u32 + 1, u32::MAX] {
        let head = [&[0x01][..], &length.to_le_bytes()].concat();
        assert_eq!(whole(&head), Err(NoFrame::Long(length)));
    }
    assert_eq!(whole(&[0x01, 0xff, 0xff]), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_in_one_piece_and_in_many(
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..200),
        size in 1_usize..40,
    ) {
        prop_assert_eq!(whole(&bytes), in_pieces(&bytes, size));
    }

    #[test]
    fn any_frame_comes_back_with_either_check_byte(
        version in prop_oneof![Just(1_u8), Just(3), Just(5)],
        command: u16,
        session: SessionId,
        content in proptest::collection::vec(any::<u8>(), 0..600),
        failed: bool,
        size in 1_usize..50,
        hex: bool,
    ) {
        let bcc = if hex { Bcc::Hex } else { Bcc::Bytes };
        let mut bytes = encode(version, command, &session, &bcc.sealed(content.clone()));
        let flag = bytes.len() - 2;
        bytes[flag] = u8::from(failed);
        let frames = in_pieces(&bytes, size).unwrap();
        prop_assert_eq!(frames.len(), 1);
        let frame = &frames[0];
        prop_assert_eq!((frame.command, frame.session, frame.failed), (command, session, failed));
        prop_assert_eq!(bcc.opened(&frame.content), Some(&content[..]));
    }
}
