//! A tripod controller that speaks `EB`: it takes commands and never answers.
//!
//! Connected means that the port is open and the arm was told to stand; a release is acknowledged
//! when its bytes have left the port. Whether there is a controller at the other end nobody knows,
//! and no passage is reported.

use std::{sync::Arc, time::Duration};

use super::codec::Command;
use crate::{
    clock::Monotonic,
    turnstile::{
        bus::{Exchange, Port, Session, Turn},
        error::TurnstileError,
        port::{HELD_AGAIN, Met, Seen, Turnstile},
        settings::{Direction, FramedBoard, Side},
    },
};

/// The driver; one address on a line.
pub struct OneWayTurnstile {
    config: FramedBoard,
    port: Arc<Port>,
    session: Option<Session>,
    released: bool,
    /// Since when the arm hangs, or was told so again.
    held: Option<Monotonic>,
}

impl OneWayTurnstile {
    pub fn new(config: FramedBoard, port: Arc<Port>) -> Self {
        Self { config, port, session: None, released: false, held: None }
    }

    async fn send(
        &mut self,
        command: Command,
        deadline: Option<Monotonic>,
    ) -> Result<(), TurnstileError> {
        let Some(session) = &mut self.session else {
            return Err(TurnstileError::NotConnected { port: self.port.name() });
        };
        let send = command.frame(self.config.address);
        let turn = Turn::Urgent;
        session.exchange(Exchange { send, find: None, gap: None, turn, deadline }).await.map(drop)
    }
}

impl Turnstile for OneWayTurnstile {
    fn port(&self) -> String {
        self.port.name()
    }

    fn confirms_passage(&self) -> bool {
        false
    }

    async fn connect(&mut self) -> Result<Met, TurnstileError> {
        self.session = None;
        self.session = Some(self.port.connect(self.config.address, Duration::ZERO).await?);
        Ok(Met::default())
    }

    async fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> Result<(), TurnstileError> {
        let left = self.config.side(direction) == Side::Left;
        self.released = true;
        self.send(if left { Command::Left } else { Command::Right }, Some(deadline)).await
    }

    async fn poll(&mut self) -> Result<Seen, TurnstileError> {
        let now = self.port.now();
        if self.held.is_some_and(|since| now.since(since) > HELD_AGAIN) {
            self.hold(true).await?;
        }
        match &self.session {
            Some(session) => session.look().await.map(|()| Seen::default()),
            None => Err(TurnstileError::NotConnected { port: self.port.name() }),
        }
    }

    async fn hold(&mut self, open: bool) -> Result<(), TurnstileError> {
        self.send(if open { Command::DropArm } else { Command::RaiseArm }, None).await?;
        self.released = false;
        self.held = open.then(|| self.port.now());
        Ok(())
    }

    async fn withdraw(&mut self) -> Result<(), TurnstileError> {
        if !self.released {
            return Ok(());
        }
        if self.session.is_none() {
            self.connect().await?;
        }
        self.hold(false).await
    }
}
