//! Tests of scenes, which are kept beside the photo of the face.

use super::*;

impl Bench {
    /// Keeps a photo whose scene was made, or was not.
    async fn takes_scene(&mut self, n: u8, worker: &str, made: bool) {
        let (maker, promised) = scene();
        let jpeg = vec![n; 3000].into();
        let scene = Some(promised);
        self.photo_store.keep(Taken { passage: [n; 16], worker: worker.into(), jpeg, scene });
        if made {
            maker.made(vec![n + 100; 5000]);
        } else {
            drop(maker);
        }
        self.works().await;
    }

    /// Returns a part of a photo, with its day.
    async fn part(&self, n: u8, part: Part) -> Option<(Vec<u8>, Option<String>)> {
        let photos = self.photo_store.clone();
        let read = self.store.read(move |tx| photos.read(tx, &[n; 16], part)).await;
        read.unwrap().map(|kept| (kept.jpeg, kept.day.map(|day| day.to_string())))
    }
}

#[tokio::test]
async fn i5_a_scene_is_sealed_beside_its_photo_and_one_that_is_not_made_costs_no_photo() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    bench.takes_scene(1, "W001", true).await;
    bench.takes_scene(2, "W001", false).await;
    let day = Some("2026-10-28".to_owned());
    assert_eq!(bench.part(1, Part::Face).await, Some((vec![1; 3000], day.clone())));
    assert_eq!(bench.part(1, Part::Scene).await, Some((vec![101; 5000], day.clone())));
    assert_eq!(bench.part(2, Part::Face).await, Some((vec![2; 3000], day)));
    assert_eq!(bench.part(2, Part::Scene).await, None);
    let files = bench.files();
    assert_eq!(files.len(), 3);
    let mut bytes = 0;
    for path in &files {
        let sealed = std::fs::read(path).unwrap();
        assert!(!sealed.windows(8).any(|w| w == [1; 8] || w == [101; 8]));
        bytes += sealed.len() as u64;
    }
    assert_eq!((bench.photo_store.state().kept, bench.photo_store.state().bytes), (2, bytes));
    // One part in the place of the other does not open.
    let scene = files.iter().find(|path| path.extension().is_some()).unwrap();
    std::fs::copy(scene, scene.with_extension("")).unwrap();
    assert!(bench.photo_store.open([1; 16]).await.is_err());
    // The next start leaves both in their place.
    bench.works().await;
    assert_eq!(bench.files().len(), 3);
}

#[tokio::test]
async fn i7_a_scene_is_erased_with_its_worker_and_over_with_its_photo() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    bench.takes_scene(1, "W001", true).await;
    bench.takes_scene(2, "W002", true).await;
    bench.erases("W001").await;
    assert_eq!(bench.part(1, Part::Scene).await, None);
    bench.works().await;
    assert_eq!((bench.part(2, Part::Scene).await.is_some(), bench.files().len()), (true, 2));
    bench.prunes(1).await;
    assert_eq!((bench.part(2, Part::Scene).await, bench.files().len()), (None, 0));
    assert_eq!(bench.photo_store.state().bytes, 0);
}

#[tokio::test]
async fn a_scene_opens_after_a_change_of_the_sealing_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), |_| {}).await;
    bench.takes_scene(1, "W001", true).await;
    let old = bench.store.sealer().clone();
    let new = Sealer::from_master(&[9; 32]);
    let resealed = bench.store.write(Priority::Upkeep, move |tx| {
        reseal(tx, &old, &new)?;
        let (_, key, _) = rows::find(tx, &[1; 16])?.unwrap();
        Ok::<_, StoreError>(rows::photo_sealer(&new, &[1; 16], &key)?)
    });
    let sealer = resealed.await.unwrap();
    let sealed = files::read(&bench.photo_store.dir, "2026-10-28", &[1; 16], Part::Scene);
    let opened = sealer.open(&files::place(&[1; 16], Part::Scene), &sealed.unwrap().unwrap());
    assert_eq!(*opened.unwrap(), vec![101; 5000]);
}
