//! Carries out the requests to the daemon: of an admin over the socket, of a platform by command,
//! and of the daemon's own parts.
//!
//! In: typed requests, with the user or upstream that sent them. Out: typed results, or a
//! [`Failure`] with its code. Touches: the store, the photo store, the roster's snapshot, the
//! lanes' request channels, and a lane's camera during an enrolment.
//!
//! | file | what it does |
//! |---|---|
//! | `asked` | the requests and results of an enrolment and an update |
//! | `enrolment` | enrolls workers, for the first time or again |
//! | `update` | updates workers; the new data of a worker (pure) |
//! | `consent` | records consents that are given and withdrawn |
//! | `roster` | suspends, removes and lists workers; the one transaction of roster and ledger |
//! | `exemption` | exempts workers from the guard's look at a living face |
//! | `cards` | gives cards to workers, takes them back |
//! | `codes` | makes codes in QR |
//! | `history` | the changes in each entry on a worker (pure) |
//! | `dates` | refuses times and dates that are probably mistyped (pure) |
//! | `deletion` | erases faces that are over, also in databases that were set aside |
//! | `faces`, `live` | an enrolment's faces, from photos or from a camera |
//! | `likeness` | compares new faces with the enrolled ones |
//! | `evidence` | signed tree heads, evidence packages, the audit of the ledger |
//! | `export` | records with their proofs, for the sheet of another gateway |
//! | `dry_run` | the workers in the dry runs of one client |
//! | `attendance` | lists attendance and the workers on site; adds and disputes passages |
//! | `checking` | the audit of the ledger's rows, at leisure and before a list |
//! | `pending` | what came from afar: shows, confirms and rejects it |
//! | `photo` | the photo of a passage |
//! | `reading` | records who reads personal data |
//! | `listed` | takes a platform's list of workers, with their numbers there |
//! | `lanes` | releases by hand, and the lanes' modes |
//! | `upstreams` | lists the records that a platform refused; offers them again |
//! | `watching` | shows a lane live |
//! | `refusal` | the sentences, with their codes, for refused requests |
//! | `failure` | the reason for which a request is not carried out |
//! | `command_counts` | counts the outcomes of the platforms' commands |

#![warn(missing_docs)]

mod asked;
mod attendance;
mod cards;
mod checking;
mod codes;
mod command_counts;
mod confirmation;
mod consent;
mod dates;
mod deletion;
mod dry_run;
mod enrolment;
mod evidence;
mod exemption;
mod export;
mod faces;
mod failure;
mod history;
mod lanes;
mod likeness;
mod listed;
mod live;
mod pending;
mod photo;
mod picture;
mod reading;
mod refusal;
mod roster;
mod set_aside;
mod update;
mod upstreams;
mod watching;

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use self::refusal::Refusal;

pub use self::{
    asked::{
        Clear, Edit, Enroll, EnrollResult, Enrolled, IfKnown, Live, Photo, Turned, Update,
        UpdateFaces,
    },
    attendance::{Addition, AttendanceQuery, Dispute, Listing, OnSite, OnsiteDone, Withdraw},
    cards::{CardChanged, Cards, ChangeCard},
    checking::Checker,
    codes::{CodeMade, MakeCode},
    command_counts::{CommandCounts, Commands},
    confirmation::{ConfirmRoster, RosterConfirmed},
    consent::{ConsentSet, SetConsent},
    deletion::{Deletions, NotErased},
    dry_run::DryRuns,
    evidence::{AuditRun, Audited, EvidenceQuery, HeadShown, HealthQuery, KeyShown, PackageMade},
    exemption::Exempt,
    export::{ExportQuery, ExportRun},
    faces::{Ask, HINTS, Hint, PHOTO_MAX, PHOTOS_MAX, Source},
    failure::{Code, Failure},
    history::{Change, RosterChange},
    lanes::{ModeChange, Release, Released},
    listed::{Listed, ListedWorker},
    pending::{Confirm, Confirmed, WaitingItem, WaitingQuery, WaitingWorker},
    photo::{PassageAsked, PassagePhoto},
    picture::{FacePlace, PictureQuery, PictureShown},
    reading::Readings,
    roster::{Remove, Removed, SetState, WorkerPage, WorkerQuery, WorkerShown},
    upstreams::{
        DismissQuery, DismissedRecords, RefusedPassage, RefusedRecord, Retried, UpstreamQuery,
    },
    watching::{Watch, Watching},
};
use crate::{
    alarms::AlarmState,
    attendance::Origin,
    camera::{CameraState, Slot},
    clock::{Clock, LastTrusted, Monotonic},
    config::{
        AlarmLimits, Direction, FaceLimits, MatchThreshold, RosterRules, Site, Threshold, Zone,
    },
    gate::{
        codes::Codes,
        lane::{self, LaneState},
        pace::Capacity,
        vision_pool::FrameCounts,
    },
    ledger::{Actor, HeadState, Ledger, Retention, Via, audit::Finding},
    memory::Memory,
    reader::{ReaderDriver, ReaderState},
    roster::Roster,
    store::{SigningKey, Store, photo_store::PhotoStore},
    supervision::Heartbeats,
    timing::Stages,
    turnstile::TurnstileState,
    uplink,
    vision::Vision,
};

/// Maximum number of records, or workers, that a list reads at once.
pub const PAGE: usize = 500;

/// A camera, as `status` shows it.
pub struct CameraPanel {
    /// The direction that the camera looks at.
    pub direction: Direction,
    /// The source in the configuration, without a password.
    pub source: String,
    /// The state of the capture thread.
    pub state: watch::Receiver<CameraState>,
    /// Timeout after which a camera that is open and sends no frame has stalled.
    pub stalled_after: Duration,
    /// What the vision workers found in the frames.
    pub seen: Arc<FrameCounts>,
    /// The slot from which an enrolment borrows frames.
    pub slot: Arc<Slot>,
    /// Where the next person stands.
    pub zone: Zone,
}

/// A reader, as `status` shows it.
pub struct ReaderPanel {
    /// The reader's name in the configuration.
    pub name: String,
    /// The direction of the people who use it.
    pub direction: Direction,
    /// Its protocol.
    pub driver: ReaderDriver,
    /// The state of its task.
    pub state: watch::Receiver<ReaderState>,
}

/// A lane, as `status` shows it and `lane release` reaches it.
pub struct LanePanel {
    /// The lane's name in the configuration.
    pub name: String,
    /// The lane task's queue of releases and mode changes.
    pub requests: mpsc::Sender<lane::Request>,
    /// The state of the lane's task.
    pub state: watch::Receiver<LaneState>,
    /// The state of the turnstile's task.
    pub turnstile: watch::Receiver<TurnstileState>,
    /// The fire alarm's input, as the configuration has it.
    pub fire_input: Option<u16>,
    /// The lane's cameras, at most one a direction.
    pub cameras: Vec<CameraPanel>,
    /// The lane's readers.
    pub readers: Vec<ReaderPanel>,
    /// The persons who watch the lane.
    pub watchers: lane::Watchers,
}

/// Entries of the ledger that are damaged or were altered.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// The number of these entries.
    pub entries: u64,
    /// Index of the first of these entries.
    pub first: Option<u64>,
}

impl Audit {
    /// Adds damaged entries.
    fn found(&mut self, damaged: &[Finding]) {
        self.entries += damaged.len() as u64;
        self.first = self.first.or(damaged.first().map(|finding| finding.index));
    }

    /// Takes the result of a later run, as far as that found more. Returns whether it did.
    fn takes(&mut self, later: &Audit) -> bool {
        let more =
            later.entries > self.entries || later.first < self.first && later.first.is_some();
        if more {
            self.entries = self.entries.max(later.entries);
            self.first = self.first.into_iter().chain(later.first).min();
        }
        more
    }
}

/// The reason for which the metrics cannot be fetched.
#[derive(Clone, Debug)]
pub struct ExporterDown {
    /// When the exporter failed.
    pub since: Monotonic,
    /// The last error.
    pub error: String,
}

/// Facts of the configuration that a client needs. A user who may not read the configuration asks
/// for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SiteShown {
    /// The site's name for people.
    pub name: String,
    /// The IANA name of its time zone.
    pub timezone: String,
    /// Start of a working day.
    pub day_starts_at: jiff::civil::Time,
}

impl From<&Site> for SiteShown {
    fn from(site: &Site) -> SiteShown {
        let timezone = site.timezone.iana_name().unwrap_or("UTC").to_owned();
        SiteShown { name: site.name.clone(), timezone, day_starts_at: site.day_starts_at }
    }
}

/// All that a request may need.
pub struct Services {
    /// The database.
    pub store: Store,
    /// SHA-256 of the configuration's file.
    pub config_sha256: [u8; 32],
    /// The storage folder.
    pub storage_dir: PathBuf,
    /// The photos of passages.
    pub photo_store: PhotoStore,
    /// The ledger, which appends entries.
    pub ledger: Ledger,
    /// The wall and monotonic clock.
    pub clock: Arc<dyn Clock>,
    /// The last time at which the wall clock was trusted.
    pub last_trusted: Arc<LastTrusted>,
    /// When the daemon started.
    pub started: Monotonic,
    /// Heartbeats of the parts that must make progress for the gate to work.
    pub beats: Arc<Heartbeats>,
    /// The site, for clients.
    pub site: SiteShown,
    /// The site, the gateway and the time zone that records name.
    pub origin: Origin,
    /// The face models.
    pub vision: Arc<Vision>,
    /// The gates' snapshot of the roster.
    pub roster: watch::Sender<Arc<Roster>>,
    /// Whether the roster is in doubt, because entries were lost.
    pub roster_stale: watch::Sender<bool>,
    /// The lanes, in the order of the configuration.
    pub lanes: Vec<LanePanel>,
    /// The links to platforms, in the order of the configuration.
    pub upstreams: Vec<uplink::Link>,
    /// The durations of the stages of a passage.
    pub stages: Arc<Stages>,
    /// The time of a look, and the load of the vision workers.
    pub capacity: Arc<Capacity>,
    /// The reason for which the metrics cannot be fetched; `None` where they can be or are not
    /// configured.
    pub exporter: watch::Receiver<Option<ExporterDown>>,
    /// Minimum quality of an enrolment's faces.
    pub face_limits: FaceLimits,
    /// Minimum width of a face at the gate, in pixels of the camera's frame.
    pub min_face_px: f32,
    /// How the match threshold is chosen.
    pub threshold: Threshold,
    /// The rules for enrolments, and the group of users who may change things.
    pub roster_rules: RosterRules,
    /// How long entries are kept.
    pub retention: Retention,
    /// Number of days for which the photos of passages are kept.
    pub photo_keep_days: u16,
    /// What is deleted by date.
    pub deletions: watch::Sender<Deletions>,
    /// The number of records without a date, at the daemon's start.
    pub undated: u64,
    /// The damaged entries found so far.
    pub audit: watch::Sender<Audit>,
    /// The audit of the ledger's rows.
    pub checker: Arc<Checker>,
    /// The key that signs tree heads.
    pub signing_key: Arc<SigningKey>,
    /// The newest signed tree head.
    pub heads: watch::Sender<HeadState>,
    /// The limits at which a trouble is an alarm.
    pub alarm_limits: AlarmLimits,
    /// The alarms under way.
    pub alarms: watch::Sender<AlarmState>,
    /// Who has read personal data lately.
    pub readings: Readings,
    /// Makes codes in QR.
    pub codes: Arc<Codes>,
    /// Counts of the platforms' commands by outcome.
    pub commands: Commands,
    /// The bound on large data in memory: photos, evidence packages. One photo is examined at a time.
    pub memory: Arc<Memory>,
    /// Held during a change of the roster, from the search for a similar face to the new snapshot.
    pub changing: tokio::sync::Mutex<()>,
}

impl Services {
    /// Returns the match threshold in force: the score from which on a face is a worker's.
    pub fn threshold_in_force(&self) -> MatchThreshold {
        self.threshold.in_force(self.roster.borrow().confirmed_templates())
    }

    /// Refuses a user who may only read.
    pub fn may_change(&self, by: &Actor) -> Result<(), Failure> {
        may_change(self.roster_rules.admin_group.as_deref(), by)
    }
}

/// Returns the actor for a user of the operating system.
pub fn actor(uid: u32, via: Via) -> Actor {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    Actor { uid, user: user.map_or_else(|| format!("uid {uid}"), |u| u.name), via }
}

/// Checks that the actor may change things. Where the configuration names an admin group, only its
/// members, root and the daemon's own user may. A platform may too, because the configuration names
/// it as an upstream.
fn may_change(admin_group: Option<&str>, by: &Actor) -> Result<(), Failure> {
    use nix::unistd::{Group, User, geteuid, getgrouplist};
    let Some(name) = admin_group else { return Ok(()) };
    if by.via == Via::Upstream || by.uid == 0 || by.uid == geteuid().as_raw() {
        return Ok(());
    }
    let group = Group::from_name(name).ok().flatten();
    let user = User::from_uid(by.uid.into()).ok().flatten();
    let member = group.zip(user).is_some_and(|(group, user)| {
        let name = std::ffi::CString::new(user.name).unwrap_or_default();
        getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group.gid))
    });
    if member {
        return Ok(());
    }
    Err(Refusal::NotAdmin { user: by.user.clone(), group: name.to_owned() }.into())
}

#[cfg(test)]
mod tests;
