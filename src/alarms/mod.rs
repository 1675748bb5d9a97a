//! What needs somebody's attention at a distance: alarms, as events and in `status`.
//!
//! In: at each look, what the parts of the gate say of themselves. Out: the alarms to record, few
//! enough that nothing that flaps fills the ledger. Touches: two files of the kernel that say who
//! is next on the network.
//!
//! | file | what it does |
//! |---|---|
//! | `watchman` | what of it is told, and when (pure) |
//! | `burst` | faces that nobody knows, many in a short time (pure) |
//! | `neighbourhood` | the router next to this box, and whether it is another one |

mod burst;
mod neighbourhood;
mod watchman;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    burst::Burst,
    neighbourhood::{Neighbourhood, Proc},
    watchman::{Watchman, kept_after},
};
use crate::{
    clock::{Monotonic, Stamp},
    ledger::AlarmWhat,
};

/// One part at one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub what: AlarmWhat,
    /// Which one of its kind.
    pub subject: String,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Well,
    /// Nobody can tell now; what was told stands.
    Unknown,
    Trouble(Trouble),
}

/// What is wrong, since when, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub since: Monotonic,
    pub text: String,
    /// Records that wait, or faces that came.
    pub count: Option<u64>,
}

impl Look {
    pub fn new(what: AlarmWhat, subject: impl Into<String>, trouble: Option<Trouble>) -> Look {
        let verdict = trouble.map_or(Verdict::Well, Verdict::Trouble);
        Look { what, subject: subject.into(), verdict }
    }

    pub fn trouble(&self) -> Option<&Trouble> {
        match &self.verdict {
            Verdict::Trouble(trouble) => Some(trouble),
            Verdict::Well | Verdict::Unknown => None,
        }
    }
}

/// An alarm that was raised and is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    pub what: AlarmWhat,
    pub subject: String,
    pub detail: String,
    /// When it was raised.
    pub wall_ms: i64,
    boot: String,
    uptime_ms: u64,
}

impl Standing {
    fn new(what: AlarmWhat, subject: &str, detail: &str, stamp: Stamp) -> Standing {
        Standing {
            what,
            subject: subject.to_owned(),
            detail: detail.to_owned(),
            wall_ms: stamp.wall_ms,
            boot: stamp.boot.to_string(),
            uptime_ms: stamp.uptime_ms,
        }
    }

    /// For how long by now. Across boots the wall clock is all there is.
    fn lasted(&self, now: Stamp) -> Duration {
        let ms = if self.boot == now.boot.to_string() {
            now.uptime_ms.saturating_sub(self.uptime_ms)
        } else {
            u64::try_from(now.wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0)
        };
        Duration::from_millis(ms)
    }
}

/// What `status` shows of alarms.
#[derive(Clone, Debug, Default)]
pub struct AlarmState {
    /// Raised since the daemon's start.
    pub raised: u64,
    pub standing: Vec<Standing>,
    /// What whoever looks after the alarms alone can tell: unknown faces, and the neighbourhood.
    pub looks: Vec<Look>,
}

/// As people say it: the largest two units are enough.
pub fn in_words(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} days", s / 86_400),
    }
}
