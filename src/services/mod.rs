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
//! | `roster` | suspends, removes and lists workers; the one transaction of roster and ledger |
//! | `history` | the changes in each entry on a worker (pure) |
//! | `dates` | refuses times and dates that are probably mistyped (pure) |
//! | `faces`, `live` | an enrolment's faces, from photos or from a camera |
//! | `likeness` | compares new faces with the enrolled ones |
//! | `evidence` | signed tree heads, evidence packages, the audit of the ledger |
//! | `dry_run` | the workers in the dry runs of one client |
//! | `attendance` | lists attendance and the workers on site; adds and disputes passages |
//! | `photo` | the photo of a passage |
//! | `lanes` | releases by hand, and the lanes' modes |
//! | `failure` | the reason for which a request is not carried out |
//! | `command_counts` | counts the outcomes of the platforms' commands |

mod asked;
mod attendance;
mod command_counts;
mod dates;
mod dry_run;
mod enrolment;
mod evidence;
mod faces;
mod failure;
mod history;
mod lanes;
mod likeness;
mod live;
mod photo;
mod roster;
mod update;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

pub use self::{
    asked::{Clear, Enroll, EnrollResult, Enrolled, IfKnown, Live, Photo, Update, UpdateFaces},
    attendance::{Addition, AttendanceQuery, Dispute, Listing, OnSite, OnsiteDone},
    command_counts::{CommandCounts, Commands},
    dry_run::DryRuns,
    evidence::{AuditRun, Audited, EvidenceQuery, HeadShown},
    faces::{Ask, HINTS, Hint, PHOTO_MAX, PHOTOS_MAX, Source},
    failure::{Code, Failure},
    history::{Change, RosterChange},
    lanes::{ModeChange, Release, Released},
    photo::{PassageAsked, PassagePhoto},
    roster::{Remove, Removed, SetState, WorkerPage, WorkerQuery, WorkerShown},
};
use crate::{
    alarms::AlarmState,
    attendance::Origin,
    camera::{CameraState, Slot},
    clock::{Clock, Monotonic},
    config::{AlarmLimits, Direction, FaceLimits, MatchThreshold, RosterRules},
    gate::{
        lane::{self, LaneState},
        vision_pool::FrameCounts,
    },
    ledger::{Actor, HeadState, Ledger, Retention, Via, audit::Finding},
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
    pub direction: Direction,
    pub source: String,
    pub state: watch::Receiver<CameraState>,
    /// Timeout after which a camera that is open and sends no frame has stalled.
    pub stalled_after: Duration,
    pub seen: Arc<FrameCounts>,
    /// The slot from which an enrolment borrows frames.
    pub slot: Arc<Slot>,
}

/// A lane, as `status` shows it and `lane release` reaches it.
pub struct LanePanel {
    pub name: String,
    pub requests: mpsc::Sender<lane::Request>,
    pub state: watch::Receiver<LaneState>,
    pub turnstile: watch::Receiver<TurnstileState>,
    pub cameras: Vec<CameraPanel>,
}

/// Entries of the ledger that are damaged or were altered.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    pub entries: u64,
    /// Index of the first of these entries.
    pub first: Option<u64>,
}

impl Audit {
    /// Adds damaged entries. Returns whether there are any.
    pub fn found(&mut self, damaged: &[Finding]) -> bool {
        self.entries += damaged.len() as u64;
        self.first = self.first.or(damaged.first().map(|finding| finding.index));
        !damaged.is_empty()
    }
}

/// The reason for which the metrics cannot be fetched.
#[derive(Clone, Debug)]
pub struct ExporterDown {
    pub since: Monotonic,
    pub error: String,
}

/// All that a request may need.
pub struct Services {
    pub store: Store,
    pub storage_dir: PathBuf,
    pub photo_store: PhotoStore,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub started: Monotonic,
    /// Heartbeats of the parts that must make progress for the gate to work.
    pub beats: Arc<Heartbeats>,
    pub origin: Origin,
    pub vision: Arc<Vision>,
    pub roster: watch::Sender<Arc<Roster>>,
    pub lanes: Vec<LanePanel>,
    pub upstreams: Vec<uplink::Link>,
    pub stages: Arc<Stages>,
    /// The reason for which the metrics cannot be fetched; `None` where they can be or are not
    /// configured.
    pub exporter: watch::Receiver<Option<ExporterDown>>,
    /// Minimum quality of an enrolment's faces.
    pub face_limits: FaceLimits,
    /// Minimum score at which two templates are the same person.
    pub threshold: MatchThreshold,
    pub roster_rules: RosterRules,
    pub retention: Retention,
    pub audit: watch::Sender<Audit>,
    /// The key that signs tree heads.
    pub signing_key: Arc<SigningKey>,
    /// The newest signed tree head.
    pub heads: watch::Sender<HeadState>,
    pub alarm_limits: AlarmLimits,
    pub alarms: watch::Sender<AlarmState>,
    /// Counts of the platforms' commands by outcome.
    pub commands: Commands,
    /// Held while an enrolment photo is examined. The largest photo takes 150 MB when decoded, so
    /// only one is examined at a time.
    pub examining: tokio::sync::Mutex<()>,
    /// Held during a change of the roster, from the search for a similar face to the new snapshot.
    pub changing: tokio::sync::Mutex<()>,
}

impl Services {
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
    let problem = format!(
        "{} may read, but not change anything; only members of the group {name} may \
         (roster.admin_group)",
        by.user
    );
    Err(Failure::new(Code::NotAllowed, problem))
}

#[cfg(test)]
mod tests;
