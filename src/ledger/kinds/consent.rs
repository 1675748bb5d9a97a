//! A worker gave or withdrew the consent to a purpose. A withdrawn consent to the face erased
//! templates and photos; the worker stays on the roster, and the attendance stays (I7).

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::Actor,
    roster::{Erased, Purpose, WorkerId},
    words::words,
};

words! {
    /// What happened to a consent.
    pub enum ConsentWhat {
        Given = "given",
        Withdrawn = "withdrawn",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsentChange {
    pub worker: WorkerId,
    pub purpose: Purpose,
    pub what: ConsentWhat,
    /// The day on which the worker gave or withdrew it.
    pub on: Date,
    /// Number of the signed form; absent if the worker withdrew without a form before.
    pub form: Option<String>,
    /// Present if the consent to the face was withdrawn.
    pub erased: Option<Erased>,
    pub by: Actor,
}

impl Kind for ConsentChange {
    const NAME: &str = "consent";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.worker)
    }
}
