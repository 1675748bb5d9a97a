//! The client's end of the socket.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{
    protocol::{Reply, Request},
    wire::{PIECE, Wire, WireError},
};
use crate::services::Failure;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no daemon answers at {}: {source}; start it with `systemctl start gatehouse` or `gatehouse run`",
        path.display()
    )]
    NoDaemon { path: PathBuf, source: std::io::Error },
    #[error(
        "{} may not be opened by this user: join the group that owns it, or use root",
        path.display()
    )]
    NotAllowed { path: PathBuf },
    #[error("the daemon: {0}")]
    Wire(#[from] WireError),
    #[error(transparent)]
    Refused(#[from] Failure),
}

/// One connection, for one request after the other.
pub struct Client(Wire);

impl Client {
    pub async fn connect(socket: &Path) -> Result<Client, ClientError> {
        let path = socket.to_owned();
        match UnixStream::connect(socket).await {
            Ok(stream) => Ok(Client(Wire::new(stream))),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(ClientError::NotAllowed { path })
            }
            Err(source) => Err(ClientError::NoDaemon { path, source }),
        }
    }

    /// Sends a request. Returns its last reply.
    pub async fn ask<D: DeserializeOwned>(&mut self, request: &Request) -> Result<D, ClientError> {
        self.ask_with(request, &[], |_: serde_json::Value| {}).await
    }

    /// Sends a request for a list, and passes each item to `each`. Returns its last reply.
    pub async fn list<I: DeserializeOwned, D: DeserializeOwned>(
        &mut self,
        request: &Request,
        each: impl FnMut(I),
    ) -> Result<D, ClientError> {
        self.ask_with(request, &[], each).await
    }

    /// Sends a request with the photos that it announces, in its order. Returns its last reply.
    pub async fn ask_with<I: DeserializeOwned, D: DeserializeOwned>(
        &mut self,
        request: &Request,
        photos: &[Vec<u8>],
        mut each: impl FnMut(I),
    ) -> Result<D, ClientError> {
        // A daemon without a place for this client says so before it reads the request.
        let mut sent = self.0.send_json(request).await.map(drop);
        loop {
            let reply = self.0.receive_json::<Reply<serde_json::Value>>().await;
            let reply = match (reply, std::mem::replace(&mut sent, Ok(()))) {
                (Err(_), Err(unsent)) => return Err(unsent.into()),
                (reply, _) => reply?,
            };
            match reply {
                Reply::Item(item) => each(parse(item)?),
                Reply::Send(number) => {
                    let photo = photos
                        .get(number)
                        .ok_or_else(|| WireError::Malformed(format!("asks for photo {number}")))?;
                    for piece in photo.chunks(PIECE) {
                        self.0.send_piece(piece).await?;
                    }
                }
                Reply::Done(done) => return parse(done),
                Reply::Error(failure) => return Err(failure.into()),
            }
        }
    }
}

fn parse<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|e| WireError::Malformed(e.to_string()).into())
}
