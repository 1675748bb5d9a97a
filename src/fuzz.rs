//! Targets of `fuzz/run`: one function for each kind of bytes that come from outside. Each function
//! panics if a property of the parsed data does not hold. Not part of the program.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::{
    attendance::Origin,
    camera::mjpeg::Splitter,
    config::CommandLevel,
    control::{Request, Wire},
    ledger::Entry,
    roster::import,
    turnstile::drivers,
    uplink::{
        authority::Authority,
        profiles::{self, native::Encoding, profile::Envelope},
    },
    vision::{self, Format},
};

/// Decodes an entry of the ledger. Encoding it gives the same bytes, also if a part is unknown.
pub fn entry(bytes: &[u8]) {
    let Ok(entry) = Entry::decode(bytes) else { return };
    assert_eq!(entry.encode().as_deref(), Ok(bytes));
}

/// Reads a platform's command.
pub fn command(bytes: &[u8]) {
    let timezone = jiff::tz::TimeZone::UTC;
    let origin = Origin { gateway: "g".into(), project: "p".into(), timezone };
    let authority = Authority::unsigned(CommandLevel::All, &origin);
    for encoding in [Encoding::Json, Encoding::Cbor] {
        let _ = Envelope::read(encoding, bytes, &authority);
    }
}

/// Reads what a platform sends over TCP 843.
pub fn tcp843(bytes: &[u8]) {
    profiles::tcp843::fuzz(bytes);
}

/// Reads an answer of a platform with the national interface.
pub fn national(bytes: &[u8]) {
    profiles::national::fuzz(bytes);
}

/// Reads a message of a platform to a face terminal.
#[allow(clippy::expect_used, reason = "a fuzz target may panic without a profile")]
pub fn terminal(bytes: &[u8]) {
    let timezone = jiff::tz::TimeZone::UTC;
    let origin = Origin { gateway: "g".into(), project: "p".into(), timezone };
    let text =
        "name = 'p'\nprofile = 'face-terminal'\nack = 'platform'\nbroker = 'mqtt://127.0.0.1'";
    let upstream = toml::from_str(text).expect("an upstream");
    let profile = profiles::of(&upstream, &origin).expect("its profile");
    let authority = Authority::unsigned(CommandLevel::All, &origin);
    for topic in profile.listens_on(&authority) {
        let _ = profile.read(&topic, bytes, &authority);
    }
    let _ = profile.busy(bytes);
    if let Ok(command) = profile.command(bytes, &authority) {
        // The answer names the command, so its id is within bounds.
        assert!(command.id.len() <= 4096, "an id of {} bytes", command.id.len());
    }
}

/// Reads the bytes of readers: lines, keys, frames of cards and of ID cards.
pub fn reader(bytes: &[u8]) {
    crate::reader::fuzz(bytes);
}

/// Splits a camera's stream into frames, whole and in pieces of a length that its first byte gives.
/// The frames are the same, and each byte is in a frame or counted as garbage.
pub fn mjpeg(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let cut = |pieces: usize| {
        let (mut splitter, mut frames) = (Splitter::new(150), Vec::new());
        for piece in stream.chunks(pieces) {
            splitter.push(piece);
            frames.extend(std::iter::from_fn(|| splitter.next_frame()));
        }
        splitter.end();
        (frames, splitter.garbage())
    };
    let (frames, garbage) = cut(stream.len().max(1));
    assert_eq!(cut((*piece).max(1).into()), (frames.clone(), garbage));
    let framed: usize = frames.iter().map(Vec::len).sum();
    assert_eq!(framed as u64 + garbage, stream.len() as u64);
}

/// Reads a network camera's messages.
#[cfg(feature = "h264")]
pub fn camera(bytes: &[u8]) {
    crate::camera::fuzz(bytes);
}

/// Parses the bytes on a turnstile's line as controllers' answers.
pub fn turnstile(bytes: &[u8]) {
    drivers::fuzz(bytes);
}

/// Reads a roster: text, or a workbook. No ID is in two valid rows.
pub fn roster(bytes: &[u8]) {
    let Ok(file) = import::read(bytes) else { return };
    let mut ids = HashSet::new();
    for row in &file.rows {
        if let Ok(candidate) = &row.candidate {
            assert!(ids.insert(candidate.person.id.clone()), "an ID is there twice");
        }
    }
}

/// Decodes a frame, and a photo. What follows after a photo's end does not count.
pub fn photo(bytes: &[u8]) {
    let _ = vision::decode_frame(bytes);
    let Ok(image) = vision::decode(bytes) else { return };
    if matches!(vision::Format::of(bytes), Ok(Format::Jpeg | Format::Png | Format::WebP)) {
        let behind = vision::decode(&[bytes, b"\xff\xda\xff\xd9"].concat());
        assert!(behind.is_ok_and(|behind| behind == image), "the bytes behind it count");
    }
}

/// Reads the bytes of a client of the socket: requests, with a photo's piece after each.
#[allow(clippy::expect_used, reason = "a fuzz target may panic without a runtime")]
pub fn frames(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut wire = Wire::new(std::io::Cursor::new(bytes.to_vec()));
        while wire.receive_json::<Request>().await.is_ok() {
            let _ = wire.receive_piece().await;
        }
    });
}
