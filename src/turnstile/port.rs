//! The port to a turnstile's controller, and what a lane hears of it.

#![warn(missing_docs)]

use super::{error::TurnstileError, passage_id::PassageId, settings::Direction};
use crate::clock::Monotonic;

/// What a controller was found with at a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectReport {
    /// Directions that stand released, as far as it tells: after a crash, say.
    pub released: Vec<Direction>,
    /// The fire alarm's input, where there is one.
    pub fire: Option<bool>,
}

/// What one step of listening brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// A direction for each passage.
    pub passed: Vec<Direction>,
    /// The fire alarm's input, where there is one.
    pub fire: Option<bool>,
    /// Something that a person should read, and that does not end the connection.
    pub remark: Option<String>,
}

/// The port to a turnstile's controller. Real and simulated devices behave alike.
///
/// After any error but [`TurnstileError::Late`] the line counts as down until the next
/// [`connect`](Turnstile::connect). A dropped future must leave the driver so that the next call
/// cannot take an old answer for its own.
pub trait Turnstile: Send + 'static {
    /// Whether the controller reports that somebody went through.
    const CONFIRMS_PASSAGE: bool = true;

    /// Opens the line and looks; moves nothing. [`hold`](Turnstile::hold) comes next, before
    /// anything else: a coil left on by a crash would keep the gate open.
    fn connect(&mut self) -> impl Future<Output = Result<ConnectReport, TurnstileError>> + Send;

    /// Starts a release, unless `deadline` is over when its turn on the line comes; returns when
    /// the controller has acknowledged it.
    fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> impl Future<Output = Result<(), TurnstileError>> + Send;

    /// One step of listening: withdraws a release whose time is over, then returns the passages
    /// since the last step. The first step of a connection reports none.
    fn poll(&mut self) -> impl Future<Output = Result<Polled, TurnstileError>> + Send;

    /// Opens the arm both ways, until it is closed again; or closes it, and withdraws with it every
    /// release that is, or may be, under way. Without a connection that is an error where there may
    /// be one. The task says again after a while that an arm is to be open.
    fn hold(&mut self, open: bool) -> impl Future<Output = Result<(), TurnstileError>> + Send;
}

/// The command to let one person through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The passage that it begins.
    pub passage: PassageId,
    /// The way that the person goes.
    pub direction: Direction,
    /// After this moment the command is void (I4).
    pub deadline: Monotonic,
}

/// Why a release was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReleased {
    /// Its deadline had passed; the device was not touched for it.
    Late,
    /// The line was down, or failed under it.
    Failed(String),
}

/// What the lane hears; `at` is when the driver heard it. Every [`Release`] is answered by one `Released` or `NotReleased`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "what a variant says is what its fields are")]
pub enum TurnstileEvent {
    /// The controller answers; `withdrawn` are the releases it was found with.
    Up { withdrawn: Vec<Direction> },
    /// The controller does not answer; said once, not at each attempt.
    Down { error: String },
    /// The controller acknowledged the release.
    Released { passage: PassageId, at: Monotonic },
    /// `may_have_released`: the command went out and no proper answer came back, so nobody knows.
    NotReleased { passage: PassageId, why: NotReleased, may_have_released: bool },
    /// The passage sensor saw somebody.
    Passed { direction: Direction, at: Monotonic },
    /// The fire alarm's input went on or off; said also when it is on as the line comes up. The
    /// task opens the arm before it says `on: true`, and keeps it open until the lane, having heard
    /// it, sets `hold_open` and later clears it.
    Fire { on: bool, at: Monotonic },
}
