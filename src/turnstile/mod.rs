//! The turnstile's controller: releases in, passages out.
//!
//! In: [`Release`]s from the lane, each with a deadline after which it is void (I4), and the
//! controller's answers on its serial line. Out: [`TurnstileEvent`]s for the lane and a
//! [`TurnstileState`] for `gatehouse status`. It may touch the configured serial ports, which it
//! holds exclusively, and nothing else; it decides nothing: a release that reaches it has its cause
//! committed already (I1). One thing it does of itself: where a controller has an input for a fire
//! alarm, that opens the arm before anybody is asked.
//!
//! One task a lane ([`spawn`]) drives any [`Turnstile`]; one a serial line ([`Buses`]) carries the
//! bytes of all lanes that share it. "Released" and "passed" are separate facts: the first is the
//! controller's acknowledgement, the second its passage sensor or its counter.
//!
//! | driver | acknowledges a release | reports a passage | held open by | fire input |
//! |---|---|---|---|---|
//! | `modbus-rtu` | by an echo | discrete inputs | both coils on | yes |
//! | `7e7f` | by its state | counters | 81 and 83; 84 ends it | no |
//! | `eb` | not at all | not at all | 42, arm down; 43 ends it | no |

mod bus;
pub mod codec;
mod counting;
mod device;
mod modbus;
mod one_way;
mod simulated;

mod task;

use std::{fmt, future::Future, path::Path, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, Serializer};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use self::{
    bus::{Buses, Port},
    counting::CountingTurnstile,
    device::{DeviceFrame, Fault, Protocol, SimulatedBus, SimulatedDevice, SimulatedLine},
    modbus::ModbusTurnstile,
    one_way::OneWayTurnstile,
    simulated::Simulated,
};
use crate::{
    clock::{Clock, Monotonic},
    config::{Direction, TurnstileDriver},
    vigil::Panicked,
};

/// One attempt of one person to pass: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PassageId(pub [u8; 16]);

/// The kernel gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes from the kernel for a passage id: {0}")]
pub struct NoRandomness(getrandom::Error);

/// Not 32 hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a passage id is 32 hexadecimal digits")]
pub struct BadPassageId;

impl PassageId {
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(NoRandomness)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for PassageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PassageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassageId({self})")
    }
}

impl FromStr for PassageId {
    type Err = BadPassageId;

    fn from_str(text: &str) -> Result<Self, BadPassageId> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadPassageId)?;
        Ok(Self(bytes))
    }
}

/// Digits for people, bytes in an entry.
impl Serialize for PassageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for PassageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return serde_bytes::deserialize(deserializer).map(PassageId);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What went wrong between the gateway and a controller. The task answers each in the same way,
/// by connecting anew; the person who reads it finds the port, the address and what to do.
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
        "no answer from address {address} on {port} within {} ms: check wiring A/B, baud and \
         address",
        .within.as_millis()
    )]
    NoAnswer { port: String, address: u8, within: Duration },
    #[error(
        "a wrong answer on {port} instead of address {address}'s ({what}): check wiring A/B, \
         termination and baud, and that no two devices have one address"
    )]
    Garbled { port: String, address: u8, what: String },
    #[error(
        "address {address} on {port} refuses to {request} (exception {code:02X}): check the coil \
         and input numbers against the board's manual"
    )]
    Refused { port: String, address: u8, request: &'static str, code: u8 },
    #[error("{port} failed: {source}; check that the adapter is still plugged in")]
    Line { port: String, source: std::io::Error },
    #[error("{port} is not connected")]
    NotConnected { port: String },
    #[error("its time was over before its turn on {port} came")]
    Late { port: String },
    #[error("cannot make the simulated turnstile's line: {source}; /dev/pts must be mounted")]
    NoSimulation { source: tokio_serial::Error },
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl TurnstileError {
    /// Whether a release that ended in this error may have opened the gate all the same: only an
    /// exception that says "not done", or a line that never was open, rules it out.
    pub fn may_have_acted(&self) -> bool {
        // 01 to 03: the request itself is wrong; 06: busy, not done. Others (04 failed while
        // doing it, 05 accepted) leave it open. Modbus Application Protocol V1.1b3, section 7.
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

/// What a controller was found with at a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Directions that stand released, as far as it tells: after a crash, say.
    pub released: Vec<Direction>,
    pub fire: Option<bool>,
}

/// What one step of listening brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
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
    /// The line's name in messages and in the status.
    fn port(&self) -> String;

    /// Whether the controller reports that somebody went through.
    fn confirms_passage(&self) -> bool;

    /// Opens the line and looks; moves nothing. [`hold`](Turnstile::hold) comes next, before
    /// anything else: a coil left on by a crash would keep the gate open.
    fn connect(&mut self) -> impl Future<Output = Result<Met, TurnstileError>> + Send;

    /// Starts a release, unless `deadline` is over when its turn on the line comes; returns when
    /// the controller has acknowledged it.
    fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> impl Future<Output = Result<(), TurnstileError>> + Send;

    /// One step of listening: withdraws a release whose time is over, then returns the passages
    /// since the last step. The first step of a connection reports none.
    fn poll(&mut self) -> impl Future<Output = Result<Seen, TurnstileError>> + Send;

    /// Opens the arm both ways, until it is closed again; or closes it, and withdraws with it every
    /// release that is, or may be, under way.
    fn hold(&mut self, open: bool) -> impl Future<Output = Result<(), TurnstileError>> + Send;

    /// Withdraws every release that is, or may be, under way; connects for it if it must.
    fn withdraw(&mut self) -> impl Future<Output = Result<(), TurnstileError>> + Send;
}

/// The command to let one person through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    pub passage: PassageId,
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

/// What the lane hears. Every [`Release`] is answered by one `Released` or `NotReleased`.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What `gatehouse status` shows of a turnstile. Counters run from the task's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnstileState {
    pub connected: bool,
    /// When `connected` last changed; milliseconds since boot.
    #[serde(rename = "since_uptime_ms")]
    pub since: Monotonic,
    /// The last error, kept after the line is up again.
    pub last_error: Option<String>,
    pub confirms_passage: bool,
    /// The arm stands open, as far as the controller's answers tell.
    pub held_open: bool,
    /// The fire alarm's input, where there is one and it has been read.
    pub fire: Option<bool>,
    pub port: String,
    pub releases: u64,
    pub passages: u64,
    pub errors: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Releases that were void when they arrived.
    pub late: u64,
    /// Events dropped because the lane did not take them (see `task`); zero in a healthy gate.
    pub lost_events: u64,
    /// Times that a fault in this program cost the driver, which was then made anew.
    pub restarts: u64,
}

/// The lane's end of a turnstile task. Dropping `releases` or `events` ends the task.
#[derive(Debug)]
pub struct TurnstileHandle {
    pub releases: mpsc::Sender<Release>,
    pub events: mpsc::Receiver<TurnstileEvent>,
    /// Whether the arm is to stand open, both ways (free mode): the task keeps to the newest value,
    /// also across connections, and neither a stop nor a fault of the gateway closes what is open.
    pub hold_open: watch::Sender<bool>,
    pub state: watch::Receiver<TurnstileState>,
    /// With the simulated driver: subscribe to see each frame on its line. Lossy.
    pub tap: Option<broadcast::Sender<DeviceFrame>>,
}

/// Releases under way to the task. A lane has few people before it; when it is full, the
/// lane's next one is refused.
const RELEASES: usize = 8;
/// A controller that does not say whether its arm hangs open is told so again after this: it may have
/// lost power, or somebody may have used its own buttons.
const HELD_AGAIN: Duration = Duration::from_secs(10);
/// Events under way to the lane. When it is full the task keeps on listening and withdrawing,
/// and holds events back itself, within the bound of `task`.
const EVENTS: usize = 64;
/// Frames kept for a slow listener at the tap; it loses the oldest.
const TAPPED_FRAMES: usize = 64;

/// Starts the task that drives `driver` for `lane`, on the line that it may share with others of
/// the same `buses`. It never gives up connecting, outlives a panic of its driver, and ends when
/// `cancel` is cancelled or the lane drops its handle, withdrawing first what it has released;
/// unless the arm is to stand open: that it leaves open. `hold_open`: whether it is to from the
/// first moment on.
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
    match driver {
        TurnstileDriver::ModbusRtu(config) => {
            let (config, port) = (config.clone(), buses.port(&config.line));
            let make = move || ModbusTurnstile::new(config.clone(), port.clone());
            task::spawn(make, lane, clock, cancel, None, hold_open)
        }
        TurnstileDriver::Counting(config) => {
            let (config, port) = (config.clone(), buses.port(&config.line));
            let make = move || CountingTurnstile::new(config.clone(), port.clone());
            task::spawn(make, lane, clock, cancel, None, hold_open)
        }
        TurnstileDriver::OneWay(config) => {
            let (config, port) = (config.clone(), buses.port(&config.line));
            let make = move || OneWayTurnstile::new(config.clone(), port.clone());
            task::spawn(make, lane, clock, cancel, None, hold_open)
        }
        TurnstileDriver::Simulated(config) => {
            let (tap, _) = broadcast::channel(TAPPED_FRAMES);
            let (config, time, line) = (config.clone(), clock.clone(), tap.clone());
            let make = move || Simulated::new(config.clone(), time.clone(), line.clone());
            task::spawn(make, lane, clock, cancel, Some(tap), hold_open)
        }
    }
}

/// Connects once and looks, for `gatehouse check`: moves no arm, held open or not. What was found,
/// in words. Keep the line's [`Port`] while several addresses on it are tried.
pub async fn probe(driver: &TurnstileDriver, buses: &Buses) -> Result<String, TurnstileError> {
    let Some((line, address)) = driver.place() else { return Ok("simulated".to_owned()) };
    let port = buses.port(line);
    let name = port.name();
    match driver {
        TurnstileDriver::ModbusRtu(config) => {
            ModbusTurnstile::new(config.clone(), port).connect().await?;
        }
        TurnstileDriver::Counting(config) => {
            CountingTurnstile::new(config.clone(), port).connect().await?;
        }
        TurnstileDriver::OneWay(config) => {
            OneWayTurnstile::new(config.clone(), port).connect().await?;
            return Ok(format!("{name} opens; \"eb\" never answers: try `gatehouse lane release`"));
        }
        TurnstileDriver::Simulated(_) => {}
    }
    Ok(format!("address {address} answers on {name}"))
}

fn named(port: &Path) -> String {
    port.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_id_reads_back_as_it_is_written() {
        let id = PassageId([0xAB, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01]);
        assert_eq!(id.to_string(), "ab000000000000000000000000000001");
        assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<PassageId>(&json).unwrap(), id);
        let random = PassageId::random().unwrap();
        assert_ne!(random, PassageId::random().unwrap());
        assert_eq!(random.to_string().parse(), Ok(random));
    }

    #[test]
    fn what_is_not_32_hex_digits_is_no_passage_id() {
        for text in ["", "ab", "+b000000000000000000000000000001", &"g".repeat(32), &"0".repeat(33)]
        {
            assert_eq!(text.parse::<PassageId>(), Err(BadPassageId), "{text}");
        }
    }

    #[test]
    fn only_a_plain_refusal_rules_a_release_out() {
        let refused = |code| TurnstileError::Refused {
            port: "/dev/ttyUSB0".into(),
            address: 1,
            request: "write a coil",
            code,
        };
        assert!(!refused(2).may_have_acted());
        assert!(refused(4).may_have_acted());
        let silent = TurnstileError::NoAnswer {
            port: "/dev/ttyUSB0".into(),
            address: 1,
            within: Duration::from_millis(300),
        };
        assert!(silent.may_have_acted());
        assert_eq!(
            silent.to_string(),
            "no answer from address 1 on /dev/ttyUSB0 within 300 ms: check wiring A/B, baud and \
             address"
        );
    }
}
