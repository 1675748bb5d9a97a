//! Network cameras: ffmpeg and GStreamer serve a film, and the real daemon recognises the worker in
//! it. `tests/run` installs what this needs.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::common::{
    Daemon, Site, Slave,
    broker::free_port,
    film::{Mjpeg, Script, film},
    photo_path, walk,
};
use serde_json::Value;

/// Timeout of a release. A debug build on a small machine, beside the peer's encoder, needs long.
const LET_IN_WITHIN: Duration = Duration::from_secs(120);

/// Allows one gate at a time, because a gateway also has its machine to itself.
static MACHINE: Mutex<()> = Mutex::new(());

/// A gate whose camera is at this address, with worker A on its roster.
struct Gate {
    _daemon: Daemon,
    board: Slave,
    site: Site,
    _machine: MutexGuard<'static, ()>,
}

impl Gate {
    fn with_camera(source: &str) -> Self {
        let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let site = Site::prepare();
        site.configure(|c| c.camera("source", source));
        let board = site.plug_board_in();
        let daemon = site.start();
        let photo = photo_path("person_a_2.jpg");
        let said = site.enroll("W001", "刘峰", "522201199003074411", &photo);
        assert_eq!(said.code, 0, "{said:?}");
        Self { _daemon: daemon, board, site, _machine: machine }
    }

    /// Waits for the release of the arm, and walks.
    fn let_in(&mut self) {
        let line = self.board.line_within(LET_IN_WITHIN);
        assert_eq!(line.as_deref(), Some("coil 0 on"), "{}", self.site.status());
        walk(&self.site, &mut self.board);
    }

    fn camera_when(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let camera = |s: &Value| s["lanes"][0]["cameras"][0].clone();
        camera(&self.site.status_when(what, |s| holds(&camera(s))))
    }

    /// Waits until A passes, stops the camera, starts it again, and asserts that A passes again.
    fn recovers<Peer>(&mut self, peer: Peer, start: impl Fn() -> Peer) {
        self.let_in();
        let camera = self.camera_when("frames", |c| c["frames"].as_u64() > Some(0));
        assert_eq!(camera["undecodable"], 0, "{camera}");
        drop(peer);
        let camera = self.camera_when("its absence", |c| c["connected"] == false);
        assert!(camera["last_error"].as_str().unwrap().contains("127.0.0.1"), "{camera}");
        // The camera is away until the pause between two attempts is at its longest. A's visit is
        // over by then, so the next sighting begins another visit.
        let errors = camera["errors"].as_u64().unwrap();
        self.camera_when("attempts", |c| c["errors"].as_u64() > Some(errors + 5));
        let back = Instant::now();
        let _peer = start();
        self.camera_when("its frames", |c| c["connected"] == true);
        let frames = back.elapsed();
        self.let_in();
        eprintln!(
            "{} comes back: frames after {frames:.1?}, let in after {:.1?}",
            camera["source"].as_str().unwrap(),
            back.elapsed()
        );
    }
}

#[test]
fn i10_a_worker_is_recognised_by_a_motion_jpeg_camera_that_goes_and_comes_back() {
    let (film, port) = (film("person_a_1.jpg"), free_port());
    let start = || Mjpeg::start(film.path(), port);
    let peer = start();
    let mut gate = Gate::with_camera(&format!("http://127.0.0.1:{port}/cam.mjpg"));
    gate.recovers(peer, start);
}

#[test]
fn i10_a_worker_is_recognised_by_an_rtsp_camera_that_goes_and_comes_back() {
    let (film, port) = (film("person_a_1.jpg"), free_port());
    let peer = Script::rtsp(film.path(), port, &["digest", "gate", "p/w:1 @"]);
    let source = format!("rtsp://gate:p%2Fw%3A1%20%40@127.0.0.1:{port}/cam");
    let mut gate = Gate::with_camera(&source);
    gate.recovers(peer, || Script::rtsp(film.path(), port, &["digest", "gate", "p/w:1 @"]));
    let status = gate.site.status().to_string();
    for place in [status, gate.site.log()] {
        assert!(!place.contains("p/w") && !place.contains("p%2Fw"), "{place}");
    }
}

#[test]
fn check_opens_a_camera_and_reports_its_picture_size_or_a_remedy() {
    let film = film("person_a_1.jpg");
    let peer = Script::rtsp(film.path(), 0, &["basic", "gate", "word"]);
    let address = |login| format!("rtsp://{login}127.0.0.1:{}/cam", peer.port);
    let check = |source: &str| {
        let site = Site::prepare();
        site.configure(|c| c.camera("source", source));
        let said = site.gatehouse(&["--json", "check"]).out;
        let mut lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.find(|line| line["check"] == "camera north/entry").unwrap()
    };
    let line = check(&address("gate:word@"));
    let expected = format!("{} shows pictures of 1280 x 720 pixels", address(""));
    assert_eq!((&line["detail"], &line["ok"]), (&expected.into(), &true.into()));
    let line = check(&address("gate:wr0ng@"));
    let expected =
        format!("{}: the camera refuses the login; check user and password", address(""));
    assert_eq!((&line["detail"], &line["ok"]), (&expected.into(), &false.into()));
    let absent = check(&format!("http://127.0.0.1:{}/", free_port()));
    assert!(absent["detail"].as_str().unwrap().contains("cannot be reached"), "{absent}");
}
