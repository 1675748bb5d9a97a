//! The errors between the gateway and a controller.

use std::time::Duration;

use crate::supervision::Panicked;

/// An error between the gateway and a controller. The task connects again after each of them. The
/// message names the port and, if there is one, the address and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum TurnstileError {
    #[error(
        "cannot open {port}: {source}; check that the adapter is plugged in, that the config names \
         its port, and that this user may use it (group dialout)"
    )]
    Open { port: String, source: tokio_serial::Error },
    #[error("{port} is in use by another program; stop that program or configure another port")]
    Busy { port: String },
    #[error(
        "the line on {port} is never silent; check wiring A/B and baud, and that no other master \
         is on this bus"
    )]
    NeverSilent { port: String },
    #[error(
        "no answer from address {address} on {port} within {} ms{}: check wiring A/B, baud and \
         address",
        .within.as_millis(), if *.echoed { " but the adapter's own echo" } else { "" }
    )]
    NoAnswer { port: String, address: u8, within: Duration, echoed: bool },
    #[error(
        "only address {other} answered on {port} when address {address} was asked: check the \
         configured address, and the controller's own"
    )]
    OtherAddress { port: String, address: u8, other: u8 },
    #[error(
        "a wrong answer on {port} when address {address} was asked ({what}): check wiring A/B, \
         termination and baud, and that no two devices have the same address"
    )]
    Garbled { port: String, address: u8, what: String },
    #[error("address {address} on {port} refuses to {request} (exception {code:02X}): {remedy}")]
    Refused { port: String, address: u8, request: String, code: u8, remedy: &'static str },
    #[error("{port} failed: {source}; check that the adapter is still plugged in")]
    Line { port: String, source: std::io::Error },
    #[error("{port} is not connected")]
    NotConnected { port: String },
    #[error("the deadline passed before {port} was free")]
    Late { port: String },
    #[error(
        "cannot open a pseudo-terminal for the simulated turnstile: {source}; check that /dev/pts \
         is mounted"
    )]
    NoSimulation { source: tokio_serial::Error },
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl TurnstileError {
    /// Returns whether a release that ended in this error may still have opened the gate. It cannot
    /// have if the exception says "not done", or if the command was never sent.
    pub fn may_have_acted(&self) -> bool {
        // 01 to 03: the request itself is wrong. 06: the board was busy and did nothing. After the
        // others the board may have acted (04: it failed while acting; 05: it accepted the
        // request). Source: Modbus Application Protocol V1.1b3, section 7.
        let not_done = |code: &u8| matches!(code, 1 | 2 | 3 | 6);
        !matches!(self, Self::Refused { code, .. } if not_done(code))
            && !matches!(
                self,
                Self::NotConnected { .. }
                    | Self::Open { .. }
                    | Self::Busy { .. }
                    | Self::NeverSilent { .. }
                    | Self::Late { .. }
            )
    }
}
