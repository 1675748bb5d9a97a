//! The port to a turnstile's controller, and the events that a lane receives from it.

#![warn(missing_docs)]

use std::time::Duration;

use super::{error::TurnstileError, passage_id::PassageId, settings::Direction};
use crate::clock::Monotonic;

/// The controller's state when it was connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectReport {
    /// Directions that the controller reports as released, for example after a crash.
    pub released: Vec<Direction>,
    /// The fire alarm's input, where there is one.
    pub fire: Option<bool>,
}

/// The result of one poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// The direction of each passage.
    pub passed: Vec<Direction>,
    /// The direction of each press of a guard's button.
    pub pressed: Vec<Direction>,
    /// Whether each passage input is on, in the order of [`Direction::BOTH`]; `None` where passages
    /// are counted, or not reported.
    pub inputs: Option<[bool; 2]>,
    /// The counters of passages started again, so that passages may be missing.
    pub restarted: bool,
    /// The fire alarm's input, where there is one.
    pub fire: Option<bool>,
    /// The directions that another hand has released, at a poll that looked for them. It looks each
    /// [`READ_BACK`].
    pub foreign: Option<Vec<ForeignRelease>>,
    /// A message for a person that does not end the connection.
    pub remark: Option<String>,
}

/// Interval between two looks for releases by another hand.
pub const READ_BACK: Duration = Duration::from_secs(5);

/// A direction that the controller shows as released, and that this gateway has not released. The
/// other hand may be a fire panel, so a driver leaves it until the task withdraws it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRelease {
    /// The direction that is open.
    pub direction: Direction,
    /// The controller's output, for a person: `coil 3 of address 1 on /dev/ttyUSB0`.
    pub output: String,
}

/// The port to a turnstile's controller. Real and simulated devices behave alike.
///
/// After any error but [`TurnstileError::Late`] the line counts as down until the next
/// [`connect`](Turnstile::connect). A call may be dropped before it ends. The driver must then make
/// sure that the next call does not take an older answer for its own.
pub trait Turnstile: Send + 'static {
    /// Opens the line and reads the controller's state. It does not move the arm. The task calls
    /// [`hold`](Turnstile::hold) next, because a coil left on by a crash would keep the gate open.
    fn connect(&mut self) -> impl Future<Output = Result<ConnectReport, TurnstileError>> + Send;

    /// Starts a release, and returns when the controller has acknowledged it. If `deadline` passes
    /// before the line is free, the release is not sent. A direction that another hand still holds
    /// released needs no command, and is left to that hand.
    fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> impl Future<Output = Result<(), TurnstileError>> + Send;

    /// Withdraws a release whose pulse is over, then returns the passages since the last poll. The
    /// first poll of a connection reports no passage.
    fn poll(&mut self) -> impl Future<Output = Result<Polled, TurnstileError>> + Send;

    /// Opens the arm both ways until it is closed again; or closes the arm and withdraws every
    /// release of this gateway that is, or may be, active. Returns an error if there may be an active release and
    /// no connection. The task repeats the command while the arm is to stand open.
    fn hold(&mut self, open: bool) -> impl Future<Output = Result<(), TurnstileError>> + Send;

    /// Withdraws a release that a poll reported as another hand's.
    fn withdraw(
        &mut self,
        _direction: Direction,
    ) -> impl Future<Output = Result<(), TurnstileError>> + Send {
        async { Ok(()) }
    }
}

/// The command to let one person through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The passage that the release begins.
    pub passage: PassageId,
    /// The person's direction.
    pub direction: Direction,
    /// After this moment the command is void (I4).
    pub deadline: Monotonic,
}

/// Why a release was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReleased {
    /// The deadline had passed. No command was sent to the device.
    Late,
    /// The line was down, or failed during the release.
    Failed(String),
}

/// What the lane receives. `at` is the time when the task received it from the driver. Each
/// [`Release`] is answered by one `Released` or `NotReleased`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "what a variant says is what its fields are")]
pub enum TurnstileEvent {
    /// The controller answers. `withdrawn` are the releases that were active when it was connected.
    Up { withdrawn: Vec<Direction> },
    /// The controller does not answer. Sent once, not at each attempt.
    Down { error: String },
    /// The controller acknowledged the release.
    Released { passage: PassageId, at: Monotonic },
    /// The release was not acknowledged. `may_have_released`: the command was sent and no valid
    /// answer came, so the arm may have opened.
    NotReleased { passage: PassageId, why: NotReleased, may_have_released: bool },
    /// The passage sensor or a counter reported a passage.
    Passed { direction: Direction, at: Monotonic },
    /// A passage input went on or off. Comes before the `Passed` of the same poll. Also sent when
    /// the input is on at a connection. Counters have no input.
    Sensor { direction: Direction, on: bool, at: Monotonic },
    /// A guard's button was pressed.
    Button { direction: Direction, at: Monotonic },
    /// The counters of passages started again, so that passages may be missing.
    CountersRestarted { at: Monotonic },
    /// The fire alarm's input went on or off. Also sent when the input is on at a connection.
    ///
    /// The task tries to open the arm before it sends `on: true`. It keeps the arm open until the
    /// lane has received the event, has set `hold_open`, and later clears `hold_open`.
    ///
    /// `lasted` is the maximum length of the sign that `on: false` ends. It is `None` if the line
    /// was lost before the sign or during it.
    Fire { on: bool, at: Monotonic, lasted: Option<Duration> },
    /// Since a sign's end of known length, the fire alarm's input was off for
    /// [`QUIET`](super::QUIET), without a break and without a loss of the line.
    FireQuiet,
}
