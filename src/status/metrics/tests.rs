use serde_json::json;

use super::*;

/// Returns a status with unusual values.
fn status() -> Status {
    let camera = |direction: &str| {
        json!({
            "direction": direction, "source": "replay:x", "stalled": false, "lent": false, "name": "x", "connected": true,
            "since_uptime_ms": 1, "last_frame_uptime_ms": null, "last_error": null,
            "errors": 0, "frames": 7, "dropped": 1, "skipped": 0, "finished": false,
            "analysed": 6, "undecodable": 0, "too_large": 0, "unchanged": 3,
            "overtaken": 0, "no_face": 0, "faces": 2, "too_small": 1, "cut_off": 0, "outside": 0, "fixed": 0,
            "beside": 0, "black": 0, "frozen": 0, "plain": 0, "poor": 0, "blurred": 0,
            "turned_away": 0, "too_dark": 0, "too_bright": 0, "covered": 0, "settled": 1,
            "lane_full": 0, "failed": 0,
        })
    };
    let turnstile = json!({
        "connected": false, "since_uptime_ms": 1, "last_error": "x", "confirms_passage": true,
        "held_open": false,
        "port": "x", "releases": 3, "passages": 2, "errors": 1, "reconnects": 0, "late": 0,
        "lost_events": 0, "restarts": 0,
    });
    let lane = json!({
        "name": "a\"\\\nb", "mode": "normal", "mode_reason": null, "mode_by": null,
        "mode_since": null, "ready": false, "turnstile": turnstile,
        "readers": [{
            "name": "card", "direction": "entry", "driver": "line", "connected": true,
            "error": null, "read": 5, "unreadable": 2, "last_unreadable": "x", "dropped": 1,
        }],
        "cameras": [camera("entry"), camera("exit")], "busy": true, "stale": 0,
        "tailgates": 0, "tailgates_unrecorded": 0, "other_faces": 0,
        "other_faces_unrecorded": 0, "void": 0, "grants": 3, "denials": 0, "manual_releases": 0,
        "unknown_faces": 4, "denials_unrecorded": 0,
        "short_fire_signs": 0, "denials_dropped": 0, "commit_errors": 0, "last_error": "of W001", "restarts": 0,
    });
    let upstream = json!({
        "name": "up", "broker": "x", "connected": false, "last_error": null, "published": 9,
        "acknowledged": 8, "connects": 1, "restarts": 0, "outbox": null, "oldest_s": null,
        "ack": "broker", "acks_refused": 0, "refused": 0, "unheard": 0, "repeated": 0, "stalls": 0,
        "commands": 0, "commands_refused": 0,
        "certificates": [
            { "whose": "broker", "path": null, "until": "2026-11-23T00:00:00Z" },
            { "whose": "authority", "path": "/a", "until": "2026-11-25T00:00:00Z" },
            { "whose": "authority", "path": "/b", "until": "2026-11-24T00:00:00Z" },
        ],
    });
    let degraded = |what: &str| json!({ "what": what, "since": "x", "remedy": "of W001" });
    let mut status: Status = serde_json::from_value(json!({
        "version": "1.2.3", "gateway": "g", "project": "p",
        "started_at": "2026-11-22T10:26:27.217+08:00", "lanes": [lane],
        "roster": { "workers": 1, "templates": 2, "version": 3 },
        "ledger": { "id": "x", "size": null, "pruned_before": null, "kept_until": null },
        "upstreams": [upstream],
        "photos": { "kept": 12, "bytes": 34, "given_up": 1, "dropped": 2, "failed": 3,
                    "last_error": "of W001" },
        "clock": { "synced": false, "now": "x", "boot": "x", "uptime_ms": 1 },
        "disk": { "dir": "/x", "free_bytes": null, "total_bytes": null,
                  "database_bytes": 4096, "room": "low", "reserve_bytes": 7, "commits": 5,
                  "failures": 2, "failing": null, "last_error": null, "unrecorded": 4,
                  "photos_refused": 0, "slowest_commit_ms": 1, "set_aside": [] },
        "vision": { "look_ms": 2100, "workers": 1, "cameras": 2, "carries": 1 },
        "alarms": { "raised": 3, "standing": [
            { "what": "link", "subject": "up", "since": "x", "detail": "of W001" },
        ] },
        "stages": [{ "name": "commit", "count": 2, "mean_ms": 1, "p50_ms": 1, "p99_ms": 1 }],
        "process": { "resident_bytes": 1, "open_fds": 2 },
        "degraded": [degraded("lane a"), degraded("clock"), degraded("lane a")],
    }))
    .unwrap();
    status.stages[0].spread =
        Spread { buckets: vec![(0.001, 1), (0.01, 0), (f64::INFINITY, 1)], sum_s: 2.5 };
    status
}

#[test]
fn unknown_numbers_are_left_out_and_each_series_appears_once() {
    let page = page(status()).unwrap();
    for line in [
        "gatehouse_build_info{version=\"1.2.3\"} 1",
        "gatehouse_start_time_seconds 1795314387.217",
        "gatehouse_commits_total 5",
        "gatehouse_commit_failures_total 2",
        "gatehouse_events_unrecorded_total 4",
        "gatehouse_disk_room 1",
        "gatehouse_photos 12",
        "gatehouse_photos_bytes 34",
        "gatehouse_photos_given_up_total 1",
        "gatehouse_photos_dropped_total 2",
        "gatehouse_photos_failed_total 3",
        "gatehouse_lane_grants_total{lane=\"a\\\"\\\\\\nb\"} 3",
        "gatehouse_lane_unknown_faces_total{lane=\"a\\\"\\\\\\nb\"} 4",
        "gatehouse_alarms_raised_total 3",
        "gatehouse_alarms_standing 1",
        "gatehouse_certificate_end_time_seconds{upstream=\"up\",whose=\"broker\"} 1795392000",
        "gatehouse_certificate_end_time_seconds{upstream=\"up\",whose=\"authority\"} 1795478400",
        "gatehouse_camera_dropped_total{lane=\"a\\\"\\\\\\nb\",direction=\"exit\"} 1",
        "gatehouse_reader_connected{lane=\"a\\\"\\\\\\nb\",reader=\"card\"} 1",
        "gatehouse_reader_unreadable_total{lane=\"a\\\"\\\\\\nb\",reader=\"card\"} 2",
        "gatehouse_turnstile_connected{lane=\"a\\\"\\\\\\nb\"} 0",
        "gatehouse_stage_seconds_bucket{le=\"0.001\",stage=\"commit\"} 1",
        "gatehouse_stage_seconds_bucket{le=\"0.01\",stage=\"commit\"} 1",
        "gatehouse_stage_seconds_bucket{le=\"+Inf\",stage=\"commit\"} 2",
        "gatehouse_stage_seconds_sum{stage=\"commit\"} 2.5",
        "gatehouse_stage_seconds_count{stage=\"commit\"} 2",
        "gatehouse_degraded{what=\"lane a\"} 1",
        "gatehouse_degraded{what=\"clock\"} 1",
    ] {
        assert_eq!(page.lines().filter(|l| *l == line).count(), 1, "{line} in\n{page}");
    }
    for absent in ["ledger_entries", "outbox_", "disk_free", "W001"] {
        assert!(!page.contains(absent), "{absent} in\n{page}");
    }
    let mut series: Vec<_> = page.lines().filter_map(|l| l.rsplit_once(' ')).collect();
    let all = series.len();
    series.sort();
    series.dedup_by_key(|(name, _)| *name);
    assert_eq!(series.len(), all, "{page}");
    assert!(page.ends_with("\n# EOF\n"));
}

#[test]
fn the_page_is_valid_without_lanes_and_upstreams() {
    let bare = Status { lanes: vec![], upstreams: vec![], degraded: vec![], ..status() };
    let page = page(bare).unwrap();
    assert!(page.contains("\ngatehouse_commits_total 5\n") && !page.contains("lane"), "{page}");
}
