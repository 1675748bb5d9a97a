//! How long the fire alarm's input was on, by its readings. Pure: times and readings go in.
//!
//! The input is read only now and then. So the length of a sign has an upper bound only: the time
//! from the last reading "off" before the sign to the first reading "off" after it.

use std::time::Duration;

use crate::clock::Monotonic;

/// A shorter fire sign may be a glitch of the input.
pub const SHORT_SIGN: Duration = Duration::from_millis(200);
/// Time of unbroken readings "off" after which a short sign is over for good.
pub const QUIET: Duration = Duration::from_secs(5);

/// The latest sign at an input, on a line that was never lost meanwhile.
#[derive(Debug, Default)]
pub(super) struct FireSign {
    /// The time before the last reading "off" was asked for; `None` after a lost line.
    off: Option<Monotonic>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// No sign, or a sign whose length is not known.
    #[default]
    None,
    /// `after`: a time at which the input was still off.
    On { after: Option<Monotonic> },
    /// The input was off again at `since`, after at most `lasted`.
    Over { since: Monotonic, lasted: Duration },
}

impl FireSign {
    /// Takes a reading that was asked for at `asked` and answered at `heard`. Returns true when the
    /// input has been off for [`QUIET`] after a sign.
    pub(super) fn read(&mut self, asked: Monotonic, heard: Monotonic, on: bool) -> bool {
        let mut quiet = false;
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::On { after } if on => Stage::On { after },
            _ if on => Stage::On { after: self.off },
            Stage::On { after: Some(after) } => {
                Stage::Over { since: heard, lasted: heard.since(after) }
            }
            Stage::Over { since, .. } if asked.since(since) >= QUIET => {
                quiet = true;
                Stage::None
            }
            Stage::On { after: None } => Stage::None,
            other => other,
        };
        if !on {
            self.off = Some(asked);
        }
        quiet
    }

    /// The line was lost: the input may have changed meanwhile.
    pub(super) fn lost(&mut self) {
        self.off = None;
        self.stage = match self.stage {
            Stage::On { .. } => Stage::On { after: None },
            _ => Stage::None,
        };
    }

    /// Returns the maximum length of the sign that has just ended, if it is known.
    pub(super) fn lasted(&self) -> Option<Duration> {
        match self.stage {
            Stage::Over { lasted, .. } => Some(lasted),
            _ => None,
        }
    }

    /// Returns whether the sign may still prove to be short: the next reading is due at once.
    pub(super) fn may_be_short(&self, now: Monotonic) -> bool {
        matches!(self.stage, Stage::On { after: Some(after) } if now.since(after) < SHORT_SIGN)
    }
}

#[cfg(test)]
mod tests;
