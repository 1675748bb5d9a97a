//! The `face-terminal` profile: the MQTT dialect of face terminals (`mqtt/face/…`).
//!
//! To the platform go record pushes (`RecPush`) of workers who walked, `Online`, `HeartBeat` and
//! `Offline`. Pictures of strangers (`Snap`) never go (I5). Denials and events have no message here.
//! From the platform come acknowledgements of single records (`PushAck`) and commands about people.
//! `docs/integrate/face-terminal.md` says which source each fact of the dialect has.

mod answer;
mod command;
mod keys;
mod record;
mod signing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Map, Value};

pub use self::keys::Keys;
use self::{command::Reader, keys::Topics, signing::Signing};
use super::{
    native::command::{BUSY, refused},
    profile::{
        Attached, Dialect, Envelope, Heard, Made, Message, Needs, NoCommand, Online, Profile,
    },
};
use crate::{
    attendance::{EventRecord, Origin, Record},
    config::{Ack, CommandLevel, Upstream},
    ledger::LedgerId,
    turnstile::settings::{Checked, wrong},
    uplink::authority::Authority,
};

/// The profile of a platform that takes this gateway for a face terminal.
pub struct FaceTerminal {
    keys: Keys,
    topics: Topics,
    origin: Origin,
    sn: String,
    signing: Option<Signing>,
    /// Whether the platform acknowledges, too.
    acknowledges: bool,
    /// Whether records carry photos.
    photo: bool,
}

impl Dialect for FaceTerminal {
    const WORD: &'static str = "face-terminal";
    type Keys = Keys;

    fn new(keys: Keys, upstream: &Upstream, origin: &Origin) -> Checked<FaceTerminal> {
        let topics = keys.topics(origin)?;
        let acknowledges = upstream.ack == Ack::Platform;
        if acknowledges && upstream.command_key.is_some() {
            let problem = "cannot stand beside a command_key: a PushAck has no signature, so none would \
                           count. Write \"broker\", or delete command_key";
            return wrong("ack", problem);
        }
        let signing = Signing::new(&keys)?;
        let sn = keys.sn(origin).to_owned();
        let (origin, photo) = (origin.clone(), upstream.photos.are_sent());
        Ok(FaceTerminal { keys, topics, origin, sn, signing, acknowledges, photo })
    }
}

impl FaceTerminal {
    fn message(
        &self,
        topic: &str,
        operator: &str,
        template: &str,
        info: Map<String, Value>,
    ) -> Made {
        let mut envelope = Map::new();
        envelope.insert("operator".to_owned(), operator.into());
        if let Some(signing) = &self.signing {
            signing.sign(&mut envelope, topic, template, &info);
        }
        let info = keys::renamed(info, &self.keys.names);
        envelope.insert("info".to_owned(), info.into());
        let payload = serde_json::to_vec(&envelope)?;
        Ok(Some(Message { topic: topic.to_owned(), payload, retained: false }))
    }

    /// Makes a message about the terminal itself.
    fn about(&self, topic: &str, operator: &str, more: &[(&str, &str)]) -> Made {
        let own = [("facesluiceId", &*self.sn)];
        let members = own.iter().chain(more);
        let info = members.map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        self.message(topic, operator, &self.keys.sign_status, info)
    }

    fn time(&self, online: &Online) -> String {
        record::local(&self.origin.time(online.at))
    }

    fn reader(&self) -> Reader<'_> {
        let (timezone, new_workers) = (&self.origin.timezone, &self.keys.new_workers);
        Reader { sn: &self.sn, timezone, new_workers }
    }
}

impl Profile for FaceTerminal {
    fn topics(&self) -> &str {
        &self.topics.prefix
    }

    fn doubts(&self) -> Option<String> {
        let words = "with custom_id = \"code\" each record will stand aside: over this profile no platform \
                     gives numbers to workers";
        (self.keys.custom_id == keys::CustomId::Code).then(|| words.to_owned())
    }

    fn needs(&self) -> Needs {
        let id_number = self.keys.send_id_card || self.keys.custom_id == keys::CustomId::IdCard;
        let code = self.keys.custom_id == keys::CustomId::Code;
        Needs { id_number, code, photo: self.photo, time: false }
    }

    fn record(&self, record: &Record, attached: &Attached) -> Made {
        match record::info(&self.keys, &self.sn, record, attached)? {
            None => Ok(None),
            Some(info) => {
                self.message(&self.topics.record, "RecPush", &self.keys.sign_record, info)
            }
        }
    }

    fn event(&self, _: &EventRecord) -> Made {
        Ok(None)
    }

    fn status(&self, online: &Online) -> Made {
        self.about(&self.topics.heartbeat, "HeartBeat", &[("time", &self.time(online))])
    }

    fn heartbeat(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.keys.heartbeat_s))
    }

    fn greeting(&self, online: &Online) -> Made {
        let more = [("time", &*self.time(online)), ("username", ""), ("ip", "")];
        let name = ("facesname", &*self.origin.gateway);
        self.about(&self.topics.online, "Online", &[&more[..], &[name]].concat())
    }

    fn offline(&self) -> Made {
        self.about(&self.topics.online, "Offline", &[])
    }

    fn acknowledges(&self) -> bool {
        true
    }

    fn acknowledges_each(&self) -> Option<fn(LedgerId, u64) -> u64> {
        Some(record::seq_of)
    }

    fn listens_on(&self, authority: &Authority) -> Vec<String> {
        let listens = self.acknowledges || authority.level() > CommandLevel::None;
        listens.then(|| self.topics.command.clone()).into_iter().collect()
    }

    fn read(&self, topic: &str, payload: &[u8], authority: &Authority) -> Heard {
        if topic != self.topics.command {
            return Heard::Nothing;
        }
        command::heard(payload, &self.sn, self.acknowledges, authority)
    }

    fn command(&self, payload: &[u8], authority: &Authority) -> Result<Envelope, NoCommand> {
        self.reader().read(payload, authority)
    }

    fn answer(&self, reply: &Value) -> Vec<u8> {
        answer::answer(&self.sn, reply).to_string().into_bytes()
    }

    fn busy(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let id = command::glance(payload)?;
        Some(self.answer(&refused(Some(&id), "busy", BUSY)))
    }

    fn reply(&self, answer: Vec<u8>) -> Option<Message> {
        Some(Message { topic: self.topics.answer.clone(), payload: answer, retained: false })
    }
}
