//! The daemon's state in one document: what `gatehouse status` and the metrics both show (I6).
//!
//! In: what each part of the daemon says of itself. Out: the [`Status`], what may become an alarm, and
//! the metrics, which are the status in another notation: one page on loopback, which commands nothing
//! and names no worker.
//!
//! | file | what it does |
//! |---|---|
//! | `gather`, `disk` | looks at every part |
//! | `attention`, `part` | what of it needs attention |
//! | `troubles` | what may become an alarm |
//! | `metrics` | the status as OpenMetrics text |
//! | `exporter` | serves it over HTTP |

mod attention;
mod disk;
mod exporter;
mod gather;
mod metrics;
mod part;
mod troubles;

use std::path::PathBuf;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use self::{
    exporter::{export, listen as listen_for_metrics},
    gather::gather,
    part::Part,
    troubles::{Backlog, backlogs, looks},
};
use crate::{
    camera::CameraState,
    config::Direction,
    gate::{lane::LaneState, vision_pool::SeenCounts},
    ledger::{AlarmWhat, LaneMode},
    services::CommandCounts,
    store::{Room, photo_store::AlbumState},
    timing::Spread,
    turnstile::TurnstileState,
    uplink::UpstreamState,
};

/// `gatehouse status --json`. A number that could not be had is null, and `degraded` says why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub gateway: String,
    pub project: String,
    pub started_at: String,
    pub lanes: Vec<LaneStatus>,
    pub roster: RosterStatus,
    pub ledger: LedgerStatus,
    pub upstreams: Vec<UpstreamStatus>,
    /// Photos of passages.
    pub photos: AlbumState,
    pub clock: ClockStatus,
    pub disk: DiskStatus,
    pub alarms: AlarmsStatus,
    pub stages: Vec<StageStatus>,
    pub process: ProcessStatus,
    pub degraded: Vec<Degraded>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneStatus {
    pub name: String,
    pub mode: LaneMode,
    /// Why it has that mode, who set it and when; null where it was never set, `mode_by` also where a
    /// fire alarm did.
    pub mode_reason: Option<String>,
    pub mode_by: Option<String>,
    pub mode_since: Option<String>,
    /// Somebody could be let through now: the turnstile answers, each camera sends frames, and
    /// records can be kept.
    pub ready: bool,
    pub cameras: Vec<CameraStatus>,
    pub turnstile: TurnstileState,
    #[serde(flatten)]
    pub gate: LaneState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CameraStatus {
    pub direction: Direction,
    pub source: String,
    /// It is open and sends no frames.
    pub stalled: bool,
    /// An enrolment looks through it; the gate does not, until it is given back.
    pub lent: bool,
    #[serde(flatten)]
    pub state: CameraState,
    #[serde(flatten)]
    pub seen: SeenCounts,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RosterStatus {
    pub workers: usize,
    pub templates: usize,
    pub version: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerStatus {
    pub id: String,
    /// Entries.
    pub size: Option<u64>,
    /// Entries before this one were pruned: 0 where none was.
    pub pruned_before: Option<u64>,
    /// The last day on which all attendance is kept; null: it is kept for good.
    pub kept_until: Option<Date>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpstreamStatus {
    #[serde(flatten)]
    pub link: UpstreamState,
    /// Records that wait.
    pub outbox: Option<u64>,
    /// Age of the oldest of them; null where none waits.
    pub oldest_s: Option<i64>,
    #[serde(flatten)]
    pub carried_out: CommandCounts,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClockStatus {
    pub synced: bool,
    pub now: String,
    pub boot: String,
    pub uptime_ms: u64,
}

/// The storage folder and what is written to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DiskStatus {
    pub dir: PathBuf,
    pub free_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    pub database_bytes: Option<u64>,
    pub room: Room,
    /// Kept for attendance when nothing else is left.
    pub reserve_bytes: u64,
    pub commits: u64,
    /// Transactions that the disk brought to nothing.
    pub failures: u64,
    pub failing: Option<Failing>,
    /// What the disk said last, kept after it is well again.
    pub last_error: Option<String>,
    /// Events given up for want of room.
    pub unrecorded: u64,
    /// Enrolments refused for want of room.
    pub photos_refused: u64,
    /// In the last minute or two.
    pub slowest_commit_ms: u64,
    /// Damaged databases.
    pub set_aside: Vec<PathBuf>,
}

/// The disk takes nothing in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failing {
    pub since: String,
    pub error: String,
}

/// What the platforms were told of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AlarmsStatus {
    /// Raised since the daemon's start.
    pub raised: u64,
    /// Raised, and not over.
    pub standing: Vec<AlarmStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmStatus {
    pub what: AlarmWhat,
    /// Which one of its kind.
    pub subject: String,
    pub since: String,
    pub detail: String,
}

/// How long a stage takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageStatus {
    pub name: String,
    /// How often it was carried out.
    pub count: u64,
    pub mean_ms: Option<f64>,
    /// Estimated from the histogram that the metrics show.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    #[serde(skip)]
    pub spread: Spread,
}

impl StageStatus {
    fn new(name: &str, spread: Spread) -> StageStatus {
        let ms = |seconds: f64| (seconds * 1e5).round() / 1e2;
        StageStatus {
            name: name.to_owned(),
            count: spread.count(),
            mean_ms: spread.mean_s().map(ms),
            p50_ms: spread.quantile_s(0.5).map(ms),
            p99_ms: spread.quantile_s(0.99).map(ms),
            spread,
        }
    }
}

/// The daemon's process, in the kernel's numbers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ProcessStatus {
    pub resident_bytes: Option<u64>,
    pub open_fds: Option<u64>,
}

/// Something that does not work as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    pub what: Part,
    pub since: String,
    pub remedy: String,
}
