//! The real daemon with parts that stall, take too long or panic; the test acts as systemd.
//! `tests/run` installs what this needs. The panics need the feature `failpoints`.

use std::{
    os::unix::net::{UnixDatagram, UnixStream},
    process::ExitStatus,
    time::{Duration, Instant},
};

use crate::common::{Daemon, Lane, Site, until};
use rusqlite::Connection;

/// Timeout after which systemd would restart the daemon. Each part's own timeout is a quarter of
/// it, also on a busy machine. A stalled store still answers every 5 s, so the timeout must be
/// shorter.
const WATCHDOG: Duration = Duration::from_secs(3);

/// systemd's end of the daemon's watchdog.
struct Watchdog(UnixDatagram);

impl Watchdog {
    fn start(site: &Site) -> (Daemon, Watchdog) {
        Watchdog::start_with(site, &[])
    }

    fn start_with(site: &Site, environment: &[(&str, &str)]) -> (Daemon, Watchdog) {
        let systemd = UnixDatagram::bind(site.path("notify")).unwrap();
        let usec = WATCHDOG.as_micros().to_string();
        let daemon = site.spawn(&[&[("WATCHDOG_USEC", &usec[..])], environment].concat());
        let mut word = [0; 256];
        let length = systemd.recv(&mut word).unwrap();
        assert_eq!(&word[..length], b"READY=1\n");
        systemd.set_read_timeout(Some(WATCHDOG)).unwrap();
        (daemon, Watchdog(systemd))
    }

    /// Returns whether a feed comes in time.
    fn is_fed(&self) -> bool {
        let mut word = [0; 256];
        match self.0.recv(&mut word) {
            Ok(length) => {
                assert_eq!(&word[..length], b"WATCHDOG=1\n");
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                false
            }
        }
    }

    fn is_fed_for(&self, duration: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < duration {
            assert!(self.is_fed());
        }
    }
}

/// Holds the write lock of the database. The daemon's writer then waits several seconds in each
/// transaction, as on a disk that does not answer.
struct StalledStore(Connection);

impl StalledStore {
    fn of(site: &Site) -> Self {
        let connection = Connection::open(site.path("data/gatehouse.db")).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        StalledStore(connection)
    }

    fn goes_on(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// Waits for the daemon to end, and returns its exit status.
fn ended(daemon: &mut Daemon) -> ExitStatus {
    until("the daemon to end", || daemon.0.try_wait().unwrap())
}

/// Runs this number of writing commands at once, and `meanwhile` beside them. These commands wait
/// only for the store, unlike changes of the roster, which also wait for each other.
fn with_writes(site: &Site, count: usize, meanwhile: impl FnOnce()) {
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| site.gatehouse(&["attendance", "dispute", "1", "--reason", "x"]));
        }
        meanwhile();
    });
}

#[test]
fn a_stalled_store_starves_the_watchdog_and_is_shown_until_it_continues() {
    let site = Site::prepare();
    let (daemon, watchdog) = Watchdog::start(&site);
    watchdog.is_fed_for(2 * WATCHDOG);
    let stalled = StalledStore::of(&site);
    with_writes(&site, 3, || {
        until("the watchdog to starve", || (!watchdog.is_fed()).then_some(()));
        site.status_when("the stalled store in the status", |s| {
            Site::degraded(s).contains(&"store")
        });
        stalled.goes_on();
        until("the next feed", || watchdog.is_fed().then_some(()));
    });
    watchdog.is_fed_for(WATCHDOG);
    assert!(!Site::degraded(&site.status()).contains(&"store"));
    // Each stall is logged once, also when it lasts long.
    let log = site.log();
    let said = |what| log.lines().filter(|l| l.contains(what) && l.contains("store")).count();
    let lost = said("makes no progress");
    assert!(lost > 0 && lost == said("makes progress again"), "{lost}");
    daemon.stop();
}

#[test]
fn silent_clients_do_not_starve_the_watchdog() {
    let site = Site::prepare();
    let (daemon, watchdog) = Watchdog::start(&site);
    // More clients than the daemon serves at once.
    let connect = |_| UnixStream::connect(site.path("control.sock")).unwrap();
    let silent: Vec<UnixStream> = (0..20).map(connect).collect();
    watchdog.is_fed_for(3 * WATCHDOG);
    drop(silent);
    assert!(!Site::degraded(&site.status()).contains(&"control"));
    daemon.stop();
}

#[test]
fn a_stop_that_takes_too_long_ends_the_process_and_is_logged() {
    let site = Site::prepare();
    let (mut daemon, watchdog) = Watchdog::start(&site);
    let stalled = StalledStore::of(&site);
    // Each command keeps the writer for five seconds.
    with_writes(&site, 8, || {
        until("the store to stand still", || (!watchdog.is_fed()).then_some(()));
        let begun = Instant::now();
        // SAFETY: no memory is involved; the process is ours and not yet waited for.
        assert_eq!(unsafe { libc::kill(daemon.0.id() as i32, libc::SIGTERM) }, 0);
        assert_eq!(ended(&mut daemon).code(), Some(1));
        // All the commands together would take longer.
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    });
    stalled.goes_on();
    assert!(site.log().contains("not all parts stopped within 10s"));
}

#[cfg(feature = "failpoints")]
mod faults {
    use super::*;
    use crate::common::{Gate, photo, photo_path};
    use serde_json::{Value, json};

    const FAILPOINTS: &str = "FAILPOINTS";
    const ID_A: &str = "522201199003074411";

    const ID_B: &str = "522201198805112024";

    fn enroll(site: &Site) {
        for (id, number, photo) in
            [("W001", ID_A, "person_a_2.jpg"), ("W002", ID_B, "person_b_2.jpg")]
        {
            let said = site.enroll(id, "刘峰", number, &photo_path(photo));
            assert_eq!(said.code, 0, "{said:?}");
        }
    }

    /// Asserts that a fault at `point` loses a passage, and that the same daemon records the next
    /// one. Returns the status after the fault.
    fn a_passage_is_lost_and_the_next_is_not(point: &str) -> Value {
        let fault = format!("{point}=1*panic(a test)");
        let site = Site::of(Lane::north().set("pass_within_s", 5));
        let mut gate = Gate::at(site, &[(FAILPOINTS, &fault)]);
        enroll(&gate.site);
        gate.camera.show(photo("person_a_1.jpg"));
        assert_eq!(gate.platform.next_on("attendance")["outcome"], "unconfirmed");
        gate.camera.show_empty();
        assert_eq!(gate.board.command("input 5 off"), [""; 0], "no coil moved");
        let status = gate.site.status();
        gate.site.status_when("the lane to be free", |s| s["lanes"][0]["busy"] == false);
        // Another worker comes, because a worker who may have passed gets no second release so soon.
        gate.pass("person_b_1.jpg");
        assert_eq!(gate.platform.next_on("attendance")["outcome"], "passed");
        let boots = gate.platform.records.iter().filter(|m| m.json["kind"] == "boot");
        assert_eq!(boots.count(), 1, "the daemon did not restart");
        gate.platform.assert_whole();
        gate.daemon.take().unwrap().stop();
        status
    }

    #[test]
    fn i10_a_lane_that_panics_is_restarted_by_the_same_daemon() {
        let status = a_passage_is_lost_and_the_next_is_not("lane.releases");
        assert_eq!(status["lanes"][0]["restarts"], json!(1), "{status:#}");
        assert!(Site::degraded(&status).contains(&"lane north"), "{status:#}");
    }

    #[test]
    fn i10_a_driver_that_panics_is_restarted_by_the_same_daemon() {
        let status = a_passage_is_lost_and_the_next_is_not("turnstile.taken");
        assert_eq!(status["lanes"][0]["turnstile"]["restarts"], json!(1), "{status:#}");
        assert_eq!(status["lanes"][0]["restarts"], json!(0), "{status:#}");
    }

    #[test]
    fn a_stalled_vision_worker_starves_the_watchdog_and_is_shown() {
        let site = Site::prepare();
        let _camera = site.plug_camera_in();
        let (_daemon, watchdog) = Watchdog::start_with(&site, &[(FAILPOINTS, "sight.look=pause")]);
        until("the watchdog to starve", || (!watchdog.is_fed()).then_some(()));
        let status = site.status();
        let late = Site::degraded(&status);
        assert!(late.iter().any(|what| what.starts_with("vision ")), "{status:#}");
    }

    #[test]
    fn a_panic_of_a_vision_worker_or_the_store_ends_the_daemon() {
        for (point, said) in
            [("sight.look", "a vision worker ended early"), ("enrolment.written", "the store")]
        {
            let site = Site::prepare();
            let _camera = site.plug_camera_in();
            let fault = format!("{point}=panic(a test)");
            let (mut daemon, _watchdog) = Watchdog::start_with(&site, &[(FAILPOINTS, &fault)]);
            if point == "enrolment.written" {
                let photo = photo_path("person_a_2.jpg");
                assert_ne!(site.enroll("W001", "刘峰", ID_A, &photo).code, 0);
            }
            assert_eq!(ended(&mut daemon).code(), Some(1));
            assert!(site.log().contains(said), "{point}");
        }
    }
}
