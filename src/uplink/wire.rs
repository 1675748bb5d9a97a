//! The port of a connection to a platform that answers each call.

use futures_util::future::BoxFuture;

use super::{
    client::Cause,
    profiles::{Parcel, Verdict},
};

/// Why a call failed. The connection ends, and the rows are sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct WireError {
    pub problem: String,
    pub cause: Cause,
}

impl WireError {
    pub fn new(problem: impl std::fmt::Display) -> WireError {
        WireError { problem: problem.to_string(), cause: Cause::Other }
    }
}

/// One connection. It touches the network only. Each future has its own timeout.
pub trait Wire: Send {
    /// Connects and logs in, as far as the protocol does.
    fn open(&mut self) -> BoxFuture<'_, Result<(), WireError>>;

    /// Maximum number of rows of a call. They have their topic in common.
    fn at_once(&self) -> usize {
        1
    }

    /// Delivers rows. Returns the verdict on each, in their order.
    fn deliver(&mut self, rows: Vec<Parcel>) -> BoxFuture<'_, Result<Vec<Verdict>, WireError>>;

    /// Asks for the verdict on all rows of an earlier call. Returns `None`, or [`Verdict::Later`]
    /// with the reason, while there is none, and [`Verdict::NotNow`] if the rows are to be sent
    /// again.
    fn inquire(&mut self, _serial: String) -> BoxFuture<'_, Result<Option<Verdict>, WireError>> {
        Box::pin(async { Ok(None) })
    }

    /// Does what is due without a row, such as heartbeats. Returns what came meanwhile. Called each
    /// second while no call is under way.
    fn upkeep(&mut self) -> BoxFuture<'_, Result<Kept, WireError>> {
        Box::pin(async { Ok(Kept::default()) })
    }
}

/// What came of the upkeep of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Commands of the platform.
    pub commands: Vec<Vec<u8>>,
    /// Number of illegible entries in lists of the platform.
    pub unreadable: u64,
    /// What a person should know.
    pub note: Option<String>,
    /// The sessions that are down, with the reason. The others work.
    pub down: Vec<(String, String)>,
    /// A session is up again. Rows that it did not take may be offered at once.
    pub came_back: bool,
}
