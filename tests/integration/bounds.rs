//! Bounds of the control socket, tested on the real daemon (I8).

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::common::{Site, photo, photo_path};
use gatehouse::{
    clock::{Clock, SystemClock},
    config::{Direction, Secret, Storage},
    ledger::{Evidence, Grant, Ledger, LedgerError, Outcome, Score},
    roster::{self, Enrolment, IdType, Identity, Person, RosterError, Worker},
    store::{self, Priority},
    turnstile::PassageId,
};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
/// Maximum size of a frame in bytes.
const FRAME: usize = 256 << 10;
const ID_A: &str = "522201199003074411";

/// A client that sends raw bytes.
struct Raw(UnixStream);

impl Raw {
    fn of(site: &Site) -> Raw {
        let stream = UnixStream::connect(site.path("control.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
        Raw(stream)
    }

    /// Sends a frame. Kind 0 is JSON, kind 1 a piece of a photo.
    fn send(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
        self.0.write_all(&[&length[..], &[kind], body].concat()).unwrap();
    }

    fn enroll(&mut self, photos: &[u64]) {
        self.enroll_with(photos, "name", "x");
    }

    /// Sends the request with another text in one field.
    fn enroll_with(&mut self, photos: &[u64], field: &str, text: &str) {
        let photos: Vec<_> = photos.iter().map(|n| json!({"name": "p.jpg", "bytes": n})).collect();
        let mut request = json!({
            "verb": "enroll", "id": "W001", "name": "x", "id_number": ID_A, "team": "x",
            "contractor": "x", "trade": "x", "terms": {"consent": "C-1"}, "photos": photos,
        });
        let fields = if field == "consent" { &mut request["terms"] } else { &mut request };
        fields[field] = text.into();
        self.send(0, request.to_string().as_bytes());
    }

    /// Returns the daemon's next frame, or `None` where it closes the connection.
    fn answer(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        assert_eq!(frame[0], 0);
        Some(serde_json::from_slice(&frame[1..]).unwrap())
    }

    fn refused(&mut self) -> String {
        let answer = self.answer().expect("an answer");
        answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

#[test]
fn i8_the_control_socket_refuses_excess_input_and_keeps_serving_other_clients() {
    let site = Site::prepare();
    let daemon = site.start();
    let (mut silent, begun) = (Raw::of(&site), Instant::now());

    // The daemon reads the largest message. It does not wait for the bytes of a larger one.
    let mut client = Raw::of(&site);
    client.send(0, &vec![b' '; FRAME - 1]);
    assert!(client.refused().starts_with("not understood"));
    let mut client = Raw::of(&site);
    let length = u32::try_from(FRAME + 1).unwrap().to_be_bytes();
    let sent = Instant::now();
    client.0.write_all(&length).unwrap();
    assert_eq!(client.answer(), None);
    assert!(
        sent.elapsed() < Duration::from_secs(20),
        "the daemon waited for a message that is too large"
    );

    let mut client = Raw::of(&site);
    client.enroll(&[1000; 6]);
    assert_eq!(client.refused(), "give 1 to 5 photos, or the lane whose camera takes them");
    let mut client = Raw::of(&site);
    client.enroll(&[16 * MIB + 1]);
    assert_eq!(client.refused(), "p.jpg: 16 MiB; a photo has at most 16 MiB, scale it down");
    let mut client = Raw::of(&site);
    client.enroll(&[u64::MAX]);
    assert!(client.refused().contains("a photo has at most 16 MiB"));
    // More bytes than announced.
    let mut client = Raw::of(&site);
    client.enroll(&[10]);
    assert_eq!(client.answer().unwrap(), json!({"send": 0}));
    client.send(1, &[0; 11]);
    assert_eq!(client.answer(), None);

    for (field, most) in
        [("name", 64), ("team", 64), ("trade", 64), ("consent", 64), ("contractor", 128)]
    {
        let mut client = Raw::of(&site);
        client.enroll_with(&[10], field, &"字".repeat(most + 1));
        assert_eq!(client.refused(), format!("{field}: must have at most {most} characters"));
    }
    let mut client = Raw::of(&site);
    client.enroll_with(&[10], "id", &"W".repeat(33));
    assert!(client.refused().contains("must be 1 to 32 of"));
    let reason = "x".repeat(201);
    let release = ["lane", "release", "north", "--direction", "entry", "--reason", &reason];
    site.gatehouse(&release).refused("reason: must have at most 200 characters");

    let large = site.path("large.jpg");
    File::create(&large).unwrap().set_len(40 * MIB).unwrap();
    site.enroll("W001", "刘峰", ID_A, &large).refused("large.jpg: 40 MiB; a photo has at most 16");
    // A photo of the maximum size is accepted.
    std::fs::write(&large, photo("person_a_2.jpg")).unwrap();
    File::options().write(true).open(&large).unwrap().set_len(16 * MIB).unwrap();
    assert_eq!(site.enroll("W001", "刘峰", ID_A, &large).code, 0);
    let one = photo_path("person_a_2.jpg");
    let photos = ["--photo", one.to_str().unwrap()].repeat(6);
    let worker = ["--id", "W2", "--name", "x", "--id-number", ID_A, "--team", "x"];
    let job = ["--contractor", "x", "--trade", "x", "--consent", "C-1"];
    let said = site.gatehouse(&[&["worker", "enroll"][..], &worker, &job, &photos].concat());
    said.refused("give at most 5 photos");

    assert_eq!(site.status()["roster"]["workers"], 1);
    // The daemon waits for a silent client, and then closes the connection.
    assert_eq!(silent.answer(), None);
    assert!(begun.elapsed() >= Duration::from_secs(29), "{:?}", begun.elapsed());
    daemon.stop();
}

fn person(n: usize) -> Person {
    let text = || "x".to_owned();
    let id = format!("W{n:05}").parse().unwrap();
    Person { id, name: text(), team: text(), contractor: text(), trade: text() }
}

/// Writes workers who were enrolled and removed, and passages, before the daemon starts.
fn fill(site: &Site, workers: usize, passages: usize) {
    let dir = site.path("data");
    let key = Secret::File(dir.join("key"));
    let config = Storage::usual(dir, key);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, thread) = store::open(&config, clock.clone()).unwrap();
    let sealer = store.sealer().clone();
    let enrolled = store.write(Priority::Photo, move |tx| {
        for n in 0..workers {
            let worker = Worker::new(person(n));
            let id = worker.person.id.clone();
            let number = format!("E{n:08}");
            let identity = Identity::checked(IdType::Passport, &number, Default::default(), None)?;
            let (model, faces) = ("m".to_owned(), vec![]);
            roster::enroll(tx, &sealer, &Enrolment { worker, identity, model, faces })?;
            roster::remove(tx, &id)?;
        }
        Ok::<_, RosterError>(())
    });
    runtime.block_on(enrolled).unwrap();
    let passed = store.write(Priority::Attendance, move |tx| {
        let ledger = Ledger::open(tx, vec!["platform".to_owned()])?;
        for n in 0..passages {
            let passage = PassageId((n as u128).to_be_bytes());
            let face = Evidence::of_face(Score::of(0.7), Score::of(0.5), "m");
            let grant = Grant::new(passage, "north", Direction::Entry, person(n), face);
            ledger.append(tx, clock.stamp(), grant)?;
            ledger.close(tx, clock.stamp(), passage, Outcome::Passed, None)?;
        }
        Ok::<_, LedgerError>(())
    });
    runtime.block_on(passed).unwrap();
    drop(store);
    thread.join().unwrap();
}

#[test]
fn i8_a_listing_of_many_pages_is_complete_and_in_order() {
    let site = Site::prepare();
    // A page has 500 lines, so the last page of the workers is full.
    let (workers, passages) = (1000, 1203);
    fill(&site, workers, passages);
    let daemon = site.start();
    let ids = |said: crate::common::Said, key: &str| -> Vec<String> {
        said.json_lines().iter().map(|line| line[key].as_str().unwrap().to_owned()).collect()
    };
    let expected = |count| (0..count).map(|n| format!("W{n:05}")).collect::<Vec<_>>();
    let listed = site.gatehouse(&["--json", "attendance", "list"]);
    assert_eq!(ids(listed, "worker"), expected(passages));
    let listed = site.gatehouse(&["--json", "worker", "list", "--state", "removed"]);
    assert_eq!(ids(listed, "id"), expected(workers));
    assert_eq!(site.gatehouse(&["--json", "worker", "list"]).json_lines(), [] as [Value; 0]);
    daemon.stop();
}
