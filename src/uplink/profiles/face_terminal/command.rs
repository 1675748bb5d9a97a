//! Reads a platform's messages to a terminal, and makes them commands of this gateway.
//!
//! In: JSON as `{"messageId","operator","info"}`, or the same signed as by `native`. Out:
//! [`Envelope`]s and acknowledgements. Pure.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Map, Value, json};

use super::keys::NewWorkers;
use crate::{
    roster::{IdType, Identity, Particulars, WorkerId},
    uplink::{
        authority::Authority,
        profiles::{
            native::{
                Encoding,
                command::{Bounds, document, opened, shown},
            },
            profile::{Envelope, Heard, NoCommand},
        },
    },
};

/// Maximum number of people in a batch.
const BATCH_MAX: usize = 1_000;
/// Maximum number of characters of a message's id.
const ID_CHARS: usize = 128;
/// Maximum size of a message that is examined at once: an acknowledgement, or the answer to a
/// greeting.
const GLANCE_BYTES: usize = 4096;
/// Maximum number of levels: the message, its people, their strategies.
const DEPTH_MAX: u8 = 6;
const BOUNDS: Bounds = Bounds { members: BATCH_MAX, depth: DEPTH_MAX, fractions: true };

/// A verb of this gateway, and its arguments.
type Asked = (&'static str, Map<String, Value>);
/// The code of a refusal, and its sentence.
type Refused = (&'static str, String);

/// What a message is read with.
pub struct Reader<'a> {
    /// The number of this terminal.
    pub sn: &'a str,
    /// The zone of times.
    pub timezone: &'a TimeZone,
    /// What a new worker has besides.
    pub new_workers: &'a NewWorkers,
}

/// The id of a command as the gateway remembers it: it also holds what the answer repeats. A worker's
/// id and an operator have no slash.
pub struct Known<'a> {
    /// The operator, such as `EditPerson`.
    pub operator: &'a str,
    /// The worker's id; empty if there is none, or if it may be an ID number.
    pub custom_id: &'a str,
    /// The platform's own id of the message.
    pub message: &'a str,
}

impl Known<'_> {
    fn joined(&self) -> String {
        [self.operator, self.custom_id, self.message].join("/")
    }

    /// Returns the parts of an id.
    pub fn of(id: &str) -> Known<'_> {
        let mut parts = id.splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        Known { operator: next(), custom_id: next(), message: next() }
    }
}

/// Tells what a message is. A large one is a command.
pub fn heard(payload: &[u8], sn: &str, acknowledges: bool, authority: &Authority) -> Heard {
    if payload.len() > GLANCE_BYTES {
        return Heard::Undated;
    }
    let Ok(members) = document(Encoding::Json, payload, BOUNDS) else { return Heard::Undated };
    let operator = members.get("operator").and_then(Value::as_str).unwrap_or_default();
    let info = members.get("info").and_then(Value::as_object);
    match operator {
        "PushAck" | "RecPushAck" if !acknowledges => Heard::Nothing,
        // The acknowledgement of a stranger's picture, which a gate never sends.
        "PushAck" if number(info, "PushAckType") == Some(1) => Heard::Nothing,
        "PushAck" | "RecPushAck" => {
            let unsigned = authority.may_be_unsigned().map_err(|e| e.to_string());
            Heard::Taken(unsigned.and_then(|()| record_number(info, sn)))
        }
        "Online-Ack" => Heard::Welcome,
        // What another terminal answers, and what this one has sent.
        other if other.ends_with("-Ack") => Heard::Nothing,
        _ => Heard::Undated,
    }
}

fn record_number(info: Option<&Map<String, Value>>, sn: &str) -> Result<u64, String> {
    for_this(info, sn)?;
    let names = ["SnapOrRecordID", "RecordID", "nRecordIndex"];
    let number = names.iter().find_map(|name| number(info, name));
    number.ok_or_else(|| "it has no SnapOrRecordID that is a whole number".to_owned())
}

fn for_this(info: Option<&Map<String, Value>>, sn: &str) -> Result<(), String> {
    match info.and_then(|info| text(info, "facesluiceId")) {
        Some(other) if other != sn => Err("facesluiceId: it is for another terminal".to_owned()),
        _ => Ok(()),
    }
}

/// Returns a number, which may be written as text.
fn number(info: Option<&Map<String, Value>>, name: &str) -> Option<u64> {
    match info?.get(name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Returns a text that is not empty; a whole number counts as its digits.
fn text(info: &Map<String, Value>, name: &str) -> Option<String> {
    match info.get(name)? {
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

impl Reader<'_> {
    /// Reads a command.
    pub fn read(&self, payload: &[u8], authority: &Authority) -> Result<Envelope, NoCommand> {
        let (mut members, signed) = opened(Encoding::Json, payload, "command", authority, BOUNDS)?;
        let Some(operator) = text(&members, "operator").filter(|text| is_operator(text)) else {
            let problem = "operator: must be a text, such as \"EditPerson\"";
            return Err(NoCommand::new(None, "malformed", problem));
        };
        let message = text(&members, "messageId")
            .filter(|id| id.chars().nth(ID_CHARS).is_none() && !id.chars().any(char::is_control));
        let own = |message: &str, custom_id: &str| {
            Known { operator: &operator, custom_id, message }.joined()
        };
        let Some(message) = message else {
            let problem = format!("messageId: must be a text of 1 to {ID_CHARS} characters");
            return Err(NoCommand::new(Some(&own("", "")), "malformed", problem));
        };
        let info = members.remove("info");
        let custom_id = info.as_ref().and_then(Value::as_object).and_then(|i| text(i, "customId"));
        let custom_id = custom_id.filter(|id| is_worker_id(id)).unwrap_or_default();
        let id = own(&message, &custom_id);
        let refuse = |(code, message): Refused| NoCommand::new(Some(&id), code, message);
        if let Err(problem) = for_this(info.as_ref().and_then(Value::as_object), self.sn) {
            return Err(refuse(("misaddressed", problem)));
        }
        let times = self.times(&members, signed).map_err(|p| refuse(("malformed", p)))?;
        self.whole(&members, info.as_ref()).map_err(|p| refuse(("malformed", p)))?;
        let (verb, args) = self.verb(&operator, info).map_err(refuse)?;
        Ok(Envelope { id, verb: verb.to_owned(), args, times, signed })
    }

    /// Reads the times of a signed command, without which it could be replayed.
    fn times(
        &self,
        members: &Map<String, Value>,
        signed: bool,
    ) -> Result<Option<(Timestamp, Timestamp)>, String> {
        if !signed {
            return Ok(None);
        }
        let time = |name: &str| {
            let time = text(members, name).and_then(|text| text.parse::<Timestamp>().ok());
            time.ok_or_else(|| {
                format!(
                    "{name}: a signed command needs a time such as \"2026-10-01T08:00:00+08:00\""
                )
            })
        };
        let (issued, expires) = (time("issued_at")?, time("expires_at")?);
        if expires < issued {
            return Err("expires_at: is before issued_at".to_owned());
        }
        Ok(Some((issued, expires)))
    }

    /// Checks the marks of a batch, as far as it has them.
    fn whole(&self, members: &Map<String, Value>, info: Option<&Value>) -> Result<(), String> {
        for (name, mark) in [("DataBegin", "BeginFlag"), ("DataEnd", "EndFlag")] {
            if members.get(name).is_some_and(|value| value != mark) {
                return Err(format!("{name}: must be {mark:?}"));
            }
        }
        if members.contains_key("DataBegin") && !members.contains_key("DataEnd") {
            return Err("DataEnd: is missing, so the message is not whole".to_owned());
        }
        let people = match info {
            Some(Value::Array(people)) => Some(people.len()),
            Some(Value::Object(info)) => {
                info.get("customId").and_then(Value::as_array).map(Vec::len)
            }
            _ => None,
        };
        match (number(Some(members), "PersonNum"), people) {
            (Some(said), Some(people)) if said != people as u64 => {
                Err(format!("PersonNum: says {said}, and the message has {people}"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the verb of this gateway, with its arguments.
    fn verb(&self, operator: &str, info: Option<Value>) -> Result<Asked, Refused> {
        let malformed = |problem: &str| ("malformed", problem.to_owned());
        match (operator, info) {
            ("EditPerson" | "EditPersonNew", Some(Value::Object(info))) => {
                Ok(("worker.edit", self.person(info)))
            }
            ("EditPersonsNew" | "EditPersons" | "AddPersons", Some(Value::Array(people))) => {
                let person = |one: Value| match one {
                    Value::Object(info) => Value::Object(self.person(info)),
                    other => other,
                };
                let each: Vec<Value> = people.into_iter().map(person).collect();
                Ok(("workers.edit", object(json!({ "each": each }))))
            }
            ("DelPerson" | "DeletePerson", Some(Value::Object(info))) => {
                Ok(("worker.remove", removal(info.get("customId").cloned().unwrap_or_default())))
            }
            ("DeletePersons", Some(Value::Object(mut info))) => match info.remove("customId") {
                Some(Value::Array(ids)) => {
                    let each: Vec<Value> = ids.into_iter().map(|id| removal(id).into()).collect();
                    Ok(("workers.remove", object(json!({ "each": each }))))
                }
                _ => Err(malformed("info.customId: must be a list")),
            },
            ("SearchPerson", Some(Value::Object(info))) => {
                Ok(("worker.show", object(json!({ "id": text(&info, "customId") }))))
            }
            ("ManualPushRecords", Some(Value::Object(info))) => {
                let at = |name: &str, code| {
                    let time = text(&info, name).and_then(|text| self.local(&text));
                    let problem = format!("{name}: must be a time such as \"2026-10-01 08:00:00\"");
                    time.ok_or((code, problem))
                };
                let (since, until) = (at("TimeS", "no_time_s")?, at("TimeE", "no_time_e")?);
                let args = json!({ "since": since.to_string(), "until": until.to_string() });
                Ok(("attendance.resend_between", object(args)))
            }
            ("SetSysTime", _) => Err((
                "not_supported",
                "this gateway takes the time from its own servers (NTP), and not from a broker"
                    .to_owned(),
            )),
            ("DeleteAllPerson", _) => Err((
                "not_supported",
                "no one message removes all workers: remove them with DelPerson or DeletePersons. \
                 Their attendance stays"
                    .to_owned(),
            )),
            (
                "EditPerson" | "EditPersonNew" | "EditPersonsNew" | "EditPersons" | "AddPersons"
                | "DelPerson" | "DeletePerson" | "DeletePersons" | "SearchPerson"
                | "ManualPushRecords",
                _,
            ) => Err(malformed("info: is missing, or of a wrong type")),
            (other, _) => {
                Err(("unknown_verb", format!("{} is no operator of this gateway", shown(other))))
            }
        }
    }

    /// Returns the arguments of `worker.edit` for a person. What the gateway has no use for (nation,
    /// address, phone, native place) is not kept. An ID number gives gender and birth date.
    fn person(&self, mut info: Map<String, Value>) -> Map<String, Value> {
        let mut args = Map::new();
        let mut say = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                args.insert(name.to_owned(), value.into());
            }
        };
        say("id", text(&info, "customId"));
        say("name", text(&info, "name"));
        say("id_number", text(&info, "idCard"));
        let NewWorkers { team, contractor, trade, consent } = self.new_workers;
        for (name, value) in
            [("team", team), ("contractor", contractor), ("trade", trade), ("consent", consent)]
        {
            say(&format!("new_{name}"), value.clone());
        }
        let kind = number(Some(&info), "tempValid").or_else(|| number(Some(&info), "tempCardType"));
        if kind.is_none_or(|kind| kind == 1) {
            let day = |names: [&str; 2]| {
                let text = names.iter().find_map(|name| text(&info, name))?;
                let day = text.get(..10).unwrap_or(&text).to_owned();
                (day != "0000-00-00").then_some(day)
            };
            say("valid_from", day(["validBegin", "cardValidBegin"]));
            say("valid_until", day(["validEnd", "cardValidEnd"]));
        }
        if kind.is_some_and(|kind| kind > 1) {
            say("unsupported", Some("tempCardType".to_owned()));
        }
        let has_picture =
            |name| info.get(name).and_then(Value::as_str).is_some_and(|p| !p.is_empty());
        let is_here = has_picture("pic") || has_picture("picinfo");
        say("photo_at", text(&info, "picURI").filter(|_| !is_here));
        if number(Some(&info), "personType") == Some(1) {
            args.insert("blocked".to_owned(), true.into());
        }
        let pictures = ["pic", "picinfo"].into_iter().filter_map(|name| info.remove(name));
        let mut pictures = pictures.filter(|picture| picture.as_str() != Some(""));
        match pictures.find(|picture| !picture.is_null()) {
            Some(Value::String(mut picture)) => {
                // A picture is large, so it is cut in place.
                if picture.starts_with("data:")
                    && let Some(at) = picture.find(',')
                {
                    picture.drain(..=at);
                }
                args.insert("photos".to_owned(), vec![Value::String(picture)].into());
            }
            // What is no text is refused as a photo.
            Some(other) => drop(args.insert("photos".to_owned(), vec![other].into())),
            None => {}
        }
        args
    }

    /// Reads a local time without a zone.
    fn local(&self, text: &str) -> Option<Timestamp> {
        let local: civil::DateTime = text.replace(' ', "T").parse().ok()?;
        Some(local.to_zoned(self.timezone.clone()).ok()?.timestamp())
    }
}

fn is_operator(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Returns whether a text may be a worker's id and is no ID number.
fn is_worker_id(text: &str) -> bool {
    let is_number = Identity::checked(IdType::Resident, text, Particulars::default(), None).is_ok();
    !is_number && text.parse::<WorkerId>().is_ok()
}

fn removal(id: Value) -> Map<String, Value> {
    object(json!({ "id": id, "reason": "removed by the platform" }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Returns the id of a command that is not carried out now, where a glance shows it.
pub fn glance(payload: &[u8]) -> Option<String> {
    const GLANCE_MAX: usize = 64 * 1024;
    if payload.len() > GLANCE_MAX {
        return None;
    }
    let mut members = document(Encoding::Json, payload, BOUNDS).ok()?;
    if let Some(Value::String(body)) = members.remove("body") {
        members = document(Encoding::Json, body.as_bytes(), BOUNDS).ok()?;
    }
    let operator = text(&members, "operator").filter(|text| is_operator(text))?;
    let message = text(&members, "messageId").filter(|id| id.chars().nth(ID_CHARS).is_none())?;
    Some(Known { operator: &operator, custom_id: "", message: &message }.joined())
}
