//! The state of the daemon in one document, which `gatehouse status` and the metrics both show
//! (I6).
//!
//! In: the states of the daemon's parts. Out: the [`Status`], the troubles that may become alarms,
//! and the metrics. The metrics are the status in another notation: one page on the loopback
//! interface. The page accepts no commands and names no worker.
//!
//! | file | what it does |
//! |---|---|
//! | `gather`, `disk` | collects the state of each part |
//! | `attention`, `part` | collects the parts that need attention |
//! | `swap` | whether memory may be swapped |
//! | `deletion` | the troubles of what is deleted by date |
//! | `remedy` | the sentences on a part that needs attention |
//! | `troubles` | finds the troubles that may become alarms |
//! | `metrics` | writes the status as OpenMetrics text |
//! | `exporter` | serves the metrics over HTTP |

mod attention;
mod deletion;
mod disk;
mod exporter;
mod gather;
mod metrics;
mod part;
mod remedy;
mod swap;
mod troubles;

use std::path::PathBuf;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use self::remedy::Remedy;
pub use self::{
    exporter::{export, listen as listen_for_metrics},
    gather::gather,
    part::Part,
    remedy::threshold_low,
    troubles::{Backlog, backlogs, looks, working},
};
use crate::{
    camera::CameraState,
    config::Direction,
    gate::{
        lane::{LaneState, LivenessShown},
        vision_pool::SeenCounts,
    },
    ledger::{AlarmWhat, LaneMode},
    reader::ReaderDriver,
    services::{CommandCounts, Deletions},
    store::{Room, photo_store::PhotoStoreState},
    timing::Spread,
    turnstile::TurnstileState,
    uplink::UpstreamState,
};

/// The document of `gatehouse status --json`. A number that could not be read is null, and
/// `degraded` gives the reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub gateway: String,
    pub project: String,
    pub started_at: String,
    /// SHA-256 of the configuration that the daemon has read, in hexadecimal.
    #[serde(default)]
    pub config_sha256: String,
    pub lanes: Vec<LaneStatus>,
    pub roster: RosterStatus,
    pub ledger: LedgerStatus,
    pub upstreams: Vec<UpstreamStatus>,
    /// Photos of passages.
    pub photos: PhotoStoreState,
    pub clock: ClockStatus,
    /// What is deleted by date, and whether the date is corroborated.
    #[serde(default)]
    pub deletions: Deletions,
    pub disk: DiskStatus,
    pub alarms: AlarmsStatus,
    pub stages: Vec<StageStatus>,
    pub vision: VisionStatus,
    pub process: ProcessStatus,
    pub degraded: Vec<Degraded>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneStatus {
    pub name: String,
    pub mode: LaneMode,
    /// Reason of the mode, the user who set it, and the time. Null if the mode was never set;
    /// `mode_by` is null too if a fire alarm set it.
    pub mode_reason: Option<String>,
    pub mode_by: Option<String>,
    pub mode_since: Option<String>,
    /// A worker could pass now: the turnstile answers, each camera sends frames or, without one,
    /// each reader works, faces are recognised
    /// in time, and records can be stored.
    pub ready: bool,
    pub cameras: Vec<CameraStatus>,
    #[serde(default)]
    pub readers: Vec<ReaderStatus>,
    pub turnstile: TurnstileState,
    #[serde(flatten)]
    pub gate: LaneState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReaderStatus {
    pub name: String,
    pub direction: Direction,
    pub driver: ReaderDriver,
    pub connected: bool,
    pub error: Option<String>,
    /// Cards read. A card that stays on the reader may count several times.
    pub read: u64,
    /// Lines and frames that could not be read.
    pub unreadable: u64,
    pub last_unreadable: Option<String>,
    /// Cards that the lane did not take in time.
    pub dropped: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CameraStatus {
    pub direction: Direction,
    pub source: String,
    /// The camera is open and sends no frames.
    pub stalled: bool,
    /// An enrolment uses the camera. The gate does not use it until the enrolment ends.
    pub lent: bool,
    #[serde(flatten)]
    pub state: CameraState,
    #[serde(flatten)]
    pub seen: SeenCounts,
    /// The liveness scores of granted visits, where they are judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<LivenessShown>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RosterStatus {
    pub workers: usize,
    pub templates: usize,
    /// Number of workers from afar who wait for a person at the site.
    #[serde(default)]
    pub pending: usize,
    /// Number of confirmed workers for whom new faces from afar wait.
    #[serde(default)]
    pub faces_waiting: usize,
    /// Number of workers who are exempt from the guard's look at a living face.
    #[serde(default)]
    pub liveness_exempt: usize,
    pub version: u64,
    /// The match threshold in force.
    #[serde(default)]
    pub threshold: f64,
    /// The configuration fixes the threshold; otherwise it follows the number of templates.
    #[serde(default)]
    pub threshold_fixed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerStatus {
    pub id: String,
    /// Number of entries.
    pub size: Option<u64>,
    /// Index of the first entry that was not pruned: 0 if none was pruned.
    pub pruned_before: Option<u64>,
    /// The last day on which all attendance is kept; null if it is kept permanently.
    pub kept_until: Option<Date>,
    /// Number of records of the last two months without a date, at the daemon's start.
    #[serde(default)]
    pub undated: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpstreamStatus {
    #[serde(flatten)]
    pub link: UpstreamState,
    /// Number of records that wait.
    pub outbox: Option<u64>,
    /// Age of the oldest waiting record; null if none waits.
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

/// The storage folder, its disk and the writes to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DiskStatus {
    pub dir: PathBuf,
    pub free_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    pub database_bytes: Option<u64>,
    pub room: Room,
    /// Space that is reserved for attendance on a full disk.
    pub reserve_bytes: u64,
    pub commits: u64,
    /// Number of transactions that failed because of the disk.
    pub failures: u64,
    pub failing: Option<Failing>,
    /// The last error of the disk. It stays here after the disk works again.
    pub last_error: Option<String>,
    /// Number of events that were not recorded because the disk was full.
    pub unrecorded: u64,
    /// Number of enrolments that were refused because the disk was full.
    pub photos_refused: u64,
    /// The slowest commit of the last one to two minutes.
    pub slowest_commit_ms: u64,
    /// Damaged databases.
    pub set_aside: Vec<PathBuf>,
}

/// The disk accepts no writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failing {
    pub since: String,
    pub error: String,
}

/// The alarms that were sent to the platforms.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AlarmsStatus {
    /// Number of alarms that were raised since the daemon's start.
    pub raised: u64,
    /// The active alarms.
    pub standing: Vec<AlarmStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmStatus {
    pub what: AlarmWhat,
    /// The device, link or lane that the alarm is about.
    pub subject: String,
    pub since: String,
    pub detail: String,
}

/// The time that a stage takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageStatus {
    pub name: String,
    /// Number of times that the stage was carried out.
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

/// The looks at faces, of all cameras together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct VisionStatus {
    /// Time of a look at a face; null before the first one.
    pub look_ms: Option<u64>,
    pub workers: usize,
    pub cameras: usize,
    /// Number of cameras for which this box is fast enough.
    pub carries: Option<usize>,
}

/// The daemon's process, from `/proc`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ProcessStatus {
    pub resident_bytes: Option<u64>,
    pub open_fds: Option<u64>,
    /// Memory that is never swapped: keys and templates.
    #[serde(default)]
    pub locked_bytes: Option<u64>,
    /// Bytes of keys and templates that could not be locked.
    #[serde(default)]
    pub unlocked_bytes: u64,
}

/// A part that does not work as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    pub what: Part,
    pub since: String,
    pub remedy: String,
}
