//! The scene of a passage: the face and what is around it. It is made after its sighting, so that no
//! grant waits for it.
//!
//! It is kept beside the photo of the face, sealed with the same key. So it is erased with that photo.

use std::{
    collections::HashSet,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use jiff::civil::Date;
use rusqlite::Transaction;
use tokio::{sync::watch, time::timeout};

use super::{Part, PhotoStore, PhotoStoreError, files, rows};

/// Timeout after which a photo is kept without its scene.
const SCENE_WITHIN: Duration = Duration::from_secs(10);

/// A scene that is being made.
#[derive(Clone, Debug)]
pub struct Scene(watch::Receiver<Option<Arc<[u8]>>>);

/// Takes the scene when it is made. Dropping this value means that there is none.
pub struct SceneMaker(watch::Sender<Option<Arc<[u8]>>>);

/// Returns a scene that is to be made.
pub fn scene() -> (SceneMaker, Scene) {
    let (maker, scene) = watch::channel(None);
    (SceneMaker(maker), Scene(scene))
}

impl SceneMaker {
    /// Hands over the scene, a JPEG.
    pub fn made(self, jpeg: Vec<u8>) {
        self.0.send_replace(Some(jpeg.into()));
    }
}

impl Scene {
    /// Returns the scene when it is made; `None` if there is none.
    pub async fn finished(mut self) -> Option<Arc<[u8]>> {
        let made = timeout(SCENE_WITHIN, self.0.wait_for(Option::is_some)).await.ok()?;
        made.ok()?.clone()
    }
}

impl PartialEq for Scene {
    fn eq(&self, other: &Scene) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for Scene {}

/// A photo as it is kept.
#[derive(Clone, Debug)]
pub struct KeptPhoto {
    /// The photo, a JPEG.
    pub jpeg: Vec<u8>,
    /// The day on which it was taken, if a trusted clock has told it.
    pub day: Option<Date>,
}

impl PhotoStore {
    /// Returns a photo of a passage within a read transaction; `None` if it is not kept. It reads a
    /// file, so it is not for an async thread.
    pub fn read(
        &self,
        tx: &Transaction<'_>,
        passage: &[u8; 16],
        part: Part,
    ) -> Result<Option<KeptPhoto>, PhotoStoreError> {
        let Some((folder, key, day)) = rows::find(tx, passage)? else { return Ok(None) };
        let Some(sealed) = files::read(&self.dir, &folder, passage, part)? else {
            return Ok(None);
        };
        let sealer = rows::photo_sealer(self.store.sealer(), passage, &key)?;
        let jpeg = sealer.open(&files::place(passage, part), &sealed)?.to_vec();
        Ok(Some(KeptPhoto { jpeg, day: day.and_then(|day| day.parse().ok()) }))
    }

    pub(super) fn coming(&self) -> MutexGuard<'_, HashSet<[u8; 16]>> {
        self.coming.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Notes that the photos of these passages are written, or are given up.
    pub(super) fn settled(&self, passages: &[[u8; 16]]) {
        self.coming().retain(|passage| !passages.contains(passage));
    }

    /// Returns whether a photo of this passage waits to be written.
    pub fn is_coming(&self, passage: &[u8; 16]) -> bool {
        self.coming().contains(passage)
    }

    /// Returns when the photos that were handed over so far are written or given up, or after
    /// [`SCENE_WITHIN`].
    pub async fn written(&self) {
        let _ = timeout(SCENE_WITHIN, self.tidy()).await;
    }

    /// Returns the photo of a passage's face, if one is kept.
    pub async fn open(&self, passage: [u8; 16]) -> Result<Option<Vec<u8>>, PhotoStoreError> {
        let photos = self.clone();
        let read = move |tx: &Transaction<'_>| photos.read(tx, &passage, Part::Face);
        Ok(self.store.read(read).await?.map(|kept| kept.jpeg))
    }
}
