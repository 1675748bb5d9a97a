//! What can be asked of the daemon on this machine: by an admin over the Unix socket, and by a
//! monitoring system over HTTP on loopback.
//!
//! In: typed requests in bounded frames, with the peer's credentials from the kernel. Out: items
//! and a closing word, or an error. Touches: the socket, the store, and the lanes' request
//! channels. Photos travel as bytes, so that the daemon needs no access to an admin's files.
//!
//! A platform's commands come in over its link, and are carried out by the same services.
//!
//! The metrics are the [`Status`] in another notation: one page, which commands nothing and names
//! no worker.

mod client;
mod commands;
mod exporter;
mod metrics;
mod protocol;
mod server;
mod services;
mod status;

pub use client::{Client, ClientError};
pub use commands::{CommandCounts, Commands, forget as forget_commands, run as run_commands};
pub use exporter::{ExporterDown, export, listen as listen_for_metrics};
#[cfg(any(test, fuzzing))]
pub use protocol::Wire;
pub use protocol::{
    Amend, AmendFaces, AttendanceQuery, Clear, Enrol, EnrolResult, Enrolled, Failure, Hint,
    IfKnown, Live, ModeSet, OnsiteDone, PHOTO_MAX, PHOTOS_MAX, PassageAsked, Photo, PhotoPiece,
    PhotoShown, Released, Request, WorkerQuery, WorkerShown,
};
pub use server::{listen, serve};
pub use services::{Audit, CameraPanel, LanePanel, Services};
pub use status::{Backlog, Degraded, LaneStatus, Status, UpstreamStatus, backlogs, looks};
