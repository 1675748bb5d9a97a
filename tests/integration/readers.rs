//! Readers of cards at pseudo-terminals: the whole passage by card and by identity card, from the
//! reader's bytes to the platform's record.

use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use crate::common::{Gate, Lane, Said, Site, program, reader::Reader, walk};
use gatehouse::reader::IdCard;
use serde_json::{Value, json};

/// A frame of the RDM6300, of the card with the printed number 0006102437.
const RDM6300: &[u8] = b"\x0213005D1DA5F6\x03";
const ID: &str = "522201199003074411";

fn enroll(site: &Site, id: &str, name: &str, id_number: &str) {
    let said = site.enroll_with(id, name, id_number, &[]);
    assert_eq!(said.code, 0, "{said:?}");
}

fn card(site: &Site, id: &str, change: &str, number: &str) -> Said {
    site.gatehouse(&["worker", "card", id, change, number])
}

fn given(site: &Site, id: &str, change: &str, number: &str) {
    let said = card(site, id, change, number);
    assert_eq!(said.code, 0, "{said:?}");
}

/// A gate whose lane has an entry and an exit reader.
struct Readers {
    gate: Gate,
    entry: Reader,
    exit: Reader,
}

impl Readers {
    fn start(entry: &str, exit: &str) -> Readers {
        let lane = Lane::north().reader("in", "entry", entry).reader("out", "exit", exit);
        let site = Site::of(lane);
        let [entry, exit] = ["in", "out"].map(|name| Reader::plug_in(&site.path(name)));
        Readers { gate: Gate::at(site, &[]), entry, exit }
    }

    /// The worker of this card gets a release and walks in. Returns the platform's record.
    fn passes(&mut self, bytes: &[u8]) -> Value {
        self.entry.send(bytes);
        assert_eq!(self.gate.board.line(), "coil 0 on");
        walk(&self.gate.site, &mut self.gate.board);
        self.gate.platform.next_on("attendance")
    }

    fn read_by(&self, name: &str, key: &str) -> u64 {
        let status = self.gate.site.status();
        let mut readers = status["lanes"][0]["readers"].as_array().unwrap().iter();
        readers.find(|reader| reader["name"] == name).unwrap()[key].as_u64().unwrap()
    }
}

#[test]
fn a_worker_without_a_photo_passes_by_card_and_the_record_names_the_means() {
    let mut readers = Readers::start("rdm6300", "line");
    let site = &readers.gate.site;
    enroll(site, "W001", "刘峰", ID);
    let said = card(site, "W001", "--add", "0006102437");
    assert!(
        said.out.contains("005D1DA5".trim_start_matches("00")) && said.out.contains("decimal"),
        "{said:?}"
    );
    let added = readers.gate.platform.event("card");
    assert_eq!((&added["worker"], &added["what"]), (&json!("W001"), &json!("added")));
    assert!(!added.to_string().contains("6102437"), "{added}");

    // The card lies on the reader for a while, and the reader repeats itself.
    let record = readers.passes(&RDM6300.repeat(20));
    assert_eq!((&record["worker"], &record["means"]), (&json!("W001"), &json!("card")));
    assert_eq!((&record["direction"], &record["outcome"]), (&json!("entry"), &json!("passed")));
    assert_eq!(record["evidence"][0]["card"]["reader"], "in", "{record}");

    // The exit's reader spells the same card in hex.
    readers.exit.send(b"5D1DA5\r");
    assert_eq!(readers.gate.board.line(), "coil 1 on");
    let out = readers.gate.platform.next_on("attendance");
    assert_eq!((&out["direction"], &out["means"]), (&json!("exit"), &json!("card")));
    assert_eq!(
        out["evidence"][0]["card"]["commitment"],
        record["evidence"][0]["card"]["commitment"]
    );
    let log = readers.gate.site.log();
    assert!(!log.contains("13005D1DA5") && !log.contains("6102437"), "the log shows a number");
}

#[test]
fn unknown_and_lost_cards_open_no_entry_and_each_denial_has_its_reason() {
    let mut readers = Readers::start("line", "line");
    enroll(&readers.gate.site, "W001", "刘峰", ID);
    given(&readers.gate.site, "W001", "--add", "010,06956");
    given(&readers.gate.site, "W001", "--lost", "0A1B2C");
    readers.entry.send(b"0A1B2C\r");
    let lost = readers.gate.platform.event("denial");
    assert_eq!((&lost["reason"], &lost["direction"]), (&json!("card_lost"), &json!("entry")));
    assert!(lost["worker"].is_null(), "{lost}");
    readers.entry.send(b"777777\r");
    let unknown = readers.gate.platform.event("denial");
    assert_eq!(unknown["reason"], "card_unknown");
    // I15: no exit is denied to a worker whose card is known.
    readers.exit.send(b"0A1B2C\r");
    assert_eq!(readers.gate.board.line(), "coil 1 on");
    let record = readers.gate.platform.next_on("attendance");
    assert!(record["flags"].as_array().unwrap().contains(&json!("card_lost")), "{record}");
    assert_eq!(readers.gate.board.line(), "coil 1 off");
    // It was found again.
    given(&readers.gate.site, "W001", "--add", "662316");
    let record = readers.passes(b"0A1B2C\r");
    assert_eq!(record["worker"], "W001");
}

#[test]
fn an_identity_card_opens_for_its_worker_and_nothing_else_of_it_is_kept() {
    let mut readers = Readers::start("id-card", "line");
    enroll(&readers.gate.site, "W001", "刘峰", ID);
    let on_card = IdCard {
        name: "刘峰甲乙丙丁".into(),
        sex: "1".into(),
        birth: "19900307".into(),
        number: ID.into(),
        until: "20360101".into(),
    };
    readers.entry.answer_with(on_card);
    assert_eq!(readers.gate.board.line(), "coil 0 on");
    walk(&readers.gate.site, &mut readers.gate.board);
    let record = readers.gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["means"]), (&json!("W001"), &json!("id_card")));
    assert!(!record.to_string().contains(ID), "{record}");
    let name = "刘峰甲乙丙丁".as_bytes();
    for file in ["data/gatehouse.db", "data/gatehouse.db-wal", "log"] {
        let bytes = std::fs::read(readers.gate.site.path(file)).unwrap_or_default();
        assert!(!bytes.windows(name.len()).any(|part| part == name), "{file}");
        assert!(!bytes.windows(ID.len()).any(|part| part == ID.as_bytes()), "{file}");
    }
}

#[test]
fn an_enrolment_from_a_reader_types_nothing_and_names_what_differs() {
    let readers = Readers::start("line", "line");
    let site = &readers.gate.site;
    let on_card = |name: &str, birth: &str| IdCard {
        name: name.into(),
        sex: "1".into(),
        birth: birth.into(),
        number: ID.into(),
        until: "20360101".into(),
    };
    let enroll = |id: &str, port: &str, more: &[&str]| {
        let port = site.path(port);
        let work = ["--team", "x", "--contractor", "y", "--trade", "z"];
        let from = ["worker", "enroll", "--id", id, "--from-reader", port.to_str().unwrap()];
        site.gatehouse(&[&from[..], &work, more].concat())
    };
    let mut desk = Reader::plug_in(&site.path("desk"));
    desk.answer_with(on_card("刘峰", "19900307"));
    let said = enroll("W001", "desk", &[]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("lay the worker's identity card on the reader"), "{said:?}");
    let shown = site.gatehouse(&["worker", "show", "W001"]);
    for value in ["刘峰", "**************4411 (resident)", "male", "1990-03-07"] {
        assert!(shown.out.contains(value), "{shown:?} lacks {value}");
    }
    let mut other = Reader::plug_in(&site.path("other"));
    other.answer_with(on_card("刘峰", "19900307"));
    let differs = enroll("W002", "other", &["--name", "刘锋"]);
    assert!(differs.code == 1 && differs.err.contains("--name not as on the card"), "{differs:?}");
    // The daemon checks what the card says, too.
    let mut damaged = Reader::plug_in(&site.path("damaged"));
    damaged.answer_with(on_card("刘峰", "19900308"));
    let differs = enroll("W002", "damaged", &[]);
    assert!(
        differs.code == 1 && differs.err.contains("not the one in the ID number"),
        "{differs:?}"
    );
    let missing = enroll("W002", "none", &[]);
    assert!(missing.code == 1 && missing.err.contains("cannot open"), "{missing:?}");
}

#[test]
fn a_suspended_worker_is_denied_entry_by_card_with_the_reason_and_a_removed_ones_card_is_unknown() {
    let mut readers = Readers::start("line", "line");
    enroll(&readers.gate.site, "W001", "刘峰", ID);
    given(&readers.gate.site, "W001", "--add", "662316");
    let site = &readers.gate.site;
    assert_eq!(site.gatehouse(&["worker", "suspend", "W001", "--reason", "no helmet"]).code, 0);
    readers.entry.send(b"0A1B2C\r");
    let denied = readers.gate.platform.event("denial");
    assert_eq!((&denied["worker"], &denied["reason"]), (&json!("W001"), &json!("suspended")));
    let site = &readers.gate.site;
    assert_eq!(site.gatehouse(&["worker", "remove", "W001", "--reason", "left"]).code, 0);
    // At the entry's reader a reading within half a second would be the same one.
    readers.exit.send(b"0A1B2C\r");
    assert_eq!(readers.gate.platform.event("denial")["reason"], "card_unknown");
}

#[test]
fn noise_and_an_unplugged_reader_are_told_and_the_reader_works_again() {
    let mut readers = Readers::start("line", "line");
    enroll(&readers.gate.site, "W001", "刘峰", ID);
    given(&readers.gate.site, "W001", "--add", "662316");
    readers.entry.send(b"no card at all\r\xff\xfe\xfd\r");
    let told = |status: &Value| Site::degraded(status).contains(&"reader in");
    let status = readers.gate.site.status_when("the noise to be told", told);
    let remedies = status["degraded"].to_string();
    assert!(remedies.contains("baud") || remedies.contains("card_format"), "{remedies}");
    assert_eq!(readers.read_by("in", "unreadable"), 2);

    let path = readers.gate.site.path("in");
    let gone =
        std::mem::replace(&mut readers.entry, Reader::plug_in(&readers.gate.site.path("spare")));
    drop(gone);
    let down = |status: &Value| status["lanes"][0]["readers"][0]["connected"] == false;
    let status = readers.gate.site.status_when("the reader to be down", down);
    assert!(told(&status), "{status:#}");
    let check = readers.gate.site.gatehouse(&["check"]);
    assert!(check.out.contains("FAIL  reader in"), "{check:?}");
    readers.entry = Reader::plug_in(&path);
    readers.gate.site.status_when("the reader to be back", |status| !down(status));
    readers.passes(b"0A1B2C\r");
}

#[test]
fn three_cards_in_a_row_are_an_event() {
    let mut readers = Readers::start("line", "line");
    readers.entry.send(b"00AAAA\r00BBBB\r00CCCC\r");
    let event = readers.gate.platform.event("several_cards");
    assert_eq!((&event["lane"], &event["direction"]), (&json!("north"), &json!("entry")));
}

#[test]
fn a_card_is_listed_shown_masked_and_refusals_name_the_remedy() {
    let readers = Readers::start("line", "line");
    let site = &readers.gate.site;
    enroll(site, "W001", "刘峰", ID);
    enroll(site, "W002", "Jacinda", "522201198805112024");
    given(site, "W001", "--add", "010,06956");
    let listed = site.gatehouse(&["worker", "card", "W001"]);
    assert!(listed.out.contains("0000662316 (hex 0A1B2C, printed 010,06956)"), "{listed:?}");
    given(site, "W001", "--add", "662317");
    given(site, "W001", "--lost", "662317");
    let shown = site.gatehouse(&["worker", "show", "W001"]);
    for value in ["******2316\n", "******2317 (lost)\n"] {
        assert!(shown.out.contains(value) && !shown.out.contains("662316"), "{shown:?}");
    }
    let history = site.gatehouse(&["worker", "history", "W001"]);
    for value in ["card: added", "card: lost", "card number: ******2316", "card number: ******2317"]
    {
        assert!(history.out.contains(value) && !history.out.contains("662316"), "{history:?}");
    }
    card(site, "W002", "--add", "0A1B2C").refused("belongs to worker W001; take it back first");
    card(site, "W001", "--add", "one").refused("must be a card's number");
    card(site, "W009", "--add", "1234").refused("there is no worker W009");
    card(site, "W002", "--remove", "1234").refused("worker W002 has no such card");
}

#[test]
fn a_lane_that_has_only_a_reader_is_not_ready_without_it() {
    let site = Site::of(Lane::modbus("north").reader("in", "entry", "line"));
    let reader = Reader::plug_in(&site.path("in"));
    let gate = Gate::at(site, &[]);
    let ready = |status: &Value| status["lanes"][0]["ready"] == true;
    gate.site.status_when("the lane to be ready", ready);
    drop(reader);
    gate.site.status_when("the lane not to be ready", |status| !ready(status));
    let check = gate.site.gatehouse(&["check"]);
    assert!(check.out.contains("FAIL  reader in"), "{check:?}");
}

#[test]
fn check_tells_apart_a_keyboard_that_is_missing_is_none_or_is_not_allowed() {
    let site = Site::of(Lane::modbus("north").reader("in", "entry", "keyboard"));
    let checked = |expected: &str| {
        let check = site.gatehouse(&["check"]);
        assert!(check.out.contains("FAIL  reader in") && check.out.contains(expected), "{check:?}");
    };
    checked("plug the reader in");
    // A serial line, as of another kind of reader, is no keyboard.
    let line = Reader::plug_in(&site.path("in"));
    checked("is no keyboard");
    drop(line);
    let _ = std::fs::remove_file(site.path("in"));
    std::fs::write(site.path("in"), "").unwrap();
    checked("is no keyboard");
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the rest of this test needs root, to be two users");
        return;
    }
    let allow = |name: &str, mode| {
        std::fs::set_permissions(site.path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    allow("", 0o755);
    allow("gatehouse.toml", 0o644);
    allow("in", 0o600);
    // Another user may not reach the folder of the build.
    std::fs::copy(program(), site.path("gatehouse")).unwrap();
    let nobody = 65534;
    let check = Command::new(site.path("gatehouse"))
        .arg("check")
        .env("GATEHOUSE_CONFIG", site.path("gatehouse.toml"))
        .uid(nobody)
        .gid(nobody)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(said.contains("FAIL  reader in") && said.contains("the group input"), "{check:?}");
}
