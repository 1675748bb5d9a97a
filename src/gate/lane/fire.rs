//! The fire alarms of all lanes of a gateway: which sign was only a glitch of an input. Pure: signs
//! and times go in, the judgement comes out.
//!
//! Each sign opens every lane at once (I1). A person then decides when the lanes close again. There
//! is one exception, a glitch: the only sign at any input, shorter than [`SHORT_SIGN`], with no
//! other short sign within [`GLITCH_WINDOW`] before it, and then unbroken readings "off" on a line
//! that was never lost. After it the lanes go back to their modes.

use std::{collections::BTreeMap, time::Duration};

use crate::{clock::Monotonic, turnstile::SHORT_SIGN};

/// Time after a short sign in which a further one is no glitch, at any input.
pub const GLITCH_WINDOW: Duration = Duration::from_secs(10 * 60);

/// The latest short sign of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortSign {
    /// The time of its end.
    pub at: Monotonic,
    /// Its maximum length.
    pub lasted: Duration,
    /// Number of short signs of this input, each within [`GLITCH_WINDOW`] of the one before.
    pub times: u64,
    /// It was a glitch: the lanes went back to their modes.
    pub healed: bool,
    /// No short sign of any input came within [`GLITCH_WINDOW`] before it.
    alone: bool,
    /// Its number among the signs of all inputs.
    number: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FireAlarms {
    /// Lanes whose controller has the alarm's input on, and the numbers of these signs.
    on: BTreeMap<String, u64>,
    /// Number of times that an input went on.
    rung: u64,
    /// The lane whose input went on last.
    by: String,
    short: BTreeMap<String, ShortSign>,
    /// The number of the latest sign that was a glitch.
    glitch: Option<u64>,
}

impl FireAlarms {
    /// The input of this lane is on. Returns whether it was off.
    pub(super) fn ring(&mut self, lane: &str) -> bool {
        if self.on.contains_key(lane) {
            return false;
        }
        self.rung += 1;
        self.on.insert(lane.to_owned(), self.rung);
        self.by = lane.to_owned();
        true
    }

    /// The input of this lane is off, at the end of a sign of at most `lasted`. Returns whether the
    /// input was on.
    pub(super) fn end(&mut self, lane: &str, at: Monotonic, lasted: Option<Duration>) -> bool {
        let Some(number) = self.on.remove(lane) else { return false };
        if let Some(lasted) = lasted.filter(|lasted| *lasted < SHORT_SIGN) {
            self.shorten(
                lane,
                ShortSign { at, lasted, times: 1, healed: false, alone: true, number },
            );
        }
        true
    }

    fn shorten(&mut self, lane: &str, mut sign: ShortSign) {
        let recent = |before: &&ShortSign| sign.at.since(before.at) < GLITCH_WINDOW;
        let before = self.short.get(lane).filter(recent).map_or(0, |before| before.times);
        sign.alone = !self.short.values().any(|before| recent(&before));
        sign.times += before;
        self.short.insert(lane.to_owned(), sign);
    }

    /// A short sign ended before this gateway started: the next one is no glitch.
    pub(super) fn recall(&mut self, lane: &str, at: Monotonic) {
        let lasted = Duration::ZERO;
        let sign = ShortSign { at, lasted, times: 1, healed: false, alone: false, number: 0 };
        self.short.insert(lane.to_owned(), sign);
    }

    /// The input of this lane was off without a break since the end of its sign. Returns whether
    /// the sign was a glitch.
    pub(super) fn quiet(&mut self, lane: &str) -> bool {
        let alone = self.on.is_empty();
        let Some(sign) = self.short.get_mut(lane) else { return false };
        let glitch = alone && sign.alone && sign.number == self.rung && !sign.healed;
        if glitch {
            sign.healed = true;
            self.glitch = Some(sign.number);
        }
        glitch
    }

    /// Returns the lanes whose input is on.
    pub(super) fn on(&self) -> Vec<&str> {
        self.on.keys().map(String::as_str).collect()
    }

    /// Returns the number of signs, and the lane of the last one.
    pub(super) fn last(&self) -> (u64, &str) {
        (self.rung, &self.by)
    }

    /// Returns the last sign if it was a glitch, and its lane.
    pub(super) fn glitch(&self) -> Option<(&ShortSign, &str)> {
        self.glitch.filter(|number| *number == self.rung)?;
        Some((self.short.get(&self.by)?, &self.by))
    }

    pub(super) fn short_sign(&self, lane: &str) -> Option<&ShortSign> {
        self.short.get(lane)
    }
}

#[cfg(test)]
mod tests;
