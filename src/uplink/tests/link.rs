//! What the task of a link needs, with a real store and a ledger.

use std::sync::Arc;

use rusqlite::Transaction;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    attendance::Origin,
    clock::{Clock, SystemClock, Tripwire},
    config::{Secret, Storage},
    ledger::{Boot, Ledger, LedgerError, Stored},
    store::{self, Priority, Store, photo_store::photo_store},
    uplink::{Context, Incoming, Online, Photos},
};

/// The base of one link, whose upstream has the name `platform`.
pub struct Base {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub ledger: Ledger,
    pub clock: Arc<Tripwire>,
    pub context: Context,
    pub online: watch::Sender<Online>,
    pub commands: mpsc::Receiver<Incoming>,
    pub cancel: CancellationToken,
}

impl Base {
    pub async fn new() -> Base {
        let dir = tempfile::tempdir().unwrap();
        let key = Secret::File(dir.path().join("key"));
        let config = Storage::usual(dir.path().into(), key);
        let (store, _) = store::open(&config, Arc::new(SystemClock::new().unwrap())).unwrap();
        let open = |tx: &Transaction<'_>| Ledger::open(tx, vec!["platform".to_owned()]);
        let ledger: Ledger = store.write(Priority::Upkeep, open).await.unwrap();
        let clock = Arc::new(Tripwire::default());
        let (online, watched) = watch::channel(Online::default());
        let timezone = jiff::tz::TimeZone::UTC;
        let cancel = CancellationToken::new();
        let (sender, commands) = mpsc::channel(1);
        let kept = photo_store(store.clone(), &config, clock.clone(), timezone.clone()).0;
        let context = Context {
            photos: Photos::new(kept, clock.clone(), timezone.clone()),
            memory: Arc::new(crate::memory::Memory::default()).share(),
            store: store.clone(),
            clock: clock.clone(),
            origin: Origin { gateway: "g".into(), project: "p".into(), timezone },
            online: watched,
            heads: tokio::sync::watch::channel(Default::default()).1,
            sent_before: 0,
            storage_dir: Default::default(),
            ledger: ledger.id,
            commands: sender,
            cancel: cancel.clone(),
        };
        Base { dir, store, ledger, clock, context, online, commands, cancel }
    }
}

/// Appends entries that go upstream.
pub async fn record(store: &Store, ledger: &Ledger, rows: u64) {
    let (ledger, stamp) = (ledger.clone(), SystemClock::new().unwrap().stamp());
    let fill = store.write(Priority::Upkeep, move |tx| {
        (0..rows).try_for_each(|_| ledger.append(tx, stamp, Boot { version: "1".into() }).map(drop))
    });
    fill.await.map_err(|e: LedgerError| e).unwrap();
}

/// Returns the seqs in the outbox.
pub async fn outbox(store: &Store) -> Vec<u64> {
    let all = |tx: &Transaction<'_>| {
        let seq = |stored: Stored, _| stored.entry.seq;
        crate::ledger::waiting(tx, "platform", 0, u64::MAX, 100_000, seq)
    };
    store.read(all).await.unwrap().rows.into_iter().flatten().collect()
}
