//! Measures a look at a face, without a camera and without a person.
//!
//! In: the models. Out: the time of a look at a made-up frame. The time of a look depends on the size
//! of the frame, and not on its contents. [`Visit`] looks at given frames, stage by stage, for
//! `tests/benches/recognition.rs`.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    Aim, GATE_LONGEST_SIDE, Lost, Watch,
    search::{self, search},
};
use crate::{
    camera::{Layout, Picture, Yuv},
    clock::{Clock, Monotonic},
    config::{FaceLimits, Recognition, Zone},
    failpoint,
    gate::policy::{self, Sighted},
    roster::Roster,
    timing::Histogram,
    vision::{self, Aligned, Face, Flaw, Rect, Template, View, Vision, VisionError},
};

/// Size of the made-up frame in pixels.
const SIZE: (u32, u32) = (1280, 720);
/// Number of looks of which the shortest counts.
const LOOKS: usize = 2;

/// Returns the times of looks at a face. The detector's plans for a frame and for
/// a second look are made before. On a slow machine each step takes seconds, so none begins after
/// `cancel`.
pub fn looks(
    vision: &Vision,
    clock: &dyn Clock,
    count: usize,
    cancel: &CancellationToken,
) -> Result<Vec<Duration>, Lost> {
    let (width, height) = SIZE;
    let data = (0..width * height * 2).map(|at| (at % 251) as u8).collect();
    let picture = Picture::Raw(Arc::new(Yuv { width, height, layout: Layout::Yuyv, data }));
    let view = View::new(&picture)?;
    vision.detect(view.for_detection(GATE_LONGEST_SIDE)?.image(), GATE_LONGEST_SIDE)?;
    if let Some(near) = view.around(&face())?.filter(|_| !cancel.is_cancelled()) {
        vision.detect(near.image(), search::SIDE)?;
    }
    let look = |_| {
        let begun = clock.monotonic();
        look(vision, &view)?;
        Ok(clock.monotonic().since(begun))
    };
    (0..count).take_while(|_| !cancel.is_cancelled()).map(look).collect()
}

/// Returns the shortest time of some looks, because other programs may delay one. After `cancel` there
/// may be none.
pub fn best_look(
    vision: &Vision,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> Result<Option<Duration>, Lost> {
    Ok(looks(vision, clock, LOOKS, cancel)?.into_iter().min())
}

fn look(vision: &Vision, view: &View<'_>) -> Result<(), Lost> {
    let small = view.for_detection(GATE_LONGEST_SIDE)?;
    vision.detect(small.image(), GATE_LONGEST_SIDE)?;
    let face = face();
    let near = view.for_face(&face, small)?;
    let cut_out = near.cut_out(&face)?;
    vision::assess(&face, &cut_out, &FaceLimits::default());
    near.portrait(&face);
    embed(vision, cut_out)?;
    Ok(())
}

/// A visit before a camera without a lane. It looks at frames as the gate does.
pub struct Visit<'a> {
    pub vision: &'a Vision,
    pub roster: &'a Roster,
    pub clock: &'a dyn Clock,
    pub rules: Recognition,
    pub watch: Watch,
}

/// A look at a frame.
pub struct Looked {
    /// All faces, in pixels of the frame.
    pub faces: Vec<Face>,
    /// The followed face; `None` if the frame has none.
    pub face: Option<Recognised>,
    /// The durations of the stages, in the order of [`STAGES`].
    pub stages: [Duration; STAGES.len()],
}

/// The followed face of a frame.
pub struct Recognised {
    /// Why the look is poor. The gate waits a short time for a better one; here it is used at once.
    pub flaw: Option<Flaw>,
    /// The template of this look alone.
    pub template: Template,
    pub sighted: Sighted,
    /// Enough looks of the visit agree for a decision.
    pub decided: bool,
}

/// The stages of a look.
pub const STAGES: [&str; 6] = ["decode", "detect", "near decode", "align", "embed", "match"];

impl Visit<'_> {
    /// Looks at the frame of this time. The steps are those of the vision workers
    /// (`VisionPool::search`).
    pub fn look(&mut self, at: Monotonic, picture: &Picture) -> Result<Looked, Lost> {
        let Visit { vision, roster, clock, rules, watch } = self;
        let mut stages = [Duration::ZERO; STAGES.len()];
        let ended = |begun: &mut Monotonic| {
            let now = clock.monotonic();
            now.since(std::mem::replace(begun, now))
        };
        let view = View::new(picture)?;
        let counted = <[Histogram; 2]>::default();
        let near = watch.visits.unsettled(rules.frames_to_agree);
        let (small, faces) =
            search((vision, *clock), counted.each_ref(), watch, (at, near), &view)?;
        for (stage, counted) in stages.iter_mut().zip(counted) {
            *stage = Duration::from_secs_f64(counted.spread().sum_s);
        }
        let zone = Zone::default();
        let aim = Aim { zone: &zone, min_face_px: rules.min_face_px, frame: view.size() };
        let sorted = watch.queue.sort(at, faces.clone(), aim);
        watch.searched(at, !sorted.near.is_empty());
        let followed = watch.visits.follow(at, sorted.near);
        let Some(face) = followed else { return Ok(Looked { faces, face: None, stages }) };
        let mut begun = clock.monotonic();
        let near = view.for_face(&face, small)?;
        stages[2] = ended(&mut begun);
        let cut_out = near.cut_out(&face)?;
        let flaw = vision::assess(&face, &cut_out, &FaceLimits::default()).flaw;
        stages[3] = ended(&mut begun);
        let template = embed(vision, cut_out)?;
        stages[4] = ended(&mut begun);
        let threshold = rules.threshold.in_force(roster.confirmed_templates());
        let mean = flaw.is_none().then(|| watch.visits.mean(&template, threshold)).flatten();
        let seen = mean.as_ref().unwrap_or(&template);
        let sighted = policy::found(roster, seen, threshold, rules.margin);
        watch.visits.embedded(at, flaw.is_none(), template.clone(), sighted.named());
        let decided = watch.visits.settled(rules.frames_to_agree);
        stages[5] = ended(&mut begun);
        Ok(Looked { faces, face: Some(Recognised { flaw, template, sighted, decided }), stages })
    }
}

/// Returns the template of a face.
pub(super) fn embed(vision: &Vision, face: Aligned) -> Result<Template, VisionError> {
    failpoint::at("sight.embed");
    vision.embed_aligned(face)
}

/// Returns a face in the middle of the frame.
fn face() -> Face {
    let (x, y, w) = (560.0, 260.0, 160.0);
    let at = |right: f32, down: f32| [x + right * w, y + down * w];
    Face {
        score: 1.0,
        bbox: Rect { x, y, w, h: 1.3 * w },
        landmarks: [at(0.3, 0.5), at(0.7, 0.5), at(0.5, 0.75), at(0.35, 1.0), at(0.65, 1.0)],
    }
}
