//! The real daemon with a wall clock that is wrong, is set, and becomes synchronised.

use crate::common::{Gate, Lane, Site, WallClock, photo, photo_path, walk};
use rusqlite::Connection;
use serde_json::{Value, json};

const ID_A: &str = "522201199003074411";
const HOUR: i64 = 3600;

fn ms(time: &serde_json::Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[test]
fn i9_no_step_of_the_wall_clock_disturbs_a_passage_and_each_becomes_an_event() {
    let site = Site::of(Lane::north().set("pass_within_s", 20));
    let clock = WallClock::new(&site.path(""));
    // A box without a battery for its clock: the clock is a year behind.
    clock.ahead(-365 * 24 * HOUR);
    let mut gate = Gate::at(site, &clock.environment());
    let enrolled = gate.site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"));
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    gate.platform.event("enrolment");

    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    // The clock moves two hours ahead while the worker walks. No deadline passes, and nothing
    // hangs.
    clock.ahead(-365 * 24 * HOUR + 2 * HOUR);
    let step = gate.platform.event("clock");
    assert_eq!((&step["change"], &step["booted_at"]), (&json!("stepped"), &json!(null)));
    assert!((step["moved_ms"].as_i64().unwrap() - 2 * HOUR * 1000).abs() < 100, "{step}");
    walk(&gate.site, &mut gate.board);
    let before = gate.platform.next_on("attendance");
    assert_eq!((&before["outcome"], &before["clock"]["synced"]), (&json!("passed"), &json!(false)));

    // A daemon that restarts in the same boot has no clock event to record until the clock is good.
    gate.daemon.take().unwrap().stop();
    gate.daemon = Some(gate.site.start_with(&clock.environment()));
    clock.ahead(0);
    clock.synchronised(true);
    let good = gate.platform.event("clock");
    assert_eq!(good["change"], "synchronised", "{good}");
    assert_eq!(good["clock"]["synced"], true);
    // The event corrects the times of earlier records of the same boot, which the wrong clock
    // dated.
    assert_eq!(good["clock"]["boot"], before["clock"]["boot"]);
    let really = ms(&good["booted_at"]) + before["clock"]["uptime_ms"].as_i64().unwrap();
    let off_by = really - ms(&before["at"]);
    assert!((off_by - 365 * 24 * HOUR * 1000).abs() < 5_000, "{off_by} ms");
    assert_eq!(gate.site.status()["clock"]["synced"], true);
    gate.daemon.take().unwrap().stop();
    gate.daemon = Some(gate.site.start_with(&clock.environment()));
    gate.platform.event("boot");
    clock.synchronised(false);
    assert_eq!(gate.platform.event("clock")["change"], "unsynchronised");
    gate.platform.assert_whole();
}

/// Returns the number of entries with their content, of templates and of photos of passages.
fn kept(site: &Site) -> [u64; 3] {
    let database = Connection::open(site.path("data/gatehouse.db")).unwrap();
    let count = |sql| database.query_row(sql, [], |row| row.get(0)).unwrap();
    [
        count("SELECT count(*) FROM entry WHERE kind = 'grant' AND length(bytes) > 0"),
        count("SELECT count(*) FROM template"),
        count("SELECT count(*) FROM passage_photo WHERE length(key) > 0"),
    ]
}

#[test]
fn i11_a_wrong_year_deletes_no_record_no_photo_and_no_template_and_status_says_so() {
    let site = Site::of(Lane::north());
    site.configure(|c| c.set("site", "settled_on", "2026-01-31"));
    let clock = WallClock::new(&site.path(""));
    clock.synchronised(true);
    let mut gate = Gate::at(site, &clock.environment());
    let enrolled = gate.site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"));
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    let until = gate.site.gatehouse(&["worker", "update", "W001", "--valid-until", "2099-12-31"]);
    assert_eq!(until.code, 0, "{until:?}");
    gate.pass("person_a_1.jpg");
    gate.site.settled(&mut gate.platform);
    let photographed = |status: &Value| status["photos"]["kept"] == 1;
    gate.site.status_when("a photo of the passage", photographed);
    let before = kept(&gate.site);
    assert_eq!(before, [1, 1, 1]);

    // The clock is a hundred years ahead, and says that it is synchronised.
    clock.ahead(100 * 365 * 24 * HOUR);
    let all = json!(["attendance", "photos", "faces"]);
    let wrong = gate.site.status_when("all is over by the clock, and kept", |status| {
        status["deletions"]["held_back"] == all
    });
    assert_eq!(wrong["deletions"]["planned"], json!([]));
    let told = Site::degraded(&wrong).iter().filter(|what| **what == "deletion").count();
    assert_eq!(told, 2, "{wrong}");
    let text = gate.site.gatehouse(&["status"]);
    for said in
        ["date      supported by 0 of 336 h", "by this clock the time of attendance is over"]
    {
        assert!(text.stdout.contains(said), "{said}: {}", text.stdout);
    }
    assert_eq!(gate.platform.event("clock")["change"], "stepped");
    // The daemon restarts with the wrong clock, and then the clock is right again.
    gate.daemon.take().unwrap().stop();
    gate.daemon = Some(gate.site.start_with(&clock.environment()));
    gate.site.status_when("after a restart", |status| status["deletions"]["held_back"] == all);
    assert_eq!(kept(&gate.site), before);
    clock.ahead(0);
    let right = gate.site.status_when("nothing is over by the right clock", |status| {
        status["deletions"]["held_back"] == json!([])
    });
    assert_eq!(right["deletions"]["date"]["ran_s"], 0, "{right}");
    assert_eq!(kept(&gate.site), before);
    gate.platform.assert_whole();
}
