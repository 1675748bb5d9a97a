//! Makes scenes of passages for platforms that get them.
//!
//! A scene is made after its sighting was handed over, so that no grant waits for it. It is made only
//! of a worker who consents to photos for such a platform.

use super::{CameraFeed, VisionPool, Watch};
use crate::{
    roster::{Day, Worker},
    store::photo_store::SceneMaker,
    vision::{self, Face, SCENE_LONGEST_SIDE, View},
};

/// A scene that is to be made of a frame: who it is of, and all faces that the search has found.
pub(super) struct Due<'a> {
    pub(super) maker: SceneMaker,
    pub(super) worker: &'a Face,
    pub(super) faces: &'a [Face],
}

impl VisionPool {
    /// Returns whether a sighting of this worker needs a scene: it can lead to a grant, and a
    /// platform may have the photo.
    pub(super) fn needs_scene(
        &self,
        feed: &CameraFeed,
        watch: &Watch,
        worker: &Worker,
        today: Day,
    ) -> bool {
        let under_way = &feed.passing.borrow()[feed.direction as usize];
        under_way.as_ref() != Some(&worker.person.id)
            && watch.visits.settled(self.rules.frames_to_agree)
            && self.scenes_for.iter().any(|upstream| worker.photo_may_go_to(upstream, today))
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
