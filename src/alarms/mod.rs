//! What needs somebody's attention at a distance: alarms, as events and in `status`.
//!
//! In: at each look, what the parts of the gate say of themselves. Out: the alarms to record, few
//! enough that nothing that flaps fills the ledger. Touches: two files of the kernel that say who
//! is next on the network.
//!
//! | file | what it does |
//! |---|---|
//! | `debounce` | what of it is told, and when (pure) |
//! | `burst` | faces that nobody knows, many in a short time (pure) |
//! | `relocation` | the router next to this box, and whether it is another one |

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

/// One part at one look.
#[derive(Clone, Debug, PartialEq)]
pub struct PartState {
    pub what: AlarmWhat,
    /// Which one of its kind.
    pub subject: String,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Well,
    /// Nobody can tell now; what was told stands.
    Unknown,
    Trouble(Trouble),
}

/// What is wrong, since when, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub since: Monotonic,
    pub detail: Detail,
    /// Records that wait, or faces that came.
    pub count: Option<u64>,
}

impl PartState {
    pub fn new(what: AlarmWhat, subject: impl Into<String>, trouble: Option<Trouble>) -> PartState {
        let verdict = trouble.map_or(Verdict::Well, Verdict::Trouble);
        PartState { what, subject: subject.into(), verdict }
    }

    /// Nobody can tell.
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

/// What `status` shows of alarms.
#[derive(Clone, Debug, Default)]
pub struct AlarmState {
    /// Raised since the daemon's start.
    pub raised: u64,
    pub standing: Vec<Standing>,
    /// What whoever looks after the alarms alone can tell: unknown faces, and the neighbourhood.
    pub looks: Vec<PartState>,
}
