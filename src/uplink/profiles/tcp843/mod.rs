//! The `tcp843` profile: vendor terminals' framed protocol over TCP, as Longminggong (Gansu),
//! Jiangmen and Hengqin speak it.
//!
//! The device that logs in is the direction, so each lane and direction has a session of its own,
//! whose topic is `LANE/DIRECTION`. A record is a command 848. The platform's list of workers
//! (849) gives the numbers under which it knows them. There are no events, no status and no
//! corrections: a passage without a person (`not_passed`) is left out.

mod dialogue;
mod frame;
mod list;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Value, json};

pub use self::list::Listed;
use self::{
    dialogue::{Batch, Code, ListTimes, Numbered, Session, Terms, Whitelist, bcd, padded},
    frame::Bcc,
    list::{Form, Names},
};
use super::{
    Attached, Dialect, Dialogue, Made, Message, Needs, Online, Profile, Sessions, Talk,
    profile::{Envelope, NoCommand, Unmade},
};
use crate::{
    attendance::{EventRecord, Means, Origin, Record, RecordOutcome},
    config::{CommandLevel, Secret, Upstream},
    turnstile::settings::{Checked, Direction, wrong},
    uplink::authority::Authority,
};

/// Maximum number of sessions. A site has a few lanes.
const SESSIONS_MAX: usize = 64;

/// The profile of one upstream.
pub struct Tcp843 {
    origin: Origin,
    form: Form,
    means: MeansTable,
    sessions: Arc<Devices>,
}

/// The keys of `[[upstream]]` that are its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The vendor's code, as the platform's operator gave it.
    vendor_code: Secret,
    /// The devices.
    session: Vec<DeviceKeys>,
    /// The version byte.
    #[serde(default = "one")]
    version_byte: u8,
    /// How the check byte is computed.
    #[serde(default)]
    bcc: Bcc,
    /// Whose session number a connection has.
    #[serde(default = "platform", deserialize_with = "numbered")]
    session_id: Numbered,
    /// The encoding of names in the list.
    #[serde(default)]
    names: Names,
    /// The number of each means of identification.
    #[serde(default)]
    means: MeansTable,
    /// Interval between heartbeats.
    #[serde(default = "heartbeat_s")]
    heartbeat_s: u64,
    /// Timeout for an answer.
    #[serde(default = "answer_s")]
    answer_s: u64,
    /// Which workers are asked for.
    #[serde(default)]
    whitelist: Whitelist,
    /// Interval between two questions for the list.
    #[serde(default = "whitelist_s")]
    whitelist_s: u64,
    /// Words of a refusal that say that the platform has the record already.
    #[serde(default = "repeat_words")]
    repeat_words: Vec<String>,
    /// Words of a refusal that ask for a new login.
    #[serde(default = "later_words")]
    later_words: Vec<String>,
}

/// One device: a lane's direction.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceKeys {
    lane: String,
    direction: Direction,
    device_code: String,
}

/// The number of each means. A record by a means without a number stands aside.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MeansTable {
    face: Option<u8>,
    card: Option<u8>,
    id_card: Option<u8>,
    qr: Option<u8>,
    manual: Option<u8>,
    supplement: Option<u8>,
}

impl Default for MeansTable {
    fn default() -> MeansTable {
        let (qr, manual, supplement) = (None, None, None);
        MeansTable { face: Some(6), card: Some(3), id_card: Some(2), qr, manual, supplement }
    }
}

impl MeansTable {
    fn number(&self, means: Means) -> Option<u8> {
        match means {
            Means::Face => self.face,
            Means::Card => self.card,
            Means::IdCard => self.id_card,
            Means::Qr => self.qr,
            Means::Manual => self.manual,
            Means::Supplement => self.supplement,
            Means::Other => None,
        }
    }
}

fn one() -> u8 {
    1
}

fn platform() -> Numbered {
    Numbered::Platform
}

fn heartbeat_s() -> u64 {
    180
}

fn answer_s() -> u64 {
    60
}

fn whitelist_s() -> u64 {
    3600
}

fn repeat_words() -> Vec<String> {
    vec!["重复".to_owned()]
}

fn later_words() -> Vec<String> {
    ["未登录", "未登陆", "请登录", "系统繁忙"].map(str::to_owned).to_vec()
}

fn numbered<'de, D: Deserializer<'de>>(from: D) -> Result<Numbered, D::Error> {
    let text = String::deserialize(from)?;
    let mut number = [0; 16];
    match text.as_str() {
        "platform" => Ok(Numbered::Platform),
        "random" => Ok(Numbered::Random),
        digits => match hex::decode_to_slice(digits, &mut number) {
            Ok(()) => Ok(Numbered::Given(number)),
            Err(_) => Err(D::Error::custom(
                "must be \"platform\", \"random\", or the 32 hexadecimal digits that the \
                 platform's operator gave",
            )),
        },
    }
}

/// A session's place and device.
struct Device {
    lane: String,
    direction: Direction,
    code: Code,
}

/// The sessions of one upstream.
struct Devices {
    terms: Arc<Terms>,
    vendor: Code,
    devices: Vec<Device>,
    answers_within: Duration,
}

impl Device {
    fn topic(&self) -> String {
        format!("{}/{}", self.lane, self.direction)
    }
}

impl Sessions for Devices {
    fn topics(&self) -> Vec<String> {
        self.devices.iter().map(Device::topic).collect()
    }

    fn session(&self, topic: &str) -> Box<dyn Dialogue> {
        let at = self.devices.iter().position(|device| device.topic() == topic);
        let code = at.and_then(|at| self.devices.get(at)).map_or([0; 32], |device| device.code);
        Box::new(Session::new(self.terms.clone(), &self.vendor, code, at == Some(0)))
    }

    fn answers_within(&self) -> Duration {
        self.answers_within
    }
}

impl Dialect for Tcp843 {
    const WORD: &'static str = "tcp843";
    type Keys = Keys;

    fn new(keys: Keys, upstream: &Upstream, origin: &Origin) -> Checked<Tcp843> {
        if upstream.command_key.is_some() {
            return wrong(
                "command_key",
                "belongs to a platform that signs, which this one cannot: delete it",
            );
        }
        if keys.whitelist != Whitelist::Off && upstream.commands == CommandLevel::None {
            let problem = "\"none\" refuses the platform's list of workers, without which no record \
                           has a number: write \"status\" or \"roster\", or whitelist = \"off\"";
            return wrong("commands", problem);
        }
        if ![1, 3, 5].contains(&keys.version_byte) {
            return wrong("version_byte", "must be 1, 3 or 5");
        }
        for (key, value, most) in [
            ("heartbeat_s", keys.heartbeat_s, 3600),
            ("answer_s", keys.answer_s, 600),
            ("whitelist_s", keys.whitelist_s, 604_800),
        ] {
            if !(1..=most).contains(&value) {
                return wrong(key, format!("must be from 1 to {most} seconds"));
            }
        }
        let vendor = keys.vendor_code.read().map_err(|error| error.to_string());
        let vendor = vendor.or_else(|problem| wrong("vendor_code", problem))?;
        const FORM: &str = "must be 1 to 32 letters, digits and signs of ASCII";
        let Some(vendor) = padded(vendor.trim()) else { return wrong("vendor_code", FORM) };
        let devices = devices(keys.session)?;
        let name = if keys.version_byte == 5 { 50 } else { 10 };
        let form = Form { bcc: keys.bcc, names: keys.names, name };
        let seconds = |s: u64| SignedDuration::from_secs(i64::try_from(s).unwrap_or(i64::MAX));
        let terms = Terms {
            version: keys.version_byte,
            form,
            numbered: keys.session_id,
            heartbeat_s: keys.heartbeat_s,
            whitelist: keys.whitelist,
            list_every: seconds(keys.whitelist_s),
            repeat_words: keys.repeat_words,
            later_words: keys.later_words,
            timezone: origin.timezone.clone(),
            list: Mutex::new(ListTimes::default()),
        };
        let answers_within = Duration::from_secs(keys.answer_s);
        let sessions = Devices { terms: Arc::new(terms), vendor, devices, answers_within };
        let (origin, means) = (origin.clone(), keys.means);
        Ok(Tcp843 { origin, form, means, sessions: Arc::new(sessions) })
    }
}

/// Checks the devices: each lane and direction, and each code, occurs once.
fn devices(keys: Vec<DeviceKeys>) -> Checked<Vec<Device>> {
    if keys.is_empty() || keys.len() > SESSIONS_MAX {
        return wrong("session", format!("must occur 1 to {SESSIONS_MAX} times"));
    }
    let mut devices: Vec<Device> = Vec::new();
    for (n, DeviceKeys { lane, direction, device_code }) in keys.into_iter().enumerate() {
        let at = |key: &str| format!("session[{n}].{key}");
        let Some(code) = padded(&device_code) else {
            return wrong(at("device_code"), "must be 1 to 32 letters, digits and signs of ASCII");
        };
        let device = Device { lane, direction, code };
        if devices.iter().any(|other| other.topic() == device.topic()) {
            return wrong(
                at("lane"),
                format!("{:?} has two sessions for this direction", device.lane),
            );
        }
        if devices.iter().any(|other| other.code == code) {
            let problem = "is that of another session: the platform tells directions by the device";
            return wrong(at("device_code"), problem);
        }
        devices.push(device);
    }
    Ok(devices)
}

/// Reads the bytes of a platform after the login and the question for the list: whole, and in pieces of
/// a length that the first byte gives. Both say the same.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    use super::{Moment, Said};
    let Some((piece, stream)) = bytes.split_first() else { return };
    let terms = |version: u8, bcc| Terms {
        version,
        form: Form { bcc, names: Names::Gbk, name: if version == 5 { 50 } else { 10 } },
        numbered: Numbered::Given([7; 16]),
        heartbeat_s: 180,
        whitelist: Whitelist::All,
        list_every: SignedDuration::from_secs(3600),
        repeat_words: repeat_words(),
        later_words: later_words(),
        timezone: jiff::tz::TimeZone::UTC,
        list: Mutex::new(ListTimes::default()),
    };
    let moment = Moment { at: Timestamp::UNIX_EPOCH, nonce: [9; 16] };
    for (version, bcc) in [(1, Bcc::Bytes), (5, Bcc::Hex)] {
        let heard = |piece: usize| -> Result<Vec<Said>, String> {
            let mut session =
                Session::new(Arc::new(terms(version, bcc)), &[b'v'; 32], [b'd'; 32], true);
            session.begin(&moment);
            let login = frame::encode(version, dialogue::LOGIN, &[7; 16], &[]);
            let mut all = session.heard(&login)?;
            session.due(1_000, &moment);
            for some in stream.chunks(piece) {
                all.extend(session.heard(some)?);
            }
            Ok(all)
        };
        assert_eq!(heard(stream.len().max(1)), heard((*piece).max(1).into()));
    }
}

impl Tcp843 {
    /// Returns the topic of the device whose passage a record is. A supplement has no lane.
    fn topic(&self, record: &Record) -> Option<String> {
        let is_its = |device: &&Device| {
            device.direction == record.direction
                && record.lane.as_ref().is_none_or(|lane| *lane == device.lane)
        };
        self.sessions.devices.iter().find(is_its).map(Device::topic)
    }
}

impl Profile for Tcp843 {
    fn topics(&self) -> &str {
        ""
    }

    fn doubts(&self) -> Option<String> {
        let words = "with whitelist = \"off\" no worker gets a number, so each record will stand aside, but \
                     for workers whom an earlier list named";
        (self.sessions.terms.whitelist == Whitelist::Off).then(|| words.to_owned())
    }

    fn needs(&self) -> Needs {
        Needs { code: true, photo: true, time: true, ..Needs::default() }
    }

    fn talk(&self) -> Talk {
        Talk::Tcp(self.sessions.clone())
    }

    fn record(&self, record: &Record, attached: &Attached) -> Made {
        if record.outcome == RecordOutcome::NotPassed {
            return Ok(None);
        }
        let lacks = |words: String| Err(Unmade::Lacks(words));
        let (direction, means) = (record.direction, record.means);
        let Some(topic) = self.topic(record) else {
            let lane = record.lane.as_deref().unwrap_or("any");
            return lacks(format!(
                "no [[upstream.session]] has lane = {lane:?} and direction = \"{direction}\": add the \
                 device's code, and restart"
            ));
        };
        let Some(number) = self.means.number(means) else {
            return lacks(format!(
                "`means` of the upstream has no number for \"{means}\": ask the platform's operator for \
                 it, add it, and restart"
            ));
        };
        let code = attached.code.as_deref().and_then(|code| code.parse::<u32>().ok());
        let Some(code) = code else {
            return lacks(format!(
                "the platform's list of workers has no number for {}: have the worker registered there \
                 with the same ID number; the record is sent when a list names the worker. The gateway \
                 asks for the list each whitelist_s, and within 5 minutes after a change of the roster",
                record.worker
            ));
        };
        let at = match &attached.reckoned {
            Some(reckoned) if reckoned.undated.is_some() => {
                return lacks(
                    "the gateway's clock was wrong when it was recorded, and nothing dates it yet: \
                     synchronise the clock"
                        .to_owned(),
                );
            }
            Some(reckoned) => reckoned.corrected_at.as_deref().unwrap_or(&record.at),
            None => &record.at,
        };
        let Ok(at) = at.parse::<Timestamp>() else {
            return lacks(format!("the time {at:?} is illegible"));
        };
        // Without the worker's consent there is no photo. The platform judges the record.
        let photo: &[u8] = match &attached.photo {
            Some(Ok(photo)) => photo,
            Some(Err(_)) | None => &[],
        };
        let length = u32::try_from(photo.len()).unwrap_or(u32::MAX);
        let mut content = Vec::with_capacity(17 + photo.len());
        content.extend(code.to_le_bytes());
        content.extend(bcd(at, &self.origin.timezone));
        content.push(number);
        content.extend(length.to_le_bytes());
        content.extend(photo);
        let payload = self.form.bcc.sealed(content);
        Ok(Some(Message { topic, payload, retained: false }))
    }

    fn event(&self, _: &EventRecord) -> Made {
        Ok(None)
    }

    fn status(&self, _: &Online) -> Made {
        Ok(None)
    }

    fn offline(&self) -> Made {
        Ok(None)
    }

    fn lists_workers(&self) -> bool {
        true
    }

    fn roster_changed(&self) {
        self.sessions.terms.roster_changed();
    }

    fn command(&self, payload: &[u8], authority: &Authority) -> Result<Envelope, NoCommand> {
        let read = serde_json::from_slice::<Batch>(payload);
        let Batch { id, at, workers } = read.map_err(|e| NoCommand::new(None, "malformed", e))?;
        // Only a platform that may enroll workers adds unknown ones. They wait for a person.
        let enrolls = authority.level() >= CommandLevel::Roster;
        let verb = if enrolls { "workers.listed" } else { "workers.numbered" };
        let workers = serde_json::to_value(workers);
        let workers = workers.map_err(|e| NoCommand::new(Some(&id), "malformed", e))?;
        let args = serde_json::Map::from_iter([("workers".to_owned(), workers)]);
        // The gateway asked for the list itself, so it is not old.
        let expires_at = Timestamp::MAX;
        let verb = verb.to_owned();
        Ok(Envelope { id, verb, args, times: Some((at, expires_at)), signed: false })
    }

    /// Returns a byte if records may be sent that lacked a worker's number.
    fn answer(&self, reply: &Value) -> Vec<u8> {
        let numbered = reply["result"]["numbered"].as_u64().is_some_and(|n| n > 0);
        if numbered { json!(true).to_string().into_bytes() } else { Vec::new() }
    }
}
