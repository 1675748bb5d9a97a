//! Gatehouse: the program in the box at a construction site's gate.
//!
//! It reads the face cameras and drives the turnstiles, matches faces against the enrolled
//! real-name roster, keeps attendance in a ledger that is never changed, and pushes it upstream
//! over MQTT when the link is up. A migrant worker's pay rests on this record.
//!
//! # One passage
//!
//! 1. A capture thread puts the newest frame of its [`camera`] into a slot; a frame that a newer
//!    one replaces is dropped and counted.
//! 2. A [`vision`] worker ([`gate::vision_pool`]) glances at it. Where something moves, or a face was just
//!    now, it searches the frame, follows the nearest face, and of a visit's frames makes the good
//!    ones into templates, unit vectors.
//! 3. The [`roster`] snapshot gives the best worker, the score and the margin to the second.
//! 4. The looks of one visit agree on a worker, or that no worker looks like this ([`gate::visit`]):
//!    that is a [`gate::claim::Claim`], with its evidence. [`gate::passage`] decides on every claim, by
//!    whatever means it is made; [`gate::policy::decide`] grants or denies by standing and direction.
//! 5. The grant is committed to the [`ledger`]. Only the answer to that commit makes the machine
//!    ask for a release, with a deadline after which it is void. The [`turnstile`] task carries it
//!    out.
//! 6. The controller reports the passage, or the time runs out, or nobody can tell: the outcome is
//!    a second entry, and the attendance record is complete. A grant without an outcome becomes
//!    `unconfirmed` at the next start, before a camera opens.
//! 7. Each entry's outbox rows are written in its own transaction. The [`uplink`] publishes a record
//!    with its outcome and strikes the row off when the broker, or the platform, has acknowledged it.
//!
//! Back the other way come only roster snapshots, the turnstile's events, and what a platform asks
//! for ([`commands`]).
//!
//! # The rooms
//!
//! | room | what it does |
//! |---|---|
//! | [`words`] | declares enums whose variants are words |
//! | [`failpoint`] | where tests kill the daemon; empty without the feature `failpoints` |
//! | [`clock`] | wall and monotonic time, and whether to trust it |
//! | [`timing`] | how long the stages take |
//! | [`supervision`] | who makes progress; what a panic said, and the pause before the next attempt |
//! | [`turnstile`] | the serial lines and their settings; a folder a driver: its frames, a simulated controller |
//! | [`config`] | strict TOML to domain types |
//! | [`store`] | the one database and its one writer thread; sealing; the photos of passages |
//! | [`camera`] | frames in: V4L2, HTTP, RTSP, replay |
//! | [`vision`] | decode, at the scale needed; motion, detect, quality, align, embed |
//! | [`roster`] | workers, real-name rules, templates, the matcher |
//! | [`ledger`] | entries and their bytes, a file a kind ([`ledger::kinds`]); outbox rows |
//! | [`gate`] | claim, visit, policy and passage (pure), vision pool and lane (their shells) |
//! | [`attendance`] | records as people and platforms read them; who is on site, timesheets |
//! | [`uplink`] | delivery and route (pure), MQTT 5 and 3.1.1, TLS; a folder a profile |
//! | [`alarms`] | what needs attention, as events: when it is told (pure); the router next door |
//! | [`services`] | what can be asked of the daemon, typed: by the socket, by platforms, by itself |
//! | [`status`] | the document, its gathering, troubles; the metrics and their exporter |
//! | [`commands`] | a platform's commands: envelope, history, verbs |
//! | [`control`] | the Unix socket: protocol, server, client |
//! | [`daemon`] | the composition root, supervision, shutdown |
//! | [`cli`] | one file a command family |
//!
//! Imports run up this list: a room knows rooms above it; only [`daemon`] and [`cli`] know them
//! all. Within a room no files import each other in a circle. `tests/integration/structure.rs` checks
//! both. [`gate::visit`], [`gate::policy`], [`gate::passage`], [`uplink::delivery`] and
//! [`alarms::Debouncer`] return what is to be done and touch nothing; time is an argument. Nothing but
//! [`clock`] reads a clock, except for `bench`, which measures.
//!
//! # What fails, and what becomes of it
//!
//! A camera, a turnstile's driver or serial line, a lane or a link that fails, also by a panic,
//! costs itself only: its own room begins it anew, with a pause that doubles up to a cap, counts it,
//! and shows it in `gatehouse status`. A lane so begun anew closes its lost passage as
//! `unconfirmed` first.
//!
//! The store, a vision worker, the control socket or a supervising task that ends takes the daemon
//! with it, with a non-zero code, and systemd starts it again. What does not end but stands still is
//! found by the watchdog: the store's writer, each vision worker, each lane and the control socket
//! beat ([`supervision::Heartbeats`]) where they make progress, and systemd is fed only while none is late. A
//! shutdown that takes too long ends the process all the same.
//!
//! # What always holds
//!
//! - **I1** No release without a committed cause: a grant, a manual release, or a lane's mode. A fire
//!   alarm alone opens first and is recorded after; a lane that stands open still does after a restart.
//! - **I2** A ledger entry is never changed or removed; a correction is a new entry. When its retention
//!   is over (`site.settled_on`), its bytes go; its leaf hash and its place stay.
//! - **I3** An outbox row leaves on the broker's acknowledgement (PUBACK), or, with `ack = "platform"`,
//!   on the consumer's own, up to a seq. A row that its profile has no message for leaves unsent, and
//!   is counted. First deliveries rise in seq, but that what is new overtakes
//!   what waited; what may be a repeat is marked outside the hashed bytes. (ledger, seq) makes repeats
//!   harmless and gaps visible.
//! - **I4** A late, replayed or forged message never releases a gate.
//! - **I5** ID numbers, templates and photos are sealed before they touch the disk. Templates never
//!   leave the gateway. Frames of people are neither stored nor sent; of a grant a small photo of the
//!   face is kept sealed for a while, of strangers nothing.
//! - **I6** What is dropped, retried, late or away is counted and shown by `gatehouse status`
//!   and, in the same numbers, by the metrics.
//! - **I7** Removing a worker erases templates and photos at once and keeps the attendance; ids are
//!   never used again. (A database that was set aside stays as it was.)
//! - **I8** Every queue, file, table and message has a bound ([Bounds](#bounds)). A full disk never
//!   corrupts, and never loses what was acknowledged to anyone.
//! - **I9** The wall clock is not trusted: each entry carries the boot id, the monotonic time and
//!   whether the clock was synchronised.
//! - **I10** A broken camera, controller or link leaves the other lanes working, and comes back
//!   without a person.
//!
//! # Bounds
//!
//! `docs/develop/bounds.md` lists each bound, what happens there, and the constant that holds it;
//! `tests/integration/docs/bounds.rs` compares the two.
//!
//! # Glossary
//!
//! Site: a project with a `project_code`. Gateway: this box. Lane: one turnstile arm; it has an
//! entry side, an exit side or both, each with a camera. Worker: a person on the roster. Template:
//! a face embedding with its model's name. Sighting: a face in one frame; a visit: the sightings of
//! one stay before a camera. Grant, denial: the decision. Release: the command to the turnstile.
//! Passage: a person went through. Attendance: a grant (or a guard's release for a worker) with its
//! outcome. Tailgate: a passage that nobody was let through for. Mode: normal, free (a lane stands
//! open) or closed (nobody enters). Ledger: all entries, in order, under one ledger id. Outbox: entries an upstream has not
//! acknowledged. Upstream: one connection to a platform.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "these pages are for those who work on the rooms"
)]

pub(crate) mod alarms;
pub mod attendance;
pub mod camera;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod daemon;
pub(crate) mod failpoint;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gate;
pub mod ledger;
pub mod roster;
pub mod services;
pub(crate) mod status;
pub mod store;
pub(crate) mod supervision;
pub(crate) mod timing;
pub mod turnstile;
pub mod uplink;
pub mod vision;
pub mod words;
