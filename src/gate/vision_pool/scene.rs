//! Makes scenes of passages for platforms that get them.
//!
//! A scene is made after its sighting was handed over, so that no grant waits for it. It is made only
//! of a worker who consents to photos for such a platform.

use super::{CameraFeed, VisionPool, Watch};
use crate::{
    gate::claim::PassagePhoto,
    roster::{Day, Worker},
    store::photo_store::{self, SceneMaker},
    vision::{self, Face, SCENE_LONGEST_SIDE, View},
};

/// A scene that is to be made of a frame: who it is of, and all faces that the search has found.
pub(super) struct Due<'a> {
    pub(super) maker: SceneMaker,
    pub(super) worker: &'a Face,
    pub(super) faces: &'a [Face],
}

impl VisionPool {
    /// Promises the scene of a sighting with a photo, if it can lead to a grant and a platform may have
    /// the photo.
    pub(super) fn promise_scene(
        &self,
        feed: &CameraFeed,
        watch: &Watch,
        photo: Option<&mut PassagePhoto>,
        worker: Option<&Worker>,
        today: Day,
    ) -> Option<SceneMaker> {
        let (photo, worker) = photo.zip(worker)?;
        let under_way = feed.passing.borrow()[feed.direction as usize].clone();
        let needed = under_way.as_ref() != Some(&worker.person.id)
            && watch.visits.settled(self.rules.frames_to_agree)
            && self.scenes_for.iter().any(|upstream| worker.photo_may_go_to(upstream, today));
        let (maker, made) = needed.then(photo_store::scene)?;
        photo.scene = Some(made);
        Some(maker)
    }

    /// Makes a scene. There is none if the frame cannot be searched for other faces (I5).
    pub(super) fn make_scene(&self, feed: &CameraFeed, view: &View<'_>, due: Due<'_>) {
        let made = || {
            let whole = view.for_detection(SCENE_LONGEST_SIDE)?;
            let found = self.vision.detect(whole.image(), SCENE_LONGEST_SIDE)?;
            let found: Vec<_> = found.into_iter().map(|face| whole.in_frame(face)).collect();
            Ok::<_, super::Lost>(vision::scene(&whole, due.worker, [due.faces, &found]))
        };
        match made() {
            Ok(Some(jpeg)) => due.maker.made(jpeg),
            Ok(None) => {
                tracing::debug!(camera = %feed.name, "no scene: the face was not found again")
            }
            Err(error) => tracing::warn!(camera = %feed.name, %error, "no scene is made"),
        }
    }
}
