//! What can be asked of the daemon: by an admin over the socket, by a platform's commands, and by
//! the daemon's own parts.
//!
//! In: typed requests, and who asks. Out: typed results, or a [`Failure`] with its code. Touches: the
//! store, the album, the roster's snapshot, the lanes' request channels, and a camera that is lent.
//!
//! | file | what it does |
//! |---|---|
//! | `asked` | what an enrolment and an amendment ask for, and give |
//! | `enrolment` | workers enrolled, once or again |
//! | `amendment` | workers amended; what a worker is to be then (pure) |
//! | `roster` | workers suspended, removed, listed; the roster's and the ledger's one transaction |
//! | `history` | what each entry on a worker changed (pure) |
//! | `dates` | times and dates that can only be mistyped (pure) |
//! | `faces`, `live` | an enrolment's looks at a face, from photos or from a camera |
//! | `likeness` | whose face it is too |
//! | `dry_run` | who came by in the dry runs of one client |
//! | `attendance` | who went through, who is on site; passages added by hand, and disputed |
//! | `photo` | the photo of a passage |
//! | `lanes` | gates opened by hand, and how lanes work |
//! | `failure` | why it was not done |
//! | `command_counts` | what became of the platforms' commands |

mod asked;
mod attendance;
mod command_counts;
mod dates;
mod dry_run;
mod enrolment;
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
    ledger::{Actor, Ledger, Retention, Via},
    roster::Roster,
    store::{Store, photo_store::PhotoStore},
    supervision::Heartbeats,
    timing::Stages,
    turnstile::TurnstileState,
    uplink,
    vision::Vision,
};

/// Records, or workers, read at once while listing.
pub const PAGE: usize = 500;

/// A camera, as `status` shows it.
pub struct CameraPanel {
    pub direction: Direction,
    pub source: String,
    pub state: watch::Receiver<CameraState>,
    /// Timeout after which a camera that is open and sends no frame has stalled.
    pub stalled_after: Duration,
    pub seen: Arc<FrameCounts>,
    /// Where an enrolment borrows its frames.
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
    /// The first of them: its index.
    pub first: Option<u64>,
}

impl Audit {
    /// True where there are any.
    pub fn found(&mut self, damaged: &[u64]) -> bool {
        self.entries += damaged.len() as u64;
        self.first = self.first.or(damaged.first().copied());
        !damaged.is_empty()
    }
}

/// Why the metrics cannot be fetched.
#[derive(Clone, Debug)]
pub struct ExporterDown {
    pub since: Monotonic,
    pub error: String,
}

/// Everything a request may need.
pub struct Services {
    pub store: Store,
    pub storage_dir: PathBuf,
    pub photo_store: PhotoStore,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub started: Monotonic,
    /// Of what must make progress for the gate to work.
    pub beats: Arc<Heartbeats>,
    pub origin: Origin,
    pub vision: Arc<Vision>,
    pub roster: watch::Sender<Arc<Roster>>,
    pub lanes: Vec<LanePanel>,
    pub upstreams: Vec<uplink::Link>,
    pub stages: Arc<Stages>,
    /// Why the metrics cannot be fetched, while they are configured and cannot be.
    pub exporter: watch::Receiver<Option<ExporterDown>>,
    /// How good an enrolment's look at a face must be.
    pub face_limits: FaceLimits,
    /// From here on two templates are one person.
    pub threshold: MatchThreshold,
    pub roster_rules: RosterRules,
    pub retention: Retention,
    pub audit: watch::Sender<Audit>,
    pub alarm_limits: AlarmLimits,
    pub alarms: watch::Sender<AlarmState>,
    /// What became of the platforms' commands.
    pub commands: Commands,
    /// One enrolment photo is examined at a time: decoded, the largest takes 150 MB.
    pub examining: tokio::sync::Mutex<()>,
    /// One change of the roster at a time, from the look for its like to the new snapshot.
    pub changing: tokio::sync::Mutex<()>,
}

impl Services {
    /// Refuses those who may only look.
    pub fn may_change(&self, by: &Actor) -> Result<(), Failure> {
        may_change(self.roster_rules.admin_group.as_deref(), by)
    }
}

/// A user of the operating system.
pub fn actor(uid: u32, via: Via) -> Actor {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    Actor { uid, user: user.map_or_else(|| format!("uid {uid}"), |u| u.name), via }
}

/// Where a group is named for it, its members may change things, and root, and the daemon's own
/// user; and a platform, which the configuration names as an upstream.
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
        "{} may look, and change nothing: that takes a member of the group {name} \
         (roster.admin_group)",
        by.user
    );
    Err(Failure::new(Code::NotAllowed, problem))
}

#[cfg(test)]
mod tests;
