//! Takes the frames of chunks away from a body (RFC 9112, 7.1).
//!
//! In: a body in pieces of any size. Out: the bytes within its chunks. It touches nothing. A body
//! that claims chunks and has none goes through as it is.

/// Maximum length of the line before a chunk, in bytes.
const LINE_MAX: usize = 4 * 1024;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    /// The line with a chunk's size; the part of it that has come.
    Size(Vec<u8>),
    /// This number of a chunk's bytes.
    Data(u64),
    /// The end of a body.
    Over,
    /// Bytes outside of chunks.
    Plain,
}

/// One body.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// A chunk has come.
    begun: bool,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Size(Vec::new()), begun: false }
    }
}

impl Chunks {
    /// Returns whether the body has ended.
    pub fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Returns the bytes of chunks in the next piece of the body.
    pub fn strip(&mut self, mut piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while !piece.is_empty() {
            match &mut self.at {
                At::Over => break,
                At::Plain => {
                    out.extend_from_slice(piece);
                    break;
                }
                At::Data(left) => {
                    let taken = piece.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let (data, rest) = piece.split_at(taken);
                    out.extend_from_slice(data);
                    *left -= taken as u64;
                    piece = rest;
                    if *left == 0 {
                        self.at = At::Size(Vec::new());
                    }
                }
                At::Size(line) => {
                    let end = piece.iter().position(|byte| *byte == b'\n');
                    let (head, rest) = piece.split_at(end.map_or(piece.len(), |end| end + 1));
                    line.extend_from_slice(head);
                    piece = rest;
                    if end.is_some() || line.len() > LINE_MAX {
                        let line = std::mem::take(line);
                        self.at = self.after(&line, &mut out);
                    }
                }
            }
        }
        out
    }

    /// Returns what follows a line between chunks.
    fn after(&mut self, line: &[u8], out: &mut Vec<u8>) -> At {
        let text = line.trim_ascii();
        // The line end behind a chunk's data.
        if text.is_empty() {
            return At::Size(Vec::new());
        }
        let digits = text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len());
        let digits = text.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            Some(0) => At::Over,
            Some(size) => {
                self.begun = true;
                At::Data(size)
            }
            None if !self.begun => {
                out.extend_from_slice(line);
                At::Plain
            }
            None => At::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(body: &[u8], pieces: usize) -> (Vec<u8>, bool) {
        let mut chunks = Chunks::default();
        let out = body.chunks(pieces).flat_map(|piece| chunks.strip(piece)).collect();
        (out, chunks.is_over())
    }

    #[test]
    fn chunks_in_any_pieces_give_their_bytes() {
        let body = b"5\r\nab\r\nc\r\n00A;x=y\r\n0123456789\r\n3 \nend\n0\r\n\r\nmore";
        for pieces in 1..body.len() {
            assert_eq!(
                stripped(body, pieces),
                (b"ab\r\nc0123456789end".to_vec(), true),
                "{pieces}"
            );
        }
    }

    #[test]
    fn a_body_without_the_chunks_that_it_claims_goes_through() {
        let body = b"--b\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8";
        for pieces in 1..body.len() {
            assert_eq!(stripped(body, pieces), (body.to_vec(), false));
        }
        assert_eq!(stripped(b"2\r\nab\r\nno size\r\nc", 3), (b"ab".to_vec(), true));
    }
}
