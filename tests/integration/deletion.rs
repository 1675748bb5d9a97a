//! The real daemon, and what it deletes by date: by a wrong clock nothing, and else what it announced.

use crate::common::{Gate, Lane, Site, WallClock, past, photo_path};
use gatehouse::config::Direction;
use rusqlite::Connection;
use serde_json::{Value, json};

const ID_A: &str = "522201199003074411";
const HOUR: i64 = 3600;

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
        assert!(text.out.contains(said), "{said}: {}", text.out);
    }
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

#[test]
fn i11_what_is_over_is_announced_upstream_and_then_deleted_also_where_it_was_set_aside() {
    let site = Site::of(Lane::north());
    site.configure(|c| c.set("site", "settled_on", "2020-01-31"));
    let old = past::person("W009", "陈明", "rebar");
    let days = ["2020-01-06T07:00:00+08:00", "2020-01-07T07:00:00+08:00"];
    let went = days.map(|at| past::went(&old, Direction::Entry, at));
    past::write(&site, &[old], went.into_iter());
    let clock = WallClock::new(&site.path(""));
    clock.synchronised(true);
    let mut gate = Gate::at(site, &clock.environment());
    for (id, number, photo) in
        [("W001", ID_A, "person_a_2.jpg"), ("W002", "522201198805112024", "person_b_2.jpg")]
    {
        let enrolled = gate.site.enroll(id, "刘峰", number, &photo_path(photo));
        assert_eq!(enrolled.code, 0, "{enrolled:?}");
    }
    gate.pass("person_a_1.jpg");
    gate.site.status_when("a photo of the passage", |status| status["photos"]["kept"] == 1);
    gate.site.status_when("all is acknowledged", |status| Site::outbox(status) == 0);
    assert_eq!(kept(&gate.site), [3, 2, 1]);
    gate.daemon.take().unwrap().stop();
    let edit = |sql: &str| {
        let database = Connection::open(gate.site.path("data/gatehouse.db")).unwrap();
        database.execute_batch(sql).unwrap();
    };
    // Weeks have passed, W002 left long ago, and the photo is old.
    edit(
        "UPDATE meta SET value = CAST(json_set(CAST(value AS TEXT), '$.ran_ms', 1300000000) AS BLOB)
         WHERE key = 'reckoning';
         UPDATE worker SET valid_until = '2020-02-01' WHERE id = 'W002';
         UPDATE passage_photo SET day = '2020-01-02';",
    );
    let aside = gate.site.path("data/set-aside/1-20200101T000000Z");
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::copy(gate.site.path("data/gatehouse.db"), aside.join("gatehouse.db")).unwrap();

    gate.daemon = Some(gate.site.start_with(&clock.environment()));
    let planned: Vec<_> = (0..3).map(|_| gate.platform.event("planned_deletion")).collect();
    let told = planned.iter().map(|plan| (plan["what"].as_str().unwrap(), &plan["count"]));
    assert_eq!(
        Vec::from_iter(told),
        [("attendance", &json!(2)), ("photos", &json!(1)), ("faces", &json!(1))]
    );
    assert_eq!(planned[2]["workers"], json!(["W002"]));
    let on = planned[0]["on"].as_str().unwrap();
    gate.site.status_when("three announcements", |status| {
        status["deletions"]["planned"].as_array().unwrap().len() == 3
    });
    let text = gate.site.gatehouse(&["status"]).out;
    let said = format!("deletion  faces: on {on}, templates and photos of 1 worker: W002");
    assert!(text.contains(&said), "{text}");
    assert_eq!(kept(&gate.site), [3, 2, 1]);
    gate.site.status_when("all is acknowledged", |status| Site::outbox(status) == 0);
    let now = gate.site.status()["clock"]["now"].as_str().unwrap()[..10].to_owned();
    gate.daemon.take().unwrap().stop();

    // The day comes.
    edit(&format!(
        "UPDATE meta SET value = CAST(json_set(CAST(value AS TEXT), '$.on', '{now}') AS BLOB)
         WHERE key LIKE 'planned/%';"
    ));
    gate.daemon = Some(gate.site.start_with(&clock.environment()));
    assert_eq!(gate.platform.event("pruning")["pruned"], 4);
    assert_eq!(gate.platform.event("photo_pruning")["pruned"], 1);
    let erasure = gate.platform.event("erasure");
    assert_eq!((&erasure["worker"], &erasure["templates"]), (&json!("W002"), &json!(1)));
    assert_eq!(kept(&gate.site), [1, 1, 0]);
    let of_w001 = "SELECT group_concat(DISTINCT worker) FROM template";
    let left = || -> String {
        let database = Connection::open(aside.join("gatehouse.db")).unwrap();
        database.query_row(of_w001, [], |row| row.get(0)).unwrap()
    };
    gate.site.status_when("the erasure where it was set aside", |_| left() == "W001");
    let erased = gate.site.status_when("the roster", |status| status["roster"]["templates"] == 1);
    assert_eq!(erased["deletions"]["not_erased"], json!([]));
    gate.platform.assert_whole();
}
