//! A passage without a release.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{config::Direction, turnstile::PassageId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tailgate {
    pub lane: String,
    pub direction: Direction,
    /// The passage just before, if any.
    pub after: Option<PassageId>,
}

impl Kind for Tailgate {
    const NAME: &str = "tailgate";

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }
}
