//! The daemon's end of the socket: makes it, accepts clients and limits their number.

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
    wire::{Wire, WireError, within_timeout},
};
use crate::{
    config::Config,
    ledger::Via,
    services::{Code, DryRuns, Failure, Services, actor},
    supervision::Heartbeat,
};

/// Maximum number of concurrent clients. Further clients wait until a connection closes.
const CONNECTIONS: usize = 16;
/// Interval between a failed accept and the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Makes the socket, for its group only. Removes a socket that a crash left.
pub fn listen(config: &Config) -> std::io::Result<UnixListener> {
    let path = &config.control.socket;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    // The store's lock proves that no other daemon uses this storage folder. But the socket may
    // belong to a daemon with another storage folder.
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(std::io::ErrorKind::AddrInUse.into()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                let problem = "a file that is no socket is there; remove it, or set control.socket";
                return Err(std::io::Error::other(problem));
            }
            std::fs::remove_file(path)?;
        }
        Err(e) => return Err(e),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    if let Some(group) = &config.control.group {
        let gid = nix::unistd::Group::from_name(group)?.map(|g| g.gid.as_raw());
        let missing =
            || std::io::Error::other(format!("there is no group {group:?}; check control.group"));
        std::os::unix::fs::chown(path, None, Some(gid.ok_or_else(missing)?))?;
    }
    Ok(listener)
}

/// Serves clients until cancelled, and then removes the socket. The heartbeat goes on while the
/// maximum of clients is connected, because slow clients are no fault of the daemon.
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
                    // The daemon may be out of file descriptors. The gates must go on.
                    tracing::warn!(%error, "a client could not be accepted");
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
                    tracing::debug!(%error, "a client disconnected");
                },
            }
        });
    }
    std::fs::remove_file(path)
}

/// Answers each request with this problem, for as long as it is polled.
pub async fn refuse(listener: &UnixListener, problem: &str) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let accept = async || {
        let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>((place, listener.accept().await?.0))
    };
    loop {
        let Ok((place, stream)) = accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let failure = Failure::new(Code::Storage, problem);
        tokio::spawn(async move {
            let (_place, mut wire) = (place, Wire::new(stream));
            if within_timeout(wire.receive_json::<serde_json::Value>()).await.is_ok() {
                let _ = within_timeout(wire.send_json(&Reply::<()>::Error(failure))).await;
            }
        });
    }
}

/// Answers the requests of one client, one after the other, until the client disconnects.
async fn connection(services: &Services, stream: UnixStream) -> Result<(), WireError> {
    // The kernel gives the credentials, so a client cannot forge them.
    let by = actor(stream.peer_cred()?.uid(), Via::Socket);
    let mut connection =
        Connection { services, wire: Wire::new(stream), by, dry: DryRuns::default() };
    loop {
        match within_timeout(connection.wire.receive_json()).await {
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
