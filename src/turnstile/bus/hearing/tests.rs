//! Frames of a made-up protocol: `?x` reads, `!x` writes and is answered by the same bytes.

use super::*;

/// An answer is two bytes: `=x` to `?x`, `!x` or the refusal `-x` to `!x`.
fn exchange(send: &[u8]) -> Exchange {
    let marks: &[u8] = if send.starts_with(b"!") { b"!-" } else { b"=" };
    let find: Find =
        Box::new(move |heard| match heard.iter().position(|byte| marks.contains(byte)) {
            Some(at) if at + 2 <= heard.len() => Found::Answer { passed_over: at, len: 2 },
            at => Found::Nothing { passed_over: at.unwrap_or(heard.len()) },
        });
    Exchange { send: send.to_vec(), find: Some(find), ..Exchange::default() }
}

/// Returns the answer, what the exchange shows of the echo, and the noise, for each split of the
/// received bytes in two, and byte by byte.
fn hear(send: &[u8], echoes: bool, line: &[u8]) -> (Option<Vec<u8>>, Option<bool>, usize) {
    let exchange = exchange(send);
    let find = exchange.find.as_ref().unwrap();
    let mut results: Vec<_> = (0..=line.len())
        .map(|at| vec![&line[..at], &line[at..]])
        .chain([line.chunks(1).collect()])
        .map(|pieces| {
            let mut hearing = Hearing::new(&exchange, find, echoes);
            let frame = pieces.iter().find_map(|piece| hearing.hear(piece));
            // Bytes after the answer are noise, whether they are read with it or later.
            (frame, hearing.shows_echo(), hearing.noise())
        })
        .collect();
    results.dedup();
    assert_eq!(results.len(), 1, "{line:02X?}: {results:?}");
    results.remove(0)
}

fn found(frame: &[u8], echo: Option<bool>, noise: usize) -> (Option<Vec<u8>>, Option<bool>, usize) {
    (Some(frame.to_vec()), echo, noise)
}

#[test]
fn a_request_that_no_answer_resembles_shows_whether_the_adapter_echoes() {
    for before in [false, true] {
        assert_eq!(hear(b"?a", before, b"=a"), found(b"=a", Some(false), 0));
        assert_eq!(hear(b"?a", before, b"?a=a"), found(b"=a", Some(true), 0));
        assert_eq!(hear(b"?a", before, b"zz?a=a"), found(b"=a", Some(true), 2));
        assert_eq!(hear(b"?a", before, b"?a"), (None, Some(true), 0), "only the echo");
        assert_eq!(hear(b"?a", before, b""), (None, None, 0));
        // A damaged echo shows nothing, and costs nothing.
        assert_eq!(hear(b"?a", before, b"a=a"), found(b"=a", None, 1));
        assert_eq!(hear(b"?a", before, b"??a=a"), found(b"=a", Some(true), 1));
    }
}

#[test]
fn an_echo_is_never_the_answer_of_a_command_that_is_answered_by_the_same_bytes() {
    assert_eq!(hear(b"!a", true, b"!a"), (None, None, 0), "no word of the board");
    assert_eq!(hear(b"!a", true, b"!a!a"), found(b"!a", None, 0));
    assert_eq!(hear(b"!a", true, b"!a-a"), found(b"-a", None, 0), "refused");
    assert_eq!(hear(b"!a", true, b"zz!azz!a"), found(b"!a", None, 4));
    // Of two equal frames, one is the echo. A damaged echo leaves the answer unknown.
    assert_eq!(hear(b"!a", true, b"a!a"), (None, None, 1));
    assert_eq!(hear(b"!a", true, b"-a"), (None, None, 2), "an answer before its echo");
    assert_eq!(hear(b"!a", false, b"!a"), found(b"!a", None, 0));
}

#[test]
fn i8_what_is_kept_is_bounded() {
    for send in [b"?a", b"!a"] {
        let exchange = exchange(send);
        let mut hearing = Hearing::new(&exchange, exchange.find.as_ref().unwrap(), true);
        for _ in 0..40 {
            assert_eq!(hearing.hear(&[b'?'; 100]), None);
            assert!(hearing.heard.len() <= CHUNK && hearing.passed().len() <= CHUNK);
        }
        assert_eq!(hearing.noise(), 4000);
    }
}
