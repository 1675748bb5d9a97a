//! Reads the heads of a network camera's messages, HTTP/1 (RFC 9112) and RTSP/1.0 (RFC 2326).
//!
//! In: a camera's bytes. Out: a first line and header fields. It touches nothing.
//!
//! Many cameras write heads that break the rules, and browsers and players take them. So lines may
//! end in LF alone, a field may have no value, blanks may stand before its colon, and a line that
//! begins with a blank continues the field before it (RFC 9112, 5.2). Lines that are no field are
//! passed over. Control characters are removed, so that no value can begin another field.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt},
    time::timeout,
};

/// Maximum size of a message's head, in bytes.
pub(super) const HEAD_MAX: usize = 64 * 1024;
/// Timeout after a line of blanks, and within a body of unknown length. Then the head or the body
/// has ended.
pub(super) const ENDS_AFTER: Duration = Duration::from_millis(500);

/// The head of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The first line, without blanks around it.
    pub first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Parses a head. It may end at any place.
    pub fn parse(bytes: &[u8]) -> Head {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split('\n');
        let clean = |line: &str| -> String {
            let line = line.replace('\t', " ");
            line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
        };
        let first = clean(lines.next().unwrap_or_default());
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in lines {
            let value = clean(line);
            if line.starts_with([' ', '\t']) {
                if let Some((_, before)) = fields.last_mut()
                    && !value.is_empty()
                {
                    *before = format!("{before} {value}").trim().to_owned();
                }
            } else if let Some((name, value)) = value.split_once(':')
                && is_name(name.trim_end())
            {
                fields.push((name.trim_end().to_owned(), value.trim().to_owned()));
            }
        }
        Head { first, fields }
    }

    /// Returns the first value of a field that is not empty.
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// Returns all values of a field.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| value.as_str())
    }

    /// Returns the fields, in order.
    #[cfg(feature = "h264")]
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns an answer's status and its phrase, if the first line names this protocol.
    pub fn status(&self, protocol: &str) -> Option<(u16, &str)> {
        let (version, rest) = self.first.split_once(' ')?;
        let rest = rest.trim_start();
        let names = version.get(..protocol.len())?.eq_ignore_ascii_case(protocol);
        let (code, phrase) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let status = code.parse().ok().filter(|code| (100..1000).contains(code))?;
        names.then_some((status, phrase.trim_start()))
    }

    /// Returns the length of the body, if the head gives a number. Of several numbers it is the
    /// first.
    pub fn content_length(&self) -> Option<u64> {
        self.all("Content-Length").find_map(|value| {
            let digits = value.trim_start_matches('+');
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits.get(..end)?.parse().ok()
        })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(c))
}

/// Reads the rest of a head, whose first line has been read, up to its empty line.
pub(super) async fn read_rest(
    from: &mut (impl AsyncBufRead + Unpin),
    head: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        let before = head.len();
        read_line(from, head).await?;
        let line = head.get(before..).unwrap_or_default();
        if matches!(line, b"\n" | b"\r\n" | b"") {
            return Ok(());
        }
        if line.trim_ascii().is_empty() && ends_here(from).await? {
            return Ok(());
        }
    }
}

/// Returns whether a line of blanks ended a head: nothing follows it, or no line of a head.
async fn ends_here(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<bool> {
    let Ok(next) = timeout(ENDS_AFTER, from.fill_buf()).await else { return Ok(true) };
    let line = next?.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let name = line.iter().position(|byte| *byte == b':').and_then(|at| line.get(..at));
    let is_field = name.is_some_and(|name| {
        std::str::from_utf8(name).is_ok_and(|name| is_name(name.trim_ascii_end()))
    });
    Ok(!(is_field || line.is_empty() || matches!(line.first(), Some(b'\r' | b' ' | b'\t'))))
}

/// Reads one line with its end and appends it. Returns [`io::ErrorKind::InvalidData`] where the head
/// becomes longer than [`HEAD_MAX`].
pub(super) async fn read_line(
    from: &mut (impl AsyncBufRead + Unpin),
    head: &mut Vec<u8>,
) -> io::Result<()> {
    let left = HEAD_MAX.saturating_sub(head.len());
    let read = from.take(left as u64).read_until(b'\n', head).await?;
    match (read, head.last()) {
        (_, Some(b'\n')) if read > 0 => Ok(()),
        _ if read == left => Err(io::ErrorKind::InvalidData.into()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads a body of this length, at most [`HEAD_MAX`] bytes. A body without a length, and one that
/// is shorter than it should be, ends at the first pause.
pub(super) async fn read_body(
    from: &mut (impl AsyncBufRead + Unpin),
    length: Option<u64>,
) -> io::Result<Vec<u8>> {
    let length = length.map_or(HEAD_MAX, |length| length.min(HEAD_MAX as u64) as usize);
    let mut body = Vec::new();
    while body.len() < length {
        let more = match timeout(ENDS_AFTER, from.fill_buf()).await {
            // The first bytes may take longer.
            Err(_) if body.is_empty() => from.fill_buf().await?,
            Err(_) => break,
            Ok(more) => more?,
        };
        let taken = more.get(..more.len().min(length - body.len())).unwrap_or_default();
        if taken.is_empty() {
            break;
        }
        body.extend_from_slice(taken);
        let count = taken.len();
        from.consume(count);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Vec<(String, String)>) {
        let head = Head::parse(text.as_bytes());
        (head.first, head.fields)
    }

    #[test]
    fn heads_that_players_take_have_the_same_fields_as_a_strict_one() {
        let strict = parsed("RTSP/1.0 200 OK\r\nCSeq: 1\r\nA: b c\r\nE:\r\n\r\n");
        assert_eq!(strict.1.len(), 3);
        for other in [
            "RTSP/1.0 200 OK\nCSeq: 1\nA: b c\nE:\n\n",
            "RTSP/1.0 200 OK\r\nCSeq : 1  \r\nA:b\r\n c\r\nE: \r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq: 1\r\n \r\nA:\r\n\tb\r\n c\r\nno field\r\n: x\r\nE:",
            "RTSP/1.0 200 OK \nCSeq\t:\t1\r\nA: b\u{0} c\r\r\nE: \u{1}\r\n\n",
        ] {
            assert_eq!(parsed(other), strict, "{other:?}");
        }
    }

    #[test]
    fn a_status_line_may_lack_its_phrase_or_be_in_lower_case() {
        let status = |line: &str| {
            let head = Head::parse(line.as_bytes());
            head.status("RTSP").map(|(code, phrase)| (code, phrase.to_owned()))
        };
        assert_eq!(status("RTSP/1.0 200"), Some((200, String::new())));
        assert_eq!(status("rtsp/1.0  404 Not  Found"), Some((404, "Not  Found".to_owned())));
        for no in ["HTTP/1.1 200 OK", "RTSP/1.0", "RTSP/1.0 9 x", "RTSP/1.0 -200 x", "RT 200", ""] {
            assert_eq!(status(no), None, "{no}");
        }
    }

    #[test]
    fn of_bad_or_double_lengths_the_first_number_counts() {
        let length = |fields: &str| Head::parse(format!("x\n{fields}").as_bytes()).content_length();
        assert_eq!(length("Content-Length: 3\ncontent-length: 4"), Some(3));
        assert_eq!(length("Content-Length: 3, 3"), Some(3));
        assert_eq!(length("Content-Length:\nContent-Length : 12 bytes"), Some(12));
        for none in
            ["Content-Length: -1", "Content-Length: x", "Content-Length: 99999999999999999999"]
        {
            assert_eq!(length(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn a_line_of_blanks_ends_a_head_only_where_no_head_goes_on() {
        for (bytes, body) in [
            ("a: b\r\n \r\nc: d\r\n\r\nv=0\r\n", "v=0\r\n"),
            ("a: b\n \nv=0\r\ns=x:y\r\n", "v=0\r\ns=x:y\r\n"),
            ("a: b\r\n\t\r\n\r\n$", "$"),
            ("\r\n", ""),
        ] {
            let mut from = bytes.as_bytes();
            let mut head = b"RTSP/1.0 200 OK\r\n".to_vec();
            read_rest(&mut from, &mut head).await.unwrap();
            assert_eq!(from, body.as_bytes(), "{bytes:?}");
        }
        let mut endless = vec![b'x'; HEAD_MAX + 1];
        endless.push(b'\n');
        let error = read_rest(&mut &endless[..], &mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_body_without_a_length_ends_at_a_pause() {
        let (mut camera, from) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut camera, b"v=0\r\n").await.unwrap();
        let mut from = tokio::io::BufReader::new(from);
        assert_eq!(read_body(&mut from, None).await.unwrap(), b"v=0\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut camera, b"v=0\r\nrest").await.unwrap();
        assert_eq!(read_body(&mut from, Some(5)).await.unwrap(), b"v=0\r\n");
        drop(camera);
        assert_eq!(read_body(&mut from, Some(9999)).await.unwrap(), b"rest");
    }
}
