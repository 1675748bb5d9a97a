//! Tests of what waits, in a real database.

use rusqlite::Connection;

use super::*;
use crate::{
    config::Secret,
    roster::{
        Enrolment, FaceOnFile, Faces, State, Updated, Waits, enroll, enrolment_of as enrolment,
        list, load, remove, reseal, update,
    },
    store::SCHEMA,
};

const MODEL: &str = "m";

/// A roster in a database.
struct Site {
    connection: Connection,
    sealer: Sealer,
    _dir: tempfile::TempDir,
}

fn id() -> WorkerId {
    "W000".parse().unwrap()
}

/// Returns the face of the person of this number.
fn face(n: usize) -> FaceOnFile {
    enrolment(n).faces.remove(0)
}

fn sealer(dir: &tempfile::TempDir, name: &str) -> Sealer {
    Sealer::load(&Secret::File(dir.path().join(name)), true).unwrap()
}

impl Site {
    /// Returns a roster with one worker, of the face 0.
    fn with(worker: Enrolment) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let mut site = Site { connection, sealer: sealer(&dir, "key"), _dir: dir };
        site.change(|tx, sealer| enroll(tx, sealer, &worker).unwrap());
        site
    }

    fn confirmed() -> Site {
        Site::with(enrolment(0))
    }

    fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>, &Sealer) -> T) -> T {
        let tx = self.connection.transaction().unwrap();
        let done = work(&tx, &self.sealer);
        tx.commit().unwrap();
        done
    }

    fn gets(&mut self, faces: Faces) {
        let Enrolment { worker, identity, .. } = enrolment(0);
        let updated = Updated { worker, identity, faces };
        self.change(|tx, sealer| update(tx, sealer, &updated).unwrap());
    }

    fn waits(&mut self, n: usize) {
        let (model, faces) = (MODEL.to_owned(), vec![face(n)]);
        self.gets(Faces::Wait { model, faces, from: "platform".into() });
    }

    fn replaced(&mut self, n: usize, anchor: bool) {
        self.gets(Faces::Replace { model: MODEL.into(), faces: vec![face(n)], anchor });
    }

    fn on_file(&mut self) -> OnFile {
        self.change(|tx, sealer| on_file(tx, sealer, MODEL, &id()).unwrap())
    }

    /// Returns the number of the face that the gate matches.
    fn recognises(&mut self) -> Vec<usize> {
        let roster = self.change(|tx, sealer| load(tx, sealer, MODEL).unwrap());
        let known =
            |n: &usize| roster.likeness(&id(), &face(*n).template).is_some_and(|score| score > 0.9);
        (0..9).filter(known).collect()
    }

    fn photos(&mut self, waiting: bool) -> usize {
        self.change(|tx, sealer| photos(tx, sealer, &id(), waiting).unwrap()).len()
    }
}

fn anchor_of(n: usize) -> Anchor {
    Anchor::Templates(vec![face(n).template])
}

#[test]
fn a_worker_from_afar_is_pending_until_confirmed_and_a_suspension_stays() {
    let mut from_afar = enrolment(0);
    from_afar.worker.waits = Some(Waits { what: WaitsWhat::Worker, from: "platform".into() });
    let mut site = Site::with(from_afar);
    let state = |site: &mut Site| {
        site.change(|tx, _| list(tx, None, None, 9).unwrap().workers.remove(0).state)
    };
    assert_eq!(state(&mut site), State::Pending);
    let pending = site.change(|tx, _| list(tx, Some(State::Pending), None, 9).unwrap());
    assert_eq!(pending.workers.len(), 1);
    site.change(|tx, _| crate::roster::set_state(tx, &id(), State::Suspended, "x").unwrap());
    assert_eq!(state(&mut site), State::Suspended);
    site.change(|tx, _| crate::roster::set_state(tx, &id(), State::Active, "x").unwrap());
    assert_eq!(state(&mut site), State::Pending, "a readmission confirms no one");
    assert_eq!(site.change(|tx, _| waiting(tx, Some("platform")).unwrap()), [id()]);
    assert_eq!(site.change(|tx, _| waiting(tx, Some("other")).unwrap()), []);
    // Before the confirmation a trusted path replaces the photo; the person confirms that one.
    site.replaced(1, false);
    assert_eq!(site.on_file().anchor, anchor_of(0));
    site.change(|tx, _| confirm(tx, &id(), WaitsWhat::Worker, false).unwrap());
    assert_eq!((state(&mut site), site.on_file().anchor), (State::Active, anchor_of(1)));
    assert_eq!(site.change(|tx, _| waiting(tx, None).unwrap()), []);
}

#[test]
fn new_faces_from_afar_leave_the_confirmed_ones_in_force_until_a_person_confirms_them() {
    let mut site = Site::confirmed();
    site.waits(1);
    assert_eq!((site.recognises(), site.photos(false), site.photos(true)), (vec![0], 1, 1));
    let before = site.change(|tx, _| digest(tx, &id()).unwrap());
    site.waits(2);
    assert_ne!(site.change(|tx, _| digest(tx, &id()).unwrap()), before);
    assert_eq!((site.on_file().waiting.len(), site.photos(true)), (1, 1), "the newest one waits");
    assert_eq!(site.change(|tx, _| reject(tx, &id()).unwrap()), 1);
    assert_eq!((site.recognises(), site.photos(true)), (vec![0], 0));
    site.waits(3);
    assert_eq!(site.change(|tx, _| confirm(tx, &id(), WaitsWhat::Faces, false).unwrap()), 1);
    assert_eq!((site.recognises(), site.photos(false)), (vec![3], 1));
    assert_eq!(site.on_file().anchor, anchor_of(0), "the anchor stays");
    let worker = site.change(|tx, _| list(tx, None, None, 9).unwrap().workers.remove(0));
    assert_eq!((worker.waits, worker.templates), (None, 1));
}

#[test]
fn the_anchor_stays_when_photos_are_replaced_and_moves_only_where_a_person_says_so() {
    let mut site = Site::confirmed();
    for n in 1..4 {
        site.replaced(n, false);
        assert_eq!((site.recognises(), site.on_file().anchor), (vec![n], anchor_of(0)));
    }
    site.gets(Faces::Add { model: MODEL.into(), faces: vec![face(4)], anchor: false });
    assert_eq!((site.recognises(), site.on_file().anchor), (vec![3, 4], anchor_of(0)));
    site.waits(5);
    site.replaced(6, true);
    let kept = site.on_file();
    assert_eq!((site.recognises(), &kept.anchor), (vec![6], &anchor_of(6)));
    assert!(kept.waiting.is_empty(), "a person has set the faces");
}

#[test]
fn an_erased_anchor_and_one_of_another_embedder_are_gone_and_a_faceless_worker_has_none() {
    let mut faceless = enrolment(0);
    faceless.faces.clear();
    let mut site = Site::with(faceless);
    assert_eq!(site.on_file().anchor, Anchor::None);
    site.waits(1);
    assert_eq!(site.on_file().anchor, Anchor::None, "what waits is no anchor");
    site.change(|tx, _| confirm(tx, &id(), WaitsWhat::Faces, true).unwrap());
    assert_eq!(site.on_file().anchor, anchor_of(1));
    let other = site.change(|tx, sealer| on_file(tx, sealer, "other", &id()).unwrap());
    assert_eq!(other.anchor, Anchor::Gone);
    site.gets(Faces::Erase);
    assert_eq!(site.on_file().anchor, Anchor::Gone, "the consent was withdrawn");
    site.gets(Faces::Add { model: MODEL.into(), faces: vec![face(2)], anchor: true });
    assert_eq!(site.on_file().anchor, anchor_of(2));
}

#[test]
fn i7_a_removal_erases_the_anchor_and_what_waits_too() {
    let mut site = Site::confirmed();
    site.replaced(1, false);
    site.waits(2);
    let erased = site.change(|tx, _| remove(tx, &id()).unwrap());
    assert_eq!((erased.templates, erased.photos), (3, 2));
    for table in ["template", "photo", "worker WHERE pending IS NOT NULL"] {
        let count = format!("SELECT count(*) FROM {table}");
        let rows: u32 = site.connection.query_row(&count, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[test]
fn i5_another_key_seals_the_anchor_and_what_waits_too() {
    let mut site = Site::confirmed();
    site.replaced(1, false);
    site.waits(2);
    let new = sealer(&site._dir, "new");
    let done = site.change(|tx, old| reseal(tx, old, &new).unwrap());
    assert_eq!((done.values, done.damaged), (1 + 3 + 2, 0));
    site.sealer = new;
    let kept = site.on_file();
    assert_eq!((kept.anchor, kept.waiting.len()), (anchor_of(0), 1));
    assert_eq!((site.recognises(), site.photos(true)), (vec![1], 1));
}

#[test]
fn i8_workers_from_afar_do_not_fill_the_roster() {
    let mut site = Site::confirmed();
    let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO worker (id, name, team, contractor, trade, identity, identity_lookup, state,
            pending, pending_from)
        SELECT 'X' || n, 'x', 'x', 'x', 'x', x'00', CAST(n AS BLOB), 'active', 'worker', 'p' FROM n";
    site.connection.execute(fill, [super::super::MOST_PENDING]).unwrap();
    let mut from_afar = enrolment(1);
    from_afar.worker.waits = Some(Waits { what: WaitsWhat::Worker, from: "p".into() });
    let refused = site.change(|tx, sealer| enroll(tx, sealer, &from_afar).unwrap_err());
    assert!(refused.to_string().contains("2000 workers from afar"), "{refused}");
    site.change(|tx, sealer| enroll(tx, sealer, &enrolment(1)).unwrap());
}
