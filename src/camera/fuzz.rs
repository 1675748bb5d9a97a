//! The fuzz target of the parsers of network cameras' messages.

use url::Url;

use super::{
    chunks::Chunks,
    dialect,
    head::{HEAD_MAX, Head},
    login::challenges,
    messages::read_message,
};

/// Reads the bytes as a camera's messages, as one answer, as a login's challenge and as chunks. What
/// goes on from here is well-formed.
#[allow(clippy::expect_used, reason = "a fuzz target may panic")]
pub(crate) fn fuzz(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let mut from = bytes;
        while read_message(&mut from, bytes.first() == Some(&b'R')).await.is_ok() {}
    });
    let head = Head::parse(bytes);
    for (name, value) in head.fields() {
        assert!(!name.is_empty() && !name.contains(char::is_whitespace), "{name:?}");
        assert!(!value.contains(char::is_control), "{value:?}");
    }
    let url = Url::parse("rtsp://127.0.0.1/cam").expect("an address");
    if let Ok((lines, sdp)) = dialect::described(&head, bytes, &url) {
        let is_clean = |line: &str| !line.contains(char::is_control);
        assert!(lines.split_terminator("\r\n").all(|line| is_clean(line) && line.contains(": ")));
        for line in sdp.split_terminator("\r\n") {
            assert!(is_clean(line) && line.get(1..2) == Some("="), "{line:?}");
        }
        assert!(sdp.len() < 8 * HEAD_MAX.max(bytes.len()), "an SDP grows");
    }
    let (_, lines) = dialect::set_up(&head);
    assert_eq!(lines.matches("\r\n").count(), 2);
    for challenge in challenges(&String::from_utf8_lossy(bytes)) {
        assert_eq!(challenges(&challenge), [challenge]);
    }
    let cut = |pieces: usize| {
        let mut chunks = Chunks::default();
        let out: Vec<u8> = bytes.chunks(pieces).flat_map(|piece| chunks.strip(piece)).collect();
        (out, chunks.is_over())
    };
    assert_eq!(cut(bytes.len().max(1)), cut(3));
}
