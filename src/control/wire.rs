//! A connection in frames.
//!
//! Each frame is a length (4 bytes, big-endian) and that many bytes, at most [`FRAME_MAX`]: one kind
//! byte, then JSON (kind 0) or a piece of a photo (kind 1).

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};
use tokio_util::{
    bytes::{BufMut, Bytes, BytesMut},
    codec::{Framed, LengthDelimitedCodec},
};

/// Maximum bytes of a frame, its kind included. A record is under 2 KiB, a status under 64 KiB.
const FRAME_MAX: usize = 256 * 1024;
/// Maximum bytes of a photo's piece.
pub const PIECE: usize = 64 * 1024;

const JSON: u8 = 0;
const BYTES: u8 = 1;

/// A failure of the connection itself.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("the other side closed the connection")]
    HungUp,
    #[error("a frame that is not of this protocol: {0}")]
    Malformed(String),
}

/// A connection in frames.
pub struct Wire<T = UnixStream>(Framed<T, LengthDelimitedCodec>);

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    pub fn new(stream: T) -> Wire<T> {
        let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_MAX).new_codec();
        Wire(Framed::new(stream, codec))
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), WireError> {
        use futures_util::SinkExt;
        let mut frame = BytesMut::with_capacity(body.len() + 1);
        frame.put_u8(kind);
        frame.put_slice(body);
        Ok(self.0.send(frame.freeze()).await?)
    }

    /// Returns the number of bytes sent.
    pub async fn send_json(&mut self, value: &impl Serialize) -> Result<usize, WireError> {
        let body = serde_json::to_vec(value).map_err(|e| WireError::Malformed(e.to_string()))?;
        self.send(JSON, &body).await?;
        Ok(body.len())
    }

    pub async fn send_piece(&mut self, piece: &[u8]) -> Result<(), WireError> {
        self.send(BYTES, piece).await
    }

    async fn receive(&mut self, expected: u8) -> Result<Bytes, WireError> {
        use futures_util::StreamExt;
        let frame = self.0.next().await.ok_or(WireError::HungUp)??.freeze();
        match frame.first() {
            Some(kind) if *kind == expected => Ok(frame.slice(1..)),
            _ => Err(WireError::Malformed(format!("not of kind {expected}"))),
        }
    }

    pub async fn receive_json<V: DeserializeOwned>(&mut self) -> Result<V, WireError> {
        let body = self.receive(JSON).await?;
        serde_json::from_slice(&body).map_err(|e| WireError::Malformed(e.to_string()))
    }

    pub async fn receive_piece(&mut self) -> Result<Bytes, WireError> {
        self.receive(BYTES).await
    }
}
