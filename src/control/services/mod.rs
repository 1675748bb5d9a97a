//! What each request does.
//!
//! | file | what is asked for |
//! |---|---|
//! | `roster` | workers: enrolled, amended, suspended, removed, listed |
//! | `faces` | an enrolment's looks at a face, from photos or from a camera |
//! | `attendance` | who went through; passages added by hand, and disputed |
//! | `lanes` | gates opened by hand, and how lanes work |

mod attendance;
mod faces;
mod lanes;
mod roster;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

use super::{
    exporter::ExporterDown,
    protocol::{Failure, Request, Wire, WireError},
    status,
};
use crate::{
    attendance::Origin,
    camera::{CameraState, Slot},
    clock::{Clock, Monotonic},
    config::{Direction, FaceLimits, MatchThreshold, RosterRules},
    figures::Stages,
    gate::{
        lane::{self, LaneState},
        sight::Seen,
    },
    ledger::{Actor, Ledger, LedgerError},
    roster::{Roster, RosterError, WorkerId},
    store::{Store, StoreError},
    turnstile::TurnstileState,
    uplink::UpstreamState,
    vigil::Beats,
    vision::{Template, Vision},
};

/// Records, or workers, read at once while listing.
const PAGE: usize = 500;
/// A release's answer comes with its outcome, which has its own bounds; this is beyond them.
const RELEASE_PATIENCE: Duration = Duration::from_secs(90);

/// A camera, as `status` shows it.
pub struct CameraPanel {
    pub direction: Direction,
    pub source: String,
    pub state: watch::Receiver<CameraState>,
    /// Open but without a frame for so long, it has stalled.
    pub stalled_after: Duration,
    pub seen: Arc<Seen>,
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

/// Everything a request may need.
pub struct Services {
    pub store: Store,
    pub storage_dir: PathBuf,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub started: Monotonic,
    /// Of what must make progress for the gate to work.
    pub beats: Arc<Beats>,
    pub origin: Origin,
    pub vision: Arc<Vision>,
    pub roster: watch::Sender<Arc<Roster>>,
    pub lanes: Vec<LanePanel>,
    pub upstreams: Vec<watch::Receiver<UpstreamState>>,
    pub stages: Arc<Stages>,
    /// Why nobody can fetch the metrics, where they are configured and that is so.
    pub exporter: watch::Receiver<Option<ExporterDown>>,
    /// How good an enrolment's look at a face must be.
    pub face_limits: FaceLimits,
    /// From here on two templates are one person.
    pub threshold: MatchThreshold,
    pub roster_rules: RosterRules,
    pub audit: watch::Sender<Audit>,
    /// One enrolment photo is examined at a time: decoded, the largest takes 150 MB.
    pub examining: tokio::sync::Mutex<()>,
    /// One change of the roster at a time, from the look for its like to the new snapshot.
    pub changing: tokio::sync::Mutex<()>,
}

/// What one connection has asked for so far: who came by in a dry run, whom no roster knows.
#[derive(Default)]
pub(super) struct Sitting {
    pub(super) dry: Vec<(WorkerId, Vec<Template>)>,
}

pub(super) enum Refusal {
    Failure(Failure),
    Wire(WireError),
}

impl From<WireError> for Refusal {
    fn from(e: WireError) -> Self {
        Refusal::Wire(e)
    }
}

impl From<Failure> for Refusal {
    fn from(e: Failure) -> Self {
        Refusal::Failure(e)
    }
}

impl From<RosterError> for Refusal {
    fn from(e: RosterError) -> Self {
        let code = match &e {
            RosterError::Store(_) => "storage",
            RosterError::NoSuchWorker(_) => "no_such_worker",
            RosterError::IdTaken(_) | RosterError::IdRetired(_) | RosterError::IdentityTaken(_) => {
                "duplicate"
            }
            RosterError::Full { .. } => "full",
            RosterError::Invalid { .. } => "invalid",
        };
        Failure::new(code, e).into()
    }
}

impl From<LedgerError> for Refusal {
    fn from(e: LedgerError) -> Self {
        let code = match &e {
            LedgerError::NoAttendance { .. } => "no_attendance",
            LedgerError::AlreadyDisputed { .. } => "already_disputed",
            _ => "storage",
        };
        Failure::new(code, e).into()
    }
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Failure::new("storage", e).into()
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<serde_json::Value, Refusal> {
    serde_json::to_value(value).map_err(|e| Failure::new("internal", e).into())
}

impl Services {
    pub(super) async fn carry_out(
        &self,
        wire: &mut Wire,
        sitting: &mut Sitting,
        request: Request,
        by: &Actor,
    ) -> Result<serde_json::Value, Refusal> {
        if request.changes() {
            self.may_change(by)?;
        }
        let by = by.clone();
        match request {
            Request::Status => to_json(&status::gather(self).await),
            Request::Enrol(enrol) => self.enrol(wire, sitting, *enrol, by).await,
            Request::Amend(amend) => self.amend(wire, *amend, by).await,
            Request::Hold { id, state, reason } => self.hold(id, state, &reason, by).await,
            Request::Remove { id, reason } => self.remove(id, reason, by).await,
            Request::Workers(query) => self.workers(wire, query).await,
            Request::Worker { id } => self.worker(id).await,
            Request::History { id } => self.history(wire, id).await,
            Request::Attendance(query) => self.attendance(wire, query).await,
            Request::Onsite { since } => self.onsite(wire, since).await,
            Request::Supplement { worker, at, direction, reason } => {
                self.supplement(worker, at, direction, &reason, by).await
            }
            Request::Dispute { seq, reason } => self.dispute(seq, &reason, by).await,
            Request::Release { lane, direction, worker, reason } => {
                self.release(lane, direction, worker, reason, by).await
            }
            Request::Mode { lane, mode, reason } => self.mode(lane, mode, reason, by).await,
        }
    }

    /// Where a group is named for it, its members may change things, and root, and the daemon's own
    /// user.
    fn may_change(&self, by: &Actor) -> Result<(), Failure> {
        use nix::unistd::{Group, User, geteuid, getgrouplist};
        let Some(name) = &self.roster_rules.admin_group else { return Ok(()) };
        if by.uid == 0 || by.uid == geteuid().as_raw() {
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
        Err(Failure::new("not_allowed", problem))
    }
}
