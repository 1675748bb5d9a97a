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
    pub since: String,
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
        let since: Timestamp = latest.at.parse().ok()?;
        Some(Present {
            contractor: latest.contractor,
            team: latest.team,
            worker: latest.worker,
            name: latest.name,
            trade: latest.trade,
            overdue: now.duration_since(since) > NIGHT_SHIFT,
            removed: false,
            since: latest.at,
            lane: latest.lane,
            means: latest.means,
            outcome: latest.outcome,
            seq: latest.seq,
        })
    }
}
