//! A power cut at every step of a passage, a delivery, a start and a change of the roster. The
//! daemon is killed exactly there (SIGKILL at a point of `src/failpoint.rs`) and started again. The
//! tests then check the database, the relay board and the platform from outside. They need the
//! feature `failpoints`, which `tests/run` enables.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt,
};

use crate::common::{Gate, Said, Site, Subscriber, photo, photo_path, until};
use gatehouse::ledger::{Body, Closing, Entry, Grant, GuardRelease, Outcome};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const ID_A: &str = "522201199003074411";
const FAILPOINTS: &str = "FAILPOINTS";

/// Defines one test for each step. Its arguments go to the family's function: the failpoint, and
/// the expected state after a cut there.
macro_rules! at {
    ($family:ident by $test:ident: $($name:ident: $($argument:expr),+;)+) => {
        mod $family {
            #[allow(unused_imports, reason = "not every family needs them")]
            use super::Left::*;
            $(#[test] fn $name() { super::$test($($argument),+) })+
        }
    };
}

at! { i1_a_cut_within_a_passage_leaves_it_complete_or_unconfirmed by cut_within_a_passage:
    sighting_looked_at: "sight.look", Nothing, false;
    sighting_handed_over: "sight.handed", Nothing, false;
    grant_decided: "grant.decided", Nothing, false;
    grant_in_its_transaction: "grant.written", Nothing, false;
    grant_committed: "grant.committed", Unconfirmed, false;
    lane_asks_for_the_release: "lane.releases", Unconfirmed, false;
    turnstile_took_the_release: "turnstile.taken", Unconfirmed, false;
    turnstile_acknowledged: "turnstile.released", Unconfirmed, true;
    passage_reported: "turnstile.passed", Unconfirmed, true;
    outcome_decided: "outcome.decided", Unconfirmed, true;
    outcome_in_its_transaction: "outcome.written", Unconfirmed, true;
    outcome_committed: "outcome.committed", Passed, true;
}

at! { i1_a_cut_within_a_release_by_hand_leaves_it_unconfirmed_or_undone by cut_within_a_release:
    decided: "release.decided", Nothing;
    in_its_transaction: "release.written", Nothing;
    committed: "release.committed", Unconfirmed;
}

at! { i3_a_cut_within_a_delivery_loses_nothing_and_marks_repeats by cut_within_a_delivery:
    rows_read: "uplink.read", false, false;
    rows_published: "uplink.published", false, false;
    row_acknowledged: "uplink.acknowledged", false, true;
    rows_being_struck_off: "uplink.striking", false, true;
    rows_struck_off: "uplink.struck", true, false;
}

at! { i2_a_cut_within_a_start_closes_an_open_passage_once by cut_within_a_start:
    store_opened: "start.opened", 0;
    in_its_transaction: "start.written", 0;
    committed: "start.committed", 1;
}

at! { a_cut_within_an_enrolment_leaves_the_worker_complete_or_absent by cut_within_an_enrolment:
    photo_received: "enrolment.received", false;
    photo_examined: "enrolment.examined", false;
    in_its_transaction: "enrolment.written", false;
    committed: "enrolment.committed", true;
    snapshot_swapped: "enrolment.swapped", true;
}

at! { i7_a_cut_within_a_removal_erases_all_or_nothing by cut_within_a_removal:
    in_its_transaction: "removal.written", false;
    committed: "removal.committed", true;
    snapshot_swapped: "removal.swapped", true;
    log_emptied: "removal.emptied", true;
}

at! { i7_a_cut_within_a_withdrawal_erases_all_or_nothing by cut_within_a_withdrawal:
    in_its_transaction: "consent.written", false;
    committed: "consent.committed", true;
    snapshot_swapped: "consent.swapped", true;
    log_emptied: "consent.emptied", true;
}

at! { i4_a_cut_within_a_command_leaves_it_done_once by cut_within_a_command:
    remembered: "command.begun";
    carried_out: "command.done";
    answered: "command.answered";
}

at! { i5_a_cut_within_a_change_of_the_key_leaves_data_that_exactly_one_key_opens by cut_within_a_rotation:
    new_key_made: "rotation.made", false;
    in_its_transaction: "rotation.written", false;
    committed: "rotation.committed", true;
    log_emptied: "rotation.emptied", true;
    in_its_place: "rotation.renamed", true;
}

at! { a_cut_while_a_photo_of_a_passage_is_saved_costs_only_the_photo by cut_within_the_photo_store:
    file_written: "photo_store.written", 0;
    row_committed: "photo_store.entered", 1;
}

at! { i7_the_next_start_deletes_a_removed_workers_photos_that_a_cut_left by cut_within_erasing_photos:
    log_emptied: "removal.emptied", 1;
    files_removed: "photo_store.removed", 0;
}

#[test]
fn i1_the_coil_waits_for_a_slow_commit() {
    let mut gate = Gate::start(&[(FAILPOINTS, "grant.written=sleep(1500)")]);
    enroll(&gate.site);
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.board.line(), "coil 0 on");
    assert_eq!(Book::read(&gate.site).causes(), 1, "a release without a cause");
}

#[test]
fn i4_a_commit_that_takes_too_long_opens_no_gate() {
    let mut gate = Gate::start(&[(FAILPOINTS, "grant.written=sleep(4000)")]);
    enroll(&gate.site);
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.platform.next_on("attendance")["outcome"], "not_passed");
    gate.camera.show_empty();
    assert_eq!(gate.board.command("input 5 off"), [""; 0], "no coil moved");
    let outcomes: Vec<_> = Book::read(&gate.site).outcomes().collect();
    assert_eq!(outcomes, [Outcome::NotPassed]);
}

/// The state of a passage after a cut.
#[derive(Clone, Copy, PartialEq)]
enum Left {
    Nothing,
    Unconfirmed,
    Passed,
}

/// Starts a gate with a worker on the roster, whose daemon dies when it reaches `point`.
/// Starts the usual gate, whose platform may change the roster.
fn commanded(environment: &[(&str, &str)]) -> Gate {
    let site = Site::prepare();
    site.configure(|c| c.its("commands", "roster"));
    Gate::at(site, environment)
}

fn gate_that_dies_at(point: &str) -> Gate {
    let mut gate = commanded(&[(FAILPOINTS, &dies_at(point))]);
    enroll(&gate.site);
    gate.platform.event("enrolment");
    gate
}

fn dies_at(point: &str) -> String {
    format!("{point}=return")
}

fn enroll_said(site: &Site) -> Said {
    site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"))
}

fn enroll(site: &Site) {
    let said = enroll_said(site);
    assert_eq!(said.code, 0, "{said:?}");
}

fn cut_within_a_passage(point: &str, left: Left, released: bool) {
    // The first frame comes before a worker can be enrolled.
    if point == "sight.look" {
        return cut_before_any_worker_came(point);
    }
    let mut gate = gate_that_dies_at(point);
    gate.camera.show(photo("person_a_1.jpg"));
    let mut coils = Vec::new();
    if released {
        coils.push(gate.board.line());
        coils.extend(gate.board.command("input 0 on"));
    }
    let cut = Cut::happened(&mut gate, point, coils);
    cut.left(left, released);
    let book = cut.restart(&mut gate);
    let outcomes: Vec<_> = book.outcomes().collect();
    match left {
        Left::Nothing => assert_eq!(outcomes, []),
        Left::Unconfirmed => assert_eq!(outcomes, [Outcome::Unconfirmed]),
        Left::Passed => assert_eq!(outcomes, [Outcome::Passed]),
    }
    gate.works(&book);
}

fn cut_before_any_worker_came(point: &str) {
    let mut site = Site::prepare();
    site.broker.start();
    let platform = site.broker.subscriber();
    let (camera, board) = (site.plug_camera_in(), site.plug_board_in());
    let daemon = Some(site.spawn(&[(FAILPOINTS, &dies_at(point))]));
    let mut gate = Gate { daemon, platform, camera, board, site };
    let cut = Cut::happened(&mut gate, point, Vec::new());
    cut.left(Left::Nothing, false);
    let book = cut.restart(&mut gate);
    enroll(&gate.site);
    gate.works(&book);
}

fn cut_within_a_release(point: &str, left: Left) {
    let mut gate = gate_that_dies_at(point);
    let asked = ["lane", "release", "north", "--direction", "entry", "--reason", "helmet"];
    let said = gate.site.gatehouse(&[&asked[..], &["--worker", "W001"]].concat());
    assert_eq!(said.code, 1, "{said:?}");
    let cut = Cut::happened(&mut gate, point, Vec::new());
    cut.left(left, false);
    let book = cut.restart(&mut gate);
    let outcomes: Vec<_> = book.outcomes().collect();
    let unconfirmed = if left == Left::Nothing { 0 } else { 1 };
    assert_eq!(outcomes, vec![Outcome::Unconfirmed; unconfirmed]);
    gate.works(&book);
}

/// Starts the broker only after there are records, so that the daemon dies at the first batch.
fn cut_within_a_delivery(point: &str, struck: bool, repeated: bool) {
    let mut site = Site::prepare();
    site.broker.start();
    let platform = site.broker.subscriber();
    site.broker.kill();
    let (camera, board) = (site.plug_camera_in(), site.plug_board_in());
    let daemon = Some(site.start_with(&[(FAILPOINTS, &dies_at(point))]));
    site.status_when("a gate with only the upstream degraded", |s| {
        Site::degraded(s) == ["upstream platform"]
    });
    let mut gate = Gate { daemon, platform, camera, board, site };
    enroll(&gate.site);
    gate.pass("person_a_1.jpg");
    until("the record", || {
        let listed = gate.site.gatehouse(&["--json", "attendance", "list"]);
        (listed.json_lines().len() == 1).then_some(())
    });
    gate.site.broker.start();
    let cut = Cut::happened(&mut gate, point, vec!["coil 0 on".into(), "coil 0 off".into()]);
    cut.left(Left::Passed, true);
    let all: BTreeSet<_> = cut.book.seqs().collect();
    let waiting = &cut.book.outbox;
    if struck {
        assert!(waiting.is_subset(&all) && waiting.len() < all.len(), "{waiting:?} of {all:?}");
    } else {
        assert_eq!(waiting, &all, "a row left without its acknowledgement");
    }
    let waiting = waiting.clone();
    let book = cut.restart(&mut gate);
    gate.works(&book);
    let came = |seq: &u64| gate.platform.records.iter().filter(|m| m.json["seq"] == *seq).count();
    let repeats: BTreeSet<_> = all.iter().copied().filter(|seq| came(seq) > 1).collect();
    assert!(repeats.is_subset(&waiting), "{repeats:?} came again after their acknowledgement");
    if repeated {
        assert!(
            !repeats.is_empty(),
            "rows that the broker has and that are still in the outbox come again"
        );
    }
}

/// Cuts a start on an empty folder, then a start after a cut within a passage. `boots`: the number
/// of boot entries that each cut start leaves in the ledger.
fn cut_within_a_start(point: &str, boots: usize) {
    let mut site = Site::prepare();
    let dies = [(FAILPOINTS, &*dies_at(point))];
    site.broker.start();
    let platform = site.broker.subscriber();
    let (camera, board) = (site.plug_camera_in(), site.plug_board_in());
    let daemon = Some(site.spawn(&dies));
    let mut gate = Gate { daemon, platform, camera, board, site };
    let cut = Cut::happened(&mut gate, point, Vec::new());
    assert_eq!(cut.book.count("boot"), boots);
    cut.restart(&mut gate);
    enroll(&gate.site);
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    gate.daemon.take().unwrap().kill();
    let mut coils = vec!["coil 0 on".to_owned()];
    coils.extend(gate.board.command("closed"));
    gate.daemon = Some(gate.site.spawn(&dies));
    let cut = Cut::happened(&mut gate, point, coils);
    assert_eq!(cut.book.open, 1 - boots);
    let book = cut.restart(&mut gate);
    assert_eq!(book.outcomes().collect::<Vec<_>>(), [Outcome::Unconfirmed]);
    assert_eq!(book.count("boot"), 2 + 2 * boots);
    gate.works(&book);
}

fn cut_within_an_enrolment(point: &str, enrolled: bool) {
    let mut gate = Gate::start(&[(FAILPOINTS, &dies_at(point))]);
    let said = enroll_said(&gate.site);
    assert_eq!(said.code, 1, "{said:?}");
    let cut = Cut::happened(&mut gate, point, Vec::new());
    let book = cut.restart(&mut gate);
    let expected = u64::from(enrolled);
    for table in ["worker", "template", "photo", "entry WHERE kind = 'enrolment'"] {
        assert_eq!(rows(&gate.site, table), expected, "{table}");
    }
    let shown = gate.site.gatehouse(&["worker", "show", "W001"]);
    if enrolled {
        assert!(shown.out.contains("**************4411"), "{shown:?}");
        enroll_said(&gate.site).refused("worker W001 is already enrolled");
    } else {
        shown.refused("there is no worker W001");
        enroll(&gate.site);
    }
    gate.works(&book);
}

fn cut_within_a_removal(point: &str, removed: bool) {
    let mut gate = gate_that_dies_at(point);
    let sealed = sealed(&gate.site);
    assert!(
        sealed.len() > 10 && any_in_files(&gate.site, &sealed),
        "the search finds the sealed data before the removal"
    );
    let said = gate.site.gatehouse(&["worker", "remove", "W001"]);
    assert_eq!(said.code, 1, "{said:?}");
    let cut = Cut::happened(&mut gate, point, Vec::new());
    // The erased data stays in the log until the log is emptied, so the next start has work to do.
    assert_eq!(any_in_files(&gate.site, &sealed), point != "removal.emptied");
    let book = cut.restart(&mut gate);
    if !removed {
        assert_eq!((rows(&gate.site, "template"), rows(&gate.site, "photo")), (1, 1));
        assert_eq!(book.count("removal"), 0);
        let said = gate.site.gatehouse(&["worker", "remove", "W001"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!(rows(&gate.site, "entry WHERE kind = 'removal'"), 1);
    assert_eq!((rows(&gate.site, "template"), rows(&gate.site, "photo")), (0, 0));
    assert!(!any_in_files(&gate.site, &sealed), "sealed copies stay behind");
    gate.site.gatehouse(&["worker", "remove", "W001"]).refused("there is no worker W001");
    enroll_said(&gate.site).refused("ids are never used again");
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.platform.event("denial")["reason"], "unknown_face");
    gate.camera.show_empty();
    assert_eq!(gate.board.command("input 5 off"), [""; 0], "no coil moved");
    gate.settled(&book);
}

fn cut_within_a_withdrawal(point: &str, withdrawn: bool) {
    let mut gate = gate_that_dies_at(point);
    let sealed = sealed(&gate.site);
    assert!(sealed.len() > 10 && any_in_files(&gate.site, &sealed));
    let withdraw = ["worker", "consent", "W001", "--purpose", "face", "--withdrawn", "2020-10-31"];
    assert_eq!(gate.site.gatehouse(&withdraw).code, 1);
    let cut = Cut::happened(&mut gate, point, Vec::new());
    assert_eq!(any_in_files(&gate.site, &sealed), point != "consent.emptied");
    let book = cut.restart(&mut gate);
    if !withdrawn {
        assert_eq!((rows(&gate.site, "template"), rows(&gate.site, "photo")), (1, 1));
        assert_eq!(book.count("consent"), 0);
        let said = gate.site.gatehouse(&withdraw);
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!(rows(&gate.site, "entry WHERE kind = 'consent'"), 1);
    assert_eq!((rows(&gate.site, "template"), rows(&gate.site, "photo")), (0, 0));
    assert!(!any_in_files(&gate.site, &sealed), "sealed copies stay behind");
    let shown = gate.site.gatehouse(&["worker", "show", "W001"]);
    assert!(shown.out.contains("withdrawn on 2020-10-31"), "{shown:?}");
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.platform.event("denial")["reason"], "unknown_face");
    gate.camera.show_empty();
    gate.settled(&book);
}

fn cut_within_a_command(point: &str) {
    let mut gate = gate_that_dies_at(point);
    let args = json!({ "id": "W001", "reason": "contract over" });
    let suspend = crate::common::desk::command("c-1", "worker.suspend", args).to_string();
    let topic = "gatehouse/v1/P-1/gate-1/command";
    gate.site.broker.publish(topic, suspend.as_bytes());
    Cut::happened(&mut gate, point, Vec::new()).restart(&mut gate);
    // The platform got no reply, and so it sends the command again.
    gate.site.broker.publish(topic, suspend.as_bytes());
    let reply = gate.platform.next_on("reply");
    assert_eq!(reply["result"]["state"], "suspended", "{point}: {reply}");
    let book = Book::read(&gate.site);
    assert_eq!(rows(&gate.site, "entry WHERE kind = 'state'"), 1);
    assert_eq!(rows(&gate.site, "command WHERE reply IS NOT NULL"), 1);
    gate.settled(&book);
}

#[test]
fn i10_a_fault_within_a_command_costs_that_command_and_nothing_else() {
    let fault = [(FAILPOINTS, "command.begun=1*panic")];
    let mut gate = commanded(&fault);
    enroll(&gate.site);
    let mut asks = |id: &str| {
        let args = json!({ "id": "W001", "reason": "contract over" });
        let suspend = crate::common::desk::command(id, "worker.suspend", args).to_string();
        gate.site.broker.publish("gatehouse/v1/P-1/gate-1/command", suspend.as_bytes());
        gate.platform.next_on("reply")
    };
    let lost = asks("c-1");
    assert_eq!(lost["error"]["code"], "internal", "{lost}");
    assert_eq!(asks("c-2")["result"]["state"], "suspended");
    // The lost command is carried out again, and finds its work done.
    assert_eq!(asks("c-1")["result"]["state"], "suspended");
    assert_eq!(rows(&gate.site, "entry WHERE kind = 'state'"), 1);
    gate.daemon.take().unwrap().stop();
}

fn cut_within_a_rotation(point: &str, new: bool) {
    let mut gate = Gate::start(&[]);
    enroll(&gate.site);
    gate.pass("person_a_1.jpg");
    gate.site.status_when("the photo", |s| s["photos"]["kept"] == 1);
    until("the outcome", || (Book::read(&gate.site).open == 0).then_some(()));
    gate.daemon.take().unwrap().stop();
    gate.board.command("closed");
    let path = gate.site.path("data/key");
    let key = || std::fs::read_to_string(&path).unwrap();
    let (before, old_sealed) = (key(), sealed(&gate.site));
    let ended = std::process::Command::new(crate::common::program())
        .args(["key", "rotate"])
        .env("GATEHOUSE_CONFIG", gate.site.path("gatehouse.toml"))
        .env(FAILPOINTS, dies_at(point))
        .status()
        .unwrap();
    assert_eq!(ended.signal(), Some(libc::SIGKILL), "{point}: {ended}");
    let both = gate.site.path("data/key.next").exists();
    assert_eq!(both, point != "rotation.renamed");
    // `check` changes nothing and finds no fault.
    let looked = gate.site.gatehouse(&["check"]);
    assert!(
        looked.out.contains("storage: ") && !looked.out.contains("FAIL  storage"),
        "{looked:?}"
    );
    assert_eq!(gate.site.path("data/key.next").exists(), both);

    gate.daemon = Some(gate.site.start());
    assert!(!gate.site.path("data/key.next").exists());
    assert_eq!(key() != before, new);
    let book = Book::read(&gate.site);
    assert_eq!(book.count("key"), usize::from(new));
    assert_eq!(any_in_files(&gate.site, &old_sealed), !new);
    // The key opens all data: the identity, the template, the photo of the passage.
    let again = gate.site.enroll("W009", "x", ID_A, &photo_path("impostor_1.jpg"));
    again.refused("already enrolled, as worker W001");
    let out = gate.site.path("photo.jpg");
    let seq = book.entries.iter().find(|e| e.body.kind() == "outcome").unwrap().seq.unwrap();
    let arguments = ["attendance", "photo", &seq.to_string(), "--out", out.to_str().unwrap()];
    let said = gate.site.gatehouse(&arguments);
    assert_eq!(said.code, 0, "{said:?}");
    gate.board.command("input 5 off");
    gate.pass_again("person_a_1.jpg");
    gate.daemon.take().unwrap().stop();
    // A second change of the key works.
    let said = gate.site.gatehouse(&["key", "rotate"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!any_in_files(&gate.site, &old_sealed));
}

fn cut_within_the_photo_store(point: &str, kept: u64) {
    let mut gate = gate_that_dies_at(point);
    gate.camera.show(photo("person_a_1.jpg"));
    let cut = Cut::happened(&mut gate, point, Vec::new());
    assert_eq!(cut.book.causes(), 1);
    let book = cut.restart(&mut gate);
    assert_eq!(book.outcomes().count(), 1);
    // The sweep removes a file without a row.
    gate.site.status_when("the photos", |s| s["photos"]["kept"] == kept);
    until("the sweep", || (passage_photos(&gate.site) == kept).then_some(()));
}

fn cut_within_erasing_photos(point: &str, files: u64) {
    let mut gate = gate_that_dies_at(point);
    gate.pass("person_a_1.jpg");
    gate.site.status_when("the photo", |s| s["photos"]["kept"] == 1);
    let said = gate.site.gatehouse(&["worker", "remove", "W001"]);
    assert_eq!(said.code, 1, "{said:?}");
    let cut = Cut::happened(&mut gate, point, Vec::new());
    // A file may be left, but no key opens it.
    assert_eq!(passage_photos(&gate.site), files);
    assert_eq!(rows(&gate.site, "passage_photo WHERE length(key) > 0"), 0);
    cut.restart(&mut gate);
    until("the files to go", || (passage_photos(&gate.site) == 0).then_some(()));
    until("the rows to go", || (rows(&gate.site, "passage_photo") == 0).then_some(()));
}

/// Returns the number of files in the photo store.
fn passage_photos(site: &Site) -> u64 {
    let Ok(folders) = std::fs::read_dir(site.path("data/photos")) else { return 0 };
    folders.flat_map(|f| std::fs::read_dir(f.unwrap().path()).unwrap()).count() as u64
}

/// The database and the board right after a cut.
struct Cut {
    book: Book,
    coils: Vec<String>,
}

impl Cut {
    /// Waits until the daemon has died at `point`, and shows an empty gate to the camera. `coils`:
    /// the board's lines so far.
    fn happened(gate: &mut Gate, point: &str, mut coils: Vec<String>) -> Cut {
        let mut daemon = gate.daemon.take().unwrap();
        let ended =
            until(&format!("the daemon to die at {point}"), || daemon.0.try_wait().unwrap());
        assert_eq!(ended.signal(), Some(libc::SIGKILL), "{point}: {ended}\n{}", gate.site.log());
        gate.camera.show_empty();
        coils.extend(gate.board.command("closed"));
        coils.extend(gate.board.command("input 0 off"));
        Cut { book: Book::read(&gate.site), coils }
    }

    /// Asserts I1: no coil went on without a grant or a release in the database.
    fn left(&self, left: Left, released: bool) {
        let on = self.coils.iter().filter(|line| line.ends_with(" on")).count();
        assert_eq!(on, usize::from(released), "{:?}", self.coils);
        assert!(on <= self.book.causes(), "{:?}", self.coils);
        assert_eq!(self.book.causes(), usize::from(left != Left::Nothing));
        assert_eq!(self.book.open, usize::from(left == Left::Unconfirmed));
    }

    /// Starts the daemon again and asserts that coils are off, no passage is open, and no old entry
    /// has changed.
    fn restart(mut self, gate: &mut Gate) -> Book {
        gate.daemon = Some(gate.site.start());
        let well = |s: &Value| Site::degraded(s).is_empty() && Site::outbox(s) == 0;
        gate.site.status_when("a healthy gate with an empty outbox", well);
        self.coils.extend(gate.board.command("input 5 off"));
        assert!(self.coils.last().is_none_or(|line| line == "coil 0 off"), "{:?}", self.coils);
        let book = Book::read(&gate.site);
        assert_eq!(book.open, 0);
        assert_eq!(book.bytes[..self.book.bytes.len()], self.book.bytes, "I2");
        let audit = gate.site.gatehouse(&["evidence", "audit"]);
        assert_eq!(audit.code, 0, "{audit:?}");
        gate.settled(&book);
        book
    }
}

trait AfterTheCut {
    /// Asserts that the same worker can pass as usual.
    fn works(&mut self, since: &Book);
    /// Asserts that the platform has all records, and that earlier entries are unchanged.
    fn settled(&mut self, since: &Book);
}

impl AfterTheCut for Gate {
    fn works(&mut self, since: &Book) {
        self.pass("person_a_1.jpg");
        until("the outcome", || (Book::read(&self.site).open == 0).then_some(()));
        let book = Book::read(&self.site);
        assert_eq!(book.outcomes().count(), since.outcomes().count() + 1);
        assert_eq!(book.outcomes().last(), Some(Outcome::Passed));
        self.settled(since);
        self.daemon.take().unwrap().stop();
    }

    fn settled(&mut self, since: &Book) {
        self.site.status_when("the outbox to be empty", |s| Site::outbox(s) == 0);
        let book = Book::read(&self.site);
        assert_eq!(book.bytes[..since.bytes.len()], since.bytes, "I2");
        has_all(&mut self.platform, &book);
    }
}

/// Asserts I3: the platform has each seq from 1 on. First deliveries rise in seq; a repeat is
/// marked and otherwise equal.
fn has_all(platform: &mut Subscriber, book: &Book) {
    let last = book.seqs().last().unwrap();
    while platform.records.iter().all(|m| m.json["seq"] != last) {
        platform.next();
    }
    let mut first: BTreeMap<u64, Value> = BTreeMap::new();
    for message in &platform.records {
        let mut record = message.json.clone();
        let marked = record.as_object_mut().unwrap().remove("resent") == Some(json!(true));
        let seq = record["seq"].as_u64().unwrap();
        match first.get(&seq) {
            Some(before) => assert!(marked && *before == record, "{before:#} and then {record:#}"),
            None => {
                let highest = first.last_key_value().map_or(0, |(seq, _)| *seq);
                assert_eq!(seq, highest + 1, "{:#?}", platform.records);
                first.insert(seq, record);
            }
        }
    }
    assert!(first.keys().copied().eq(book.seqs()), "{first:#?}");
    for record in first.values() {
        let index = record["leaf"]["index"].as_u64().unwrap() as usize;
        assert_eq!(record["seq"], json!(book.entries[index].seq), "{record:#}");
        assert_eq!(record["leaf"]["hash"], hex::encode(leaf(&book.bytes[index])), "{record:#}");
    }
}

/// The ledger as it is in the database.
struct Book {
    entries: Vec<Entry>,
    bytes: Vec<Vec<u8>>,
    /// Number of passages without an outcome.
    open: usize,
    outbox: BTreeSet<u64>,
}

impl Book {
    /// Reads the ledger and asserts its invariants, which hold at any moment, also right after a
    /// cut.
    fn read(site: &Site) -> Book {
        let mut database = database(site);
        let database = database.transaction().unwrap();
        let mut statement = database
            .prepare("SELECT idx, seq, kind, cause, bytes, leaf FROM entry ORDER BY idx")
            .unwrap();
        let mut rows = statement.query([]).unwrap();
        let (mut entries, mut bytes) = (Vec::<Entry>::new(), Vec::<Vec<u8>>::new());
        let (mut seqs, mut begun, mut open) = (0, 0, BTreeMap::new());
        while let Some(row) = rows.next().unwrap() {
            let (index, seq): (u64, Option<u64>) = (row.get(0).unwrap(), row.get(1).unwrap());
            let kind: String = row.get(2).unwrap();
            let (cause, raw): (Option<u64>, Vec<u8>) = (row.get(3).unwrap(), row.get(4).unwrap());
            let entry = Entry::decode(&raw).unwrap();
            assert_eq!(row.get::<_, [u8; 32]>(5).unwrap(), leaf(&raw), "entry {index}");
            assert_eq!((entry.index, index), (entries.len() as u64, entries.len() as u64));
            assert_eq!((entry.seq, entry.body.kind()), (seq, &*kind), "entry {index}");
            if matches!(&*kind, "grant" | "shutdown" | "heartbeat" | "access") {
                assert_eq!(seq, None, "entry {index}");
            } else {
                seqs += 1;
                assert_eq!(seq, Some(seqs), "entry {index}");
            }
            // I9: the entries of each run follow its boot, and an outcome follows its cause.
            if kind == "boot" {
                assert!(begun <= entry.stamp.uptime_ms, "entry {index}");
                begun = entry.stamp.uptime_ms;
            }
            assert!(begun <= entry.stamp.uptime_ms, "entry {index}");
            match &entry.body {
                Body::Grant(Grant { passage, .. })
                | Body::GuardRelease(GuardRelease { passage, .. }) => {
                    assert_eq!(open.insert(*passage, index), None, "entry {index}");
                }
                Body::Closing(Closing { passage, cause: named, .. }) => {
                    assert_eq!(open.remove(passage), Some(named.index), "entry {index}");
                    let of = leaf(&bytes[named.index as usize]);
                    assert_eq!((cause, named.hash), (Some(named.index), of));
                    let caused = entries[named.index as usize].stamp.uptime_ms;
                    assert!(caused <= entry.stamp.uptime_ms, "entry {index}");
                }
                _ => {}
            }
            entries.push(entry);
            bytes.push(raw);
        }
        assert!(entries.iter().all(|e| e.ledger == entries[0].ledger));
        assert!(entries.iter().all(|e| e.stamp.boot == entries[0].stamp.boot));
        let column = |sql: &str| -> BTreeSet<u64> {
            let mut statement = database.prepare(sql).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(column("SELECT cause FROM open_passage"), open.values().copied().collect());
        let outbox = column("SELECT seq FROM outbox WHERE upstream = 'platform'");
        Book { entries, bytes, open: open.len(), outbox }
    }

    fn seqs(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.entries.iter().filter_map(|entry| entry.seq)
    }

    fn count(&self, kind: &str) -> usize {
        self.entries.iter().filter(|entry| entry.body.kind() == kind).count()
    }

    /// Counts grants and releases by hand.
    fn causes(&self) -> usize {
        self.count("grant") + self.count("release")
    }

    fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.entries.iter().filter_map(|entry| match &entry.body {
            Body::Closing(closing) => Some(closing.outcome),
            _ => None,
        })
    }
}

/// Returns the leaf hash of RFC 9162.
fn leaf(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

fn database(site: &Site) -> Connection {
    let path = site.path("data/gatehouse.db");
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// Returns the number of rows of a table, or of a table with a condition.
fn rows(site: &Site, of: &str) -> u64 {
    let count = format!("SELECT count(*) FROM {of}");
    database(site).query_row(&count, [], |row| row.get(0)).unwrap()
}

/// Returns pieces of the sealed template and photo. SQLite spreads a photo over pages, which cut
/// some pieces in two; most pieces stay whole.
fn sealed(site: &Site) -> Vec<Vec<u8>> {
    let database = database(site);
    let mut statement =
        database.prepare("SELECT sealed FROM template UNION ALL SELECT sealed FROM photo").unwrap();
    let blobs = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    blobs.flat_map(|b| b.unwrap().chunks(128).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

fn any_in_files(site: &Site, pieces: &[Vec<u8>]) -> bool {
    ["gatehouse.db", "gatehouse.db-wal", "gatehouse.db-shm"].iter().any(|name| {
        // Without a running daemon only the first file exists.
        let bytes = std::fs::read(site.path("data").join(name)).unwrap_or_default();
        pieces.iter().any(|piece| bytes.windows(piece.len()).any(|window| window == piece))
    })
}
