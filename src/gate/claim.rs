//! What steps before a lane: looks at faces, claims with their evidence, and releases by hand.

use std::sync::Arc;

use jiff::civil::Date;
use sha2::{Digest, Sha256};

use super::policy::{Reason, Sighted};
use crate::{
    clock::Monotonic,
    config::Direction,
    ledger::{Actor, Evidence},
    roster::{Person, Worker},
};

/// A face before one of the lane's cameras, in one look.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub direction: Direction,
    /// Rises when another person steps before this camera.
    pub visit: u64,
    pub captured: Monotonic,
    pub sighted: Sighted,
    pub roster_version: u64,
    /// Today at the site, where the clock is trusted.
    pub today: Option<Date>,
    /// What is kept of the frame for a while, if somebody is let through by it.
    pub photo: Option<PassagePhoto>,
}

/// Who stands there, and what speaks for it: the looks of a visit, a card.
#[derive(Clone, Debug)]
pub struct Claim {
    pub direction: Direction,
    /// The worker, or why it is none.
    pub who: Result<Arc<Worker>, Reason>,
    pub evidence: Vec<Evidence>,
    /// The visit to a camera that it belongs to; `None` of a reader.
    pub visit: Option<u64>,
    /// When the last piece of evidence was taken.
    pub captured: Monotonic,
    pub roster_version: u64,
    pub today: Option<Date>,
    pub photo: Option<PassagePhoto>,
}

/// What a camera or a reader hands to a lane.
#[derive(Clone, Debug)]
pub enum Presented {
    Look(Sighting),
    Claim(Claim),
}

impl Presented {
    pub fn direction(&self) -> Direction {
        match self {
            Presented::Look(sighting) => sighting.direction,
            Presented::Claim(claim) => claim.direction,
        }
    }

    pub fn captured(&self) -> Monotonic {
        match self {
            Presented::Look(sighting) => sighting.captured,
            Presented::Claim(claim) => claim.captured,
        }
    }
}

/// A JPEG of the face that was let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassagePhoto {
    pub jpeg: Arc<[u8]>,
    pub sha256: [u8; 32],
}

impl PassagePhoto {
    pub fn new(jpeg: Vec<u8>) -> PassagePhoto {
        PassagePhoto { sha256: Sha256::digest(&jpeg).into(), jpeg: jpeg.into() }
    }
}

/// A person asks for the gate to be opened by hand.
#[derive(Clone, Debug)]
pub struct ManualRelease {
    pub direction: Direction,
    pub person: Option<Person>,
    pub reason: String,
    pub by: Actor,
    /// After this nothing is released; absent where somebody at the gateway waits for it.
    pub void_after: Option<Monotonic>,
}
