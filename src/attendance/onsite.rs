//! Who is on site: whose latest passage that counts is an entry.
//!
//! In: each worker's latest record that counts. Out: [`Present`]. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Means, Record, timesheet::NIGHT_SHIFT};
use crate::config::Direction;

/// Somebody who came and has not left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Present {
    pub contractor: String,
    pub team: String,
    pub worker: String,
    pub name: String,
    pub trade: String,
    pub since: String,
    /// Where; `null` for a supplement.
    pub lane: Option<String>,
    pub means: Means,
    pub outcome: super::RecordOutcome,
    pub seq: u64,
    /// So long ago that the exit was probably missed: no exit recorded since.
    pub overdue: bool,
    /// Off the roster meanwhile.
    #[serde(default)]
    pub removed: bool,
}

impl Present {
    /// `None` where the latest record is an exit.
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
