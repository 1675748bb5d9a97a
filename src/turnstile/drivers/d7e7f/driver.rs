//! The driver of a `7E/7F` controller, which counts passages to either side.
//!
//! **Passages** are the increase of its counters since the last poll. A counter that rose by more
//! than [`MAX_PASSAGES`], or fell, means that the controller has restarted. The driver then counts
//! from the new value and reports no passage. Passages that the controller counted while the line
//! was down are logged, but not reported.
//!
//! **Late answers.** All answers look alike. So a missing answer ends the session (`bus`), and
//! bytes are discarded until the line was quiet for [`QUARANTINE`]. Then one status request must
//! have its answer, and no byte may follow it: if that answer were an older one, the right one
//! would follow. A release is sent only on a quiet line, and only a later answer acknowledges it.
//! One case remains: an answer comes after all of this, about 0.8 s, and the right one is lost.

use std::time::Duration;

use tracing::warn;

use super::codec::{Command, State, find, whose};
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

/// Maximum pause between two bytes of a frame. Source: the manual. Its maximum of 300 ms for a
/// whole frame is the bus's timeout for an answer.
const GAP: Duration = Duration::from_millis(80);
/// Quiet time of the line before a connection.
const QUARANTINE: Duration = Duration::from_millis(500);
/// Quiet time after the first answer. The right answer would come within it if the first answer
/// were an older one.
const NOTHING_FOLLOWS: Duration = Duration::from_millis(60);
/// Quiet time of the line before a release.
const QUIET: Duration = Duration::from_millis(15);
/// Maximum number of passages in a direction between two polls. A larger rise is a restart.
const MAX_PASSAGES: u32 = 16;
/// Largest value of a counter, 24 bits. The next passage sets it to 0.
const COUNTER_MAX: u32 = 0xFF_FFFF;

/// The driver of one machine on a line.
pub struct CountingTurnstile {
    config: FramedBoard,
    session: Session,
    counted: Option<[u32; 2]>,
    /// Fault and alarm of the last poll.
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
            whose: Some(whose),
            gap: Some(GAP),
            turn: if command == Command::Status { Turn::Routine } else { Turn::Urgent },
            after_quiet: if deadline.is_some() { QUIET } else { Duration::ZERO },
            deadline,
        };
        let frame = self.session.exchange(exchange).await?;
        State::read(&frame).ok_or_else(|| self.session.garbled("half a frame".to_owned()))
    }

    /// Returns the counters in the order of [`Direction::BOTH`].
    fn counters(&self, state: &State) -> [u32; 2] {
        let counted = |d| if self.config.is_left(d) { state.left } else { state.right };
        Direction::BOTH.map(counted)
    }

    /// Returns the passages since the last poll, and a remark if the controller has restarted.
    fn count(&mut self, state: &State) -> (Vec<Direction>, Option<String>) {
        let now = self.counters(state);
        let Some(before) = self.counted.replace(now) else { return (Vec::new(), None) };
        let [entry, exit] = [0, 1].map(|at| now[at].wrapping_sub(before[at]) & COUNTER_MAX);
        if entry > MAX_PASSAGES || exit > MAX_PASSAGES {
            let remark = format!(
                "the counters of address {} on {} went from {before:?} to {now:?}: the controller \
                 has restarted or was reset; check its power supply",
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
        whose(heard);
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
            warn!(
                port,
                address,
                ?before,
                ?now,
                "passages while the line was down are not reported"
            );
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
        Ok(Polled { passed, remark, ..Polled::default() })
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
