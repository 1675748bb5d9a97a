//! A controller that speaks `7E/7F`: it counts passages to either side.
//!
//! **Passages** are what its counters rose by since the last poll. A jump of more than
//! [`A_CROWD`], or a counter that falls, is a controller that has started again: it is counted from
//! there, and no passage is made up. Neither is one for what it counted while nobody asked; that is
//! logged.
//!
//! **Late answers.** All answers look alike. So one that does not come in time ends the session
//! (`bus`), the line is listened to, and what comes is thrown away until [`QUARANTINE`] has passed
//! without a byte. Then one status request must have its answer, and nothing may follow it: an older
//! answer in its place would be followed by its own. A release is asked for on a line that was quiet
//! right before, and acknowledged only by what came after it. What remains possible: an answer that
//! is later than all of this, some 0.8 s, where the right one is lost at the same time.

use std::time::Duration;

use tracing::warn;

use super::codec::{Command, State, find};
#[cfg(any(test, feature = "failpoints"))]
use crate::turnstile::simulation::Board;
use crate::{
    clock::Monotonic,
    turnstile::{
        bus::{Exchange, Session, Turn},
        drivers::kind::{Driver, Means},
        error::TurnstileError,
        port::{ConnectReport, Polled, Turnstile},
        settings::{Direction, FramedBoard},
    },
};

/// The manual's: a longer pause between two bytes parts them. Its 300 ms for a whole frame are the
/// time that an answer has at all.
const GAP: Duration = Duration::from_millis(80);
const QUARANTINE: Duration = Duration::from_millis(500);
/// Within this the right answer would follow one that came for it.
const NOTHING_FOLLOWS: Duration = Duration::from_millis(60);
/// Before a release.
const QUIET: Duration = Duration::from_millis(15);
/// More passages than these between two polls are none.
const A_CROWD: u32 = 16;
/// The counters' width.
const COUNTED: u32 = 0xFF_FFFF;

/// The driver; one machine on a line.
pub struct CountingTurnstile {
    config: FramedBoard,
    session: Session,
    counted: Option<[u32; 2]>,
    /// The last poll's fault and alarm.
    trouble: (u8, u8),
}

impl CountingTurnstile {
    async fn request(
        &mut self,
        command: Command,
        deadline: Option<Monotonic>,
    ) -> Result<State, TurnstileError> {
        let address = self.config.address;
        let exchange = Exchange {
            send: command.frame(address),
            find: Some(Box::new(move |heard| find(address, heard))),
            gap: Some(GAP),
            turn: if command == Command::Status { Turn::Routine } else { Turn::Urgent },
            after_quiet: if deadline.is_some() { QUIET } else { Duration::ZERO },
            deadline,
        };
        let frame = self.session.exchange(exchange).await?;
        State::read(&frame).ok_or_else(|| self.session.garbled("half a frame".to_owned()))
    }

    /// The counters, as of [`Direction::BOTH`].
    fn counters(&self, state: &State) -> [u32; 2] {
        let counted = |d| if self.config.is_left(d) { state.left } else { state.right };
        Direction::BOTH.map(counted)
    }

    /// The passages since the last poll, and what there is to say.
    fn count(&mut self, state: &State) -> (Vec<Direction>, Option<String>) {
        let now = self.counters(state);
        let Some(before) = self.counted.replace(now) else { return (Vec::new(), None) };
        let [entry, exit] = [0, 1].map(|at| now[at].wrapping_sub(before[at]) & COUNTED);
        if entry > A_CROWD || exit > A_CROWD {
            let remark = format!(
                "address {} on {} went from {before:?} to {now:?} passages: it has started again, \
                 or was set back; look at its power supply",
                self.config.address,
                self.session.port()
            );
            return (Vec::new(), Some(remark));
        }
        let times = [(Direction::Entry, entry), (Direction::Exit, exit)];
        let passed = times.into_iter().flat_map(|(d, times)| (0..times).map(move |_| d));
        (passed.collect(), None)
    }

    fn trouble(&mut self, state: &State) -> Option<String> {
        let trouble = (state.fault, state.alarm);
        let before = std::mem::replace(&mut self.trouble, trouble);
        (trouble != before && trouble != (0, 0)).then(|| {
            format!(
                "address {} on {} reports fault {:02X} and alarm {:02X}: see the controller's manual",
                self.config.address,
                self.session.port(),
                trouble.0,
                trouble.1
            )
        })
    }
}

impl Driver for CountingTurnstile {
    const WORD: &str = "7e7f";
    type Config = FramedBoard;

    fn new(config: FramedBoard, means: &Means) -> Self {
        let session = means.session(&config.line, config.address);
        Self { config, session, counted: None, trouble: (0, 0) }
    }

    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn Board> {
        Box::new(super::device::Counter::new(address))
    }

    #[cfg(any(test, fuzzing))]
    fn fuzz(heard: &[u8]) {
        if let Some(frame) = find(1, heard).frame(heard) {
            assert!(State::read(frame).is_some());
        }
    }
}

impl Turnstile for CountingTurnstile {
    async fn connect(&mut self) -> Result<ConnectReport, TurnstileError> {
        self.session.connect(QUARANTINE).await?;
        let state = self.request(Command::Status, None).await?;
        self.session.stays_quiet(NOTHING_FOLLOWS).await?;
        let now = self.counters(&state);
        if let Some(before) = self.counted.replace(now).filter(|before| *before != now) {
            let (port, address) = (self.session.port(), self.config.address);
            warn!(port, address, ?before, ?now, "counted while it was away");
        }
        Ok(ConnectReport::default())
    }

    async fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> Result<(), TurnstileError> {
        let left = self.config.is_left(direction);
        let command = if left { Command::Left } else { Command::Right };
        self.request(command, Some(deadline)).await.map(drop)
    }

    async fn poll(&mut self) -> Result<Polled, TurnstileError> {
        let state = self.request(Command::Status, None).await?;
        let (passed, started_again) = self.count(&state);
        let remark = started_again.or_else(|| self.trouble(&state));
        Ok(Polled { passed, fire: None, remark })
    }

    async fn hold(&mut self, open: bool) -> Result<(), TurnstileError> {
        if !open {
            return self.request(Command::Close, None).await.map(drop);
        }
        self.request(Command::KeepLeftOpen, None).await?;
        self.request(Command::KeepRightOpen, None).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
