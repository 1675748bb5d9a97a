//! Serves the Unix socket over which an admin sends requests to the daemon.
//!
//! In: typed requests in bounded frames, with the peer's credentials from the kernel. Out: items
//! and a last reply, or an error. Touches: the socket, and [`Services`](crate::services::Services).
//! Photos travel as bytes, so that the daemon needs no access to an admin's files.

mod answers;
mod client;
mod pace;
mod places;
mod protocol;
mod server;
mod wire;

#[cfg(any(test, fuzzing))]
pub use self::wire::Wire;
pub use self::{
    client::{Client, ClientError},
    protocol::{AuditProgress, PackageSent, PhotoShown, Piece, Request},
    server::{listen, refuse, serve},
};
