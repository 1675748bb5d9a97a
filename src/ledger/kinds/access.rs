//! Personal data was shown or exported. There is at most one entry an hour for each user and kind
//! of data.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{ledger::Actor, words::words};

words! {
    /// The data that was shown.
    pub enum AccessWhat {
        /// The photo of a passage, or of a worker who waits for a confirmation.
        Photo = "photo",
        /// The particulars of a worker: birth date, phone number.
        Particulars = "particulars",
        /// Attendance, for a file.
        Attendance = "attendance",
        /// An evidence package, which opens the ID number.
        Evidence = "evidence",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Access {
    pub what: AccessWhat,
    pub by: Actor,
}

impl Kind for Access {
    const NAME: &str = "access";
    const GOES_UPSTREAM: bool = false;
}
