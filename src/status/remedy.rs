//! What the status says of a part that needs attention, and what to do. The sentences of troubles
//! that may become alarms are in [`Detail`](crate::ledger::Detail).

use std::{fmt, path::Path};

use jiff::{Timestamp, civil::Date};

use crate::{
    clock::Support,
    config::{MatchThreshold, STRANGERS, Threshold},
    ledger::DeletedWhat,
    store::{RESERVE, Room},
    words::counted,
};

/// Returns the words on a fixed threshold that is too low for the roster.
pub fn threshold_low(fixed: MatchThreshold, templates: usize, strangers: f64) -> String {
    let advised = Threshold::ByRoster.in_force(templates);
    format!(
        "recognition.threshold = {} is too low for {}: it lets in {:.1} % of strangers, and at most {:.1} \
         % should pass. Delete the line, so that the threshold follows the roster, or set {:.3}",
        fixed.cosine(),
        counted(templates as u64, "template"),
        strangers * 100.0,
        STRANGERS * 100.0,
        advised.cosine()
    )
}

/// What is wrong with a part.
pub enum Remedy<'a> {
    ClockNotSynchronised {
        last: Option<Timestamp>,
    },
    /// A part's heartbeat is late.
    NoProgress,
    LedgerUnread {
        error: String,
    },
    LedgerDamaged {
        entries: u64,
        first: u64,
    },
    /// The ledger is not the one that the gateway signed.
    LedgerBroken {
        size: u64,
    },
    LedgerUnsigned {
        problem: &'a str,
    },
    /// Records have no date.
    Undated {
        records: u64,
    },
    /// Another signing key took the place of the known one.
    SigningKeyReplaced {
        before: String,
    },
    RosterDamaged {
        values: u64,
    },
    /// The configuration fixes a threshold that is too low for the roster.
    ThresholdLow {
        fixed: MatchThreshold,
        templates: usize,
        strangers: f64,
    },
    EventsLost {
        events: u64,
    },
    /// A lane's entries cannot be committed.
    NotRecorded {
        error: &'a str,
    },
    LaneRestarted {
        restarts: u64,
        fault: &'a dyn fmt::Display,
    },
    /// The lane is free, and the turnstile is not open.
    NotOpen,
    /// The turnstile is open, and the lane is not free.
    StandsOpen,
    FireAlarm,
    ModelFailed {
        frames: u64,
    },
    /// A reader sends what cannot be read.
    Unreadable {
        times: u64,
        what: &'a str,
    },
    NotSubscribed {
        reason: &'a str,
    },
    /// The broker forbids an accessory.
    Without {
        what: &'a str,
        why: &'a str,
    },
    /// The platform has stubs in place of these records.
    Withheld {
        records: u64,
    },
    /// The platform refused these records, or the gateway lacks something for them.
    RefusedRows {
        records: u64,
        upstream: &'a str,
    },
    /// A session of an upstream is down while others are up.
    SessionDown {
        session: &'a str,
        why: &'a str,
    },
    NoCommandKey {
        problem: &'a str,
    },
    /// Commands came without the authority that the configuration demands.
    Unauthorised {
        count: u64,
        code: &'static str,
        /// Who passes commands on: `broker` or `platform`.
        peer: &'static str,
    },
    FolderUnread {
        dir: &'a Path,
        error: String,
    },
    DiskLow {
        dir: &'a Path,
        free_mib: u64,
    },
    /// The room on the disk is not ample.
    Room {
        dir: &'a Path,
        free_mib: u64,
        room: Room,
    },
    /// The reserve for attendance is not whole.
    NoReserve {
        dir: &'a Path,
        bytes: u64,
    },
    DiskFails {
        dir: &'a Path,
        error: &'a str,
    },
    SlowCommit {
        dir: &'a Path,
        ms: u64,
    },
    /// The kernel does not lock the memory of keys and templates.
    Unlocked {
        kib: u64,
    },
    SetAside {
        place: &'a Path,
        why: String,
        /// Records of it, or of one before it, still wait for an upstream.
        drains: bool,
    },
    /// By the clock the time of this is over, and the date is not corroborated.
    HeldBack {
        what: DeletedWhat,
        support: Support,
    },
    /// No one has passed for 180 days, and `settled_on` is not set.
    NoPassage {
        last: Date,
    },
    /// A database that was set aside may hold erased faces.
    NotErased {
        place: &'a Path,
        error: &'a str,
    },
}

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::ClockNotSynchronised { last } => {
                f.write_str(
                    "the kernel reports that the clock is not synchronised: start chrony or \
                     systemd-timesyncd; until then, commands that admit workers wait, and of the \
                     validity dates ",
                )?;
                match last {
                    Some(last) => {
                        write!(f, "only those that had ended on {} deny", last.strftime("%Y-%m-%d"))
                    }
                    None => f.write_str("none denies"),
                }
            }
            Remedy::NoProgress => {
                f.write_str("makes no progress; if this continues, systemd restarts the daemon")
            }
            Remedy::LedgerUnread { error } => {
                write!(f, "it cannot be read, check the disk: {error}")
            }
            Remedy::LedgerDamaged { entries, first } => write!(
                f,
                "{} unreadable or altered, the first is number {first}: first copy the database to \
                 a safe place; the gate continues to work",
                counted(*entries, "entry")
            ),
            Remedy::LedgerBroken { size } => write!(
                f,
                "the ledger is not the one of {} that this gateway signed: the database was altered, \
                 or an older copy was put in its place. Copy the storage folder to a safe place, \
                 run `gatehouse evidence audit`, and ask who had access; the gate continues to work",
                counted(*size, "entry")
            ),
            Remedy::LedgerUnsigned { problem } => {
                write!(f, "no head of it can be signed: {problem}")
            }
            Remedy::Undated { records } => write!(
                f,
                "{} of the last two months without a date, because the clock was never synchronised \
                 between two starts of the machine: the sheet lists them apart. Add these passages \
                 on the right day with `gatehouse attendance supplement`, and give the machine a \
                 time server and a battery for its clock",
                counted(*records, "record")
            ),
            Remedy::SigningKeyReplaced { before } => write!(
                f,
                "the signing key is not the one of fingerprint {before}, which has not endorsed it: \
                 put that key back and restart the daemon. If it is lost, find out who replaced it, \
                 then stop the daemon and run `gatehouse key rotate-signing`",
            ),
            Remedy::RosterDamaged { values } => write!(
                f,
                "{} of workers or photos damaged and not used: see the log for these workers, \
                 remove them and enrol them again",
                counted(*values, "sealed value")
            ),
            Remedy::ThresholdLow { fixed, templates, strangers } => {
                f.write_str(&threshold_low(*fixed, *templates, *strangers))
            }
            Remedy::EventsLost { events } => write!(
                f,
                "{} came faster than the lane could record, and lost: see the log",
                counted(*events, "event")
            ),
            Remedy::NotRecorded { error } => write!(
                f,
                "no entry can be recorded, so no worker can pass; check the disk: {error}"
            ),
            Remedy::LaneRestarted { restarts, fault } => {
                write!(f, "restarted {}: {fault}", counted(*restarts, "time"))
            }
            Remedy::NotOpen => f.write_str(
                "the lane is free, but the turnstile is not open: open it by hand and check it",
            ),
            Remedy::StandsOpen => {
                f.write_str("the turnstile is open, but the lane is not free: check the turnstile")
            }
            Remedy::FireAlarm => f.write_str("the fire alarm's input is on"),
            Remedy::ModelFailed { frames } => {
                write!(f, "a model failed on {}: see the log", counted(*frames, "frame"))
            }
            Remedy::Unreadable { times, what } => {
                write!(f, "{what} ({} since the start)", counted(*times, "time"))
            }
            Remedy::NotSubscribed { reason } => write!(
                f,
                "the broker refuses our subscription ({reason}), so no commands and no \
                 acknowledgements of the platform arrive: its operator must allow `command` and \
                 `ack`"
            ),
            Remedy::Without { what, why } => write!(
                f,
                "the broker forbids {what} ({why}). Records go on without that. It is tried again \
                 after an hour, or at a restart: ask the broker's operator to allow it"
            ),
            Remedy::Withheld { records } => write!(
                f,
                "{} aside: the broker takes no message of that size, or none on that topic, and the \
                 platform got a stub for each. Ask the broker's operator for a larger maximum \
                 packet size, and to allow the topic; the records are sent then",
                if *records == 1 {
                    "1 record stands".to_owned()
                } else {
                    format!("{records} records stand")
                }
            ),
            Remedy::RefusedRows { records, upstream } => write!(
                f,
                "the platform has not taken {}: `gatehouse upstream refused {upstream}` shows each \
                 with its reason. Mend the cause, then `gatehouse upstream retry {upstream}`; for one \
                 that the platform can never take, `gatehouse upstream dismiss {upstream} SEQ`",
                counted(*records, "record")
            ),
            Remedy::SessionDown { session, why } => write!(
                f,
                "the session {session} is down: {why}. Its records wait; those of the other sessions go \
                 on. Check the device's code with the platform's operator"
            ),
            Remedy::NoCommandKey { problem } => write!(
                f,
                "no signed command or acknowledgement of the platform counts, because command_key \
                 cannot be used: {problem}"
            ),
            Remedy::Unauthorised { count, code, peer } => write!(
                f,
                "{} refused for want of authority since the start, the last one as {code}: if the \
                 platform sent it, see commands and command_key in the configuration; if not, ask \
                 the {peer}'s operator who may send commands",
                counted(*count, "command")
            ),
            Remedy::FolderUnread { dir, error } => write!(f, "{}: {error}", dir.display()),
            Remedy::DiskLow { dir, free_mib } => {
                write!(f, "{free_mib} MiB are left in {}: make room", dir.display())
            }
            Remedy::Room { dir, free_mib, room } => {
                let given_up = match room {
                    Room::Ample | Room::Low => "denials are not recorded",
                    Room::Scarce => {
                        "denials are not recorded, photos of passages are not kept, and no worker \
                         can be enrolled"
                    }
                    Room::Full => {
                        "only attendance is recorded, and only until the reserve is used up"
                    }
                };
                let needed = (Room::ample_from() >> 20).saturating_sub(*free_mib);
                write!(
                    f,
                    "{free_mib} MiB are left in {}: {given_up}; make room: {needed} MiB more",
                    dir.display()
                )
            }
            Remedy::NoReserve { dir, bytes } => write!(
                f,
                "the reserve for attendance in {} has {} MiB of {}: when the disk is full, no worker \
                 can pass as soon as these are used up; make room",
                dir.display(),
                bytes >> 20,
                RESERVE >> 20
            ),
            Remedy::DiskFails { dir, error } => write!(
                f,
                "{} cannot be written ({error}), so no worker can pass: make room, or check the \
                 disk; Gatehouse tries again every second",
                dir.display()
            ),
            Remedy::SlowCommit { dir, ms } => write!(
                f,
                "a commit to {} took {ms} ms: workers wait at the gate, and after more than 3 s \
                 the gate does not open; replace the card or disk",
                dir.display()
            ),
            Remedy::Unlocked { kib } => write!(
                f,
                "{kib} KiB of keys and face templates cannot be locked in memory, and may be written to \
                 the swap device: set MemorySwapMax=0 or a larger LimitMEMLOCK= in the unit, or switch the \
                 swap off"
            ),
            Remedy::SetAside { place, why, drains } => write!(
                f,
                "{} holds a database that was set aside ({why}). Lists, sheets and exports include what \
                 is legible of it; {}. `gatehouse ledger rescue` reads damaged parts. Copy the folder to \
                 a safe place; when it is removed here, its records are in no list any more",
                place.display(),
                if *drains {
                    "its records that were not sent go upstream, and some still wait"
                } else {
                    "its records that were not sent have gone upstream"
                }
            ),
            Remedy::HeldBack { what, support } => write!(
                f,
                "by this clock the time of {what} is over, and nothing of it is deleted: {} of the {} \
                 hours of running time support this date. If the date is wrong, correct the clock and \
                 look for the reason",
                support.ran_s / 3600,
                support.needed_s / 3600
            ),
            Remedy::NoPassage { last } => write!(
                f,
                "no one has passed since {last}, and site.settled_on is not set, so attendance is \
                 never deleted: when all wages are settled, set it; remove the workers who have left"
            ),
            Remedy::NotErased { place, error } => write!(
                f,
                "{} may still hold templates and photos that were erased ({error}): copy what you \
                 need to a safe place, then remove it here",
                place.display()
            ),
        }
    }
}
