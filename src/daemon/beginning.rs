//! A start up to its first transaction: the store, the control socket, the record of the start.
//!
//! In: the configuration. Out: [`Begun`], or whether a later attempt may succeed.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::UnixListener;

use super::opening;
use crate::{
    clock::{Clock, Monotonic},
    config::Config,
    control, failpoint, status,
    store::{self, Room, SigningKey, Store, StoreError, StoreThread},
    vision::Vision,
};

/// A start up to its first transaction.
pub(super) struct Begun {
    pub(super) store: Store,
    pub(super) store_thread: StoreThread,
    pub(super) metrics: Option<(std::net::SocketAddr, std::io::Result<tokio::net::TcpListener>)>,
    pub(super) started: Monotonic,
    pub(super) key: Arc<SigningKey>,
    pub(super) opened: opening::Opened,
}

/// Why a start did not come so far.
pub(super) enum NotBegun {
    /// The disk is full, read-only or failing: a later attempt may succeed.
    Disk(String),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for NotBegun {
    fn from(error: E) -> NotBegun {
        NotBegun::Other(error.into())
    }
}

/// Opens the store and the control socket, and records the start.
pub(super) async fn begin(
    config: &Config,
    clock: &Arc<dyn Clock>,
    vision: &Vision,
    listener: &mut Option<UnixListener>,
) -> Result<Begun, NotBegun> {
    let of_disk = |error: StoreError| match error.is_of_the_disk() {
        true => NotBegun::Disk(error.to_string()),
        false => NotBegun::Other(error.into()),
    };
    let (store, store_thread) = store::open(&config.storage, clock.clone()).map_err(of_disk)?;
    // These come before the ledger records the start, so that a start that fails here again and
    // again leaves no entries.
    let metrics = match config.metrics.listen {
        Some(address) => Some((address, status::listen_for_metrics(address).await)),
        None => None,
    };
    if listener.is_none() {
        *listener = Some(listen(config)?);
    }
    let started = clock.monotonic();
    failpoint::at("start.opened");
    let stamp = clock.stamp();
    let recorded = store.read(|tx| Ok::<_, StoreError>(store::recorded_key(tx)?)).await;
    let recorded = recorded.map_err(of_disk)?;
    let key = SigningKey::settled(&config.storage, recorded).map_err(StoreError::from);
    let key = Arc::new(key.map_err(of_disk)?);
    let opened = opening::open(&store, config, stamp, vision.embedder_name(), key.public()).await;
    let error = match opened {
        Ok(opened) => return Ok(Begun { store, store_thread, metrics, started, key, opened }),
        Err(error) => error,
    };
    // A failure has no cause, so a small write finds out whether the disk is the reason.
    let probed = store.probe().await.map_err(of_disk);
    let no_room = store.state().room == Room::Full;
    drop(store);
    tokio::task::spawn_blocking(move || store_thread.join()).await??;
    match probed {
        Err(NotBegun::Disk(problem)) => Err(NotBegun::Disk(problem)),
        _ if no_room => Err(NotBegun::Disk(error.to_string())),
        _ => Err(error.into()),
    }
}

/// Makes the control socket.
pub(super) fn listen(config: &Config) -> anyhow::Result<UnixListener> {
    let socket = config.control.socket.display();
    control::listen(config).with_context(|| format!("cannot listen on the control socket {socket}"))
}
