//! A worker's data on the roster changed.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::{Actor, Alike, Compared, FacesChanged},
    roster::{Person, Terms, WaitsWhat, WorkerId},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amendment {
    pub person: Person,
    #[serde(default)]
    pub terms: Terms,
    /// Present if the ID document changed.
    #[serde(default, with = "serde_bytes")]
    pub id_commitment: Option<[u8; 32]>,
    /// The names of the sealed particulars that changed.
    #[serde(default)]
    pub particulars: Vec<String>,
    /// Present if templates and photos changed.
    pub faces: Option<FacesChanged>,
    pub alike: Option<Alike>,
    /// Present if the new faces were taken on a person's word.
    #[serde(default)]
    pub compared: Option<Compared>,
    /// Present if new faces came from afar, and wait for a person at the site.
    #[serde(default)]
    pub waits: Option<WaitsWhat>,
    /// In the words of the person who asked for it.
    pub reason: Option<String>,
    pub by: Actor,
}

impl Kind for Amendment {
    const NAME: &str = "amendment";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.person.id)
    }
}
