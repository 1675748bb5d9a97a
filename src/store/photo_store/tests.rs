//! Tests of the photo store on real files, with a clock that the test sets.

mod scenes;

use std::path::Path;

use super::*;
use crate::{
    clock::ManualClock,
    config::Secret,
    store::{self, StoreThread},
};

/// Noon of a day.
const NOON_MS: i64 = 1_793_200_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Bench {
    photo_store: PhotoStore,
    keeper: Keeper,
    clock: Arc<ManualClock>,
    store: Store,
    _thread: StoreThread,
}

impl Bench {
    async fn open(dir: &Path, change: impl FnOnce(&mut Storage)) -> Bench {
        let mut config = Storage::usual(dir.into(), Secret::File(dir.join("key")));
        change(&mut config);
        let clock = Arc::new(ManualClock::new(NOON_MS, true));
        let (store, _thread) = store::open(&config, clock.clone()).unwrap();
        let workers = store.write(Priority::Upkeep, |tx| {
            for id in ["W001", "W002"] {
                tx.execute(
                    "INSERT OR IGNORE INTO worker (id, name, team, contractor, trade, identity,
                         identity_lookup, state)
                     VALUES (?1, '', '', '', '', x'', CAST(?1 AS BLOB), 'active')",
                    [id],
                )?;
                let template = "INSERT OR IGNORE INTO template (worker, ordinal, model, sealed)
                     VALUES (?1, 0, 'm', x'00')";
                tx.execute(template, [id])?;
            }
            Ok::<_, StoreError>(())
        });
        workers.await.unwrap();
        let (photo_store, keeper) =
            photo_store(store.clone(), &config, clock.clone(), TimeZone::UTC);
        Bench { photo_store, keeper, clock, store, _thread }
    }

    async fn takes(&mut self, n: u8, worker: &str) {
        let jpeg = vec![n; 3000].into();
        self.photo_store.keep(Taken { passage: [n; 16], worker: worker.into(), jpeg, scene: None });
        self.works().await;
    }

    /// Carries out all waiting requests.
    async fn works(&mut self) {
        let cancel = CancellationToken::new();
        cancel.cancel();
        self.keeper.work(&cancel).await;
        self.keeper.trim().await.unwrap();
    }

    /// Returns the numbers of the kept photos. Checks their contents and the counters.
    async fn photos(&self) -> Vec<u8> {
        let mut found = Vec::new();
        for n in 0..60 {
            if let Some(jpeg) = self.photo_store.open([n; 16]).await.unwrap() {
                assert_eq!(jpeg, vec![n; 3000]);
                found.push(n);
            }
        }
        assert_eq!(self.photo_store.state().kept, found.len() as u64);
        assert_eq!(self.files().len(), found.len());
        let files = self.files();
        let bytes = files.iter().map(|path| std::fs::metadata(path).unwrap().len());
        assert_eq!(self.photo_store.state().bytes, bytes.sum::<u64>());
        found
    }

    fn files(&self) -> Vec<PathBuf> {
        let all = |dir: &Path| -> Vec<PathBuf> {
            let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
            entries.map(|e| e.unwrap().path()).collect()
        };
        all(&self.photo_store.dir).iter().flat_map(|folder| all(folder)).collect()
    }

    /// Removes the photos of the days before this one.
    async fn prunes(&mut self, day: i64) {
        let now = NOON_MS + day * DAY.as_millis() as i64;
        let date = Corroborated::declared(now);
        let before = self.keeper.site_day(date.at());
        let photo_store = self.photo_store.clone();
        let asked = tokio::spawn(async move { photo_store.prune(before, date).await });
        while !asked.is_finished() {
            tokio::task::yield_now().await;
            self.works().await;
        }
        asked.await.unwrap().unwrap();
    }

    async fn erases(&self, worker: &'static str) {
        let erased = self.store.write(Priority::Upkeep, move |tx| {
            // A removal and a withdrawn consent both erase the templates.
            tx.execute("DELETE FROM template WHERE worker = ?1", [worker])?;
            Ok::<_, StoreError>(erase(tx, worker)?)
        });
        erased.await.unwrap();
    }
}

#[tokio::test]
async fn i5_a_photo_is_sealed_on_the_disk_and_opens_for_its_passage_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    bench.takes(1, "W001").await;
    bench.takes(2, "W001").await;
    assert_eq!(bench.photos().await, [1, 2]);
    let files = bench.files();
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        assert!(!bytes.windows(8).any(|w| w == [1; 8] || w == [2; 8]));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(path.parent().unwrap().file_name().unwrap(), "2026-10-28");
    }
    // A file put in another file's place does not open.
    std::fs::copy(&files[0], &files[1]).unwrap();
    let opened = [bench.photo_store.open([1; 16]).await, bench.photo_store.open([2; 16]).await];
    assert_eq!(opened.iter().filter(|o| o.is_err()).count(), 1);
}

#[tokio::test]
async fn i11_photos_are_removed_by_a_corroborated_date_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    bench.takes(1, "W001").await;
    bench.clock.advance(DAY);
    bench.takes(2, "W001").await;
    // The box lost its time: no photo is removed, and new photos have no day.
    bench.clock.set(0, false);
    bench.takes(3, "W002").await;
    assert_eq!(bench.photos().await, [1, 2, 3]);
    // The third photo is from a day before the second one by its day, and was taken after it.
    bench.clock.set(NOON_MS, true);
    bench.works().await;
    // A clock that is four years ahead removes nothing, and dates nothing for good.
    bench.clock.set(NOON_MS + 4 * 365 * DAY.as_millis() as i64, true);
    bench.takes(4, "W001").await;
    assert_eq!(bench.photos().await, [1, 2, 3, 4]);
    for (day, left) in [(1, vec![2, 3, 4]), (2, vec![])] {
        bench.prunes(day).await;
        assert_eq!(bench.photos().await, left, "day {day}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("photos")).unwrap().count(), 0);
    let told = bench
        .store
        .write(Priority::Upkeep, |tx| Ok::<_, StoreError>([tell_untold(tx)?, tell_untold(tx)?]));
    let all = Untold { pruned: 4, crowded_out: 0 };
    assert_eq!(told.await.unwrap(), [all, Untold::default()]);
}

#[tokio::test]
async fn i8_the_oldest_photos_make_room_for_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |c| c.photo_max_bytes = 10_000).await;
    for n in 1..=5 {
        bench.takes(n, "W001").await;
    }
    assert_eq!(bench.photos().await, [3, 4, 5]);
    assert_eq!(bench.photo_store.state().crowded_out, 2);
    let told = bench.store.write(Priority::Upkeep, tell_untold).await.unwrap();
    assert_eq!(told, Untold { pruned: 0, crowded_out: 2 });
}

#[tokio::test]
async fn i8_more_photos_than_may_wait_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    for n in 0..QUEUE as u8 + 3 {
        let jpeg = vec![n; 3000].into();
        bench.photo_store.keep(Taken {
            passage: [n; 16],
            worker: "W001".into(),
            jpeg,
            scene: None,
        });
    }
    bench.works().await;
    assert_eq!(bench.photos().await, (0..QUEUE as u8).collect::<Vec<_>>());
    assert_eq!(bench.photo_store.state().dropped, 3);
}

#[tokio::test]
async fn without_days_to_keep_no_photo_is_taken_and_old_photos_wait_for_their_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    bench.takes(1, "W001").await;
    let Bench { photo_store, keeper, store, _thread, .. } = bench;
    drop((photo_store, keeper, store));
    _thread.join().unwrap();
    let mut bench = Bench::open(dir.path(), |c| c.photo_keep_days = 0).await;
    assert!(!bench.photo_store.keeps());
    bench.takes(2, "W001").await;
    assert_eq!(bench.photos().await, [1]);
    bench.prunes(1).await;
    assert_eq!(bench.photos().await, [0u8; 0]);
}

#[tokio::test]
async fn i7_a_removed_workers_photos_stop_opening_at_once_and_their_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    bench.takes(1, "W001").await;
    bench.takes(2, "W002").await;
    bench.erases("W001").await;
    // A power cut here leaves the file, but no key opens it.
    assert_eq!(bench.files().len(), 2);
    assert_eq!(bench.photo_store.open([1; 16]).await.unwrap(), None);
    // The next start removes the file. A photo of the removed worker that arrives late gets no row.
    bench.takes(3, "W001").await;
    assert_eq!(bench.photos().await, [2]);
}

#[tokio::test]
async fn files_without_rows_and_rows_without_files_are_removed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    for n in 1..=3 {
        bench.takes(n, "W001").await;
    }
    // A file without its row, a half-written file, and a row whose file never reached the disk.
    let gone = "DELETE FROM passage_photo WHERE passage = ?1";
    let cut = bench.store.write(Priority::Upkeep, move |tx| {
        Ok::<_, StoreError>(tx.execute(gone, [[1u8; 16]]).map(drop)?)
    });
    cut.await.unwrap();
    let folder = bench.files()[0].parent().unwrap().to_owned();
    std::fs::write(folder.join("x.new"), "half").unwrap();
    std::fs::remove_file(folder.join(hex::encode([2; 16]))).unwrap();
    bench.works().await;
    assert_eq!(bench.photos().await, [3]);
}

#[tokio::test]
async fn a_photo_that_cannot_be_written_is_counted_and_the_next_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    std::fs::write(dir.path().join("photos"), "no folder").unwrap();
    let jpeg: Arc<[u8]> = vec![1; 3000].into();
    bench
        .keeper
        .carry_out(&mut vec![Request::Keep(Taken {
            passage: [1; 16],
            worker: "W001".into(),
            jpeg,
            scene: None,
        })])
        .await;
    let state = bench.photo_store.state();
    assert_eq!((state.failed, state.kept), (1, 0));
    assert!(state.last_error.unwrap().contains("photos"));
    std::fs::remove_file(dir.path().join("photos")).unwrap();
    bench.takes(2, "W001").await;
    assert_eq!(bench.photos().await, [2]);
}

#[tokio::test]
async fn photos_come_over_from_a_damaged_database_with_their_workers() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut bench = Bench::open(old.path(), |_| {}).await;
    for (n, worker) in [(1, "W001"), (2, "W002"), (3, "W001")] {
        bench.takes(n, worker).await;
    }
    bench.erases("W002").await;
    let path = bench.store.path().to_owned();
    let key = Secret::File(old.path().join("key"));
    let fresh = Bench::open(new.path(), |c| c.key = key).await;
    let sealer = fresh.store.sealer().clone();
    let carried = fresh.store.write(Priority::Upkeep, move |tx| {
        let old = rusqlite::Connection::open(path)?;
        // A path to another folder is refused.
        old.execute("UPDATE passage_photo SET folder = '../x' WHERE passage = ?1", [[3u8; 16]])?;
        carry_over(tx, &sealer, &old)
    });
    assert_eq!(carried.await.unwrap(), 1);
    let found = fresh.store.read(|tx| rows::find(tx, &[1; 16])).await.unwrap();
    assert_eq!(found.unwrap().0, "2026-10-28");
}
