//! The turnstile's controller: releases in, passages out.
//!
//! In: [`Release`]s from the lane, each with a deadline after which it is void (I4), and the
//! controller's answers on its serial line. Out: [`TurnstileEvent`]s for the lane and a
//! [`TurnstileState`] for `gatehouse status`. It may touch only the configured serial ports, and
//! holds them exclusively. It decides nothing: the cause of each release is committed already (I1).
//! There is one exception: a fire alarm at an input of the controller opens the arm before the lane
//! has decided anything.
//!
//! Each lane has one task ([`spawn`]) that drives any [`Turnstile`]. Each serial line has one task
//! ([`Buses`]) that carries the bytes of all lanes that share it. "Released" and "passed" are
//! separate facts: the first is the controller's acknowledgement, the second its passage sensor or
//! its counter.
//!
//! | driver | acknowledges a release | reports a passage | held open by | fire input |
//! |---|---|---|---|---|
//! | `modbus-rtu` | by an echo | discrete inputs | both coils on | yes |
//! | `7e7f` | by its state | counters | 81 and 83; 84 ends it | no |
//! | `eb` | not at all | not at all | 42, arm down; 43 ends it | no |

mod bus;
pub mod drivers;
mod error;
mod fire;
mod handle;
mod passage_id;
mod port;
mod scan;
pub mod settings;
mod simulation;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::{
    bus::{Buses, Port},
    drivers::TurnstileDriver,
    error::TurnstileError,
    fire::{QUIET, SHORT_SIGN},
    handle::{ForeignHold, TurnstileHandle, TurnstileState},
    passage_id::{BadPassageId, NoRandomness, PassageId},
    port::{
        ConnectReport, ForeignRelease, NotReleased, Polled, Release, Turnstile, TurnstileEvent,
    },
    settings::Direction,
    simulation::{DeviceFrame, SimulatedBus, SimulatedDevice, SimulatedLine},
};
#[cfg(any(test, feature = "failpoints"))]
pub use self::{
    drivers::Protocol,
    simulation::{Fault, Order},
};
use crate::clock::Clock;

/// Starts the task that drives `driver` for `lane`. Other lanes of the same `buses` may share its
/// serial line.
///
/// The task never gives up connecting and outlives a panic of its driver. It ends when `cancel` is
/// cancelled or the lane drops its handle. It withdraws its releases first, but leaves an arm open
/// that is to stand open. `hold_open` says whether the arm is to stand open from the start.
///
/// Must be called within a tokio runtime. Do not abort the task: a coil that is on would stay on
/// until the next connection.
pub fn spawn(
    driver: &TurnstileDriver,
    lane: &str,
    buses: &Buses,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    hold_open: bool,
) -> (TurnstileHandle, JoinHandle<()>) {
    driver.spawn(task::TaskLane { name: lane.to_owned(), clock, cancel, hold_open }, buses)
}

/// Connects once for `gatehouse check` and returns in words what was found. It never moves the arm,
/// even if the arm is held open. Keep the line's [`Port`] while you try several addresses on it.
pub async fn probe(driver: &TurnstileDriver, buses: &Buses) -> Result<String, TurnstileError> {
    driver.probe(buses).await
}
