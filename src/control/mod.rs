//! The Unix socket: what an admin on this machine can ask of the daemon.
//!
//! In: typed requests in bounded frames, with the peer's credentials from the kernel. Out: items
//! and a closing word, or an error. Touches: the socket, the store, and the lanes' request
//! channels. Photos travel as bytes, so that the daemon needs no access to an admin's files.

mod client;
mod protocol;
mod server;
mod services;
mod status;

pub use client::{Client, ClientError};
pub use protocol::{
    AttendanceQuery, Enrol, Failure, PHOTOS_MAX, Photo, Released, Request, WorkerQuery, WorkerShown,
};
pub use server::{listen, serve};
pub use services::{Audit, CameraPanel, LanePanel, Services};
pub use status::{Degraded, Status};
