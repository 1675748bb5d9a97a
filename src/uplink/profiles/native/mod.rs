//! The `native` profile: topics and payloads, in JSON or in CBOR with the same names.
//!
//! A topic is `gatehouse/v1/{project}/{gateway}/` and a word. The gateway publishes `attendance`,
//! `event`, `photo`, `status`, `head` and `reply`. The platform publishes `command` and `ack`.

pub mod command;
mod encoding;
#[cfg(test)]
mod tests;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use self::encoding::Encoding;
use self::encoding::encode;
use super::profile::{
    Acknowledgement, Attached, Dialect, Envelope, HeadNotice, Heard, Made, Message, NoCommand,
    Online, PhotoNotice, Profile, Stub,
};
use crate::{
    attendance::{EventRecord, Origin, Record},
    config::{Ack, CommandLevel, Upstream},
    turnstile::settings::{Checked, wrong},
    uplink::authority::Authority,
};

/// The profile of a platform that uses Gatehouse's own format.
pub struct Native {
    /// The prefix of all topics.
    prefix: String,
    origin: Origin,
    keys: Keys,
    /// Whether the platform acknowledges, too.
    acknowledges: bool,
}

/// The keys of `[[upstream]]` that are its own.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The encoding of payloads.
    pub encoding: Encoding,
    /// Whether commands may open a gate.
    pub remote_release: bool,
}

impl Dialect for Native {
    const WORD: &'static str = "native";
    type Keys = Keys;

    fn new(keys: Keys, upstream: &Upstream, origin: &Origin) -> Checked<Native> {
        if keys.remote_release {
            let at = "remote_release";
            if upstream.commands != CommandLevel::All {
                return wrong(at, "needs commands = \"all\" as well: a release is a command");
            }
            if upstream.command_key.is_none() {
                return wrong(
                    at,
                    "needs a command_key as well: without signatures, every client of the broker \
                     that may publish could open the gate",
                );
            }
        }
        Ok(Native::speaking(keys, upstream.ack, origin))
    }
}

impl Native {
    /// Returns the profile of one gateway.
    pub fn speaking(keys: Keys, ack: Ack, origin: &Origin) -> Native {
        let prefix = format!("gatehouse/v1/{}/{}/", origin.project, origin.gateway);
        Native { prefix, origin: origin.clone(), keys, acknowledges: ack == Ack::Platform }
    }

    fn topic(&self, leaf: &str) -> String {
        [&self.prefix, leaf].concat()
    }

    fn message(&self, leaf: &str, value: &impl Serialize, retained: bool) -> Made {
        let payload = encode(value, self.keys.encoding)?;
        Ok(Some(Message { topic: self.topic(leaf), payload, retained }))
    }
}

impl Profile for Native {
    fn topics(&self) -> &str {
        &self.prefix
    }

    fn record(&self, record: &Record, _: &Attached) -> Made {
        self.message("attendance", record, false)
    }

    fn event(&self, event: &EventRecord) -> Made {
        self.message("event", event, false)
    }

    fn status(&self, online: &Online) -> Made {
        self.message("status", online, true)
    }

    fn offline(&self) -> Made {
        self.message("status", &json!({ "state": "offline" }), true)
    }

    fn head(&self, HeadNotice { signed, from, consistency }: &HeadNotice) -> Made {
        let head = &signed.head;
        let at = Timestamp::from_millisecond(head.at_ms).map(|at| self.origin.time(at)).ok();
        let value = json!({
            "v": 1,
            "gateway": head.gateway,
            "project": self.origin.project,
            "ledger": head.ledger.to_string(),
            "tree_size": head.size,
            "root": hex::encode(head.root),
            "at": at,
            "key": signed.key.to_string(),
            "head": hex::encode(&signed.bytes),
            "from": from,
            "consistency": consistency.iter().map(hex::encode).collect::<Vec<_>>(),
        });
        self.message("head", &value, false)
    }

    fn photos_on(&self) -> Option<String> {
        Some(self.topic("photo"))
    }

    fn photo(&self, PhotoNotice { record, photo }: &PhotoNotice) -> Made {
        let value = json!({
            "v": 1,
            "gateway": self.origin.gateway,
            "project": self.origin.project,
            "ledger": record.ledger,
            "seq": record.seq,
            "of": record.passage,
            "crop": photo.crop,
            "sha256": hex::encode(Sha256::digest(&photo.jpeg)),
            "jpeg": BASE64.encode(&photo.jpeg),
        });
        self.message("photo", &value, false)
    }

    fn stubs_on(&self) -> Option<String> {
        Some(self.topic("attendance"))
    }

    fn stub(&self, Stub { ledger, seq, withheld, leaf, resent }: &Stub) -> Made {
        let mut value = json!({
            "v": 1,
            "gateway": self.origin.gateway,
            "project": self.origin.project,
            "ledger": ledger,
            "seq": seq,
            "withheld": withheld,
            "leaf": leaf,
        });
        if let Some(stub) = value.as_object_mut().filter(|_| *resent) {
            stub.insert("resent".to_owned(), true.into());
        }
        self.message("attendance", &value, false)
    }

    fn trial(&self, record: bool) -> Made {
        let Origin { gateway, project, .. } = &self.origin;
        let value = json!({ "v": 1, "gateway": gateway, "project": project, "check": true });
        self.message(if record { "attendance" } else { "event" }, &value, false)
    }

    fn acknowledges(&self) -> bool {
        true
    }

    fn remote_release(&self) -> bool {
        self.keys.remote_release
    }

    fn listens_on(&self, authority: &Authority) -> Vec<String> {
        let commands = (authority.level() > CommandLevel::None).then_some("command");
        let acks = self.acknowledges.then_some("ack");
        commands.into_iter().chain(acks).map(|leaf| self.topic(leaf)).collect()
    }

    fn read(&self, topic: &str, payload: &[u8], authority: &Authority) -> Heard {
        match topic.strip_prefix(&self.prefix) {
            Some("command") => Heard::Command,
            Some("ack") if self.acknowledges => {
                Heard::Acknowledgement(acknowledgement(self.keys.encoding, payload, authority))
            }
            _ => Heard::Nothing,
        }
    }

    fn command(&self, payload: &[u8], authority: &Authority) -> Result<Envelope, NoCommand> {
        Envelope::read(self.keys.encoding, payload, authority)
    }

    fn answer(&self, reply: &Value) -> Vec<u8> {
        command::reply(self.keys.encoding, reply)
    }

    fn busy(&self, payload: &[u8]) -> Option<Vec<u8>> {
        command::busy(self.keys.encoding, payload)
    }

    fn reply(&self, answer: Vec<u8>) -> Option<Message> {
        Some(Message { topic: self.topic("reply"), payload: answer, retained: false })
    }
}

/// Maximum size of an acknowledgement. It usually has about 70 bytes, and about 400 if it is signed.
const ACKNOWLEDGEMENT_BYTES: usize = 1024;

fn acknowledgement(
    encoding: Encoding,
    payload: &[u8],
    authority: &Authority,
) -> Result<Acknowledgement, String> {
    if payload.len() > ACKNOWLEDGEMENT_BYTES {
        return Err(format!("it has {} bytes, more than {ACKNOWLEDGEMENT_BYTES}", payload.len()));
    }
    let wrong = |problem: &str| format!("it is not {{\"ledger\", \"upto\"}}: {problem}");
    let opened = command::opened(encoding, payload, "ack", authority, command::BOUNDS);
    let (mut members, signed) = opened.map_err(|no| match no.code {
        "malformed" => wrong(&no.message),
        _ => no.message,
    })?;
    let ledger = members.remove("ledger").and_then(|ledger| Some(ledger.as_str()?.to_owned()));
    let upto = members.remove("upto").and_then(|upto| upto.as_u64());
    let (Some(ledger), Some(upto)) = (ledger, upto) else {
        return Err(wrong("ledger must be a text, and upto a whole number"));
    };
    let signed_at = match (members.remove("issued_at"), signed) {
        (None, false) => None,
        (Some(Value::String(at)), true) => {
            Some(at.parse().map_err(|_| wrong("issued_at must be a time"))?)
        }
        _ => return Err(wrong("issued_at is in a signed one, and only there")),
    };
    match members.keys().next() {
        Some(unknown) => Err(wrong(&format!("{}: unknown name", command::shown(unknown)))),
        None => Ok(Acknowledgement { ledger, upto, signed_at }),
    }
}
