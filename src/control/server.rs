//! The daemon's end of the socket: makes it, accepts clients and limits their number.

use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::{
    answers::Connection,
    pace::Pace,
    places::{Place, Places, Rank},
    protocol::Reply,
    wire::{Wire, WireError},
};
use crate::{
    config::Config,
    ledger::{Actor, Via},
    services::{Code, DryRuns, Failure, Services, actor},
    supervision::Heartbeat,
};

/// Interval between a failed accept and the next one, and between attempts to get a place.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Maximum number of attempts to get a place for a client of root.
const ROOT_ATTEMPTS: u32 = 25;

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

/// Serves clients until cancelled, and then removes the socket. A client without a place is told so
/// and is disconnected.
pub async fn serve(
    listener: UnixListener,
    path: &Path,
    services: Arc<Services>,
    beat: &Heartbeat,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let places = Places::default();
    loop {
        beat.beat();
        let stream = tokio::select! {
            _ = cancel.cancelled() => break,
            () = beat.due() => continue,
            client = listener.accept() => match client {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // The daemon may be out of file descriptors. The gates must go on.
                    tracing::warn!(%error, "a client could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (services, cancel) = (services.clone(), cancel.clone());
        // The kernel gives the credentials, so a client cannot forge them.
        let Ok(credentials) = stream.peer_cred() else { continue };
        let by = actor(credentials.uid(), Via::Socket);
        let places = places.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = cancel.cancelled() => {}
                served = admitted(&services, stream, by, &places) => if let Err(error) = served {
                    tracing::debug!(%error, "a client disconnected");
                },
            }
        });
    }
    std::fs::remove_file(path)
}

/// Answers each request with this problem, for as long as it is polled. One client is answered at a
/// time, and each has 200 ms for its request.
pub async fn refuse(listener: &UnixListener, problem: &str) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let mut wire = Wire::new(stream);
        let answered = async {
            wire.receive_json::<serde_json::Value>().await?;
            wire.send_json(&Reply::<()>::Error(Failure::new(Code::Storage, problem))).await
        };
        let _ = tokio::time::timeout(ACCEPT_PAUSE, answered).await;
    }
}

/// Returns what this user may do at most.
fn rank(services: &Services, by: &Actor) -> Rank {
    if by.uid == 0 || by.uid == nix::unistd::geteuid().as_raw() {
        Rank::Root
    } else if services.may_change(by).is_ok() {
        Rank::Admin
    } else {
        Rank::Reader
    }
}

/// Serves a client that gets a place. Tells a client without a place so, and disconnects it.
async fn admitted(
    services: &Services,
    stream: UnixStream,
    by: Actor,
    places: &Places,
) -> Result<(), WireError> {
    let rank = rank(services, &by);
    // Only root's own clients can be in root's way, and they may end just now.
    let mut attempts = if rank == Rank::Root { ROOT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match places.take(by.uid, rank) {
            Ok(place) => return connection(services, stream, by, place).await,
            Err(_) if attempts > 0 => tokio::time::sleep(ACCEPT_PAUSE).await,
            Err(full) => {
                tracing::debug!(user = %by.user, full, "a client is refused");
                let busy = Reply::<()>::Error(Failure::new(Code::Busy, full));
                // The socket of a client that has just connected has room for this.
                let mut wire = Wire::new(stream);
                let sent = tokio::time::timeout(ACCEPT_PAUSE, wire.send_json(&busy));
                return sent.await.unwrap_or(Err(WireError::HungUp)).map(drop);
            }
        }
    }
}

/// Answers the requests of one client, one after the other, until the client disconnects.
async fn connection(
    services: &Services,
    stream: UnixStream,
    by: Actor,
    _place: Place,
) -> Result<(), WireError> {
    let pace = Pace::new(&*services.clock);
    let mut connection =
        Connection { services, wire: Wire::new(stream), pace, by, dry: DryRuns::default() };
    loop {
        connection.pace.begin();
        match connection.pace.within(connection.wire.receive_json()).await {
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
