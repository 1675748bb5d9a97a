//! What each request does.
//!
//! | file | what is asked for |
//! |---|---|
//! | `roster` | workers: enrolled, amended, suspended, removed, listed |
//! | `history` | what each entry on a worker changed (pure) |
//! | `amendment` | what a worker is to be after an amendment (pure) |
//! | `dates` | times and dates that can only be mistyped (pure) |
//! | `faces` | an enrolment's looks at a face, from photos or from a camera |
//! | `attendance` | who went through; passages added by hand, and disputed |
//! | `photo` | the photo of a passage |
//! | `lanes` | gates opened by hand, and how lanes work |

mod amendment;
mod attendance;
mod dates;
mod faces;
mod history;
mod lanes;
mod photo;
mod roster;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

use super::{
    commands::Commands,
    exporter::ExporterDown,
    protocol::{Enrol, Failure, IfKnown, Request, Wire, WireError},
    status,
};
use crate::{
    alarms::AlarmState,
    attendance::Origin,
    camera::{CameraState, Slot},
    clock::{Clock, Monotonic},
    config::{AlarmLimits, Direction, FaceLimits, MatchThreshold, RosterRules},
    figures::Stages,
    gate::{
        lane::{self, LaneState},
        sight::Seen,
    },
    ledger::{Actor, Ledger, LedgerError, Retention, Via},
    roster::{FaceOnFile, Identity, MOST_WORKERS, Roster, RosterError, WorkerId},
    store::{Store, StoreError, album::Album},
    turnstile::TurnstileState,
    uplink,
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
    pub album: Album,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub started: Monotonic,
    /// Of what must make progress for the gate to work.
    pub beats: Arc<Beats>,
    pub origin: Origin,
    pub vision: Arc<Vision>,
    pub roster: watch::Sender<Arc<Roster>>,
    pub lanes: Vec<LanePanel>,
    pub upstreams: Vec<uplink::Link>,
    pub stages: Arc<Stages>,
    /// Why nobody can fetch the metrics, where they are configured and that is so.
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

/// Who came by in the dry runs of one connection: no roster knows them, and they must not be two.
#[derive(Default)]
pub(super) struct Sitting {
    dry: Vec<DryRun>,
}

struct DryRun {
    id: WorkerId,
    /// Of somebody new.
    identity: Option<Identity>,
    templates: Vec<Template>,
}

impl Sitting {
    /// Refuses who came by before, and what the roster would have no room for.
    fn came_by(
        &mut self,
        roster: &Roster,
        id: WorkerId,
        identity: Option<&Identity>,
        faces: Vec<FaceOnFile>,
    ) -> Result<(), RosterError> {
        let fresh = self.dry.iter().filter(|d| d.identity.is_some());
        for other in fresh.clone().filter(|_| identity.is_some()) {
            if other.id == id {
                return Err(RosterError::IdTaken(id));
            }
            if other.identity.iter().zip(identity).any(|(a, b)| a.same_document(b)) {
                return Err(RosterError::IdentityTaken(other.id.clone()));
            }
        }
        let most = MOST_WORKERS;
        if self.dry.len() >= most || roster.workers().len() + fresh.count() >= most {
            return Err(RosterError::Full { most });
        }
        let templates = faces.into_iter().map(|face| face.template).collect();
        self.dry.push(DryRun { id, identity: identity.cloned(), templates });
        Ok(())
    }

    /// Whose face of another's is the most alike, and how.
    fn nearest(&self, id: &WorkerId, face: &Template) -> Option<(WorkerId, f32)> {
        let others = self.dry.iter().filter(|d| d.id != *id);
        let scores = others.flat_map(|d| d.templates.iter().map(move |t| (&d.id, t.cosine(face))));
        let nearest = scores.max_by(|a, b| a.1.total_cmp(&b.1));
        nearest.map(|(id, score)| (id.clone(), score))
    }
}

/// How an enrolment or amendment was asked for: a refusal names the remedy that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// By a command about one worker, which has options.
    Alone,
    /// By a row of an import.
    Import,
    /// By a platform.
    Platform,
}

impl Asked {
    fn of(enrol: &Enrol, by: &Actor) -> Asked {
        match enrol.if_known {
            _ if by.via == Via::Upstream => Asked::Platform,
            IfKnown::Refuse => Asked::Alone,
            IfKnown::Same | IfKnown::Update => Asked::Import,
        }
    }

    /// Of these remedies the one that there is.
    fn remedy(
        self,
        alone: &'static str,
        import: &'static str,
        platform: &'static str,
    ) -> &'static str {
        match self {
            Asked::Alone => alone,
            Asked::Import => import,
            Asked::Platform => platform,
        }
    }
}

/// Where an enrolment's photos come from.
pub(super) enum Source<'a> {
    /// The client sends each when it is asked to.
    Client(&'a mut Wire),
    /// They came with what was asked; each is taken once.
    Here(Vec<Vec<u8>>),
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
            RosterError::Damaged(_) => "damaged",
            RosterError::Invalid { .. } => "invalid",
        };
        let field = match &e {
            RosterError::Invalid { field, .. } => Some(*field),
            RosterError::IdTaken(_) | RosterError::IdRetired(_) => Some("id"),
            RosterError::IdentityTaken(_) => Some("id-number"),
            _ => None,
        };
        Failure { field: field.map(str::to_owned), ..Failure::new(code, e) }.into()
    }
}

impl From<LedgerError> for Refusal {
    fn from(e: LedgerError) -> Self {
        let code = match &e {
            LedgerError::NoAttendance { .. } => "no_attendance",
            LedgerError::AlreadyAdded { .. } => "already_added",
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
    /// Refuses whoever may only look.
    pub(super) fn may_change(&self, by: &Actor) -> Result<(), Failure> {
        may_change(self.roster_rules.admin_group.as_deref(), by)
    }

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
            Request::Enrol(enrol) => {
                self.enrol(&mut Source::Client(wire), sitting, *enrol, by).await
            }
            Request::Amend(amend) => self.amend(&mut Source::Client(wire), *amend, by).await,
            Request::Hold { id, state, reason } => self.hold(id, state, &reason, by).await,
            Request::Remove { id, reason } => self.remove(id, reason, by).await,
            Request::Workers(query) => self.workers(wire, query).await,
            Request::Worker { id } => {
                let in_full = self.may_change(&by).is_ok();
                self.worker(id, in_full).await
            }
            Request::History { id } => self.history(wire, id).await,
            Request::Attendance(query) => self.attendance(wire, query).await,
            Request::PassagePhoto { of } => self.passage_photo(wire, of, &by).await,
            Request::Onsite { since } => self.onsite(wire, since).await,
            Request::Supplement { worker, at, direction, reason, confirmed } => {
                self.supplement(worker, at, direction, &reason, confirmed, by).await
            }
            Request::Dispute { seq, reason } => self.dispute(seq, &reason, by).await,
            Request::Release { lane, direction, worker, reason } => {
                self.release(lane, direction, worker, reason, by, None).await
            }
            Request::Mode { lane, mode, reason } => self.mode(lane, mode, reason, by).await,
        }
    }
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
    Err(Failure::new("not_allowed", problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::IdType;

    #[test]
    fn a_dry_run_refuses_who_came_by_before() {
        let roster = Roster::default();
        let mut sitting = Sitting::default();
        let identity = |number: &str| {
            Identity::checked(IdType::Passport, number, Default::default(), None).unwrap()
        };
        let mut comes = |id: &str, number: &str| {
            let (id, number) = (id.parse().unwrap(), identity(number));
            let refused = sitting.came_by(&roster, id, Some(&number), vec![]);
            refused.map_err(|e| e.to_string()).err().unwrap_or_default()
        };
        assert_eq!(comes("W1", "E1111111"), "");
        assert_eq!(comes("W2", "E2222222"), "");
        assert!(comes("W2", "E3333333").contains("W2 is already enrolled"));
        assert!(comes("W3", "E1111111").contains("as worker W1"));
        for n in 2..MOST_WORKERS {
            assert_eq!(comes(&format!("X{n}"), &format!("X{n:07}")), "");
        }
        assert!(comes("W4", "E4444444").contains("10000 workers"));
    }

    #[test]
    fn where_a_group_is_named_its_members_alone_change_things() {
        // Users and groups that every Debian has: bin is in bin alone.
        let by = |uid, user: &str| Actor { uid, user: user.to_owned(), via: Via::Socket };
        assert!(may_change(None, &by(2, "bin")).is_ok());
        assert!(may_change(Some("bin"), &by(2, "bin")).is_ok());
        assert!(may_change(Some("daemon"), &by(0, "root")).is_ok());
        let refused = may_change(Some("daemon"), &by(2, "bin")).unwrap_err();
        assert!(refused.message.starts_with("bin may look, and change nothing"), "{refused}");
        assert!(may_change(Some("no such group"), &by(2, "bin")).is_err());
        assert!(may_change(Some("daemon"), &by(4_000_000, "uid 4000000")).is_err());
        let platform = Actor { uid: 2, user: "bin".to_owned(), via: Via::Upstream };
        assert!(may_change(Some("daemon"), &platform).is_ok());
    }
}
