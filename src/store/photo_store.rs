//! The photo store: photos of passages are kept for some days, if attendance leaves room for them.
//!
//! In: the photo of a committed grant; the day before which photos are pruned. Out: a sealed file
//! in `photos/DAY/`, a single photo on request, and an [`PhotoStoreState`]. Each photo is sealed with a key of its own, which is stored
//! sealed in the table `passage_photo`. Without its row a file is noise. Erasing rows, with the
//! worker in one transaction, therefore erases photos. A change of the sealing key seals only the
//! rows again. Files without rows, and rows without files, as a power cut leaves them, are removed
//! at the next start. Touches: the folder `photos` and the table `passage_photo`. It reads from the
//! roster's tables whether a worker has templates.

mod files;
mod rows;
mod scene;
mod sweep;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::OptionFuture;
use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::files::Draft;
pub use self::{
    files::Part,
    rows::{Untold, carry_over, erase, oldest, reseal, tell_untold},
    scene::{KeptPhoto, Scene, SceneMaker, scene},
};
use super::{Priority, SealError, Sealer, Store, StoreError};
use crate::{
    clock::{Clock, Corroborated},
    config::Storage,
    failpoint,
    supervision::{Backoff, caught},
};

/// Maximum number of photos that wait to be written. Further photos are dropped and counted.
const QUEUE: usize = 16;
/// Maximum number of rows read, or files removed, in one step.
const PAGE: usize = 200;
/// Interval between two looks at the room for photos.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// The folder for photos whose day is unknown.
const UNDATED: &str = "undated";

/// Why a photo is not kept, read or removed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of a variant shows its fields")]
pub enum PhotoStoreError {
    /// The database refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A photo's file cannot be written, read or removed.
    #[error("photo file {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
}

impl From<SealError> for PhotoStoreError {
    fn from(e: SealError) -> Self {
        PhotoStoreError::Store(e.into())
    }
}

/// The photo of a passage whose grant is committed.
#[derive(Clone)]
pub struct Taken {
    /// The passage's id.
    pub passage: [u8; 16],
    /// The worker's id. A removal erases the photo by it.
    pub worker: String,
    /// The photo of the face, a JPEG.
    pub jpeg: Arc<[u8]>,
    /// The face and what is around it, if a platform gets it.
    pub scene: Option<Scene>,
}

/// The state of the photo store, for `status`. Counters start with the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhotoStoreState {
    /// Number of photos.
    pub kept: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Number of photos not kept because the disk had too little room.
    pub given_up: u64,
    /// Number of photos not kept because too many waited to be written.
    pub dropped: u64,
    /// Number of photos not kept because writing failed.
    pub failed: u64,
    /// Number of photos deleted before their days were over, because others, or attendance, needed
    /// the room.
    #[serde(default)]
    pub crowded_out: u64,
    /// The last error of the photo store, kept after it works again.
    pub last_error: Option<String>,
}

enum Request {
    Keep(Taken),
    /// Removes the files of erased photos, then answers.
    Tidy(oneshot::Sender<()>),
    /// Removes the photos of earlier days, then answers.
    Prune {
        before: Date,
        today: Date,
        done: oneshot::Sender<Result<(), PhotoStoreError>>,
    },
}

/// A handle to the photo store; clones share it.
#[derive(Clone)]
pub struct PhotoStore {
    requests: mpsc::Sender<Request>,
    state: Arc<Mutex<PhotoStoreState>>,
    store: Store,
    dir: PathBuf,
    timezone: TimeZone,
    keeps: bool,
    /// The passages whose photos wait to be written.
    coming: Arc<Mutex<HashSet<[u8; 16]>>>,
}

/// The photo store's task.
pub struct Keeper {
    requests: mpsc::Receiver<Request>,
    photo_store: PhotoStore,
    clock: Arc<dyn Clock>,
    timezone: TimeZone,
    max_bytes: u64,
}

/// Returns the photo store of a storage folder, and its keeper. The caller has to run the keeper.
pub fn photo_store(
    store: Store,
    config: &Storage,
    clock: Arc<dyn Clock>,
    timezone: TimeZone,
) -> (PhotoStore, Keeper) {
    let (sender, requests) = mpsc::channel(QUEUE);
    let keeps = config.photo_keep_days > 0;
    let dir = config.dir.join("photos");
    let (state, zone) = (Arc::default(), timezone.clone());
    let photo_store = PhotoStore {
        requests: sender,
        state,
        store,
        dir,
        timezone: zone,
        keeps,
        coming: Arc::default(),
    };
    let (max_bytes, of) = (config.photo_max_bytes, photo_store.clone());
    let keeper = Keeper { requests, photo_store: of, clock, timezone, max_bytes };
    (photo_store, keeper)
}

impl PhotoStore {
    /// Returns whether photos are kept; if not, no lane has to make any.
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Hands over a photo, without waiting.
    pub fn keep(&self, taken: Taken) {
        if !self.keeps {
            return;
        }
        let passage = taken.passage;
        self.coming().insert(passage);
        if self.requests.try_send(Request::Keep(taken)).is_err() {
            self.settled(&[passage]);
            self.update(|s| s.dropped += 1);
        }
    }

    /// Returns when the files of erased photos are gone.
    pub async fn tidy(&self) {
        let (done, wait) = oneshot::channel();
        if self.requests.send(Request::Tidy(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Removes the photos that were taken before a day. It needs a corroborated date: a photo with a
    /// later date was taken by a wrong clock, and its days begin today.
    pub async fn prune(&self, before: Date, date: Corroborated) -> Result<(), PhotoStoreError> {
        let (done, wait) = oneshot::channel();
        let today = date.at().to_zoned(self.timezone.clone()).date();
        let asked = self.requests.send(Request::Prune { before, today, done }).await;
        asked.map_err(|_| StoreError::Stopped)?;
        wait.await.map_err(|_| StoreError::Stopped)?
    }

    /// Returns the present state.
    pub fn state(&self) -> PhotoStoreState {
        self.state.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    fn update(&self, change: impl FnOnce(&mut PhotoStoreState)) {
        change(&mut self.state.lock().unwrap_or_else(|p| p.into_inner()));
    }

    fn failed(&self, photos: usize, error: &PhotoStoreError) {
        tracing::warn!(photos, %error, "photos of passages cannot be written");
        self.update(|s| {
            s.failed += photos as u64;
            s.last_error = Some(error.to_string());
        });
    }

    /// Runs `work` on the photo folder, off the async threads.
    async fn on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, PhotoStoreError> + Send + 'static,
    ) -> Result<T, PhotoStoreError> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || work(&dir)).await.map_err(|_| StoreError::Stopped)?
    }
}

impl Keeper {
    /// Runs until cancelled, and then writes the waiting photos. A fault loses only the photos of
    /// one step.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut backoff = Backoff::default();
        loop {
            let begun = self.clock.monotonic();
            let Err(fault) = caught(self.work(&cancel)).await else { return };
            tracing::error!(%fault, "the photo store's task restarts");
            self.photo_store.update(|s| s.last_error = Some(fault.to_string()));
            tokio::select! {
                _ = cancel.cancelled() => return,
                _ = tokio::time::sleep(backoff.after(self.clock.monotonic().since(begun))) => {}
            }
        }
    }

    async fn work(&mut self, cancel: &CancellationToken) {
        if let Err(error) = self.sweep().await {
            tracing::warn!(%error, "leftover photos are not removed; the next start tries again");
        }
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut waiting = Vec::with_capacity(QUEUE);
        loop {
            tokio::select! {
                biased;
                _ = cancel.cancelled() => {
                    while let Ok(request) = self.requests.try_recv() {
                        waiting.push(request);
                    }
                    return self.carry_out(&mut waiting).await;
                }
                _ = self.requests.recv_many(&mut waiting, QUEUE) => {
                    self.carry_out(&mut waiting).await;
                }
                _ = look.tick() => {}
            }
            if let Err(error) = self.trim().await {
                tracing::warn!(%error, "old photos cannot be removed yet");
                self.photo_store.update(|s| s.last_error = Some(error.to_string()));
            }
        }
    }

    async fn carry_out(&mut self, requests: &mut Vec<Request>) {
        let (mut photos, mut waiting, mut prunings) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests.drain(..) {
            match request {
                Request::Keep(taken) => photos.push(taken),
                Request::Tidy(done) => waiting.push(done),
                Request::Prune { before, today, done } => prunings.push((before, today, done)),
            }
        }
        let count = photos.len();
        let passages: Vec<_> = photos.iter().map(|taken: &Taken| taken.passage).collect();
        if self.photo_store.store.state().room.refuses(Priority::Photo) {
            self.photo_store.update(|s| s.given_up += count as u64);
        } else if count > 0
            && let Err(error) = self.take_in(photos).await
        {
            self.photo_store.failed(count, &error);
        }
        self.photo_store.settled(&passages);
        if !waiting.is_empty() {
            if let Err(error) = self.remove_all(rows::ERASED, "", rows::Why::Erased).await {
                tracing::warn!(%error, "files of erased photos stay for now; no key opens them");
            }
            for done in waiting {
                // The caller may have gone away.
                let _ = done.send(());
            }
        }
        for (before, today, done) in prunings {
            let _ = done.send(self.prune(before, today).await);
        }
    }

    async fn prune(&mut self, before: Date, today: Date) -> Result<(), PhotoStoreError> {
        let day = today.to_string();
        let date = self.photo_store.store.write(Priority::Upkeep, move |tx| rows::date(tx, &day));
        date.await?;
        self.remove_all(rows::BEFORE, &before.to_string(), rows::Why::Pruned).await
    }

    /// Writes the files, then their rows. After a power cut the next start removes files without
    /// rows.
    async fn take_in(&mut self, photos: Vec<Taken>) -> Result<(), PhotoStoreError> {
        let stamp = self.clock.stamp();
        let day = stamp.synced.then(|| self.site_day(stamp.timestamp()));
        let folder = day.map_or_else(|| UNDATED.to_owned(), |day| day.to_string());
        let sealer = self.photo_store.store.sealer().clone();
        let mut drafts = Vec::with_capacity(photos.len());
        for Taken { passage, worker, jpeg, scene } in photos {
            let (photo_sealer, key) = rows::new_key(&sealer, &passage)?;
            let sealed = photo_sealer.seal(&files::place(&passage, Part::Face), &jpeg)?;
            let scene = OptionFuture::from(scene.map(Scene::finished)).await.flatten();
            let scene = scene
                .map(|jpeg| photo_sealer.seal(&files::place(&passage, Part::Scene), &jpeg))
                .transpose()?;
            drafts.push(Draft { passage, worker, folder: folder.clone(), sealed, scene, key });
        }
        let written = self.photo_store.on_files(move |dir| {
            drafts.iter().try_for_each(|draft| files::write(dir, draft))?;
            Ok(drafts)
        });
        let drafts = written.await?;
        failpoint::at("photo_store.written");
        let day = day.map(|day| day.to_string());
        // A worker who was removed meanwhile gets no row.
        let entered = self.photo_store.store.write(Priority::Upkeep, move |tx| {
            let (mut bytes, mut refused) = (Vec::new(), Vec::new());
            for draft in drafts {
                if rows::insert(tx, &draft, day.as_deref())? {
                    bytes.push(draft.bytes());
                } else {
                    refused.push((draft.folder, draft.passage));
                }
            }
            Ok::<_, StoreError>((bytes, refused))
        });
        let (bytes, refused) = entered.await?;
        failpoint::at("photo_store.entered");
        self.photo_store.update(|s| {
            s.kept += bytes.len() as u64;
            s.bytes += bytes.iter().sum::<u64>();
        });
        let remove =
            move |dir: &Path| refused.iter().try_for_each(|(f, p)| files::remove(dir, f, p));
        self.photo_store.on_files(remove).await
    }

    fn site_day(&self, at: jiff::Timestamp) -> Date {
        at.to_zoned(self.timezone.clone()).date()
    }

    /// Removes the files of erased photos, and the oldest photos beyond the maximum size. No date
    /// decides here. Undated photos get a day when the clock is trusted.
    async fn trim(&mut self) -> Result<(), PhotoStoreError> {
        self.remove_all(rows::ERASED, "", rows::Why::Erased).await?;
        let stamp = self.clock.stamp();
        if stamp.synced {
            let today = self.site_day(stamp.timestamp());
            let dated = self.photo_store.store.read(rows::has_undated).await?;
            if dated {
                let day = today.to_string();
                self.photo_store
                    .store
                    .write(Priority::Upkeep, move |tx| rows::date_undated(tx, &day))
                    .await?;
            }
        }
        // If the disk refuses photos, old photos are removed, before attendance needs the reserve.
        while self.photo_store.store.state().room.refuses(Priority::Photo) {
            let oldest = self.photo_store.store.read(|tx| rows::after(tx, 0)).await?;
            if oldest.is_empty() {
                break;
            }
            self.remove(oldest, rows::Why::Crowded).await?;
            // The beat measures the disk.
            self.photo_store.store.beat().await?;
        }
        while self.photo_store.state().bytes > self.max_bytes {
            let mut going = self.photo_store.store.read(|tx| rows::after(tx, 0)).await?;
            let mut over = self.photo_store.state().bytes.saturating_sub(self.max_bytes);
            going.retain(|row| {
                let goes = over > 0;
                over = over.saturating_sub(row.bytes);
                goes
            });
            if going.is_empty() {
                break;
            }
            self.remove(going, rows::Why::Crowded).await?;
        }
        Ok(())
    }

    /// Removes all photos for which `which` holds, a page at a time.
    async fn remove_all(
        &mut self,
        which: &'static str,
        day: &str,
        why: rows::Why,
    ) -> Result<(), PhotoStoreError> {
        loop {
            let day = day.to_owned();
            let rows = self.photo_store.store.read(move |tx| rows::some(tx, which, day)).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.remove(rows, why).await?;
        }
    }

    /// Removes the files, then the rows. After a failure the remaining rows show what is left to
    /// do.
    async fn remove(
        &mut self,
        rows: Vec<rows::Row>,
        why: rows::Why,
    ) -> Result<(), PhotoStoreError> {
        let removed = self.photo_store.on_files(move |dir| {
            rows.iter().try_for_each(|row| files::remove(dir, &row.folder, &row.passage))?;
            Ok(rows)
        });
        let rows = removed.await?;
        failpoint::at("photo_store.removed");
        let (kept, bytes) = (rows.len() as u64, rows.iter().map(|row| row.bytes).sum::<u64>());
        let delete = move |tx: &rusqlite::Transaction<'_>| {
            rows::delete(tx, &rows)?;
            rows::count_untold(tx, why, kept)
        };
        self.photo_store.store.write(Priority::Upkeep, delete).await?;
        self.photo_store.update(|s| {
            (s.kept, s.bytes) = (s.kept.saturating_sub(kept), s.bytes.saturating_sub(bytes));
            s.crowded_out += if why == rows::Why::Crowded { kept } else { 0 };
        });
        Ok(())
    }
}
