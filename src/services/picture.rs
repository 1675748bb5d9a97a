//! Shows what a lane's camera sees, for the person who aims it: the zone, and where faces are.
//!
//! In: a frame of the borrowed camera. Out: a small JPEG without a recognisable face, which is kept
//! nowhere. Touches: the camera's frame slot, which the gate does not get for that moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Failure, Services, refusal::Refusal};
use crate::{
    camera::Frame,
    config::{Direction, Zone},
    gate::vision_pool::{Aim, GATE_LONGEST_SIDE, nearest},
    vision::{
        Colour, DecodeError, Face, OVERVIEW_LONGEST_SIDE, Rect, View, Vision, VisionError, overview,
    },
};

/// Timeout for a frame of the camera.
const FRAME_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between two looks for a frame.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const FOLLOWED: Colour = [0, 220, 0];
const OTHER: Colour = [250, 160, 0];
const ASIDE: Colour = [220, 0, 0];
const ZONE: Colour = [255, 255, 0];

/// A request for the picture of a lane's camera.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PictureQuery {
    /// The lane's name in the configuration.
    pub lane: String,
    /// The camera's direction; by default that of the lane's first camera.
    pub direction: Option<Direction>,
}

/// What a lane's camera sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PictureShown {
    /// The camera's direction.
    pub direction: Direction,
    /// Width and height of the camera's frame in pixels.
    pub frame: (u32, u32),
    /// Whether the camera has a zone.
    pub zone: bool,
    /// The faces, the widest first.
    pub faces: Vec<FacePlace>,
    /// Size of the JPEG.
    pub bytes: usize,
}

/// A face in the picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FacePlace {
    /// Width in pixels of the frame.
    pub width_px: u32,
    /// `followed`, `behind`, `beside`, or why the face is set aside.
    pub what: String,
}

impl Services {
    /// Returns what the camera sees now, and the JPEG.
    pub async fn picture(&self, query: &PictureQuery) -> Result<(PictureShown, Vec<u8>), Failure> {
        let lane = self.lane(&query.lane)?;
        let mut cameras = lane.cameras.iter();
        let camera = cameras.find(|camera| query.direction.is_none_or(|d| d == camera.direction));
        let Some(camera) = camera else {
            let direction = query.direction.unwrap_or(Direction::Entry);
            return Err(Refusal::NoCamera { lane: query.lane.clone(), direction }.into());
        };
        let source_name = camera.source.clone();
        if !camera.state.borrow().connected {
            return Err(Refusal::CameraDown { source_name }.into());
        }
        let Some(loan) = camera.slot.lend() else {
            return Err(Refusal::CameraLent { source_name }.into());
        };
        let (vision, memory, clock) =
            (self.vision.clone(), self.memory.clone(), self.clock.clone());
        let (zone, min_face_px) = (camera.zone.clone(), self.min_face_px);
        let direction = camera.direction;
        let taken = tokio::task::spawn_blocking(move || {
            let (begun, mut heard) = (clock.monotonic(), 0);
            let frame = loop {
                heard = loan.wait(heard, LOOK_EVERY);
                match loan.take() {
                    Some(frame) => break frame,
                    None if clock.monotonic().since(begun) > FRAME_TIMEOUT => return Ok(None),
                    None => {}
                }
            };
            drop(loan);
            let _turn = memory.blocking_turn();
            draw(&vision, &frame, &zone, min_face_px, direction).map(Some)
        });
        let taken = taken.await.map_err(Failure::internal)?.map_err(Failure::internal)?;
        taken.ok_or_else(|| Refusal::CameraDown { source_name }.into())
    }
}

/// The picture could not be made.
#[derive(Debug, thiserror::Error)]
enum Undrawn {
    #[error("the camera's picture cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    #[error(transparent)]
    Vision(#[from] VisionError),
    #[error("the picture cannot be written: {0}")]
    Unwritten(#[from] std::io::Error),
}

fn draw(
    vision: &Vision,
    frame: &Frame,
    zone: &Zone,
    min_face_px: f32,
    direction: Direction,
) -> Result<(PictureShown, Vec<u8>), Undrawn> {
    let view = View::new(&frame.picture)?;
    let size = view.size();
    // The gate finds its faces at one size; a larger one finds more faces to cover.
    let gates = view.for_detection(GATE_LONGEST_SIDE)?;
    let found = vision.detect(gates.image(), GATE_LONGEST_SIDE)?;
    let mut found: Vec<_> = found.into_iter().map(|face| gates.in_frame(face)).collect();
    found.sort_by(|a, b| b.bbox.w.total_cmp(&a.bbox.w));
    let image = view.for_detection(OVERVIEW_LONGEST_SIDE)?;
    let small = vision.detect(image.image(), OVERVIEW_LONGEST_SIDE)?;
    let step = size.0 as f32 / image.image().width() as f32;
    let here = |face: &Face| {
        let Rect { x, y, w, h } = face.bbox;
        Rect { x: x / step, y: y / step, w: w / step, h: h / step }
    };
    let aim = Aim { zone, min_face_px, frame: size };
    let whats = nearest(&found, aim);
    let colour = |what: &str| match what {
        "followed" => FOLLOWED,
        "behind" | "beside" => OTHER,
        _ => ASIDE,
    };
    let framed = found.iter().zip(&whats).map(|(face, what)| (here(face), Some(colour(what))));
    let hidden = small.iter().map(|face| (face.bbox, None));
    let faces: Vec<_> = hidden.chain(framed).collect();
    let jpeg = overview(image.image(), &faces, zone.edges(), ZONE)?;
    let places = found.iter().zip(whats);
    let shown = PictureShown {
        direction,
        frame: size,
        zone: zone.edges().next().is_some(),
        faces: places
            .map(|(face, what)| FacePlace {
                width_px: face.bbox.w.round() as u32,
                what: what.to_owned(),
            })
            .collect(),
        bytes: jpeg.len(),
    };
    Ok((shown, jpeg))
}
