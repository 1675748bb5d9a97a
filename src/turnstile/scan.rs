//! Finds a controller's frame among received bytes.
//!
//! In: the bytes received so far. Out: the position and length of the answer. Each codec says how
//! its frame begins, how long it is and how it is checked. [`scan`] passes over everything else:
//! stray bytes, half frames, wrong checksums, other devices' answers. Nothing here waits, reads a
//! clock or touches a port.

/// What begins at one position of the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// No frame.
    No,
    /// Possibly the first bytes of a frame.
    Part,
    /// A whole frame of this length, from the device that was asked.
    Answer(usize),
    /// A whole frame of this length, from another device. All of it is passed over, even bytes that
    /// look like a frame.
    Other(usize),
}

/// What was found in all bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No answer yet. The first `passed_over` bytes can be discarded; the rest is at most one
    /// frame.
    Nothing {
        passed_over: usize,
    },
    Answer {
        passed_over: usize,
        len: usize,
    },
}

/// Looks for the first whole answer. Half a frame is often followed by a whole one, so the search
/// goes on after bytes that only look like a beginning.
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
    /// Returns the answer. Panics if it does not lie within the received bytes.
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
