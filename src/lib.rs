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
//! 2. A [`vision`] worker ([`gate::sight`]) glances at it. Where something moves, or a face was just
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
//! | [`failpoint`] | where tests kill the daemon; empty without the feature `failpoints` |
//! | [`clock`] | wall and monotonic time, and whether to trust it |
//! | [`figures`] | how long the stages take |
//! | [`vigil`] | who makes progress; what a panic said, and the pause before the next attempt |
//! | [`turnstile`] | the serial lines and their settings; a folder a driver: its frames, a simulated controller |
//! | [`config`] | strict TOML to domain types |
//! | [`store`] | the one database and its one writer thread; sealing; the photos of passages |
//! | [`camera`] | frames in: V4L2, HTTP, RTSP, replay |
//! | [`vision`] | decode, at the scale needed; motion, detect, quality, align, embed |
//! | [`roster`] | workers, real-name rules, templates, the matcher |
//! | [`ledger`] | entries and their bytes, a file a kind ([`ledger::kinds`]); outbox rows |
//! | [`gate`] | claim, visit, policy and passage (pure), sight and lane (their shells) |
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
//! [`alarms::Watchman`] return what is to be done and touch nothing; time is an argument. Nothing but
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
//! beat ([`vigil::Beats`]) where they make progress, and systemd is fed only while none is late. A
//! shutdown that takes too long ends the process all the same.
//!
//! # What always holds
//!
//! - **I1** No release without a committed cause: a grant, a manual release, or a lane's mode. A fire
//!   alarm alone opens first and is recorded after; a lane that stands open still does after a restart.
//! - **I2** A ledger entry is never changed or removed; a correction is a new entry. When its retention
//!   is over (`site.settled_on`), its bytes go; its leaf hash and its place stay.
//! - **I3** An outbox row leaves on the broker's acknowledgement (PUBACK), or, with `ack = "platform"`,
//!   on the consumer's own, up to a seq. First deliveries rise in seq, but that what is new overtakes
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
//! - **I8** Every queue, file, table and message has a bound, listed below with what happens there. A
//!   full disk never corrupts, and never loses what was acknowledged to anyone.
//! - **I9** The wall clock is not trusted: each entry carries the boot id, the monotonic time and
//!   whether the clock was synchronised.
//! - **I10** A broken camera, controller or link leaves the other lanes working, and comes back
//!   without a person.
//!
//! # Bounds
//!
//! | what | bound | there |
//! |---|---|---|
//! | frames of a camera waiting ([`camera::Slot`]) | 1 | a newer one replaces it; counted as `dropped` |
//! | an encoded frame | 8 MiB | passed over; `skipped` |
//! | a camera without a whole frame ([`camera::CameraConfig::stalled_after`]); until it is open | 3 s; 5 s | it has failed, and is opened anew |
//! | the head of a camera's answer over HTTP | 64 KiB | the connection is made anew |
//! | an RTSP message, an H.264 picture under way | what its line carries in 3 s, 5 s while it opens | the connection is made anew |
//! | an H.264 picture's pixels; those that the decoder keeps | 9.4 million; 18 | the camera has failed; the oldest goes |
//! | a frame's, an enrolment photo's pixels | 12, 50 million | passed over, `too_large`; refused |
//! | looks at a camera | 15 a second | the newest frame waits its time; older ones are `dropped` |
//! | frames of a camera waiting to be searched | 1 | a newer one replaces it; counted as `overtaken` |
//! | scans of a JPEG | 32 | passed over, `undecodable`; refused |
//! | poor looks that wait for a better one, templates, of a visit | 1, 3 | the best one stays; the first one and the latest ones |
//! | frames of a `v4l2` camera in the kernel | 2 | it has none to fill, and leaves frames out |
//! | images of a replayed folder | 100,000 | refused |
//! | looks and claims waiting for a lane | 8 | the newest look is dropped, `lane_full`; a reader waits |
//! | denials and tailgates of a lane waiting to be recorded | 8 | the newest is dropped; `denials_dropped` |
//! | tailgates of a lane recorded in a minute | 20 | counted only; `tailgates_unrecorded` |
//! | records of what a fire alarm did to a lane | one a second | what is so at the second's end is recorded |
//! | releases by hand waiting for a lane | 4 | the asker waits |
//! | workers a lane remembers for the cool-down | 64 | the oldest is forgotten |
//! | denials a lane remembers, to record one that repeats once | 16 | the oldest is forgotten |
//! | releases waiting for a turnstile | 8 | refused, the passage is closed |
//! | events of a turnstile waiting for its lane | 64 + 256 | from 128 held back on no release is taken; then lost, `lost_events` |
//! | exchanges waiting for a serial line | 32 in its queue, 32 more | the lane waits; a release longer than its deadline is void |
//! | bytes heard that may become an answer | a frame; 256 + 256 whatever the codec says | the oldest are passed over as noise |
//! | an answer of a controller | 300 ms | the lane is down until it has connected anew |
//! | a silent controller's turns on a shared line | 1 in 0.5 s, for all silent ones together | the others go first |
//! | a controller's line without a silence | 600 ms more than is wanted | it is not connected to; tried again |
//! | passages counted between two looks (`7e7f`) | 16 | none; the controller is taken to have started again |
//! | frames at a simulated turnstile's tap | 64 | a slow listener loses the oldest |
//! | late answers, kept commands of a simulated controller | 64, 256 | the next one waits; the oldest is forgotten |
//! | jobs waiting for the store, each of three queues | 64 | the sender waits |
//! | answers of the store on their way to a lane | 8 | the answer waits |
//! | connections kept for readers | 4 | more are opened and closed again |
//! | calls that block, at once | 32 threads | the next one waits |
//! | the write-ahead log | cut back to 16 MiB after a long reader | grows while the reader lasts |
//! | workers on the roster | 10,000, with 5 photos each | an enrolment is refused |
//! | a lane's camera lent to an enrolment | 1 enrolment, 20 s | the next one is refused; the gate has it back |
//! | hints of a sitting on their way to the client | 4 | the sitting waits |
//! | entries of a worker's history shown | 500 | the oldest are left out |
//! | who came by in the dry runs of one connection | 10,000 | refused |
//! | changes of the roster at once | 1 | the next one waits |
//! | passages without an outcome | 1 a lane | nobody is let through there |
//! | photos of passages waiting to be written ([`store::album`]) | 16 | the newest is dropped; counted |
//! | photos of passages | 30 days, 1 GiB (configured); 320 pixels a side | the oldest go; given up where the disk is scarce |
//! | a photo of a passage that is read | 1 MiB | it does not open |
//! | entries pruned at once; runs | 500; one a day | the rest goes a second later |
//! | a change of the sealing key | one transaction: the database's size in the log, a row in memory | it fails, and nothing changed |
//! | the ledger, its outbox, removed workers' rows, names of upstreams | the disk | [`store::Room`]: events are given up, then photos, attendance never |
//! | the reserve for attendance | 16 MiB | nobody is let through |
//! | databases set aside | 16 | the next start refuses |
//! | a start's look through the database | 30 s, 10 minutes where damage was met | what is left is trusted; the ledger's entries are read while it runs |
//! | a worker's id, a text field, a contractor, a reason, a phone | 32, 64, 128, 200, 20 characters | refused |
//! | clock and disk entries | one a minute for each, and that the disk is well again | told at the minute's end |
//! | alarms told in a minute ([`alarms`]) | 12; each one raised once; over after 10 s | the next ones wait; what is so in the end is told |
//! | alarms that stand; what one says | 128; 300 characters | the next one is told when one is over; cut |
//! | alarms waiting for a disk that fails | 16 | what is so when it is well again is told |
//! | unknown faces of a lane that are remembered | as many as make an alarm | the oldest is forgotten |
//! | read of the kernel's table of routes, of neighbours | 256 KiB | the rest is passed over |
//! | those waiting for a disk that fails | 16 | the newest is logged only |
//! | connections at the control socket | 16 | the next one waits to be let in |
//! | a message at the control socket; what is asked next | 256 KiB, within 30 s; within 30 s | the connection is closed |
//! | an enrolment's photos | 5 of 16 MiB | refused |
//! | a roster to import: bytes, rows, columns, text of a field | 32 MiB, 10,000, 100, 500 characters | refused; the row is |
//! | a workbook: parts, what one unpacks to, and all | 1,000, 32 MiB, 128 MiB | refused before it is opened |
//! | files in an import's folder of photos | 100,000 | refused |
//! | photos in memory | one a connection, of which one is examined | the next one waits |
//! | records or workers read at once for a listing | 500 | read page by page |
//! | records of a timesheet | 1,000,000 | refused |
//! | an export to be merged; a line, a text in it | 1 GiB; 64 KiB, 256 characters | refused |
//! | who is on site | whoever came in within three days, or since a day given | not looked for |
//! | clients of the metrics | 4, for 5 s each | the next one waits in the kernel; cut off |
//! | the head of a request for the metrics | 16 KiB | answered 431 |
//! | rows read from an outbox and not yet sent, of what waited and of what is new | 1,024 each | the rest stays there |
//! | rows published and not acknowledged by the broker; by the platform, of what waited and of what is new | 64; 4,096 each | the next ones wait in the outbox |
//! | an acknowledgement of a broker; of a platform | 60 s; 30 s, then twice as long each time up to 10 minutes | the connection is made anew; the rows go again, and over a new connection |
//! | rows that a broker refuses | 16 in a row | one a second is offered; what it refused, after a minute again |
//! | messages handed to an MQTT client and not sent | 82 | the connection is made anew |
//! | messages of a broker whose receipt waits to be sent; commands told busy | 4,096; 64 | the broker sends them again to the next connection; no answer |
//! | messages of a broker read at once | 10, so 80 MiB of the largest | the next ones wait in the kernel |
//! | an acknowledgement of a platform | 1 KiB | not taken, counted |
//! | a file of certificates | 1 MiB | no connection is made, and the link says why |
//! | a message from a broker | 8 MiB and 64 KiB | the connection is closed and made anew |
//! | a message to a broker | 1 MiB | a reply is left out, and the log says so |
//! | a platform's command: bytes, depth, names in a map, values in a list | 8 MiB, 3, 64, 64 | refused |
//! | its photos; other texts | 5 of 1 MiB; 256 characters | refused |
//! | commands handed on by links and not read; read and waiting; releases under way | 2, 2, 4 | the next one is told `busy` |
//! | commands remembered, of each upstream; a reply that is kept | 1,000; 64 KiB | the oldest goes, and none issued before it is done; done again |
//! | workers of a page, records asked for again, by one command | 200, 10,000 | refused |
//! | a release by command | 10 s from when it was issued | void |
//! | plans of the detector, by frame size | 8 | the one unused for longest is made anew when needed |
//! | faces examined in a frame | 1,000 | the less likely are left out |
//! | lines in the journal | 1,000 in 30 s (the unit) | journald counts what it drops |
//! | the journal on the disk | 64 MiB (the package) | the oldest lines go |
//! | a shutdown | 10 s | the process ends all the same |
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

pub mod alarms;
pub mod attendance;
pub mod camera;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod daemon;
pub mod failpoint;
pub mod figures;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gate;
pub mod ledger;
pub mod roster;
pub mod services;
pub mod status;
pub mod store;
pub mod turnstile;
pub mod uplink;
pub mod vigil;
pub mod vision;
