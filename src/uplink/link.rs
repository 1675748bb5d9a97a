//! The interface of an upstream's task: its context, requests to it, commands from it, its errors.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    authority::Authority,
    client::Cause,
    photos::Photos,
    profiles::{Online, Profile, profile::Unmade},
    state::UpstreamState,
    tls,
};
use crate::{
    attendance::Origin,
    clock::{Clock, Monotonic},
    ledger::{HeadState, LedgerError, LedgerId},
    memory::{Held, Share},
    store::{Store, StoreError},
    supervision::Panicked,
};

/// A command of a platform as it came, for the task that runs commands. The answer is the reply's
/// payload. If `answer` is dropped, no reply is sent.
pub struct Incoming {
    pub upstream: String,
    pub profile: Arc<dyn Profile>,
    pub authority: Arc<Authority>,
    pub payload: Vec<u8>,
    /// The room in memory of a command with photos, until it is answered.
    pub held: Held,
    pub received: Monotonic,
    pub answer: oneshot::Sender<Vec<u8>>,
}

/// A request to an upstream's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To send rows with these seqs again. They were put back into its outbox.
    Again { from: u64, to: u64 },
    /// To look again for records of databases that were set aside.
    Earlier,
    /// To count the refused rows again: a person dismissed some.
    Recount,
}

/// Maximum number of waiting commands of an upstream. A further command is answered with `busy`.
pub const COMMANDS: usize = 2;
/// Maximum number of waiting requests to an upstream's task. A further sender waits.
pub const ASKED: usize = 4;

/// What the task of one upstream needs.
#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub origin: Origin,
    /// The content of the retained status. The task fills in its `outbox`.
    pub online: watch::Receiver<Online>,
    /// The newest signed tree head.
    pub heads: watch::Receiver<HeadState>,
    /// The highest seq that an earlier run may have sent.
    pub sent_before: u64,
    /// The ledger whose records go out.
    pub ledger: LedgerId,
    /// The storage folder, for databases that were set aside.
    pub storage_dir: PathBuf,
    /// The photos of passages.
    pub photos: Photos,
    /// The queue of commands to run.
    pub commands: mpsc::Sender<Incoming>,
    /// The room for this link's large commands.
    pub memory: Share,
    pub cancel: CancellationToken,
}

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{broker}: {problem}")]
    Connection { broker: String, problem: String, cause: Cause },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Unmade(#[from] Unmade),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("the password: {0}")]
    Secret(#[from] crate::config::SecretError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// The handle of an upstream's task.
pub struct Link {
    pub state: watch::Receiver<UpstreamState>,
    pub asked: mpsc::Sender<Asked>,
}
