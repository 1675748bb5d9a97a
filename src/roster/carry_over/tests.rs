use super::*;
use crate::{
    clock::SystemClock,
    config::{Secret, Storage},
    roster::{
        Enrolment, FaceOnFile, IdType, Identity, Person, WaitsWhat, Worker, enroll, exempt, load,
        remove,
    },
    store::{self, Priority},
    vision::{TEMPLATE_LEN, Template},
};

pub fn enrolment(n: usize) -> Enrolment {
    let mut direction = [0.0; TEMPLATE_LEN];
    direction[n] = 1.0;
    let person = Person {
        id: format!("W{n:03}").parse().unwrap(),
        name: "刘峰".into(),
        team: "t".into(),
        contractor: "c".into(),
        trade: "x".into(),
    };
    let mut worker = Worker { templates: 1, ..Worker::new(person) };
    worker.terms.consent = Some("C".into());
    let number = format!("E5222019{n:04}");
    Enrolment {
        worker,
        identity: Identity::checked(IdType::Passport, &number, Default::default(), None).unwrap(),
        model: "m".into(),
        faces: vec![FaceOnFile {
            template: Template::from_slice(&direction).unwrap(),
            jpeg: vec![7; 3000],
        }],
    }
}

#[tokio::test]
async fn workers_on_both_sides_of_the_damage_are_copied_and_can_be_matched() {
    let dir = tempfile::tempdir().unwrap();
    let key = Secret::File(dir.path().join("key"));
    let storage = |name: &str| Storage::usual(dir.path().join(name), key.clone());
    let clock = std::sync::Arc::new(SystemClock::new().unwrap());
    let (store, thread) = store::open(&storage("old"), clock.clone()).unwrap();
    let sealer = store.sealer().clone();
    let enrolled = store.write(Priority::Photo, move |tx| {
        (0..60).try_for_each(|n| enroll(tx, &sealer, &enrolment(n)))?;
        // One came from afar and waits, and of another the photo was replaced.
        let afar = "UPDATE worker SET pending = 'worker', pending_from = 'p' WHERE id = 'W010'";
        tx.execute(afar, [])?;
        tx.execute("UPDATE template SET role = 'past' WHERE worker = 'W011'", [])?;
        exempt(tx, &"W012".parse().unwrap(), Some("twice at the guard"))?;
        exempt(tx, &"W059".parse().unwrap(), Some("twice at the guard"))?;
        remove(tx, &"W059".parse().unwrap())
    });
    enrolled.await.unwrap();
    drop(store);
    thread.join().unwrap();

    let (fresh, _thread) = store::open(&storage("new"), clock).unwrap();
    let sealer = fresh.sealer().clone();
    let path = storage("old").database();
    let old = Connection::open(&path).unwrap();
    let carry = |old: Connection| {
        let sealer = sealer.clone();
        fresh.write(Priority::Upkeep, move |tx| {
            let done = carry_over(tx, &sealer, &old)?;
            let roster = load(tx, &sealer, "m")?;
            tx.execute_batch("DELETE FROM template; DELETE FROM photo; DELETE FROM worker")?;
            Ok::<_, RosterError>((done, roster))
        })
    };
    let (done, roster) = carry(old).await.unwrap();
    assert_eq!(done, CarriedOver { workers: 60, lost: 0 });
    assert_eq!((roster.workers().len(), roster.version()), (59, 64));
    let exempt = |w: &&std::sync::Arc<Worker>| w.liveness_exempt.is_some();
    let exempt: Vec<_> = roster.workers().iter().filter(exempt).map(|w| &w.person.id).collect();
    assert_eq!(exempt, [&"W012".parse().unwrap()]);
    assert_eq!((roster.waiting(WaitsWhat::Worker), roster.templates()), (1, 58));
    assert!(roster.best(&enrolment(7).faces[0].template).unwrap().score > 0.99);

    // A page in the middle of the table of workers is lost, and one template is altered.
    let old = Connection::open(&path).unwrap();
    let leaf: u64 = old
        .query_row(
            "SELECT pageno FROM dbstat WHERE name = 'worker' AND pagetype = 'leaf' \
             ORDER BY pageno LIMIT 1 OFFSET 2",
            [],
            |r| r.get(0),
        )
        .unwrap();
    old.execute("UPDATE template SET sealed = zeroblob(9) WHERE worker = 'W001'", []).unwrap();
    // Two more rows break the constraints or are no valid workers.
    old.pragma_update(None, "ignore_check_constraints", "ON").unwrap();
    old.execute("UPDATE worker SET state = 'actmve' WHERE id = 'W002'", []).unwrap();
    old.execute("UPDATE worker SET valid_from = '2026-61-01' WHERE id = 'W003'", []).unwrap();
    drop(old);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[(leaf as usize - 1) * 4096..][..4096].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();
    let (done, roster) = carry(Connection::open(&path).unwrap()).await.unwrap();
    assert!(done.workers > 20 && done.workers < 59 && done.lost >= 4, "{done:?}");
    assert!(roster.worker(&"W000".parse().unwrap()).is_some());
    for lost in ["W001", "W002", "W003"] {
        assert!(roster.worker(&lost.parse().unwrap()).is_none(), "{lost}");
    }
    assert!(roster.worker(&"W058".parse().unwrap()).is_some());
}

#[tokio::test]
async fn i4_used_codes_and_the_numbers_of_platforms_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let key = Secret::File(dir.path().join("key"));
    let storage = |name: &str| Storage::usual(dir.path().join(name), key.clone());
    let clock = std::sync::Arc::new(SystemClock::new().unwrap());
    let (store, thread) = store::open(&storage("old"), clock.clone()).unwrap();
    let sealer = store.sealer().clone();
    let written = store.write(Priority::Photo, move |tx| {
        enroll(tx, &sealer, &enrolment(1))?;
        tx.execute("INSERT INTO used_code (code, expires) VALUES (x'07', 9)", [])?;
        tx.execute("INSERT INTO platform_code VALUES ('gansu', 'W001', '4711')", [])?;
        Ok::<_, RosterError>(())
    });
    written.await.unwrap();
    drop(store);
    thread.join().unwrap();
    let (fresh, _thread) = store::open(&storage("new"), clock).unwrap();
    let (sealer, old) = (fresh.sealer().clone(), Connection::open(storage("old").database()));
    let copied = fresh.write(Priority::Photo, move |tx| {
        carry_over(tx, &sealer, &old?)?;
        let code = tx.query_row("SELECT code, expires FROM used_code", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })?;
        let number = tx.query_row("SELECT code FROM platform_code", [], |row| row.get(0))?;
        Ok::<(_, String), RosterError>((code, number))
    });
    assert_eq!(copied.await.unwrap(), ((vec![7], 9), "4711".to_owned()));
}
