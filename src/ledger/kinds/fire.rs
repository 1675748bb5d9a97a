//! The fire alarm's input at a lane's controller went on or off.

use serde::{Deserialize, Serialize};

use super::Kind;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fire {
    pub lane: String,
    pub on: bool,
}

impl Kind for Fire {
    const NAME: &str = "fire";

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }
}
