//! The keys of the profile, and the topics and texts that templates give.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    attendance::Origin,
    config::{Direction, Secret},
    turnstile::settings::{Checked, wrong},
};

/// Minimum and maximum interval between heartbeats, in seconds.
const HEARTBEAT_S: std::ops::RangeInclusive<u64> = 5..=3600;

/// The members of a record that can have another name.
const RENAMED: [&str; 14] = [
    "PersonType",
    "PushType",
    "RecordID",
    "Sendintime",
    "VerfyType",
    "VerifyStatus",
    "customId",
    "direction",
    "facesluiceId",
    "idCard",
    "personId",
    "personName",
    "pic",
    "similarity1",
];

/// The keys of `[[upstream]]` that are its own.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The number under which the platform knows this terminal; `None`: the gateway's id.
    pub sn: Option<String>,
    /// The value of `{code}` in topics.
    pub device_code: Option<String>,
    /// The value of `{id}` in topics; `None`: `sn`.
    pub device_id: Option<String>,
    /// The topic of commands, and `{topic}` in the other ones.
    pub topic: String,
    /// The topic of records.
    pub record_topic: String,
    /// The topic of answers to commands.
    pub answer_topic: String,
    /// The topic of `Online` and `Offline`.
    pub online_topic: String,
    /// The topic of heartbeats.
    pub heartbeat_topic: String,
    /// Interval between heartbeats, in seconds.
    pub heartbeat_s: u64,
    /// What stands in `customId`.
    pub custom_id: CustomId,
    /// Whether records carry the ID number in `idCard`.
    pub send_id_card: bool,
    /// Whether attendance that a person added goes to the platform.
    pub supplements: bool,
    /// Whether records have the member `gatehouse` with what the dialect has no place for.
    pub extras: bool,
    /// The values of `direction`.
    pub directions: Directions,
    /// Other names of a record's members; an empty one leaves the member out.
    pub names: BTreeMap<String, String>,
    /// Further members of each record.
    pub constants: toml::Table,
    /// What a new worker of a command has besides.
    pub new_workers: NewWorkers,
    /// The private key that signs messages (RSA, PKCS #8 in PEM).
    pub sign_key: Option<Secret>,
    /// The member that holds the signature.
    pub sign_field: String,
    /// The signed text of a record.
    pub sign_record: String,
    /// The signed text of `Online`, `Offline` and heartbeats.
    pub sign_status: String,
}

impl Default for Keys {
    fn default() -> Keys {
        let text = str::to_owned;
        let constants = [("PersonType", text("0").into()), ("PushType", 0.into())];
        Keys {
            sn: None,
            device_code: None,
            device_id: None,
            topic: text("mqtt/face/{sn}"),
            record_topic: text("{topic}/Rec"),
            answer_topic: text("{topic}/Ack"),
            online_topic: text("mqtt/face/basic"),
            heartbeat_topic: text("mqtt/face/heartbeat"),
            heartbeat_s: 30,
            custom_id: CustomId::Worker,
            send_id_card: false,
            supplements: false,
            extras: true,
            directions: Directions { entry: text("enter").into(), exit: text("exit").into() },
            names: BTreeMap::new(),
            constants: constants
                .map(|(name, value): (_, toml::Value)| (text(name), value))
                .into_iter()
                .collect(),
            new_workers: NewWorkers::default(),
            sign_key: None,
            sign_field: text("clientSign"),
            sign_record: text("{topic}{operator}{customId}{RecordID}{facesluiceId}{time}{has_pic}"),
            sign_status: text("{topic}{operator}{facesluiceId}"),
        }
    }
}

/// What stands in `customId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomId {
    /// The worker's id at this site.
    Worker,
    /// The number of the worker's ID document.
    IdCard,
    /// The number that the platform has given to the worker.
    Code,
}

/// The values of `direction`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directions {
    /// A text or a number.
    pub entry: toml::Value,
    /// A text or a number.
    pub exit: toml::Value,
}

impl Directions {
    /// Returns the value for a direction.
    pub fn of(&self, direction: Direction) -> Value {
        plain(match direction {
            Direction::Entry => &self.entry,
            Direction::Exit => &self.exit,
        })
    }
}

/// What `EditPerson` does not say, for workers who are not on the roster yet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewWorkers {
    /// The team.
    pub team: Option<String>,
    /// The labour company.
    pub contractor: Option<String>,
    /// The trade.
    pub trade: Option<String>,
    /// The paper by which the workers of the platform consent to their face.
    pub consent: Option<String>,
}

/// The topics, with all placeholders filled in.
#[derive(Debug)]
pub struct Topics {
    /// Of commands.
    pub command: String,
    /// Of records.
    pub record: String,
    /// Of answers.
    pub answer: String,
    /// Of `Online` and `Offline`.
    pub online: String,
    /// Of heartbeats.
    pub heartbeat: String,
    /// The prefix of the topics that no other terminal has.
    pub prefix: String,
}

impl Keys {
    /// Returns the number under which the platform knows this terminal.
    pub fn sn<'a>(&'a self, origin: &'a Origin) -> &'a str {
        self.sn.as_deref().unwrap_or(&origin.gateway)
    }

    /// Checks the values, and fills in the topics.
    pub fn topics(&self, origin: &Origin) -> Checked<Topics> {
        if !HEARTBEAT_S.contains(&self.heartbeat_s) {
            let (least, most) = (HEARTBEAT_S.start(), HEARTBEAT_S.end());
            return wrong("heartbeat_s", format!("must be from {least} to {most}"));
        }
        for (key, value) in [
            ("directions.entry", &self.directions.entry),
            ("directions.exit", &self.directions.exit),
        ] {
            if !matches!(value, toml::Value::String(_) | toml::Value::Integer(_)) {
                return wrong(key, "must be a text or a whole number");
            }
        }
        let is_known = |name: &String| name == "time" || RENAMED.contains(&name.as_str());
        if let Some(other) = self.names.keys().find(|name| !is_known(name)) {
            let problem =
                format!("{other:?} is no member of a record; it has {}, time", RENAMED.join(", "));
            return wrong("names", problem);
        }
        let sn = self.sn(origin);
        let values = |name: &str| match name {
            "sn" => Some(sn),
            "code" => self.device_code.as_deref(),
            "id" => Some(self.device_id.as_deref().unwrap_or(sn)),
            _ => None,
        };
        for (key, value) in
            [("sn", &self.sn), ("device_code", &self.device_code), ("device_id", &self.device_id)]
        {
            if value.as_ref().is_some_and(|value| {
                value.is_empty() || value.contains(['/', '+', '#', '{', '}', '"', '\0'])
            }) {
                return wrong(
                    key,
                    "must be a text without / + # and braces, because it is one level of topics",
                );
            }
        }
        let command = topic("topic", &self.topic, values)?;
        let below = |key, template: &str| {
            topic(key, template, |name| if name == "topic" { Some(&command) } else { values(name) })
        };
        Ok(Topics {
            record: below("record_topic", &self.record_topic)?,
            answer: below("answer_topic", &self.answer_topic)?,
            online: below("online_topic", &self.online_topic)?,
            heartbeat: below("heartbeat_topic", &self.heartbeat_topic)?,
            prefix: format!("{command}/"),
            command,
        })
    }
}

/// Fills in a topic's template.
fn topic<'a>(
    key: &str,
    template: &str,
    values: impl Fn(&str) -> Option<&'a str>,
) -> Checked<String> {
    let filled = filled(template, |name| values(name).map(str::to_owned));
    let filled = filled.or_else(|name| {
        wrong(key, format!("{{{name}}} has no value: a topic may have {{sn}}, {{id}}, {{code}} with device_code, and {{topic}} after the first"))
    })?;
    let fits = |level: &str| !level.is_empty() && !level.contains(['+', '#', '\0']);
    if !filled.split('/').all(fits) {
        return wrong(
            key,
            format!("{filled:?} is not a topic: its levels must not be empty, and have no + or #"),
        );
    }
    Ok(filled)
}

/// Returns a template with each `{name}` replaced by its value; the first name without one as error.
pub fn filled(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = after.split_once('}').ok_or_else(|| after.to_owned())?;
        text.push_str(&value(name).ok_or_else(|| name.to_owned())?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// Converts a value of the configuration to JSON.
pub fn plain(value: &toml::Value) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Gives members their names at this platform.
pub fn renamed(info: Map<String, Value>, names: &BTreeMap<String, String>) -> Map<String, Value> {
    if names.is_empty() {
        return info;
    }
    let other = |(name, value)| match names.get(&name) {
        Some(other) if other.is_empty() => None,
        Some(other) => Some((other.clone(), value)),
        None => Some((name, value)),
    };
    info.into_iter().filter_map(other).collect()
}
