//! The controllers' frames, without a line: bytes in, frames out.
//!
//! Each codec names a frame's beginning, length and proof; [`scan`] finds it among whatever else a
//! line brings: stray bytes, halves, wrong checksums, other devices' answers. Nothing here waits,
//! reads a clock or touches a port.

/// What may begin at one place of the bytes heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// No frame.
    No,
    /// The first bytes of one, perhaps.
    Part,
    /// A whole frame of the device asked, of this length.
    Answer(usize),
    /// A whole frame of another device: passed over, with whatever looks like a frame in it.
    Other(usize),
}

/// What was found in all bytes heard so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No answer yet. So many of the first bytes are of no use any more; at most a frame is kept.
    Nothing {
        passed_over: usize,
    },
    Answer {
        passed_over: usize,
        len: usize,
    },
}

/// Looks for the first whole answer. What looks like a beginning does not hide an answer after it:
/// half a frame is often followed by a whole one.
pub fn scan(heard: &[u8], here: impl Fn(&[u8]) -> Here) -> Found {
    let mut part = None;
    let mut at = 0;
    while let Some(rest) = heard.get(at..).filter(|rest| !rest.is_empty()) {
        match here(rest) {
            Here::Answer(len) => return Found::Answer { passed_over: at, len },
            Here::Other(len) => {
                part = None;
                at += len.max(1);
            }
            Here::Part => {
                part.get_or_insert(at);
                at += 1;
            }
            Here::No => at += 1,
        }
    }
    Found::Nothing { passed_over: part.unwrap_or(at).min(heard.len()) }
}

#[cfg(any(test, fuzzing))]
impl Found {
    /// Returns the answer. What was found lies within what was heard.
    pub fn frame(self, heard: &[u8]) -> Option<&[u8]> {
        match self {
            Found::Nothing { passed_over } => {
                assert!(passed_over <= heard.len());
                None
            }
            Found::Answer { passed_over, len } => Some(&heard[passed_over..passed_over + len]),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
