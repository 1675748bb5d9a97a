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
//! 2. A [`vision`] worker ([`gate::vision_pool`]) looks for motion in the frame. Where something
//!    moves, or a recent frame had a face, the worker searches the frame and follows the nearest
//!    face. The good frames of a visit become templates (unit vectors).
//! 3. The [`roster`] snapshot gives the best worker for the mean of the visit's good looks, the
//!    score, and the margin to the second one. The match threshold follows the number of templates
//!    ([`config::Threshold`]).
//! 4. The sightings of one visit agree on a worker, or agree that the face is on no roster entry
//!    ([`gate::visit`]). The result is a [`gate::claim::Claim`] with its evidence.
//!    [`gate::passage`] decides on every claim, also on the claim of a card.
//!    [`gate::policy::decide`] grants or denies by standing, direction and lane mode.
//! 5. The grant is committed to the [`ledger`]. Only the answer to that commit makes the machine
//!    ask for a release. The release has a deadline; after it the release is void. The
//!    [`turnstile`] task carries out the release.
//! 6. The controller reports the passage, or the time runs out, or the outcome stays unknown. What
//!    the passage sensor says counts as far as the sensor works ([`gate::passage`]). The
//!    outcome is a second entry and completes the attendance record. A grant without an outcome
//!    becomes `unconfirmed` at the next start, before a camera opens.
//! 7. Each entry's outbox rows are written in its own transaction. The [`uplink`] publishes a
//!    record with its outcome. It deletes the row when the broker, or the platform, has
//!    acknowledged it.
//!
//! The opposite direction carries only roster snapshots, the turnstile's events, and the commands
//! of a platform ([`commands`]).
//!
//! # The rooms
//!
//! | room | what it does |
//! |---|---|
//! | [`words`] | declares enums whose variants are words; counts with their nouns; the one form of a text |
//! | [`failpoint`] | steps at which tests kill the daemon; empty without the feature `failpoints` |
//! | [`clock`] | wall and monotonic time, and whether the wall clock is synchronised |
//! | [`memory`] | one bound on the large data in flight; locked memory; the allocator |
//! | [`timing`] | durations of the stages of a passage |
//! | [`supervision`] | heartbeats of the parts; caught panics, and the pause before a restart |
//! | [`turnstile`] | the serial lines and their settings; a folder a driver: its frames, a simulated controller |
//! | [`reader`] | card readers: a file a protocol, the serial line of each, a simulated SAM |
//! | [`config`] | strict TOML to domain types |
//! | [`store`] | the one database and its one writer thread; sealing and signing keys; the photos of passages |
//! | [`camera`] | frames in: V4L2, HTTP, RTSP, replay |
//! | [`vision`] | decode, at the scale needed; motion, detect, quality, align, embed |
//! | [`roster`] | workers, real-name rules, templates, the matcher |
//! | [`ledger`] | entries and their bytes, a file a kind ([`ledger::kinds`]); outbox rows; the Merkle tree and its heads |
//! | [`gate`] | claim, visit, pace, policy and passage (pure), vision pool and lane (their shells) |
//! | [`evaluate`] | error rates of the recognition on a set of photos |
//! | [`attendance`] | records as people and platforms read them; who is on site, timesheets |
//! | [`evidence`] | packages that prove a worker's attendance to others; their verification; when the gate was down |
//! | [`uplink`] | delivery and route (pure), MQTT 5 and 3.1.1, HTTPS, TCP, TLS; the authority of what comes; a folder a profile |
//! | [`alarms`] | troubles that become alarms: debouncing and bursts (pure); the default router |
//! | [`services`] | typed requests to the daemon: from the socket, from platforms, from itself |
//! | [`status`] | the document, its gathering, troubles; the metrics and their exporter |
//! | [`commands`] | a platform's commands: level, history, times, verbs |
//! | [`control`] | the Unix socket: protocol, server, client |
//! | [`daemon`] | the composition root, supervision, shutdown |
//! | [`cli`] | one file a command family |
//!
//! A room imports only rooms above it in this list. Only [`daemon`] and [`cli`] import all of them.
//! Within a room no files import each other in a circle. `tests/integration/structure.rs` checks
//! both rules. [`gate::visit`], [`gate::policy`], [`gate::passage`], [`gate::lane::FireAlarms`],
//! [`uplink::delivery`], the pauses of `uplink::exchange`, `uplink::suspects`, [`clock::Reckoning`] and [`alarms::Debouncer`] return actions and touch nothing; time is an
//! argument. Only [`clock`] reads a clock; the exception is `bench`, which measures.
//!
//! # Failures and recovery
//!
//! A camera, a turnstile's driver or serial line, a lane or a link may fail, also by a panic. The
//! failure stops only that part. Its own room restarts the part, with a pause that doubles up to a
//! cap. The room counts the restart and shows it in `gatehouse status`. A restarted lane first
//! closes its lost passage as `unconfirmed`. A login that a camera or broker refuses waits for
//! minutes ([`supervision::Refusals`]), so that it locks no account.
//!
//! The store, a vision worker, the control socket and the supervising tasks are vital. If one of
//! them ends, the daemon ends with a non-zero exit code, and systemd starts it again. The watchdog
//! finds a part that hangs: the store's writer, each vision worker, each lane and the control
//! socket send a heartbeat ([`supervision::Heartbeats`]) where they make progress. The daemon
//! feeds systemd's watchdog only while no heartbeat is late. A shutdown that takes too long ends
//! the process by force.
//!
//! # What always holds
//!
//! - **I1** No release without a committed cause: a grant, a manual release, or a lane's mode. The
//!   only exception is a fire alarm: it opens first and is recorded after. A lane that stands open
//!   still stands open after a restart.
//! - **I2** A ledger entry is never changed or removed; a correction is a new entry. When its
//!   retention is over (`site.settled_on`), its bytes are deleted; its leaf hash and place stay.
//!   The deletion is announced by an entry, and is an entry itself.
//! - **I3** An outbox row is deleted on the broker's acknowledgement (PUBACK). Of a
//!   record that the broker does not take, a stub goes, and the row stands aside. With
//!   `ack = "platform"` it is deleted on the consumer's own acknowledgement, up to a seq or of that row.
//!   A platform over HTTPS or TCP judges each row: a taken one is deleted, a refused one stands aside
//!   with the platform's words and is listed until it is taken. A row for
//!   which its profile has no message is deleted unsent, and is counted. First deliveries rise in
//!   seq, except that new records overtake records that waited. A possible repeat is marked outside
//!   the hashed bytes. (ledger, seq) makes repeats harmless and gaps visible. No seq is given twice: a database that lost its
//!   end goes on after all seqs that it may have given, and an entry `lost` names the gap.
//! - **I4** A late, replayed or forged message never releases a gate.
//! - **I5** ID numbers, templates and photos are sealed before they touch the disk. Templates never
//!   leave the gateway. Frames of people are neither stored nor sent. A grant keeps a small sealed
//!   photo of the face for a limited time; a stranger leaves no photo. A photo goes to a platform
//!   only with the worker's own consent, and every other face in it is blurred.
//! - **I6** Everything that is dropped, retried, late or disconnected is counted.
//!   `gatehouse status` and the metrics show the same numbers.
//! - **I7** Removing a worker erases templates and photos at once and keeps the attendance, and so
//!   does a withdrawn consent to the face, which no upstream can end. Ids are never used again. An
//!   erasure reaches databases that were set aside, as far as their damage allows it.
//! - **I8** Every queue, file, table and message has a bound ([Bounds](#bounds)). A full disk never
//!   corrupts the database and never loses what the gateway has acknowledged.
//! - **I9** The wall clock is not trusted: each entry carries the boot id, the monotonic time and
//!   whether the clock was synchronised. Views reckon by the effective time ([`ledger::Dates`]).
//! - **I10** A broken camera, controller or link leaves the other lanes working. It recovers
//!   without a person.
//! - **I11** What cannot be undone never hangs on one reading of a clock or a flag. A deletion by
//!   date takes a [`clock::Corroborated`] time, which weeks of running time support.
//! - **I12** An outcome claims only what parts can support that were lately seen to work. A passage
//!   sensor without a sign of life makes it `unconfirmed`, and is told.
//! - **I13** To be able to publish at the broker gives no authority. By default no command changes
//!   the roster or shows a worker. With `command_key` a command or an acknowledgement counts only
//!   with the platform's signature; a release always needs one ([`uplink::authority`]). A worker or
//!   a face from afar waits for a person at the site, and no chain of commands leads from one
//!   person's face to another's ([`roster::anchor`]).
//!
//! # Bounds
//!
//! `docs/develop/bounds.md` lists each bound, the behaviour at the bound, and its constant.
//! `tests/integration/docs/bounds.rs` compares the list with the code.
//!
//! # Glossary
//!
//! - Site: a project with a `project_code`. Gateway: this box.
//! - Lane: one turnstile arm. It has an entry side, an exit side or both, each with a camera.
//! - Worker: a person on the roster. Stranger: a person whose face is on no roster entry.
//! - Template: a face embedding with its model's name.
//! - Sighting (also: look): a face in one frame. Visit: the sightings of one stay before a camera.
//! - Claim: a worker's identity, or the reason why there is none, with its evidence.
//! - Grant, denial: the decision on a claim. Release: the command to the turnstile.
//! - Passage: one person goes through. Outcome: what became of a passage.
//! - Attendance: a grant (or a guard's release for a worker) with its outcome.
//! - Tailgate: a person goes through without a grant or a release.
//! - Mode: normal, free (the lane stands open) or closed (no entry).
//! - Ledger: all entries, in order, under one ledger id.
//! - Effective time: the recorded time, or the one by which a synchronised clock corrects it.
//! - Health journal: the entries that say when the gate was down or blind.
//! - Outbox: entries that an upstream has not acknowledged. Upstream: one connection to a platform.

#![allow(rustdoc::private_intra_doc_links, reason = "these pages are for developers of the rooms")]

pub(crate) mod alarms;
pub mod attendance;
pub mod camera;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod daemon;
pub mod evaluate;
pub mod evidence;
pub(crate) mod failpoint;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gate;
pub mod ledger;
pub mod memory;
pub mod reader;
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
