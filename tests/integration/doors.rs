//! Fair doors: no crowd at the control socket, and no flood of commands, keeps others out.

use std::{
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::common::{Broker, Gate, Site, broker::free_port, ends_with_test, photo_path};
use serde_json::{Value, json};

const ID_A: &str = "522201199003074411";
/// The user `nobody` and the group `nogroup` of Debian.
const NOBODY: u32 = 65534;

/// Opens 16 connections. Prints the number of those that the daemon serves, and keeps them. `trickle`
/// announces a photo on each and sends it byte by byte.
const CROWD: &str = r#"
import json, socket, struct, sys, time
path, mode = sys.argv[1:]
def frame(s, kind, body):
    s.sendall(struct.pack(">I", len(body) + 1) + bytes([kind]) + body)
def answer(s):
    n = struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))[0]
    return json.loads(s.recv(n, socket.MSG_WAITALL)[1:])
worker = {"verb": "enroll", "id": "W9", "name": "x", "id_number": "E12345678", "id_type": "passport",
          "team": "x", "contractor": "x", "trade": "x", "terms": {"consent": "C-1"},
          "photos": [{"name": "p.jpg", "bytes": 1000000}]}
held = []
for _ in range(16):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    try:
        frame(s, 0, json.dumps(worker if mode == "trickle" else {"verb": "status"}).encode())
    except BrokenPipeError:
        pass
    said = answer(s)
    if said.get("error", {}).get("code") != "busy":
        held.append(s)
    else:
        assert "connections to the daemon already" in said["error"]["message"], said
print("held", len(held), flush=True)
while True:
    for s in list(held):
        try:
            if mode == "trickle":
                frame(s, 1, b"x")
        except OSError:
            held.remove(s)
    time.sleep(0.2)
"#;

/// The connections of another user. Dropping this value ends them.
struct Crowd {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Crowd {
    fn start(site: &Site, mode: &str) -> Crowd {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", CROWD, site.path("control.sock").to_str().unwrap(), mode]);
        command.uid(NOBODY).gid(NOBODY).stdout(Stdio::piped());
        let mut child = ends_with_test(&mut command).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Crowd { child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a gate whose socket `nobody` may use. Returns `None` where the tests have only one user.
fn gate_with_two_users(admins: bool) -> Option<Gate> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("this test needs root, to be two users");
        return None;
    }
    let site = Site::prepare();
    std::fs::set_permissions(site.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    site.configure(|c| c.set("control", "group", "nogroup"));
    if !admins {
        site.configure(|c| c.set("roster", "admin_group", "adm"));
    }
    Some(Gate::at(site, &[]))
}

#[test]
fn sixteen_connections_of_a_user_who_may_only_look_do_not_delay_a_release() {
    let Some(mut gate) = gate_with_two_users(false) else { return };
    let mut crowd = Crowd::start(&gate.site, "look");
    assert_eq!(crowd.line(), "held 6");
    let release = ["lane", "release", "north", "--direction", "entry", "--reason", "a visitor"];
    let said = std::thread::scope(|scope| {
        let said = scope.spawn(|| gate.site.gatehouse(&release));
        assert_eq!(gate.board.line(), "coil 0 on");
        crate::common::walk(&gate.site, &mut gate.board);
        said.join().unwrap()
    });
    assert_eq!(said.code, 0, "{said:?}");
}

/// Returns the local addresses of a process's sockets that any peer may reach: those that listen
/// (TCP), or have no peer (UDP). An address is as in `/proc/net/tcp`.
fn open_ports(pid: u32) -> Vec<String> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    let of_process: Vec<_> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    let tables = [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")];
    let open = tables.into_iter().flat_map(|(table, state)| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let rows = text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned));
        rows.map(Vec::from_iter)
            .filter(|row| row[3] == state)
            .filter(|row| of_process.contains(&format!("socket:[{}]", row[9])))
            .map(|row| row[1].clone())
            .collect::<Vec<_>>()
    });
    open.collect()
}

#[test]
fn no_port_is_open_to_the_network() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("this test needs root, to see the sockets of the daemon");
    }
    let site = Site::prepare();
    let metrics = free_port();
    site.configure(|c| c.set("metrics", "listen", format!("127.0.0.1:{metrics}")));
    let gate = Gate::at(site, &[]);
    let pid = gate.daemon.as_ref().unwrap().0.id();
    // 127.0.0.1, in the order of a small-endian machine or a big-endian one.
    let address = format!("{:08X}:{metrics:04X}", u32::from_ne_bytes([127, 0, 0, 1]));
    assert_eq!(open_ports(pid), [address]);
}

#[test]
fn a_photo_that_is_trickled_byte_by_byte_holds_no_place_of_others() {
    let Some(gate) = gate_with_two_users(true) else { return };
    let mut crowd = Crowd::start(&gate.site, "trickle");
    assert_eq!(crowd.line(), "held 6");
    let photo = photo_path("person_a_2.jpg");
    let said = gate.site.enroll("W001", "刘峰", ID_A, &photo);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(Site::degraded(&gate.site.status()).is_empty());
}

#[test]
fn a_flood_of_commands_over_one_link_leaves_the_other_links_commands_their_turn() {
    let mut site = Site::prepare();
    let mut other = Broker::new(&site.path("other"));
    site.configure(|c| c.upstream("other", &other.address()));
    other.start();
    site.broker.start();
    let _camera = site.plug_camera_in();
    let _board = site.plug_board_in();
    let daemon = site.start();
    let mut ear = other.subscriber();
    site.status_when("both links", |s| {
        s["upstreams"].as_array().unwrap().iter().all(|u| u["connected"] == true)
    });
    let topic = "gatehouse/v1/P-1/gate-1/command";
    let command = |id: &str| {
        let now = jiff::Timestamp::now();
        let (issued_at, expires_at) =
            (now.to_string(), (now + jiff::Span::new().hours(1)).to_string());
        json!({
            "id": id, "verb": "roster.digest", "issued_at": issued_at, "expires_at": expires_at,
            "args": {},
        })
        .to_string()
    };
    // Hundreds of commands at once, again and again.
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut sent = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let lines: Vec<String> =
                    (0..200).map(|n| command(&format!("f-{}", sent + n))).collect();
                flooded(site.broker.port, topic, &lines);
                sent += 200;
            }
        });
        for n in 0..20 {
            let id = format!("c-{n}");
            other.publish(topic, command(&id).as_bytes());
            let reply: Value = loop {
                let message = ear.next();
                if message.leaf() == "reply" && message.json["id"] == *id {
                    break message.json;
                }
            };
            assert_eq!(reply["ok"], true, "{reply}");
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        flood.join().unwrap();
    });
    let status = site.status();
    assert!(status["upstreams"][0]["commands"].as_u64().unwrap() > 0, "{status:#}");
    daemon.stop();
}

/// Publishes each line as a message, over one connection.
fn flooded(port: u16, topic: &str, lines: &[String]) {
    use std::io::Write;
    let mut client = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "0", "-t", topic, "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    assert!(client.wait().unwrap().success());
}
