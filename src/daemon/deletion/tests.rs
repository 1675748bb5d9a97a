//! Deletion with a real store, and with a clock that the test moves by weeks and years.

use jiff::{civil::date, tz::TimeZone};

use super::*;
use crate::{
    clock::ManualClock,
    config::{Direction, Secret, Storage},
    ledger::{
        Actor, Body, Evidence, Fire, Grant, Outcome, Removal, Score, Via,
        audit::{self, Fault, Finding},
    },
    roster::enrolment_of as carried,
    store::{StoreThread, photo_store::Taken},
    turnstile::PassageId,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn noon(date: Date) -> i64 {
    date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond()
}

struct Bench {
    deletion: Deletion,
    clock: Arc<ManualClock>,
    keeper: CancellationToken,
    _thread: StoreThread,
    _dir: tempfile::TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.keeper.cancel();
    }
}

impl Bench {
    async fn at(today: Date) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let config = Storage::usual(dir.path().into(), Secret::File(dir.path().join("key")));
        let clock = Arc::new(ManualClock::new(noon(today), true));
        let (store, _thread) = store::open(&config, clock.clone()).unwrap();
        let upstreams = vec!["platform".to_owned()];
        let opened = store.write(Priority::Upkeep, |tx| Ledger::open(tx, upstreams));
        let ledger = opened.await.unwrap();
        let (photos, work) =
            photo_store::photo_store(store.clone(), &config, clock.clone(), TimeZone::UTC);
        let keeper = CancellationToken::new();
        tokio::spawn(work.run(keeper.clone()));
        let deletion = Deletion {
            store,
            ledger,
            clock: clock.clone(),
            retention: Retention { settled_on: None, keep_years: 3, timezone: TimeZone::UTC },
            faces: None,
            photos,
            photo_keep_days: 30,
            state: watch::Sender::default(),
            reckoning: Reckoning::default(),
            unkept: false,
            look_at: Monotonic::default(),
        };
        Bench { deletion, clock, keeper, _thread, _dir: dir }
    }

    fn settled_on(&mut self, day: Date) {
        self.deletion.retention.settled_on = Some(day);
    }

    fn set(&self, day: Date) {
        self.clock.set(noon(day), true);
    }

    async fn writes<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Ledger, Stamp) -> Result<T, Failure> + Send + 'static,
    ) -> T {
        let (ledger, stamp) = (self.deletion.ledger.clone(), self.clock.stamp());
        let write = self.deletion.store.write(Priority::Upkeep, move |tx| work(tx, &ledger, stamp));
        write.await.unwrap()
    }

    async fn enrolls(&self, workers: usize) {
        let sealer = self.deletion.store.sealer().clone();
        self.writes(move |tx, _, _| {
            Ok((0..workers).try_for_each(|n| roster::enroll(tx, &sealer, &carried(n)))?)
        })
        .await;
    }

    /// Records a passage of W000: a grant and its outcome.
    async fn passes(&self, n: u8) {
        let (passage, person) = (PassageId([n; 16]), carried(0).worker.person);
        let face = Evidence::of_face(Score(1), Score(1), "m");
        let grant = Grant::new(passage, "north", Direction::Entry, person, face);
        self.writes(move |tx, ledger, stamp| {
            ledger.append(tx, stamp, grant)?;
            ledger.close(tx, stamp, passage, Outcome::Passed, None)?;
            Ok(())
        })
        .await;
    }

    async fn is_photographed(&self, n: u8) {
        let (passage, worker, jpeg) = ([n; 16], "W000".to_owned(), vec![n; 100].into());
        self.deletion.photos.keep(Taken { passage, worker, jpeg, scene: None });
        self.deletion.photos.tidy().await;
    }

    async fn acknowledged(&self) {
        self.writes(|tx, _, _| Ok(tx.execute("DELETE FROM outbox", []).map(drop)?)).await;
    }

    /// Runs for some time with a turn each hour. Returns the workers to erase.
    async fn runs(&mut self, time: Duration) -> Vec<String> {
        let mut over = Vec::new();
        for _ in 0..time.as_secs() / HOUR.as_secs() {
            self.clock.advance(HOUR);
            let Some((date, ids)) = self.deletion.turn().await else { continue };
            for id in ids {
                let erased = id.clone();
                over.push(id.to_string());
                self.writes(move |tx, _, _| Ok(roster::erase_faces(tx, &erased, date).map(drop)?))
                    .await;
            }
        }
        over
    }

    /// Searches on a day that is declared to be corroborated.
    async fn looks_on(&self, day: Date) {
        let date = Corroborated::declared(noon(day));
        self.deletion.look(date, self.clock.stamp()).await.unwrap();
    }

    /// Announces what is over on a day, and then deletes it. Returns what
    /// [`pruned`](Self::pruned) returns.
    async fn deletes_on(&self, day: Date) -> (Vec<u64>, Option<(u64, u64)>) {
        self.set(day);
        self.looks_on(day.saturating_sub(Span::new().days(NOTICE_DAYS))).await;
        self.acknowledged_plans().await;
        self.looks_on(day).await;
        self.pruned().await
    }

    /// Lets the platform acknowledge announcements alone.
    async fn acknowledged_plans(&self) {
        let sql = "DELETE FROM outbox WHERE seq IN
             (SELECT seq FROM entry WHERE kind IN ('planned_deletion', 'pruning'))";
        self.writes(move |tx, _, _| Ok(tx.execute(sql, []).map(drop)?)).await;
    }

    /// Returns the indices of the pruned entries, and the numbers of the last pruning entry.
    async fn pruned(&self) -> (Vec<u64>, Option<(u64, u64)>) {
        self.writes(|tx, ledger, _| {
            let size = ledger::size(tx)?;
            let (damaged, _) = audit::part(tx, ledger.id, 0, size)?;
            assert_eq!(damaged, [], "what was pruned is not damaged");
            let (mut pruned, mut told) = (Vec::new(), None);
            for index in 0..size {
                match ledger::read(tx, index) {
                    Err(LedgerError::Pruned { .. }) => pruned.push(index),
                    read => {
                        if let Body::Pruning(pruning) = read?.entry.body {
                            told = Some((pruning.pruned_before, pruning.pruned));
                        }
                    }
                }
            }
            Ok((pruned, told))
        })
        .await
    }

    /// Returns the kinds of the entries that announce or report a deletion.
    async fn told(&self) -> String {
        let sql = "SELECT group_concat(kind, ' ') FROM (SELECT kind FROM entry WHERE kind IN
             ('planned_deletion', 'pruning', 'photo_pruning', 'erasure') ORDER BY idx)";
        let told = self.writes(move |tx, _, _| Ok(tx.query_row(sql, [], |row| row.get(0))?)).await;
        Option::<String>::unwrap_or_default(told)
    }

    fn state(&self) -> Deletions {
        self.deletion.state.borrow().clone()
    }

    async fn photos(&self) -> u64 {
        self.deletion.photos.state().kept
    }
}

#[tokio::test]
async fn i11_what_is_over_is_announced_after_two_weeks_and_deleted_two_weeks_later() {
    let mut bench = Bench::at(date(2026, 3, 1)).await;
    bench.enrolls(2).await;
    bench.passes(1).await;
    bench.passes(2).await;
    bench.acknowledged().await;
    bench.settled_on(date(2026, 4, 1));
    bench.deletion.faces = Some(FaceRule { keep_days: 90, timezone: TimeZone::UTC });
    let ends = "UPDATE worker SET valid_until = '2028-12-31' WHERE id = 'W001'";
    bench.writes(move |tx, _, _| Ok(tx.execute(ends, []).map(drop)?)).await;
    // An old box with its ledger is switched on again three years later.
    bench.set(date(2029, 6, 1));
    bench.is_photographed(1).await;
    bench.is_photographed(2).await;
    bench.passes(3).await;
    bench.acknowledged().await;
    assert_eq!(bench.runs(DAY * 14).await, [""; 0]);
    assert_eq!((bench.told().await, bench.photos().await), (String::new(), 2));
    assert_eq!(bench.state().held_back, [DeletedWhat::Attendance, DeletedWhat::Faces]);
    assert_eq!(bench.runs(DAY).await, [""; 0]);
    let planned = bench.state().planned;
    assert_eq!(bench.state().held_back, []);
    let announced = |what| planned.iter().find(|plan| plan.what == what).cloned();
    let attendance = announced(DeletedWhat::Attendance).unwrap();
    assert_eq!((attendance.on, attendance.count), (date(2029, 6, 29), 2));
    assert_eq!(attendance.of_days_before, Some(date(2026, 6, 29)));
    let faces = announced(DeletedWhat::Faces).unwrap();
    assert_eq!((faces.on, faces.count), (date(2029, 6, 29), 1));
    assert_eq!(bench.told().await, "planned_deletion planned_deletion");
    assert_eq!(bench.pruned().await, (vec![], None));
    bench.acknowledged().await;
    // The day comes.
    assert_eq!(bench.runs(DAY * 14).await, ["W001"]);
    assert_eq!(bench.pruned().await, (vec![0, 1, 2, 3], Some((4, 4))));
    // The photos of 1 June are over on 2 July: announced on 18 June at the latest.
    assert_eq!(bench.photos().await, 2);
    bench.is_photographed(3).await;
    bench.runs(DAY * 6).await;
    assert_eq!(bench.photos().await, 1);
    assert!(bench.told().await.ends_with("photo_pruning"), "{}", bench.told().await);
    assert_eq!(bench.state().planned, []);
    // From here on the photos go day by day, with no further announcement.
    let told = bench.told().await;
    bench.runs(DAY * 33).await;
    assert_eq!((bench.photos().await, bench.told().await), (0, told + " photo_pruning"));
}

#[tokio::test]
async fn i11_a_wrong_year_for_20_seconds_or_3_days_deletes_nothing_and_is_shown() {
    let mut bench = Bench::at(date(2026, 3, 1)).await;
    bench.enrolls(1).await;
    bench.passes(1).await;
    bench.is_photographed(1).await;
    bench.settled_on(date(2026, 4, 1));
    bench.deletion.photo_keep_days = 60;
    bench.acknowledged().await;
    bench.runs(DAY * 20).await;
    assert!(bench.state().date.is_enough());
    for hours in [1, 72] {
        let now = bench.clock.stamp().wall_ms;
        bench.clock.set(now + 4 * 365 * 24 * 3_600_000, true);
        bench.runs(HOUR * hours).await;
        let held_back = [DeletedWhat::Attendance, DeletedWhat::Photos];
        assert_eq!((bench.state().held_back, bench.state().planned), (held_back.into(), vec![]));
        bench.clock.set(now + i64::from(hours) * 3_600_000, true);
        bench.runs(HOUR).await;
        assert!(!bench.state().date.is_enough() && bench.state().held_back.is_empty());
        assert_eq!((bench.photos().await, bench.pruned().await), (1, (vec![], None)));
        bench.runs(DAY).await;
        assert_eq!((bench.told().await, bench.state().held_back), (String::new(), vec![]));
    }
    // A restart goes on with the count.
    let kept = bench.writes(|tx, _, _| Ok(store::meta(tx, RECKONING)?)).await;
    let resumed = Reckoning::resumed(kept.as_deref()).support();
    assert!(resumed.ran_s >= 20 * 3600 && !resumed.is_enough(), "{resumed:?}");
}

#[tokio::test]
async fn i11_a_plan_ends_when_its_reason_ends_and_a_later_one_is_announced_again() {
    let mut bench = Bench::at(date(2026, 3, 1)).await;
    bench.enrolls(2).await;
    bench.passes(1).await;
    bench.acknowledged().await;
    bench.settled_on(date(2026, 4, 1));
    bench.deletion.faces = Some(FaceRule { keep_days: 90, timezone: TimeZone::UTC });
    let ends = async |worker: &'static str, until: &'static str| {
        let set = "UPDATE worker SET valid_until = ?2 WHERE id = ?1";
        bench.writes(move |tx, _, _| Ok(tx.execute(set, [worker, until]).map(drop)?)).await;
    };
    ends("W001", "2029-01-01").await;
    bench.set(date(2029, 5, 20));
    bench.looks_on(date(2029, 5, 20)).await;
    assert_eq!(bench.told().await, "planned_deletion planned_deletion");
    // W001 comes back, and W000 is given a last day in the past by mistake.
    ends("W001", "2029-12-31").await;
    ends("W000", "2020-01-01").await;
    let date_of = |day| Corroborated::declared(noon(day));
    let look = async |day| bench.deletion.look(date_of(day), bench.clock.stamp()).await.unwrap();
    assert_eq!(look(date(2029, 6, 3)).await, [], "W000 was not announced");
    assert_eq!(bench.pruned().await.0, [0, 1]);
    assert_eq!(bench.told().await.matches("planned_deletion").count(), 3);
    ends("W000", "2029-12-31").await;
    assert_eq!(look(date(2029, 6, 17)).await, []);
    bench.deletion.show().await.unwrap();
    assert_eq!(bench.state().planned, []);
}

#[tokio::test]
async fn i2_nothing_is_pruned_without_settlement_and_acknowledgement() {
    let mut bench = Bench::at(date(2026, 3, 1)).await;
    bench.passes(1).await;
    let nothing = (vec![], None);
    assert_eq!(bench.deletes_on(date(2040, 1, 1)).await, nothing, "never settled");
    bench.acknowledged().await;
    assert_eq!(bench.deletes_on(date(2040, 1, 1)).await, nothing, "never settled");
    bench.settled_on(date(2041, 1, 1));
    assert_eq!(bench.deletes_on(date(2040, 1, 1)).await, nothing, "settled in the future");
    bench.settled_on(date(2037, 6, 1));
    assert_eq!(bench.deletes_on(date(2040, 1, 1)).await, nothing, "settled less than 3 years ago");
    bench.settled_on(date(2027, 1, 31));
    // An entry without the upstream's acknowledgement stays, and all later ones.
    bench.set(date(2026, 3, 2));
    bench.passes(2).await;
    assert_eq!(bench.deletes_on(date(2040, 1, 3)).await, (vec![0, 1], Some((2, 2))));
    bench.looks_on(date(2040, 1, 3)).await;
    assert_eq!(bench.pruned().await, (vec![0, 1], Some((2, 2))), "reported once");
    bench.acknowledged().await;
    let (pruned, told) = bench.deletes_on(date(2040, 2, 3)).await;
    // The entries from 2040 stay.
    assert_eq!((pruned, told), (vec![0, 1, 2, 3], Some((4, 2))));
    // A new upstream gets the remaining entries.
    let fresh = |tx: &Transaction<'_>, _: &Ledger, _: Stamp| {
        Ledger::open(tx, vec!["platform".into(), "second".into()])?;
        let all = "SELECT count(*), min(seq) FROM outbox WHERE upstream = 'second'";
        Ok(tx.query_row(all, [], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?)))?)
    };
    let (size, size_seq) = bench.writes(fresh).await;
    assert_eq!((size, size_seq), (4, 3), "two announcements and two prunings");
}

#[tokio::test]
async fn i2_each_entry_is_kept_for_its_years_also_after_a_wrong_clock() {
    let mut bench = Bench::at(date(2026, 3, 1)).await;
    bench.settled_on(date(2026, 4, 1));
    bench.passes(1).await;
    // The box lost its time: the true time of this entry is at most that of the next stamp that is
    // synchronised.
    bench.clock.set(0, false);
    bench.passes(2).await;
    bench.set(date(2028, 5, 5));
    bench.passes(3).await;
    bench.acknowledged().await;
    let prunable = async |on| {
        let rules = bench.deletion.retention.clone();
        bench.writes(move |tx, _, _| Ok(ledger::prunable(tx, on, &rules)?)).await
    };
    assert_eq!(prunable(date(2029, 4, 1)).await, None, "1 April is the last day");
    assert_eq!(prunable(date(2029, 4, 2)).await, Some(2));
    assert_eq!(bench.deletes_on(date(2029, 4, 2)).await, (vec![0, 1], Some((2, 2))));
    assert_eq!(prunable(date(2031, 5, 5)).await, None);
    assert_eq!(bench.deletes_on(date(2031, 5, 6)).await, (vec![0, 1, 2, 3, 4, 5], Some((6, 4))));
}

#[tokio::test]
async fn i2_all_of_a_removed_worker_is_forgotten_except_the_id() {
    let mut bench = Bench::at(date(2026, 3, 1)).await;
    bench.settled_on(date(2026, 4, 1));
    bench.enrolls(3).await;
    bench.passes(1).await;
    let by = || Actor { uid: 0, user: "root".into(), via: Via::Socket };
    let removal = move |n: usize, erased| Removal {
        worker: carried(n).worker.person.id,
        reason: None,
        erased,
        by: by(),
    };
    let remove = removal;
    bench
        .writes(move |tx, ledger, stamp| {
            for n in [0, 1] {
                let (id, purpose) = (carried(n).worker.person.id, roster::Purpose::Face);
                roster::give(tx, &id, &purpose, "C-2", date(2026, 3, 1))?;
                let erased = roster::remove(tx, &carried(n).worker.person.id)?;
                ledger.append(tx, stamp, remove(n, erased))?;
            }
            Ok(())
        })
        .await;
    // W001 has an entry two years later.
    bench.set(date(2028, 3, 1));
    let late = removal(1, roster::Erased { templates: 0, photos: 0 });
    bench.writes(move |tx, ledger, stamp| Ok(ledger.append(tx, stamp, late).map(drop)?)).await;
    bench.acknowledged().await;
    assert_eq!(bench.deletes_on(date(2029, 6, 1)).await.1, Some((4, 4)));
    let known = |tx: &Transaction<'_>, _: &Ledger, _: Stamp| {
        let all = "SELECT id FROM worker WHERE name <> '' AND length(identity) > 0 ORDER BY id";
        let mut all = tx.prepare(all)?;
        Ok(all.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?)
    };
    assert_eq!(bench.writes(known).await, ["W001", "W002"]);
    let consents = |tx: &Transaction<'_>, _: &Ledger, _: Stamp| {
        let all = "SELECT group_concat(worker) FROM consent";
        Ok(tx.query_row(all, [], |row| row.get::<_, String>(0))?)
    };
    assert_eq!(bench.writes(consents).await, "W001");
    let sealer = bench.deletion.store.sealer().clone();
    let again = bench
        .deletion
        .store
        .write(Priority::Upkeep, move |tx| roster::enroll(tx, &sealer, &carried(0)));
    assert!(again.await.unwrap_err().to_string().contains("never used again"));
}

#[tokio::test]
async fn many_entries_are_pruned_in_batches_and_a_restart_between_two_continues() {
    let mut bench = Bench::at(date(2026, 3, 1)).await;
    bench
        .writes(|tx, ledger, stamp| {
            for on in 0..=1200 {
                ledger.append(tx, stamp, Fire { lane: "north".into(), on: on % 2 == 0 })?;
            }
            Ok(tx.execute("DELETE FROM outbox", []).map(drop)?)
        })
        .await;
    bench.settled_on(date(2026, 3, 1));
    let (announced, today) = (date(2030, 1, 1), Corroborated::declared(noon(date(2030, 1, 1))));
    let mut before = Vec::new();
    for more in [true, true] {
        assert_eq!(bench.deletion.prune_some(announced, today).await.unwrap(), more);
        before.push(bench.writes(|tx, _, _| Ok(ledger::pruned_before(tx)?)).await);
    }
    assert_eq!(before, [500, 1000]);
    // An earlier day, announced or today, ends the run.
    let earlier = Corroborated::declared(noon(date(2029, 3, 1)));
    assert!(!bench.deletion.prune_some(date(2029, 3, 1), today).await.unwrap());
    assert!(!bench.deletion.prune_some(announced, earlier).await.unwrap());
    // The next start tells of them, and continues from there.
    let (pruned, told) = bench.deletes_on(date(2030, 1, 1)).await;
    assert_eq!((pruned.len(), told), (1201, Some((1201, 201))));
    // An entry without bytes that was not pruned is damaged.
    let harm = "UPDATE entry SET bytes = x'' WHERE idx = 1202";
    bench.writes(move |tx, _, _| Ok(tx.execute(harm, []).map(drop)?)).await;
    let id = bench.deletion.ledger.id;
    let audited = bench.deletion.store.read(move |tx| audit::part(tx, id, 1000, 500)).await;
    assert_eq!(audited.unwrap().0, [Finding { index: 1202, fault: Fault::Bytes }]);
}
