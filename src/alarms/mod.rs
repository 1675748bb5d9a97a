//! Alarms, as events and in `status`: troubles that need an admin's attention.
//!
//! In: at each check, the state of each part of the gate. Out: the alarms to record. Debouncing
//! bounds their number, so that a flapping part does not fill the ledger. Touches: two files of the
//! kernel, the routing table and the neighbour table.
//!
//! | file | what it does |
//! |---|---|
//! | `debounce` | decides which troubles become alarms, and when (pure) |
//! | `burst` | finds many unknown faces in a short time (pure) |
//! | `relocation` | finds a change of the default router |

mod burst;
mod debounce;
mod relocation;

use serde::{Deserialize, Serialize};

pub use self::{
    burst::Burst,
    debounce::{Debouncer, kept_after},
    relocation::{Proc, Relocation},
};
use crate::{
    clock::{Monotonic, Stamp},
    ledger::{AlarmWhat, Detail},
};

/// The state of one part at one check.
#[derive(Clone, Debug, PartialEq)]
pub struct PartState {
    pub what: AlarmWhat,
    /// The name of the part.
    pub subject: String,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Well,
    /// The state cannot be determined now; a standing alarm stays.
    Unknown,
    Trouble(Trouble),
}

/// The problem and the time of its begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub since: Monotonic,
    pub detail: Detail,
    /// Number of waiting records, or of unknown faces.
    pub count: Option<u64>,
}

impl PartState {
    pub fn new(what: AlarmWhat, subject: impl Into<String>, trouble: Option<Trouble>) -> PartState {
        let verdict = trouble.map_or(Verdict::Well, Verdict::Trouble);
        PartState { what, subject: subject.into(), verdict }
    }

    /// Makes the state of a part that cannot be determined now.
    pub fn unknown(what: AlarmWhat, subject: &str) -> PartState {
        PartState { what, subject: subject.to_owned(), verdict: Verdict::Unknown }
    }

    pub fn trouble(&self) -> Option<&Trouble> {
        match &self.verdict {
            Verdict::Trouble(trouble) => Some(trouble),
            Verdict::Well | Verdict::Unknown => None,
        }
    }
}

/// An alarm that was raised and is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    pub what: AlarmWhat,
    pub subject: String,
    pub detail: Detail,
    pub raised: Stamp,
}

/// The alarms in `status`.
#[derive(Clone, Debug, Default)]
pub struct AlarmState {
    /// Number of alarms raised since the daemon's start.
    pub raised: u64,
    pub standing: Vec<Standing>,
    /// States that only the alarms' own task determines: unknown faces, and the default router.
    pub looks: Vec<PartState>,
}
