//! Consents that workers give and withdraw, on the real daemon: what is erased, what stays, and how
//! a worker without a face goes on.

use std::fs;

use crate::common::{Gate, Lane, Said, Site, WallClock, photo, photo_path, until, walk};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";

fn photo_of(name: &str) -> String {
    photo_path(name).to_str().unwrap().to_owned()
}

/// Starts a gate whose clock is synchronised, and enrolls person A.
fn gate() -> (Gate, WallClock) {
    let site = Site::of(Lane::north().set("cool_down_s", 0.1));
    let wall = WallClock::new(&site.path(""));
    wall.synchronised(true);
    let gate = Gate::at(site, &wall.environment());
    let enrolled = gate.site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"));
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    (gate, wall)
}

/// Runs `worker consent W001` for a purpose.
fn consent(site: &Site, purpose: &str, more: &[&str]) -> Said {
    let always = ["--json", "worker", "consent", "W001", "--purpose", purpose];
    site.gatehouse(&[&always[..], more].concat())
}

fn one(said: Said) -> Value {
    said.json_lines().remove(0)
}

/// Returns the numbers of templates, enrolment photos and legible photos of passages.
fn faces(site: &Site) -> [u64; 3] {
    let path = site.path("data/gatehouse.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    ["template", "photo", "passage_photo WHERE length(key) > 0"].map(|table| {
        let sql = format!("SELECT count(*) FROM {table}");
        database.query_row(&sql, [], |row| row.get(0)).unwrap()
    })
}

#[test]
fn i7_a_withdrawn_consent_erases_the_face_at_once_and_the_worker_goes_on_without_it() {
    let (mut gate, wall) = gate();
    gate.pass("person_a_1.jpg");
    gate.platform.next_on("attendance");
    gate.site.status_when("a photo of the passage", |status| status["photos"]["kept"] == 1);
    assert_eq!(faces(&gate.site), [1, 1, 1]);
    let attendance = |site: &Site| site.gatehouse(&["--json", "attendance", "list"]).json_lines();
    let kept = attendance(&gate.site);

    let withdraw = ["--withdrawn", "2020-10-31"];
    consent(&gate.site, "face", &["--withdrawn", "2099-10-31"]).refused("lies in the future");
    let withdrawn = one(consent(&gate.site, "face", &withdraw));
    for (key, expected) in [
        ("id", json!("W001")),
        ("purpose", json!("face")),
        ("form", json!("C-1")),
        ("withdrawn_on", json!("2020-10-31")),
        ("templates", json!(1)),
        ("photos", json!(1)),
    ] {
        assert_eq!(withdrawn[key], expected, "{key}: {withdrawn}");
    }
    assert_eq!(faces(&gate.site), [0, 0, 0]);
    let folders = || fs::read_dir(gate.site.path("data/photos")).unwrap().map(Result::unwrap);
    let files = || folders().flat_map(|folder| fs::read_dir(folder.path()).unwrap()).count();
    until("the file of the passage's photo to go", || (files() == 0).then_some(()));
    let event = gate.platform.event("consent");
    for (key, expected) in [
        ("worker", json!("W001")),
        ("purpose", json!("face")),
        ("what", json!("withdrawn")),
        ("on", json!("2020-10-31")),
        ("form", json!("C-1")),
        ("templates", json!(1)),
        ("photos", json!(1)),
    ] {
        assert_eq!(event[key], expected, "{key}: {event}");
    }
    assert!(event["by"].is_string(), "{event}");
    consent(&gate.site, "face", &withdraw).refused("has this withdrawal already");

    // The running gate does not know the face any more. The worker is in force, and a guard lets
    // the worker in.
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.platform.event("denial")["reason"], "unknown_face");
    gate.camera.show_empty();
    assert_eq!(attendance(&gate.site), kept);
    let release = ["lane", "release", "north", "--direction", "entry", "--worker", "W001"];
    let reason = ["--reason", "guard Wang knows him", "--json"];
    let vouched = std::thread::scope(|scope| {
        let vouched = scope.spawn(|| gate.site.gatehouse(&[&release[..], &reason].concat()));
        assert_eq!(gate.board.line(), "coil 0 on");
        walk(&gate.site, &mut gate.board);
        one(vouched.join().unwrap())
    });
    assert_eq!(vouched["outcome"], "passed");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["means"]), (&json!("W001"), &json!("manual")));

    // It is so after a restart too, and no other command brings the face back.
    gate.daemon.take().unwrap().stop();
    gate.daemon = Some(gate.site.start_with(&wall.environment()));
    let a = photo_of("person_a_2.jpg");
    let photo = ["worker", "photo", "W001", "--add", &a];
    let live = ["worker", "photo", "W001", "--lane", "north", "--direction", "entry"];
    let update = ["worker", "update", "W001"];
    for arguments in [
        &photo[..],
        &[&photo[..], &["--consent", "C-2"]].concat(),
        &live,
        &[&update[..], &["--consent", "C-2"]].concat(),
    ] {
        let refused = gate.site.gatehouse(arguments);
        refused.refused("W001 has withdrawn the consent to the face on 2020-10-31");
        assert!(refused.err.contains("gatehouse worker consent"), "{refused:?}");
    }
    let shown = gate.site.gatehouse(&["worker", "show", "W001"]).out;
    assert!(shown.contains("consent          withdrawn on 2020-10-31 (C-1)\n"), "{shown}");
    assert!(shown.contains("state            active\n"), "{shown}");
    assert!(gate.site.gatehouse(&["worker", "list"]).out.contains("consent withdrawn"));

    // A new form ends it, and the worker is enrolled with a photo again.
    let given =
        |form: &str, on: &str| consent(&gate.site, "face", &["--given", on, "--form", form]);
    given("C-2", "2020-10-30").refused("is before 2020-10-31");
    given("C-1", "2020-11-02").refused("a new form is needed");
    assert_eq!(one(given("C-2", "2020-11-02"))["withdrawn_on"], Value::Null);
    assert_eq!(gate.platform.event("consent")["what"], "given");
    let added = gate.site.gatehouse(&photo);
    assert_eq!(added.code, 0, "{added:?}");
    gate.site.gatehouse(&[&update[..], &["--consent", "C-3"]].concat()).refused("another form");
    gate.pass_again("person_a_1.jpg");
    let shown = one(gate.site.gatehouse(&["--json", "worker", "show", "W001"]));
    assert_eq!((&shown["consent"], &shown["consent_on"]), (&json!("C-2"), &json!("2020-11-02")));
    let history = gate.site.gatehouse(&["--json", "worker", "history", "W001"]).json_lines();
    let kinds: Vec<_> = history.iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["enrolment", "consent", "consent", "amendment"]);
    gate.platform.assert_whole();

    // A package proves both.
    let package = gate.site.path("W001.cbor");
    let package = package.to_str().unwrap();
    let days = ["--from", "2020-10-01", "--to", "2020-10-31", "--out", package];
    let exported =
        gate.site.gatehouse(&[&["evidence", "export", "--worker", "W001"], &days[..]].concat());
    assert_eq!(exported.code, 0, "{exported:?}");
    let proved = gate.site.gatehouse(&["evidence", "verify", package]).out;
    for line in [
        "consent   to face: withdrawn on 2020-10-31 (form C-1)\n",
        "consent   to face: given on 2020-11-02 (form C-2)\n",
    ] {
        assert!(proved.contains(line), "{proved}");
    }
}

#[test]
fn a_consent_to_photos_is_for_one_upstream_and_can_be_withdrawn_when_it_is_gone() {
    let (mut gate, wall) = gate();
    let given = ["--given", "2020-10-01", "--form", "P-1"];
    let unknown = consent(&gate.site, "photo:other", &given);
    unknown.refused("there is no upstream other; the configuration has: platform");
    let wrong = consent(&gate.site, "photos", &given);
    assert!(wrong.code == 2 && wrong.err.contains("`photo:` and the name"), "{wrong:?}");
    assert_eq!(one(consent(&gate.site, "photo:platform", &given))["form"], "P-1");
    let event = gate.platform.event("consent");
    assert_eq!((&event["purpose"], &event["what"]), (&json!("photo:platform"), &json!("given")));
    consent(&gate.site, "photo:platform", &given).refused("this form and day already");

    gate.daemon.take().unwrap().stop();
    let renamed = gate.site.path("gatehouse.toml");
    let text = fs::read_to_string(&renamed).unwrap();
    assert!(text.contains("name = \"platform\""), "{text}");
    fs::write(&renamed, text.replace("name = \"platform\"", "name = \"province\"")).unwrap();
    gate.daemon = Some(gate.site.start_with(&wall.environment()));
    let late = ["--given", "2020-11-01", "--form", "P-2"];
    consent(&gate.site, "photo:platform", &late).refused("the configuration has: province");
    let withdrawn = consent(&gate.site, "photo:platform", &["--withdrawn", "2020-10-31"]);
    assert_eq!(one(withdrawn)["withdrawn_on"], "2020-10-31");
    // The face stays, because it has a consent of its own.
    assert_eq!(faces(&gate.site), [1, 1, 0]);
    let shown = gate.site.gatehouse(&["worker", "show", "W001"]).out;
    assert!(shown.contains("consent          C-1\n"), "{shown}");
    assert!(shown.contains("photos go to     platform: withdrawn on 2020-10-31 (P-1)"), "{shown}");
}

#[test]
fn an_import_refuses_the_row_of_a_worker_who_has_withdrawn_the_consent() {
    let (gate, _wall) = gate();
    one(consent(&gate.site, "face", &["--withdrawn", "2020-10-31"]));
    fs::create_dir(gate.site.path("photos")).unwrap();
    fs::copy(photo_path("person_a_2.jpg"), gate.site.path("photos/W001.jpg")).unwrap();
    fs::copy(photo_path("person_b_2.jpg"), gate.site.path("photos/W002.jpg")).unwrap();
    let import = |rows: &[[&str; 7]], more: &[&str]| {
        let head = "工号,姓名,身份证号,班组,劳务公司,工种,同意书编号";
        let rows: Vec<_> = rows.iter().map(|row| row.join(",")).collect();
        let csv = gate.site.path("roster.csv");
        fs::write(&csv, format!("{head}\n{}\n", rows.join("\n"))).unwrap();
        let photos = photo_folder(&gate.site);
        let always = ["worker", "import", csv.to_str().unwrap(), "--photos", &photos];
        gate.site.gatehouse(&[&always[..], more].concat())
    };
    let row =
        |consent| ["W001", "刘峰", ID_A, "钢筋一班", "Fuding Labour Co", "steel fixer", consent];
    let other = ["W002", "赵敏", ID_B, "钢筋一班", "Fuding Labour Co", "steel fixer", "C-2"];
    for more in [&[][..], &["--update"], &["--dry-run"]] {
        for form in ["C-1", "C-9", ""] {
            let said = import(&[row(form), other], more);
            assert_eq!(said.code, 1, "{said:?}");
            let refused = said.out.lines().find(|line| line.contains("W001")).unwrap();
            assert!(refused.contains("刘峰"), "{said:?}");
            assert!(refused.contains("has withdrawn the consent to the face"), "{said:?}");
            assert!(said.out.contains("1 refused"), "{said:?}");
        }
    }
    let shown = one(gate.site.gatehouse(&["--json", "worker", "show", "W001"]));
    assert_eq!((&shown["templates"], &shown["consent"]), (&json!(0), &Value::Null));
    let enrolled = one(gate.site.gatehouse(&["--json", "worker", "show", "W002"]));
    assert_eq!(enrolled["templates"], 1);
    // The other values of the row are imported without a photo and a form.
    fs::remove_file(gate.site.path("photos/W001.jpg")).unwrap();
    let mut moved = row("");
    moved[3] = "钢筋二班";
    let said = import(&[moved, other], &["--update"]);
    assert_eq!(said.code, 0, "{said:?}");
    let shown = one(gate.site.gatehouse(&["--json", "worker", "show", "W001"]));
    assert_eq!(shown["team"], "钢筋二班");
    assert_eq!(shown["consents"][0]["withdrawn_on"], "2020-10-31");
}

fn photo_folder(site: &Site) -> String {
    site.path("photos").to_str().unwrap().to_owned()
}
