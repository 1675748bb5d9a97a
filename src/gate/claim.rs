//! Inputs of a lane: sightings of faces, claims with their evidence, and manual releases.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    pace::Pace,
    policy::{Likeness, Reason, Sighted},
};
use crate::{
    clock::Monotonic,
    config::{Direction, MatchThreshold},
    ledger::{Actor, Evidence, FaceEvidence, Flag, Presentation},
    reader::WithFace,
    roster::{Day, Person, UsedCode, Worker, WorkerId},
    store::photo_store::Scene,
    vision::Template,
};

/// A face in one frame of one of the lane's cameras.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub direction: Direction,
    /// The number of the visit; it rises when another person stands before this camera.
    pub visit: u64,
    pub captured: Monotonic,
    /// The pace of the looks at this camera.
    pub pace: Pace,
    pub sighted: Sighted,
    /// The threshold with which the roster was compared.
    pub threshold: MatchThreshold,
    pub roster_version: u64,
    /// The date at the site, as far as it is known.
    pub today: Day,
    /// Photo of the face; it is stored only if this sighting leads to a grant.
    pub photo: Option<PassagePhoto>,
    pub face: FaceSeen,
}

/// The face of a sighting, as evidence that another person stands there.
#[derive(Clone, Debug, Default)]
pub struct FaceSeen {
    /// In pixels of the camera's frame.
    pub width_px: f32,
    /// The worker whose passage is under way on this side, if the look is good and is clearly not a
    /// look at this worker.
    pub unlike: Option<WorkerId>,
    pub beside: Beside,
    /// The judgement on a living face of this visit so far, if one was made.
    pub presentation: Option<Presentation>,
}

/// Another face of like width in the zone: it is not known which of the two people comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beside {
    #[default]
    NoOne,
    /// For less than a second.
    Briefly,
    /// For a second or longer.
    Long,
}

/// For each direction, the worker whose passage is under way. The vision pool compares faces with
/// this worker.
pub type Passing = [Option<WorkerId>; 2];

/// A claim of identity with its evidence: the sightings of a visit, or a card.
#[derive(Clone, Debug)]
pub struct Claim {
    pub direction: Direction,
    /// The worker, or the reason why there is none.
    pub who: Result<Arc<Worker>, Reason>,
    pub evidence: Vec<Evidence>,
    pub flags: Vec<Flag>,
    /// The visit before a camera; `None` for a reader.
    pub visit: Option<u64>,
    /// Time of the last piece of evidence.
    pub captured: Monotonic,
    pub roster_version: u64,
    pub today: Day,
    pub photo: Option<PassagePhoto>,
    /// The code that the grant uses up.
    pub code: Option<UsedCode>,
    /// The face beside a card; `None` where no face is compared.
    pub face: Option<FaceBeside>,
}

/// The face at the lane's camera while a card was shown.
#[derive(Clone, Debug)]
pub struct FaceBeside {
    pub rule: WithFace,
    /// The comparison with the card's worker; `None` if no face was there.
    pub seen: Option<(FaceEvidence, Likeness)>,
}

impl Claim {
    /// Returns all evidence. That of a card alone is the same at each reading.
    pub fn all_evidence(&self) -> Vec<Evidence> {
        let seen = self.face.as_ref().and_then(|face| face.seen.as_ref());
        let face = seen.map(|(evidence, _)| Evidence::Face(evidence.clone()));
        self.evidence.iter().cloned().chain(face).collect()
    }
}

/// The latest good look at the face before a camera, for the readers on its side. It is in memory
/// only.
#[derive(Clone)]
pub struct FaceBefore {
    pub template: Template,
    /// The threshold in force.
    pub threshold: MatchThreshold,
    /// When the face was there.
    pub at: Monotonic,
}

/// Input of a lane from a camera or a reader.
#[derive(Clone, Debug)]
pub enum Presented {
    Look(Sighting),
    Claim(Claim),
    /// A frame without a face, while a passage in this direction is under way.
    NoFace {
        direction: Direction,
        captured: Monotonic,
    },
}

impl Presented {
    pub fn direction(&self) -> Direction {
        match self {
            Presented::Look(sighting) => sighting.direction,
            Presented::Claim(claim) => claim.direction,
            Presented::NoFace { direction, .. } => *direction,
        }
    }

    pub fn captured(&self) -> Monotonic {
        match self {
            Presented::Look(sighting) => sighting.captured,
            Presented::Claim(claim) => claim.captured,
            Presented::NoFace { captured, .. } => *captured,
        }
    }
}

/// A JPEG of a face, and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassagePhoto {
    pub jpeg: Arc<[u8]>,
    pub sha256: [u8; 32],
    /// The face and what is around it, if a platform gets it.
    pub scene: Option<Scene>,
}

impl PassagePhoto {
    pub fn new(jpeg: Vec<u8>) -> PassagePhoto {
        PassagePhoto { sha256: Sha256::digest(&jpeg).into(), jpeg: jpeg.into(), scene: None }
    }
}

/// A guard's or a platform's request for a manual release.
#[derive(Clone, Debug)]
pub struct ManualRelease {
    pub direction: Direction,
    pub person: Option<Person>,
    pub reason: String,
    pub by: Actor,
    /// Deadline of the release; `None` if the request comes from a person at the gateway.
    pub void_after: Option<Monotonic>,
}
