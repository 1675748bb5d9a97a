//! The driver of an `EB` tripod controller, which takes commands and never answers.
//!
//! The turnstile counts as connected when the port is open and the command that sets the arm has
//! left it. A release counts as acknowledged when its bytes have left the port. The driver cannot
//! know whether a controller is there, and it reports no passage.

use std::time::Duration;

use super::codec::Command;
#[cfg(any(test, feature = "failpoints"))]
use crate::turnstile::simulation::Board;
use crate::{
    clock::Monotonic,
    turnstile::{
        bus::{Exchange, Session},
        drivers::kind::{Driver, Means},
        error::TurnstileError,
        port::{ConnectReport, Polled, Turnstile},
        settings::{Direction, FramedBoard},
    },
};

/// The driver of one address on a line.
pub struct OneWayTurnstile {
    config: FramedBoard,
    session: Session,
}

impl OneWayTurnstile {
    async fn send(
        &mut self,
        command: Command,
        deadline: Option<Monotonic>,
    ) -> Result<(), TurnstileError> {
        let send = command.frame(self.config.address);
        self.session.exchange(Exchange { send, deadline, ..Exchange::default() }).await.map(drop)
    }
}

impl Driver for OneWayTurnstile {
    const WORD: &str = "eb";
    type Config = FramedBoard;

    fn new(config: FramedBoard, means: &Means) -> Self {
        Self { session: means.session(&config.line, config.address), config }
    }

    fn sensors(_: &FramedBoard) -> Option<[String; 2]> {
        None
    }

    fn found(_: u8, port: &str) -> String {
        format!("{port} opens; \"eb\" never answers: test the arm with `gatehouse lane release`")
    }

    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn Board> {
        Box::new(super::device::Tripod::new(address))
    }
}

impl Turnstile for OneWayTurnstile {
    async fn connect(&mut self) -> Result<ConnectReport, TurnstileError> {
        self.session.connect(Duration::ZERO).await?;
        Ok(ConnectReport::default())
    }

    async fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> Result<(), TurnstileError> {
        let left = self.config.is_left(direction);
        self.send(if left { Command::Left } else { Command::Right }, Some(deadline)).await
    }

    async fn poll(&mut self) -> Result<Polled, TurnstileError> {
        self.session.exchange(Exchange::default()).await?;
        Ok(Polled::default())
    }

    async fn hold(&mut self, open: bool) -> Result<(), TurnstileError> {
        self.send(if open { Command::DropArm } else { Command::RaiseArm }, None).await
    }
}
