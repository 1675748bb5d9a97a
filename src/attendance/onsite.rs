//! The workers on site. A worker is on site if the latest passage that counts is an entry.
//!
//! In: each worker's latest record that counts. Out: [`Present`]. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Means, Record, timesheet::NIGHT_SHIFT};
use crate::config::Direction;

/// A worker who came in and has not left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Present {
    pub contractor: String,
    pub team: String,
    pub worker: String,
    pub name: String,
    pub trade: String,
    /// The effective time of the entry.
    pub since: String,
    /// No clock dates the entry: `since` is the recorded time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undated: bool,
    /// The lane of the entry; `null` for a supplement.
    pub lane: Option<String>,
    pub means: Means,
    pub outcome: super::RecordOutcome,
    pub seq: u64,
    /// The entry is longer ago than a night shift, so the exit was probably not recorded.
    pub overdue: bool,
    /// The worker was removed from the roster since the entry.
    #[serde(default)]
    pub removed: bool,
}

impl Present {
    /// Returns `None` if the latest record is an exit.
    pub fn of(latest: Record, now: Timestamp) -> Option<Present> {
        if latest.direction == Direction::Exit {
            return None;
        }
        let at: Timestamp = latest.effective().parse().ok()?;
        Some(Present {
            since: latest.effective().to_owned(),
            undated: latest.undated.is_some(),
            contractor: latest.contractor,
            team: latest.team,
            worker: latest.worker,
            name: latest.name,
            trade: latest.trade,
            overdue: now.duration_since(at) > NIGHT_SHIFT,
            removed: false,
            lane: latest.lane,
            means: latest.means,
            outcome: latest.outcome,
            seq: latest.seq,
        })
    }
}
