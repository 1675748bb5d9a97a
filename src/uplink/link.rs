//! What an upstream's task is given, asked and hands on.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    profiles::{Online, Profile},
    state::UpstreamState,
    tls,
};
use crate::{
    attendance::Origin,
    clock::{Clock, Monotonic},
    ledger::{LedgerError, LedgerId},
    store::{Store, StoreError},
    supervision::Panicked,
};

/// A command of a platform as it came, for whoever carries it out. The answer is the reply's payload; where it is dropped there is none.
pub struct Incoming {
    pub upstream: String,
    pub profile: Arc<dyn Profile>,
    pub payload: Vec<u8>,
    pub received: Monotonic,
    pub answer: oneshot::Sender<Vec<u8>>,
}

/// What an upstream's task is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Rows with these seqs were put back into its outbox.
    Again { from: u64, to: u64 },
}

/// Commands of all upstreams that wait; the next one is answered that the gateway is busy.
pub const COMMANDS: usize = 2;
/// What is asked of an upstream's task and waits; whoever asks waits.
pub const ASKED: usize = 4;

/// What a task for one upstream is given.
#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub origin: Origin,
    /// What the retained status says now; its `outbox` is filled in here.
    pub online: watch::Receiver<Online>,
    /// The highest seq that an earlier run may have sent.
    pub sent_before: u64,
    /// The ledger whose records go out.
    pub ledger: LedgerId,
    /// Where commands go.
    pub commands: mpsc::Sender<Incoming>,
    pub cancel: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{broker}: {problem}")]
    Connection { broker: String, problem: String, version_in_doubt: bool },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("the password: {0}")]
    Secret(#[from] crate::config::SecretError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// An upstream's task, from outside.
pub struct Link {
    pub state: watch::Receiver<UpstreamState>,
    pub asked: mpsc::Sender<Asked>,
}
