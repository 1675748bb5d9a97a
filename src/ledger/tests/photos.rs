//! Tests of the photos that are due after their records.

use super::*;

/// Records a passage with this number, with or without a photo. Returns the record's seq.
async fn passage(store: &Store, ledger: &Ledger, n: u8, photo: bool) -> u64 {
    append(store, ledger, Grant { photo: photo.then_some([n; 32]), ..grant(n) }).await;
    let ledger = ledger.clone();
    let close = move |tx: &Transaction<'_>| {
        ledger.close(tx, stamp(), PassageId([n; 16]), Outcome::Passed, None)
    };
    store.write(Priority::Attendance, close).await.unwrap().entry.seq.unwrap()
}

/// Notes the photos of these records as acknowledged, and strikes the records off.
async fn acknowledged(store: &Store, seqs: Vec<u64>, upto: Option<u64>) -> u64 {
    let strike = move |tx: &Transaction<'_>| {
        let crowded_out = note_photos(tx, "a", &seqs, upto)?;
        strike_off(tx, "a", &seqs)?;
        upto.map(|upto| strike_off_upto(tx, "a", upto)).transpose()?;
        Ok::<_, LedgerError>(crowded_out)
    };
    store.write(Priority::Upkeep, strike).await.unwrap()
}

async fn due(store: &Store) -> Vec<u64> {
    let (due, all) = store.read(|tx| photos_due(tx, "a", 10)).await.unwrap();
    assert_eq!(all, due.len() as u64);
    assert!(due.iter().all(|(_, record)| record.is_some()), "{due:?}");
    due.into_iter().map(|(seq, _)| seq).collect()
}

#[tokio::test]
async fn a_photo_is_due_after_its_record_and_none_after_a_stub_or_a_record_without_one() {
    let (_dir, store, ledger) = with_ledger(&["a", "b"]).await;
    append(&store, &ledger, Boot { version: "1".into() }).await;
    let mut seqs = Vec::new();
    for (n, photo) in [(1, true), (2, false), (3, true), (4, true), (5, true)] {
        seqs.push(passage(&store, &ledger, n, photo).await);
    }
    assert_eq!(due(&store).await, [0; 0]);
    // Record 5 stands aside: the platform has a stub of it.
    let stub = seqs[4];
    let aside = move |tx: &Transaction<'_>| withhold(tx, "a", &[(stub, WithheldFor::TooLarge)]);
    store.write(Priority::Upkeep, aside).await.unwrap();
    acknowledged(&store, vec![1, seqs[0], seqs[1], stub], None).await;
    assert_eq!(due(&store).await, [seqs[0]]);
    // A platform acknowledges everything up to a seq. Of upstream b no photo is due.
    acknowledged(&store, Vec::new(), Some(seqs[2])).await;
    assert_eq!(due(&store).await, [seqs[0], seqs[2]]);
    let done = seqs[0];
    store.write(Priority::Upkeep, move |tx| photos_done(tx, "a", &[done])).await.unwrap();
    assert_eq!(due(&store).await, [seqs[2]]);
    for (kept, left) in [("a", 1), ("b", 0)] {
        let keep = move |tx: &Transaction<'_>| keep_photos_of(tx, &[kept.to_owned()]);
        store.write(Priority::Upkeep, keep).await.unwrap();
        assert_eq!(due(&store).await.len(), left, "{kept}");
    }
}

#[tokio::test]
async fn i8_photos_far_behind_the_newest_one_give_way() {
    let (_dir, store, ledger) = with_ledger(&["a"]).await;
    let first = passage(&store, &ledger, 1, true).await;
    assert_eq!(acknowledged(&store, vec![first], None).await, 0);
    let far = move |tx: &Transaction<'_>| {
        tx.execute("INSERT INTO photo_due VALUES ('a', ?1)", [first + 100_001])?;
        Ok::<_, LedgerError>(())
    };
    store.write(Priority::Upkeep, far).await.unwrap();
    let next = passage(&store, &ledger, 2, true).await;
    assert_eq!(acknowledged(&store, vec![next], None).await, 1);
    let (left, _) = store.read(|tx| photos_due(tx, "a", 10)).await.unwrap();
    assert_eq!(left.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [next, first + 100_001]);
}
