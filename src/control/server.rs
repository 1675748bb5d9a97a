//! The daemon's end of the socket: who may connect, how many, and for how long.

use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::{
    answers::Connection,
    protocol::Reply,
    wire::{Wire, WireError, patient},
};
use crate::{
    config::Config,
    ledger::Via,
    services::{Code, DryRuns, Failure, Services, actor},
    supervision::Heartbeat,
};

/// Connections at once; the next one waits.
const CONNECTIONS: usize = 16;
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Makes the socket, for its group only, and removes one that a crash left.
pub fn listen(config: &Config) -> std::io::Result<UnixListener> {
    let path = &config.control.socket;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    // The store's lock says that no other daemon of this storage folder is alive, but this socket
    // may belong to a daemon of another one.
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(std::io::ErrorKind::AddrInUse.into()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(std::io::Error::other("something that is no socket stands there"));
            }
            std::fs::remove_file(path)?;
        }
        Err(e) => return Err(e),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    if let Some(group) = &config.control.group {
        let gid = nix::unistd::Group::from_name(group)?.map(|g| g.gid.as_raw());
        let missing = || std::io::Error::other(format!("there is no group {group:?}"));
        std::os::unix::fs::chown(path, None, Some(gid.ok_or_else(missing)?))?;
    }
    Ok(listener)
}

/// Serves until cancelled; removes the socket at its end. It beats also while all places are
/// taken: clients that are slow are no fault of the daemon.
pub async fn serve(
    listener: UnixListener,
    path: &Path,
    services: Arc<Services>,
    beat: &Heartbeat,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        beat.beat();
        let client = async {
            let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, std::io::Error>((place, stream))
        };
        let (place, stream) = tokio::select! {
            _ = cancel.cancelled() => break,
            () = beat.due() => continue,
            client = client => match client {
                Ok(client) => client,
                Err(error) => {
                    // Out of descriptors, say: no reason to stop the gates.
                    tracing::warn!(%error, "a client could not be let in");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (services, cancel) = (services.clone(), cancel.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                _ = cancel.cancelled() => {}
                served = connection(&services, stream) => if let Err(error) = served {
                    tracing::debug!(%error, "a client went away");
                },
            }
        });
    }
    std::fs::remove_file(path)
}

/// One request after the other, until the client hangs up.
async fn connection(services: &Services, stream: UnixStream) -> Result<(), WireError> {
    // By the kernel's word.
    let by = actor(stream.peer_cred()?.uid(), Via::Socket);
    let mut connection =
        Connection { services, wire: Wire::new(stream), by, dry: DryRuns::default() };
    loop {
        match patient(connection.wire.receive_json()).await {
            Ok(request) => connection.answer(request).await?,
            Err(WireError::Malformed(why)) => {
                let failure = Failure::new(Code::Malformed, format!("not understood: {why}"));
                return connection.send(&Reply::<()>::Error(failure)).await;
            }
            Err(WireError::HungUp) => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}
