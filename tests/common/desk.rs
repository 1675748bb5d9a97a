//! The daemon inside the test's process. The test decides whether its clock is synchronised, and
//! hands it commands as a link would. Dropping it stops the daemon.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gatehouse::{
    attendance::Origin,
    clock::{Clock, Monotonic, Stamp, SystemClock},
    commands,
    config::{Ack, Config, Upstream},
    daemon::{self, Running},
    memory::Held,
    uplink::{
        Incoming,
        authority::{Authority, Signer},
        profiles::native::{Encoding, Keys, Native},
    },
};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{Configuration, Lane};

const SOON: Duration = Duration::from_secs(180);

/// The kernel's clock; the test sets whether it counts as synchronised.
struct Trusted(SystemClock, AtomicBool);

impl Clock for Trusted {
    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }

    fn stamp(&self) -> Stamp {
        Stamp { synced: self.1.load(Ordering::Relaxed), ..self.0.stamp() }
    }
}

pub struct Desk {
    clock: Arc<Trusted>,
    up: Option<(Running, mpsc::Sender<Incoming>, CancellationToken)>,
    pub remote_release: bool,
    /// The keys of the upstream's table.
    pub upstream: String,
    signer: Option<Signer>,
    runtime: Runtime,
    dir: TempDir,
}

impl Desk {
    /// Starts a daemon with one lane and a link whose broker does not exist. The simulated
    /// turnstile reports a passage soon after each release.
    pub fn start() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let lane = Lane::simulated("north").turnstile("pass_after_ms", 100);
        let lane = lane.camera("entry", "replay:camera");
        let configuration = Configuration::new("mqtt://127.0.0.1:1").bench().lane(lane);
        configuration.write(&dir.path().join("gatehouse.toml"));
        let runtime = Runtime::new().unwrap();
        let clock = Arc::new(Trusted(SystemClock::new().unwrap(), AtomicBool::new(true)));
        let upstream = "broker = \"mqtt://127.0.0.1:1\"\ncommands = \"all\"".to_owned();
        let (up, signer) = (None, None);
        let mut desk = Desk { clock, up, remote_release: false, upstream, signer, runtime, dir };
        desk.begin();
        desk
    }

    fn begin(&mut self) {
        let config = Config::load(&self.dir.path().join("gatehouse.toml")).unwrap();
        let clock = self.clock.clone();
        self.up = Some(self.runtime.block_on(async {
            let running = daemon::start(&config, clock).await.unwrap();
            let mut turnstile = running.services.lanes[0].turnstile.clone();
            let connected = turnstile.wait_for(|t| t.connected);
            tokio::time::timeout(SOON, connected).await.expect("in time").unwrap();
            let (commands, incoming) = mpsc::channel(gatehouse::uplink::COMMANDS);
            let cancel = CancellationToken::new();
            let services = running.services.clone();
            tokio::spawn(commands::run(services, vec![incoming], cancel.clone()));
            (running, commands, cancel)
        }));
    }

    /// Stops the daemon, runs this SQL on its database, and starts it again.
    pub fn restart_with(&mut self, sql: &str) {
        let (running, _, cancel) = self.up.take().unwrap();
        cancel.cancel();
        self.runtime.block_on(running.shutdown()).unwrap();
        let database = Connection::open(self.dir.path().join("data/gatehouse.db")).unwrap();
        database.execute_batch(sql).unwrap();
        drop(database);
        self.begin();
    }

    pub fn synchronised(&self, synced: bool) {
        self.clock.1.store(synced, Ordering::Relaxed);
    }

    /// Hands a payload to the daemon. The returned receiver gets the reply.
    pub fn hand_over(&self, encoding: Encoding, payload: Vec<u8>) -> oneshot::Receiver<Vec<u8>> {
        let (answer, reply) = oneshot::channel();
        let upstream = "platform".to_owned();
        let received = self.clock.monotonic();
        let keys = Keys { encoding, remote_release: self.remote_release };
        let timezone = jiff::tz::TimeZone::UTC;
        let origin = Origin { gateway: "g".into(), project: "p".into(), timezone };
        let profile = Arc::new(Native::speaking(keys, Ack::Broker, &origin));
        let configured: Upstream = toml::from_str(&self.upstream).unwrap();
        let (authority, problem) = Authority::load(&configured, &origin);
        assert_eq!(problem, None);
        let (authority, held) = (Arc::new(authority), Held::default());
        let incoming = Incoming { upstream, profile, authority, payload, held, received, answer };
        let (_, commands, _) = self.up.as_ref().unwrap();
        self.runtime.block_on(commands.send(incoming)).map_err(drop).unwrap();
        reply
    }

    pub fn reply(&self, reply: oneshot::Receiver<Vec<u8>>) -> Vec<u8> {
        let reply = async { tokio::time::timeout(SOON, reply).await };
        self.runtime.block_on(reply).expect("in time").unwrap()
    }

    /// Makes signed commands alone count. From now on commands are signed.
    pub fn sign(&mut self) {
        let key = self.dir.path().join("command-key");
        std::fs::write(&key, "ab".repeat(32)).unwrap();
        self.upstream += &format!("\ncommand_key = \"file:{}\"", key.display());
        self.signer = Some(Signer::new(&"ab".repeat(32), false).unwrap());
    }

    pub fn asks(&self, command: &Value) -> Value {
        let command = match &self.signer {
            Some(signer) => &signed(signer, "p", "g", command),
            None => command,
        };
        let reply = self.hand_over(Encoding::Json, command.to_string().into_bytes());
        serde_json::from_slice(&self.reply(reply)).unwrap()
    }

    /// Asserts that the daemon carries out the command, and returns the result.
    pub fn does(&self, id: &str, verb: &str, args: Value) -> Value {
        let reply = self.asks(&command(id, verb, args));
        assert_eq!((&reply["id"], &reply["ok"]), (&json!(id), &json!(true)), "{reply}");
        reply["result"].clone()
    }

    /// Asserts that the daemon refuses the command with this code, and returns the message.
    pub fn refuses(&self, code: &str, command: &Value) -> String {
        let reply = self.asks(command);
        assert_eq!(
            (&reply["ok"], &reply["error"]["code"]),
            (&json!(false), &json!(code)),
            "{reply}"
        );
        reply["error"]["message"].as_str().unwrap().to_owned()
    }

    /// Returns the number that this SQL expression selects.
    pub fn count(&self, sql: &str) -> u64 {
        let path = self.dir.path().join("data/gatehouse.db");
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        database.query_row(&format!("SELECT {sql}"), [], |row| row.get(0)).unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some((running, _, cancel)) = self.up.take() {
            cancel.cancel();
            let _ = self.runtime.block_on(running.shutdown());
        }
    }
}

/// Returns a command that is issued now and expires in a minute.
pub fn command(id: &str, verb: &str, args: Value) -> Value {
    issued(0, 60, id, verb, args)
}

/// Returns a command that is issued `from` and expires `until`, in seconds from now.
pub fn issued(from: i64, until: i64, id: &str, verb: &str, args: Value) -> Value {
    let at = |seconds: i64| {
        (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
    };
    json!({
        "id": id, "verb": verb, "args": args, "issued_at": at(from), "expires_at": at(until),
    })
}

/// Returns the signed form of a command to a gateway.
pub fn signed(signer: &Signer, project: &str, gateway: &str, command: &Value) -> Value {
    let mut body = command.clone();
    (body["topic"], body["project"], body["gateway"]) =
        ("command".into(), project.into(), gateway.into());
    signer.signed(&body.to_string())
}
