//! A gate as at a site. The daemon, the camera, the relay board, the broker and the platform are
//! real processes or devices. Each test has its own gate in its own folder and leaves nothing
//! behind.

pub mod broker;
pub mod camera;
pub mod capture;
pub mod configuration;
pub mod consumer;
pub mod desk;
pub mod disk;
pub mod face_terminal;
pub mod film;
pub mod lanes;
pub mod nats;
pub mod past;
pub mod pki;
pub mod port;
pub mod process;
pub mod reader;
pub mod relay;
pub mod rtsp;
pub mod shim;
pub mod shipped;
pub mod slave;
pub mod strict;
pub mod wall;

use std::{
    fs::File,
    io::Read,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

pub use self::{
    broker::{Broker, Subscriber, until},
    camera::{Camera, photo, photo_path},
    configuration::{Configuration, Lane},
    process::ends_with_test,
    slave::Slave,
    wall::WallClock,
};

/// Timeout of a first visit without a release. It doubles with each further visit, because the
/// machine may be busy.
const COMES_UP: Duration = Duration::from_secs(3);
/// Time without a sighting after which the next sighting begins another visit.
const STEPS_ASIDE: Duration = Duration::from_secs(2);
const STARTED_WITHIN: Duration = Duration::from_secs(180);

/// Returns the program under test. `cross/test` sets the variable to a program for ARM.
pub fn program() -> std::ffi::OsString {
    let built = || env!("CARGO_BIN_EXE_gatehouse").into();
    std::env::var_os("GATEHOUSE_TEST_PROGRAM").unwrap_or_else(built)
}

/// The result of a command.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Asserts that the command succeeded, and returns its output lines as JSON.
    pub fn json_lines(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{self:?}");
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts that the command failed with this text in its message.
    pub fn refused(&self, expected: &str) {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.err.contains(expected), "{self:?} lacks {expected:?}");
        assert_eq!(self.out, "", "{self:?}");
    }
}

/// The daemon's process. Dropping this value ends it.
pub struct Daemon(pub Child);

impl Daemon {
    /// Kills the daemon, as a power cut would.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Stops the daemon, as systemd does.
    pub fn stop(mut self) {
        // SAFETY: no memory is involved; the process is ours and not yet waited for.
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) }, 0);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder with a configuration and all files that it names.
pub struct Site {
    pub broker: Broker,
    dir: TempDir,
    configuration: Mutex<Configuration>,
}

impl Site {
    /// Prepares the usual lane and one upstream. The camera, the board and the broker do not exist
    /// yet.
    pub fn prepare() -> Site {
        Site::of(Lane::north())
    }

    /// As `prepare`, with this lane.
    pub fn of(lane: Lane) -> Site {
        Site::with(|configuration| configuration.lane(lane))
    }

    /// Prepares one upstream and no lane.
    pub fn without_lanes() -> Site {
        Site::with(|configuration| configuration)
    }

    /// Prepares one upstream and the additions of `add`.
    pub fn with(add: impl FnOnce(Configuration) -> Configuration) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::new(&dir.path().join("broker"));
        let configuration = Configuration::new(&broker.address());
        let site = Site { broker, dir, configuration: configuration.into() };
        site.configure(add);
        site
    }

    pub fn configuration(&self) -> Configuration {
        self.configuration.lock().unwrap().clone()
    }

    pub fn configure(&self, change: impl FnOnce(Configuration) -> Configuration) {
        let changed = change(self.configuration());
        changed.write(&self.path("gatehouse.toml"));
        *self.configuration.lock().unwrap() = changed;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn plug_camera_in(&self) -> Camera {
        Camera::plug_in(&self.path("camera"))
    }

    /// Connects a relay board to the configured port.
    pub fn plug_board_in(&self) -> Slave {
        let mut slave = Slave::start(&[]);
        slave.plug_in(&self.path("tty"));
        slave
    }

    /// Starts the daemon and waits until it reports to systemd that it is ready.
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// As `start`, with additional environment variables.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Daemon {
        let notify = self.path("notify");
        let _ = std::fs::remove_file(&notify);
        let systemd = UnixDatagram::bind(&notify).unwrap();
        systemd.set_read_timeout(Some(STARTED_WITHIN)).unwrap();
        let daemon = self.spawn(environment);
        let mut word = [0; 256];
        let length = systemd.recv(&mut word).unwrap_or_else(|e| {
            panic!("the daemon does not say that it is ready: {e}\n{}", self.log())
        });
        assert_eq!(&word[..length], b"READY=1\n", "{}", self.log());
        daemon
    }

    /// Starts the daemon without waiting.
    pub fn spawn(&self, environment: &[(&str, &str)]) -> Daemon {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut daemon = Command::new(program());
        daemon
            .arg("--config")
            .arg(self.path("gatehouse.toml"))
            .arg("run")
            .env("NOTIFY_SOCKET", self.path("notify"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(log);
        Daemon(ends_with_test(&mut daemon).spawn().unwrap())
    }

    /// Returns the log of all daemons of this site.
    pub fn log(&self) -> String {
        let mut log = String::new();
        File::open(self.path("log")).unwrap().read_to_string(&mut log).unwrap();
        log
    }

    /// Runs a command of the program beside the daemon.
    pub fn gatehouse<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Said {
        let output = Command::new(program())
            .args(arguments)
            .env("GATEHOUSE_CONFIG", self.path("gatehouse.toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn enroll(&self, id: &str, name: &str, id_number: &str, photo: &Path) -> Said {
        let photo = photo.to_str().unwrap();
        self.enroll_with(id, name, id_number, &["--consent", "C-1", "--photo", photo])
    }

    /// Enrolls a worker with these further arguments.
    pub fn enroll_with(&self, id: &str, name: &str, id_number: &str, more: &[&str]) -> Said {
        let worker = [
            "worker",
            "enroll",
            "--id",
            id,
            "--name",
            name,
            "--id-number",
            id_number,
            "--team",
            "钢筋一班",
            "--contractor",
            "Fuding Labour Co",
            "--trade",
            "steel fixer",
        ];
        self.gatehouse(&[&worker, more].concat())
    }

    pub fn status(&self) -> Value {
        self.gatehouse(&["--json", "status"]).json_lines().remove(0)
    }

    /// Polls the status until this condition holds, and returns it.
    pub fn status_when(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            assert!(
                begun.elapsed() < broker::SOON,
                "waited {:?} for {what}; the last status: {status:#}",
                broker::SOON
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the first lane's turnstile is connected. Before that, no arm is released.
    pub fn turnstile_connected(&self) -> Value {
        self.status_when("the turnstile", |s| s["lanes"][0]["turnstile"]["connected"] == true)
    }

    /// Waits until nothing is degraded and all records are acknowledged. A broker that stops now
    /// misses nothing.
    pub fn settled(&self, platform: &mut Subscriber) {
        let well = |s: &Value| Self::degraded(s).is_empty() && Self::outbox(s) == 0;
        self.status_when("a healthy gate", well);
        self.broker.flush(platform);
    }

    /// Returns the number of records that wait for the platform.
    pub fn outbox(status: &Value) -> u64 {
        status["upstreams"][0]["outbox"].as_u64().unwrap()
    }

    /// Returns the subjects that the status shows as degraded.
    pub fn degraded(status: &Value) -> Vec<&str> {
        // The clock of the test machine may be unsynchronised, and a build may keep its disk busy.
        // Neither is a fault of the program.
        let told = |d: &&Value| {
            let remedy = d["remedy"].as_str().unwrap();
            d["what"] != "clock" && !remedy.starts_with("a commit to ")
        };
        let all = status["degraded"].as_array().unwrap().iter().filter(told);
        all.map(|d| d["what"].as_str().unwrap()).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() && self.path("log").exists() {
            let log = self.log();
            // Trace lines are for tests that count them.
            let told = log.lines().filter(|line| !line.contains(" TRACE "));
            eprintln!("the daemon's log:\n{}", told.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// A site with all devices connected and the daemon running.
pub struct Gate {
    // Fields are dropped in this order.
    pub daemon: Option<Daemon>,
    pub platform: Subscriber,
    pub camera: Camera,
    pub board: Slave,
    pub site: Site,
}

impl Gate {
    /// Starts the usual lane, with these variables in the daemon's environment.
    pub fn start(environment: &[(&str, &str)]) -> Gate {
        Gate::at(Site::prepare(), environment)
    }

    pub fn at(mut site: Site, environment: &[(&str, &str)]) -> Gate {
        site.broker.start();
        let platform = site.broker.subscriber();
        let (camera, board) = (site.plug_camera_in(), site.plug_board_in());
        let daemon = Some(site.start_with(environment));
        let gate = Gate { daemon, platform, camera, board, site };
        // Records of the past may be over, which is no fault of a part.
        let well = |s: &Value| Site::degraded(s).iter().all(|what| *what == "deletion");
        gate.site.status_when("a healthy gate", well);
        gate
    }

    /// Starts the daemon again, and waits until an arm can be released.
    pub fn restart(&mut self, environment: &[(&str, &str)]) {
        self.daemon = Some(self.site.start_with(environment));
        self.site.turnstile_connected();
    }

    /// Shows a worker to the camera. The worker gets a release and walks.
    pub fn pass(&mut self, photo_name: &str) {
        self.camera.show(photo(photo_name));
        assert_eq!(self.board.line(), "coil 0 on");
        self.camera.show_empty();
        walk(&self.site, &mut self.board);
    }
}

impl Gate {
    /// As [`pass`](Self::pass), for a worker who may have passed just now. A worker who stays
    /// before the camera gets no second release, so the worker steps aside and comes back.
    pub fn pass_again(&mut self, photo_name: &str) {
        self.pass_again_as(&photo(photo_name));
    }

    /// As [`pass_again`](Self::pass_again), with the camera's frame.
    pub fn pass_again_as(&mut self, frame: &[u8]) {
        let mut timeout = COMES_UP;
        until("the arm to be released", || {
            self.camera.show(frame.to_vec());
            let released = self.board.line_within(timeout);
            self.camera.show_empty();
            if released.is_none() {
                std::thread::sleep(STEPS_ASIDE);
                timeout *= 2;
            }
            released.map(|line| assert_eq!(line, "coil 0 on"))
        });
        walk(&self.site, &mut self.board);
    }
}

/// Moves the sensors as a worker who walks through the released arm.
pub fn walk(site: &Site, board: &mut Slave) {
    let passages = |s: &Value| s["lanes"][0]["turnstile"]["passages"].as_u64().unwrap();
    let before = passages(&site.status());
    let mut said = board.command("input 0 on");
    site.status_when("the passage to be seen", |s| passages(s) > before);
    said.extend(board.command("input 0 off"));
    if said.is_empty() {
        said.push(board.line());
    }
    assert_eq!(said, ["coil 0 off"]);
}
