//! A time in which the gate recorded nothing. It ends with the time of this entry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{clock::Stamp, words::words};

/// Time below which a gap within one boot of the machine is not recorded.
pub const SHORTEST_GAP: Duration = Duration::from_secs(60);

words! {
    /// Why nothing was recorded.
    pub enum GapWhy {
        /// The daemon had ended in order.
        Shutdown = "shutdown",
        /// The daemon had ended otherwise, and the box ran on.
        Killed = "killed",
        /// The box stopped without an orderly end of the daemon: its power was cut, or it crashed.
        PowerCut = "power_cut",
        /// The daemon stood still: the box was suspended, or its disk did not answer.
        Standstill = "standstill",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    pub why: GapWhy,
    /// The last sign of life before it: wall time in ms since 1970, as the clock was then.
    pub last_at_ms: i64,
    /// Whether the clock was synchronised then.
    pub last_synced: bool,
    /// Its length; absent if no clock can tell.
    pub lasted_ms: Option<u64>,
}

impl Gap {
    /// Returns the gap between the last entry and this start of the daemon. `shut_down`: the daemon
    /// had ended in order.
    pub fn at_start(last: Stamp, shut_down: bool, now: Stamp) -> Option<Gap> {
        let same_boot = last.boot == now.boot;
        let why = match (shut_down, same_boot) {
            (true, _) => GapWhy::Shutdown,
            (false, true) => GapWhy::Killed,
            (false, false) => GapWhy::PowerCut,
        };
        let gap = Gap::between(why, last, now);
        let short = gap.lasted_ms.is_some_and(|ms| u128::from(ms) < SHORTEST_GAP.as_millis());
        (!same_boot || !short).then_some(gap)
    }

    /// Returns the gap between two moments. Within a boot the monotonic clock tells its length,
    /// across boots the wall clock, if it was synchronised at both.
    pub fn between(why: GapWhy, last: Stamp, now: Stamp) -> Gap {
        let lasted_ms = if last.boot == now.boot {
            Some(now.uptime_ms.saturating_sub(last.uptime_ms))
        } else if last.synced && now.synced {
            u64::try_from(now.wall_ms.saturating_sub(last.wall_ms)).ok()
        } else {
            None
        };
        Gap { why, last_at_ms: last.wall_ms, last_synced: last.synced, lasted_ms }
    }
}

impl Kind for Gap {
    const NAME: &str = "gap";
}
