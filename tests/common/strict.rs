//! A broker whose CONNACK and behaviour are set by options. What it takes is the platform's: the
//! messages on its topics, in the order of arrival. With `acks` the platform acknowledges them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;

use super::until;

/// How the broker forbids something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a reason code of MQTT 5 in PUBACK or SUBACK.
    Code(u8),
    /// By DISCONNECT with this reason code of MQTT 5.
    Disconnect(u8),
    /// It closes the connection without a word.
    HangUp,
    /// It acknowledges and drops the message.
    Silent,
}

pub const NOT_AUTHORISED: u8 = 0x87;
pub const RETAIN_NOT_SUPPORTED: u8 = 0x9A;

#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// It refuses MQTT 5, as a nats-server of 2.10 does.
    pub only_3_1_1: bool,
    /// It hangs up at this number of CONNECTs.
    pub hang_ups: usize,
    /// Retain Available 0, and how it answers a retained message.
    pub no_retain: Option<Way>,
    /// How it answers a CONNECT with a will.
    pub no_will: Option<Way>,
    /// Last parts of topics that it forbids; `SUBSCRIBE` is every subscription.
    pub forbids: Vec<(&'static str, Way)>,
    pub max_qos_0: bool,
    pub max_packet: Option<u32>,
    pub receive_max: Option<u16>,
    pub keep_alive_s: Option<u16>,
    /// It drops the connection at each such publish, before its PUBACK.
    pub drops_each: Option<usize>,
    /// It hangs up over the records of passages with these seqs, and takes stubs of them.
    pub hangs_up_over: BTreeSet<u64>,
    /// The platform acknowledges what it has.
    pub acks: bool,
}

pub const SUBSCRIBE: &str = "SUBSCRIBE";

/// A message that the broker took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub leaf: String,
    pub retained: bool,
    pub qos: u8,
    pub json: Value,
}

/// What the platform has of a seq.
#[derive(Clone, Debug)]
pub struct Record {
    pub leaf: String,
    /// Where only a stub came.
    pub withheld: bool,
    /// The topic's last part.
    pub on: String,
}

#[derive(Default)]
pub struct Platform {
    /// Messages other than records, and the records if they are few.
    pub taken: Vec<Taken>,
    pub records: BTreeMap<u64, Record>,
    pub ledger: String,
    /// Number of messages with a seq.
    pub arrivals: usize,
    /// The seq up to which something came of each.
    pub upto: u64,
    /// Versions of the CONNECTs, and whether they had a will.
    pub connects: Vec<(u8, bool)>,
    pub pings: usize,
    /// Things that no client may do.
    pub faults: Vec<String>,
}

impl Platform {
    pub fn stubs(&self) -> BTreeSet<u64> {
        self.records.iter().filter(|(_, r)| r.withheld).map(|(seq, _)| *seq).collect()
    }

    pub fn last(&self, leaf: &str) -> Option<&Taken> {
        self.taken.iter().rfind(|taken| taken.leaf == leaf)
    }
}

/// The broker. It listens until the test's process ends.
#[derive(Clone)]
pub struct Strict {
    pub port: u16,
    habits: Arc<Mutex<Habits>>,
    platform: Arc<Mutex<Platform>>,
    publishes: Arc<AtomicUsize>,
    /// Counts the changes of habits. A connection from before a change ends.
    epoch: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Strict {
    pub fn start(habits: Habits) -> Strict {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = Strict {
            port: listener.local_addr().unwrap().port(),
            habits: Arc::new(Mutex::new(habits)),
            platform: Arc::default(),
            publishes: Arc::default(),
            epoch: Arc::default(),
            open: Arc::default(),
        };
        let accepting = broker.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepting.open.lock().unwrap().push(stream.try_clone().unwrap());
                let broker = accepting.clone();
                std::thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let habits = broker.habits.lock().unwrap().clone();
                    let to = stream.try_clone().unwrap();
                    let (version, acknowledged, prefix) = (4, 0, String::new());
                    let subscribed = BTreeSet::new();
                    let mut session =
                        Session { broker, habits, to, version, acknowledged, prefix, subscribed };
                    // The end of a connection is as good as an error.
                    let _ = session.serve(stream);
                    let _ = session.to.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        broker
    }

    pub fn address(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Changes the habits, and closes all connections.
    pub fn change(&self, habits: Habits) {
        *self.habits.lock().unwrap() = habits;
        self.epoch.fetch_add(1, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    pub fn with<T>(&self, look: impl FnOnce(&Platform) -> T) -> T {
        look(&self.platform.lock().unwrap())
    }

    /// Waits until this holds of the platform.
    pub fn when<T>(&self, what: &str, look: impl Fn(&Platform) -> Option<T>) -> T {
        until(what, || self.with(&look))
    }
}

struct Session {
    broker: Strict,
    habits: Habits,
    to: TcpStream,
    version: u8,
    /// The last seq that this session has acknowledged.
    acknowledged: u64,
    /// The topics before their last part.
    prefix: String,
    subscribed: BTreeSet<String>,
}

/// The connection ends here.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Over {
        Over
    }
}

fn text(rest: &[u8], at: &mut usize) -> String {
    let length = usize::from(u16::from_be_bytes([rest[*at], rest[*at + 1]]));
    let text = String::from_utf8(rest[*at + 2..*at + 2 + length].to_vec()).unwrap();
    *at += 2 + length;
    text
}

/// Skips properties, which are shorter than 128 bytes here.
fn properties(rest: &[u8], at: &mut usize) {
    assert!(rest[*at] < 0x80);
    *at += 1 + usize::from(rest[*at]);
}

impl Session {
    fn send(&mut self, kind: u8, rest: &[u8]) -> Result<(), Over> {
        let mut packet = vec![kind];
        let mut length = rest.len();
        while length > 0x7F {
            packet.push((length & 0x7F) as u8 | 0x80);
            length >>= 7;
        }
        packet.push(length as u8);
        packet.extend(rest);
        Ok(self.to.write_all(&packet)?)
    }

    /// Ends the connection this way. Code and Silent do not end it.
    fn end(&mut self, way: Way) -> Result<(), Over> {
        match way {
            Way::Disconnect(code) if self.version == 5 => {
                self.send(0xE0, &[code, 0])?;
                Err(Over)
            }
            Way::Disconnect(_) | Way::HangUp => Err(Over),
            Way::Code(_) | Way::Silent => Ok(()),
        }
    }

    fn serve(&mut self, stream: TcpStream) -> Result<(), Over> {
        let mut from = BufReader::new(stream);
        loop {
            let mut byte = [0];
            from.read_exact(&mut byte)?;
            let kind = byte[0];
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                from.read_exact(&mut byte)?;
                length |= usize::from(byte[0] & 0x7F) << shift;
                shift += 7;
                if byte[0] & 0x80 == 0 {
                    break;
                }
            }
            let mut rest = vec![0; length];
            from.read_exact(&mut rest)?;
            let size = 1 + shift / 7 + length;
            if self.habits.max_packet.is_some_and(|most| size > most as usize) && self.version == 5
            {
                self.fault(format!("a packet of {size} bytes"));
                return self.end(Way::Disconnect(0x95));
            }
            match kind >> 4 {
                1 => self.connect(&rest)?,
                3 => self.publish(kind, &rest)?,
                8 => self.subscribe(&rest)?,
                12 => {
                    self.broker.platform.lock().unwrap().pings += 1;
                    self.send(0xD0, &[])?;
                }
                14 => return Ok(()),
                _ => {}
            }
            if self.habits.acks && !self.prefix.is_empty() && from.buffer().is_empty() {
                self.acknowledge()?;
            }
        }
    }

    fn fault(&self, what: String) {
        self.broker.platform.lock().unwrap().faults.push(what);
    }

    fn refuse(&mut self, v3: u8, v5: u8) -> Result<(), Over> {
        match self.version {
            5 => self.send(0x20, &[0, v5, 0])?,
            _ => self.send(0x20, &[0, v3])?,
        }
        Err(Over)
    }

    fn connect(&mut self, rest: &[u8]) -> Result<(), Over> {
        self.version = rest[6];
        let flags = rest[7];
        let will = flags & 4 != 0;
        let id_at = if self.version == 5 { 11 + usize::from(rest[10]) } else { 10 };
        let mut at = id_at;
        let id = text(rest, &mut at);
        if !id.ends_with("-check") {
            self.broker.platform.lock().unwrap().connects.push((self.version, will));
        }
        let mut habits = self.broker.habits.lock().unwrap();
        if habits.hang_ups > 0 {
            habits.hang_ups -= 1;
            return Err(Over);
        }
        drop(habits);
        if self.habits.only_3_1_1 && self.version == 5 {
            // In the form of 3.1.1, which such a broker speaks.
            self.send(0x20, &[0, 1])?;
            return Err(Over);
        }
        if let Some(way) = self.habits.no_will.filter(|_| will) {
            return match way {
                Way::Code(code) => self.refuse(5, code),
                way => self.end(way).and(Err(Over)),
            };
        }
        if let Some(way) = self.habits.no_retain.filter(|_| will && flags & 0x20 != 0) {
            return match way {
                Way::Code(_) => self.refuse(5, RETAIN_NOT_SUPPORTED),
                way => self.end(way).and(Err(Over)),
            };
        }
        if self.habits.max_qos_0 && self.version == 5 && will && flags & 0x18 != 0 {
            return self.refuse(5, 0x9B);
        }
        if self.version != 5 {
            return self.send(0x20, &[0, 0]);
        }
        let mut says = Vec::new();
        if let Some(n) = self.habits.receive_max {
            says.push(0x21);
            says.extend(n.to_be_bytes());
        }
        if self.habits.max_qos_0 {
            says.extend([0x24, 0]);
        }
        if matches!(self.habits.no_retain, Some(Way::Code(_))) {
            says.extend([0x25, 0]);
        }
        if let Some(bytes) = self.habits.max_packet {
            says.push(0x27);
            says.extend(bytes.to_be_bytes());
        }
        if let Some(seconds) = self.habits.keep_alive_s {
            says.push(0x13);
            says.extend(seconds.to_be_bytes());
            // The client has 1.5 times as long (MQTT 5, 3.1.2.10).
            let most = std::time::Duration::from_millis(u64::from(seconds) * 1500);
            self.to.set_read_timeout(Some(most)).unwrap();
        }
        let mut answer = vec![0, 0, says.len() as u8];
        answer.extend(says);
        self.send(0x20, &answer)
    }

    fn subscribe(&mut self, rest: &[u8]) -> Result<(), Over> {
        let id = [rest[0], rest[1]];
        let forbidden = self.habits.forbids.iter().find(|(leaf, _)| *leaf == SUBSCRIBE);
        let mut granted = u8::from(!self.habits.max_qos_0);
        if let Some((_, way)) = forbidden.copied() {
            self.end(way)?;
            granted = if self.version == 5 { NOT_AUTHORISED } else { 0x80 };
        }
        let mut at = 2 + usize::from(self.version == 5);
        self.subscribed.insert(text(rest, &mut at));
        let properties: &[u8] = if self.version == 5 { &[0] } else { &[] };
        self.send(0x90, &[&id[..], properties, &[granted]].concat())
    }

    fn publish(&mut self, kind: u8, rest: &[u8]) -> Result<(), Over> {
        let (qos, retained) = ((kind >> 1) & 3, kind & 1 != 0);
        let mut at = 0;
        let topic = text(rest, &mut at);
        let leaf = topic.rsplit('/').next().unwrap().to_owned();
        let id = [rest[at], rest[at + 1]];
        at += if qos > 0 { 2 } else { 0 };
        if self.version == 5 {
            properties(rest, &mut at);
        }
        if qos > 0 && self.habits.max_qos_0 && self.version == 5 {
            self.fault(format!("QoS {qos} on {leaf}"));
            return self.end(Way::Disconnect(0x9B));
        }
        if let Some(way) = self.habits.no_retain.filter(|_| retained) {
            return match way {
                Way::Code(_) => self.end(Way::Disconnect(RETAIN_NOT_SUPPORTED)),
                way => self.end(way),
            };
        }
        let way = self.habits.forbids.iter().find(|(forbidden, _)| *forbidden == leaf);
        let way = way.map(|(_, way)| *way);
        if let Some(way) = way {
            self.end(way)?;
        }
        if !self.habits.hangs_up_over.is_empty() {
            let json: Value = serde_json::from_slice(&rest[at..]).unwrap_or_default();
            let is_record = leaf == "attendance" && json["withheld"].is_null();
            let hated =
                json["seq"].as_u64().is_some_and(|s| self.habits.hangs_up_over.contains(&s));
            if is_record && hated {
                return Err(Over);
            }
        }
        if let Some(each) = self.habits.drops_each {
            let n = self.broker.publishes.fetch_add(1, Ordering::SeqCst) + 1;
            if n.is_multiple_of(each) {
                return Err(Over);
            }
        }
        let code = match way {
            Some(Way::Code(code)) if self.version == 5 => code,
            Some(_) => 0,
            None => {
                self.take(leaf, retained, qos, &rest[at..]);
                0
            }
        };
        if qos > 0 {
            match code {
                0 => self.send(0x40, &id)?,
                code => self.send(0x40, &[id[0], id[1], code, 0])?,
            }
        }
        if way.is_none() && self.subscribed.contains(&topic) {
            let properties: &[u8] = if self.version == 5 { &[0] } else { &[] };
            let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
            let head = [&length, topic.as_bytes(), properties].concat();
            self.send(0x30, &[&head, &rest[at..]].concat())?;
        }
        self.prefix = topic.rsplit_once('/').unwrap().0.to_owned();
        Ok(())
    }

    fn take(&self, leaf: String, retained: bool, qos: u8, payload: &[u8]) {
        let json: Value = serde_json::from_slice(payload).unwrap();
        let mut platform = self.broker.platform.lock().unwrap();
        if let Some(seq) = json["seq"].as_u64() {
            platform.arrivals += 1;
            platform.ledger = json["ledger"].as_str().unwrap().to_owned();
            let withheld = !json["withheld"].is_null();
            let hash = json["leaf"]["hash"].as_str().unwrap().to_owned();
            let record = Record { leaf: hash, withheld, on: leaf.clone() };
            let before = platform.records.get(&seq);
            // A stub does not replace the record, and the leaf stays the same.
            if before.is_none_or(|before| before.withheld) {
                if before.is_some_and(|before| before.leaf != record.leaf) {
                    platform.faults.push(format!("seq {seq} has two leaves"));
                }
                platform.records.insert(seq, record);
            }
            while platform.records.contains_key(&(platform.upto + 1)) {
                platform.upto += 1;
            }
        }
        if platform.taken.len() < 10_000 {
            platform.taken.push(Taken { leaf, retained, qos, json });
        }
    }

    /// Publishes on `ack` up to which seq the platform has everything.
    fn acknowledge(&mut self) -> Result<(), Over> {
        let (upto, ledger) = self.broker.with(|p| (p.upto, p.ledger.clone()));
        if upto <= self.acknowledged {
            return Ok(());
        }
        self.acknowledged = upto;
        let topic = format!("{}/ack", self.prefix);
        let mut rest = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        rest.extend(topic.as_bytes());
        if self.version == 5 {
            rest.push(0);
        }
        rest.extend(format!(r#"{{"ledger":"{ledger}","upto":{upto}}}"#).as_bytes());
        // QoS 0, so that it needs no packet id.
        self.send(0x30, &rest)
    }
}
