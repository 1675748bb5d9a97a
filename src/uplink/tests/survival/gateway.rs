//! The real store, ledger and deliveries, on files that outlive them, and their failures.

use std::{collections::VecDeque, path::Path, sync::Arc};

use rusqlite::Transaction;

use super::model::{Link, Model};
use crate::{
    clock::{BootId, Monotonic, Stamp, SystemClock},
    config::{Ack, Direction, Secret, Storage},
    ledger::{
        self, Body, Boot, Denial, Evidence, Grant, Ledger, LedgerError, Outcome, Score, Stored,
    },
    roster::Person,
    store::{self, Priority, Store, StoreError, StoreThread},
    turnstile::PassageId,
    uplink::delivery::{Delivery, PAGE, Page, WINDOW},
};

const NAMES: [&str; 2] = ["a", "b"];

/// One connection of one upstream: the client, the wire and the broker.
struct Session {
    delivery: Delivery<bool>,
    /// Messages in the client that are not yet on the wire. `None` is a status, which is not a row.
    queue: VecDeque<Option<(u64, bool)>>,
    /// Messages that the broker has received, with their acknowledgements on the way.
    wire: Vec<(u16, Option<u64>)>,
    /// Rows that are acknowledged and not yet struck off.
    pending: Vec<u64>,
    packet: u16,
    /// Whether messages no longer arrive, before either side has noticed.
    lost: bool,
}

impl Session {
    fn new(sent_before: u64, head: u64) -> Session {
        let (queue, wire, pending) = (VecDeque::new(), Vec::new(), Vec::new());
        let delivery = Delivery::new(Ack::Broker, sent_before);
        let mut session = Session { delivery, queue, wire, pending, packet: 0, lost: false };
        session.connect(head);
        session
    }

    /// Begins a new connection with a status, and forgets the messages of the last one.
    fn connect(&mut self, head: u64) {
        self.delivery.connected(head);
        (self.packet, self.lost) = (0, false);
        self.queue.clear();
        self.wire.clear();
        self.pending.clear();
        self.delivery.publish_other(Monotonic::default());
        self.queue.push_back(None);
    }
}

pub struct Gateway {
    dir: tempfile::TempDir,
    store: Store,
    thread: StoreThread,
    ledger: Ledger,
    sessions: [Option<Session>; 2],
    pub model: Model,
    passages: u64,
}

fn storage(dir: &Path) -> Storage {
    let key = Secret::File(dir.join("key"));
    Storage::usual(dir.to_owned(), key)
}

fn stamp() -> Stamp {
    Stamp { wall_ms: 1_793_228_400_123, synced: true, boot: BootId([0xb0; 16]), uptime_ms: 4_321 }
}

fn evidence() -> Evidence {
    Evidence::of_face(Score(7123), Score(5000), "sface_2021dec")
}

fn grant(passage: PassageId) -> Body {
    let person = Person {
        id: "W001".parse().unwrap(),
        name: "刘峰".into(),
        team: "rebar".into(),
        contractor: "Guizhou Third".into(),
        trade: "steel fixer".into(),
    };
    Grant::new(passage, "north", Direction::Entry, person, evidence()).into()
}

fn denial() -> Body {
    let (lane, direction, evidence) = ("north".into(), Direction::Exit, vec![evidence()]);
    let (reason, flags) = ("unknown_face".into(), Vec::new());
    Denial { lane, direction, reason, person: None, evidence, flags }.into()
}

/// The state of the last, unconfirmed transaction in the log after a power cut.
#[derive(Clone, Copy, Debug)]
pub enum Tail {
    /// It was not begun.
    None,
    /// Some tenths of its sectors were written, the first ones or the last ones.
    Torn { tenths: usize, last_ones: bool },
    /// Its sectors are filled with this byte.
    Garbage(u8),
}

impl Gateway {
    pub async fn new(configured: [bool; 2]) -> Gateway {
        let (dir, mut model) = (tempfile::tempdir().unwrap(), Model::default());
        let (store, thread, ledger) = begin(dir.path(), configured).await;
        model.restarted(configured);
        let (sessions, passages) = ([None, None], 0);
        let mut gateway = Gateway { dir, store, thread, ledger, sessions, model, passages };
        gateway.started(configured).await;
        gateway
    }

    /// Does what the daemon does before a camera opens, and checks that no entry is missing.
    async fn started(&mut self, configured: [bool; 2]) {
        for entry in self.entries(0).await.iter().zip(&self.model.entries) {
            assert_eq!((&entry.0.entry, entry.0.leaf), (&entry.1.entry, entry.1.leaf));
        }
        let (ledger, known) = (self.ledger.clone(), self.model.entries.len());
        let close = move |tx: &Transaction<'_>| ledger.close_interrupted(tx, stamp(), None);
        let closed = self.store.write(Priority::Attendance, close).await.unwrap();
        assert_eq!(closed, self.model.open.len(), "what is open after a start");
        let found = self.entries(known).await;
        assert_eq!(found.len(), closed, "unconfirmed entries came in, or entries are missing");
        self.model.interrupted(found);
        self.append(Priority::Upkeep, Boot { version: "1".into() }).await;
        let head = self.model.last_seq();
        for n in [0, 1] {
            let sent_before = self.ledger.sent_before(NAMES[n]);
            self.sessions[n] = configured[n].then(|| Session::new(sent_before, head));
            self.model.links[n].reconnected(head);
        }
    }

    async fn entries(&self, from: usize) -> Vec<Stored> {
        let all = move |tx: &Transaction<'_>| {
            (from as u64..ledger::size(tx)?).map(|index| ledger::read(tx, index)).collect()
        };
        self.store.read::<_, LedgerError>(all).await.unwrap()
    }

    async fn append(&mut self, priority: Priority, body: impl Into<Body>) {
        let (ledger, body) = (self.ledger.clone(), body.into());
        let work = move |tx: &Transaction<'_>| ledger.append(tx, stamp(), body);
        let stored = self.store.write(priority, work).await.unwrap();
        self.model.committed(stored);
    }

    fn passage(&mut self) -> PassageId {
        self.passages += 1;
        PassageId(u128::from(self.passages).to_le_bytes())
    }

    pub async fn grant(&mut self) {
        let body = grant(self.passage());
        self.append(Priority::Attendance, body).await;
    }

    pub async fn deny(&mut self) {
        self.append(Priority::Event, denial()).await;
    }

    /// Closes one of the open passages. A second outcome is refused.
    pub async fn close(&mut self, which: usize, outcome: Outcome) {
        let Some((passage, _)) =
            which.checked_rem(self.model.open.len()).map(|n| self.model.open[n])
        else {
            return;
        };
        let close = |ledger: Ledger| {
            move |tx: &Transaction<'_>| ledger.close(tx, stamp(), passage, outcome, None)
        };
        let (first, again) = (close(self.ledger.clone()), close(self.ledger.clone()));
        self.model.committed(self.store.write(Priority::Attendance, first).await.unwrap());
        let again = self.store.write(Priority::Attendance, again).await;
        assert!(matches!(again, Err(LedgerError::NoCause(_))), "{again:?}");
    }

    /// Appends a grant in a transaction that fails after the grant was written.
    pub async fn grant_fails(&mut self) {
        let (ledger, body) = (self.ledger.clone(), grant(self.passage()));
        let work = move |tx: &Transaction<'_>| {
            ledger.append(tx, stamp(), body)?;
            Err::<(), _>(LedgerError::Store(StoreError::Stopped))
        };
        self.store.write(Priority::Attendance, work).await.unwrap_err();
    }

    /// Appends denials in one transaction until SQLite has no room.
    pub async fn disk_is_full(&mut self) {
        let ledger = self.ledger.clone();
        let work = move |tx: &Transaction<'_>| {
            let pages: u32 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let at_most =
                |pages| tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
            at_most(pages + 1)?;
            let full = (0..1000).find_map(|_| ledger.append(tx, stamp(), denial()).err());
            at_most(u32::MAX - 1)?;
            Err::<(), _>(full.expect("the disk was never full"))
        };
        let error = self.store.write(Priority::Event, work).await.unwrap_err();
        let LedgerError::Store(StoreError::Sqlite(error)) = error else { panic!("{error}") };
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    }

    fn link(&mut self, n: usize) -> Option<(&mut Session, &mut Link)> {
        Some((self.sessions[n].as_mut()?, &mut self.model.links[n]))
    }

    /// Reads rows, and hands as many to the client as the window holds.
    pub async fn fetch(&mut self, n: usize) {
        let store = self.store.clone();
        let Some((session, link)) = self.link(n) else { return };
        session.delivery.committed();
        while let Some(fetch) = session.delivery.wants() {
            let (after, until) = (fetch.after, fetch.until);
            let page = move |tx: &Transaction<'_>| {
                let seq = |stored: Stored, _| stored.entry.seq;
                ledger::waiting(tx, NAMES[n], after, until, PAGE, seq)
            };
            let read = store.read::<_, LedgerError>(page).await.unwrap();
            let rows = read.rows.iter().map(|seq| {
                let seq = seq.expect("a row of the outbox has a seq");
                (seq, fetch.sent.contains(seq))
            });
            let page = Page {
                rows: rows.collect(),
                left_out: Vec::new(),
                upto: read.upto,
                more: read.more,
            };
            session.delivery.fetched(&fetch, page);
        }
        while let Some((seq, resent)) = session.delivery.next(Monotonic::default()) {
            link.handed(seq, resent);
            session.queue.push_back(Some((seq, resent)));
        }
        let rows = session.queue.iter().flatten().count() + session.wire.len();
        assert!(rows <= WINDOW + 1);
    }

    /// Puts the client's oldest message on the wire, which may be broken.
    pub fn send(&mut self, n: usize, arrives: bool) {
        let Some((session, link)) = self.link(n) else { return };
        let Some(message) = session.queue.pop_front() else { return };
        session.packet += 1;
        session.delivery.numbered(session.packet);
        session.lost |= !arrives;
        if !session.lost {
            session.wire.push((session.packet, message.map(|(seq, _)| seq)));
            if let Some((seq, resent)) = message {
                link.delivered(seq, resent);
            }
        }
    }

    /// Delivers the broker's acknowledgement of one message, twice.
    pub fn acknowledge(&mut self, n: usize, which: usize) {
        let Some((session, link)) = self.link(n) else { return };
        let Some(which) = which.checked_rem(session.wire.len()) else { return };
        let (packet, seq) = session.wire.remove(which);
        assert_eq!(session.delivery.acknowledged(packet, Monotonic::default()), seq.is_some());
        assert!(!session.delivery.acknowledged(packet, Monotonic::default()));
        assert_eq!(session.delivery.strike(), Vec::from_iter(seq));
        seq.iter().for_each(|seq| link.acknowledged(*seq));
        session.pending.extend(seq);
    }

    /// Strikes off the acknowledged rows. If that fails, the connection is given up.
    pub async fn strike_off(&mut self, n: usize, fails: bool) {
        let store = self.store.clone();
        let Some((session, link)) = self.link(n) else { return };
        let seqs = std::mem::take(&mut session.pending);
        let rows = seqs.clone();
        let work = move |tx: &Transaction<'_>| {
            ledger::strike_off(tx, NAMES[n], &rows)?;
            if fails { Err(StoreError::Stopped.into()) } else { Ok::<_, LedgerError>(()) }
        };
        match store.write(Priority::Upkeep, work).await {
            Ok(()) => link.struck_off(&seqs),
            Err(_) => self.reconnect(n),
        }
    }

    pub fn reconnect(&mut self, n: usize) {
        let head = self.model.last_seq();
        let Some((session, link)) = self.link(n) else { return };
        session.connect(head);
        link.reconnected(head);
    }

    pub async fn checkpoint(&mut self) {
        assert!(self.store.checkpoint().await.unwrap());
    }

    /// Stops cleanly and starts again.
    pub async fn restart(self, configured: [bool; 2]) -> Gateway {
        let Gateway { dir, store, thread, model, passages, .. } = self;
        drop(store);
        thread.join().unwrap();
        Gateway::again(dir, model, passages, configured).await
    }

    /// Starts again with the files as they are on the disk now.
    pub async fn power_cut(self, configured: [bool; 2], tail: Tail) -> Gateway {
        let dir = tempfile::tempdir().unwrap();
        for name in ["gatehouse.db", "gatehouse.db-wal", "key"] {
            std::fs::copy(self.dir.path().join(name), dir.path().join(name)).unwrap();
        }
        let Gateway { dir: old, store, thread, ledger, model, passages, .. } = self;
        // One more transaction shows where in the log the next transaction is written.
        let append = move |tx: &Transaction<'_>| ledger.append(tx, stamp(), denial());
        store.write(Priority::Event, append).await.unwrap();
        let log = |dir: &tempfile::TempDir| dir.path().join("gatehouse.db-wal");
        let (before, after) =
            (std::fs::read(log(&dir)).unwrap(), std::fs::read(log(&old)).unwrap());
        drop(store);
        thread.join().unwrap();
        std::fs::write(log(&dir), torn(before, &after, tail)).unwrap();
        Gateway::again(dir, model, passages, configured).await
    }

    async fn again(
        dir: tempfile::TempDir,
        mut model: Model,
        passages: u64,
        configured: [bool; 2],
    ) -> Gateway {
        let (store, thread, ledger) = begin(dir.path(), configured).await;
        model.restarted(configured);
        let sessions = [None, None];
        let mut gateway = Gateway { dir, store, thread, ledger, sessions, model, passages };
        gateway.started(configured).await;
        gateway
    }

    /// Checks that each upstream's outbox equals the model's.
    pub async fn check(&self) {
        let rows = |tx: &Transaction<'_>| {
            let all = |name| ledger::waiting(tx, name, 0, u64::MAX, usize::MAX, |stored, _| stored);
            let [a, b] = NAMES.map(all);
            Ok::<_, LedgerError>([a?.rows, b?.rows])
        };
        let rows = self.store.read(rows).await.unwrap();
        for (rows, link) in rows.iter().zip(&self.model.links) {
            let seqs = rows.iter().filter_map(|stored| stored.entry.seq);
            assert!(seqs.eq(link.outbox.iter().copied()), "the outbox differs from the model");
        }
    }
}

async fn begin(dir: &Path, configured: [bool; 2]) -> (Store, StoreThread, Ledger) {
    let (store, thread) =
        store::open(&storage(dir), Arc::new(SystemClock::new().unwrap())).unwrap();
    let names = NAMES.iter().zip(configured).filter(|(_, on)| *on);
    let names: Vec<String> = names.map(|(name, _)| name.to_string()).collect();
    let open = move |tx: &Transaction<'_>| Ledger::open(tx, names);
    let ledger = store.write(Priority::Upkeep, open).await.unwrap();
    (store, thread, ledger)
}

const SECTOR: usize = 512;

/// Returns the log `before` with a part of the transaction that leads to `after`. The bytes of
/// earlier transactions stay, because no database survives a disk that spoils a sector's old bytes.
fn torn(mut before: Vec<u8>, after: &[u8], tail: Tail) -> Vec<u8> {
    let sectors = 0..after.len().div_ceil(SECTOR);
    let changed = sectors.filter_map(|n| {
        let (from, to) = (n * SECTOR, after.len().min((n + 1) * SECTOR));
        let first = (from..to).find(|at| before.get(*at) != Some(&after[*at]))?;
        Some(first..to)
    });
    let changed: Vec<_> = changed.collect();
    let written = match tail {
        Tail::None => &[],
        Tail::Garbage(_) => &changed[..],
        Tail::Torn { tenths, last_ones } => {
            let kept = (changed.len() * tenths / 10).min(changed.len() - 1);
            if last_ones { &changed[changed.len() - kept..] } else { &changed[..kept] }
        }
    };
    for range in written {
        before.resize(before.len().max(range.end), 0);
        match tail {
            Tail::Garbage(byte) => before[range.clone()].fill(byte),
            _ => before[range.clone()].copy_from_slice(&after[range.clone()]),
        }
    }
    before
}
