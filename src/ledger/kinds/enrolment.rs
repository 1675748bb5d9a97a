//! A worker was enrolled.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::{Actor, Alike, Compared},
    roster::{Person, Terms, WaitsWhat, WorkerId},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrolment {
    pub person: Person,
    #[serde(default)]
    pub terms: Terms,
    pub id_type: String,
    /// See [`commitment`](crate::ledger::commitment).
    #[serde(with = "serde_bytes")]
    pub id_commitment: [u8; 32],
    /// The embedder that made the templates.
    pub model: String,
    pub templates: u32,
    pub alike: Option<Alike>,
    /// The day on which this person had withdrawn the consent to the face, under an earlier id.
    pub face_withdrawn_on: Option<Date>,
    /// Present if the photos do not show one person by the gate's threshold; `reason` says why they
    /// were taken.
    #[serde(default)]
    pub compared: Option<Compared>,
    /// In the words of the person who asked for it.
    #[serde(default)]
    pub reason: Option<String>,
    /// Present if the worker waits for a person at the site.
    #[serde(default)]
    pub waits: Option<WaitsWhat>,
    pub by: Actor,
}

impl Kind for Enrolment {
    const NAME: &str = "enrolment";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.person.id)
    }
}
