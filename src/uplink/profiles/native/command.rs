//! Reads a platform's command strictly, and makes its reply.
//!
//! In: a payload in JSON or CBOR. Its bounds are checked before and during reading. Out:
//! [`Envelope`], or why it is not a command; payloads of replies. Touches nothing.

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed as _},
};
use serde_json::{Map, Value, json};

use super::encoding::{Encoding, encode};
use crate::uplink::{
    authority::Authority,
    profiles::profile::{COMMAND_MAX, Envelope, NoCommand},
};

/// Maximum number of names in a map, and of values in a list.
const MEMBERS_MAX: usize = 64;
/// Maximum number of levels: the command, its arguments, a list of photos.
const DEPTH_MAX: u8 = 3;
pub(super) const BOUNDS: Bounds =
    Bounds { members: MEMBERS_MAX, depth: DEPTH_MAX, fractions: false };
/// Maximum length of a time in RFC 3339, with room for an offset and nanoseconds.
const TIME_MAX: usize = 40;
/// Maximum size of a command that is answered `busy`. Commands with photos are larger.
const GLANCE_MAX: usize = 64 * 1024;

impl Envelope {
    /// Reads a payload strictly, within the bounds above. A signature is checked first.
    pub fn read(
        encoding: Encoding,
        payload: &[u8],
        authority: &Authority,
    ) -> Result<Envelope, NoCommand> {
        let (mut members, signed) = opened(encoding, payload, "command", authority, BOUNDS)?;
        let id = id(members.remove("id"))?;
        let wrong = |message: String| NoCommand::new(Some(&id), "malformed", message);
        let Some(Value::String(verb)) = members.remove("verb") else {
            return Err(wrong("verb: must be a text, such as \"roster.digest\"".to_owned()));
        };
        let args = match members.remove("args") {
            Some(Value::Object(args)) => args,
            None => Map::new(),
            Some(_) => return Err(wrong("args: must be a map".to_owned())),
        };
        let mut time = |key: &str| match members.remove(key) {
            Some(Value::String(text)) if text.len() <= TIME_MAX => text.parse().ok(),
            _ => None,
        };
        let mut needed = |key: &str| {
            let problem = "must be a time such as \"2026-10-01T08:00:00+08:00\"";
            time(key).ok_or_else(|| wrong(format!("{key}: {problem}")))
        };
        let (issued_at, expires_at) = (needed("issued_at")?, needed("expires_at")?);
        if expires_at < issued_at {
            return Err(wrong("expires_at: is before issued_at".to_owned()));
        }
        match members.keys().next() {
            Some(unknown) => Err(wrong(format!("{}: unknown name", shown(unknown)))),
            None => Ok(Envelope { id, verb, args, times: Some((issued_at, expires_at)), signed }),
        }
    }
}

/// Returns a name from a payload as a message shows it: at most 40 characters, escaped.
pub fn shown(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}

/// Reads a message of this topic, signed or not. Returns its members, and whether it is signed. A
/// signed one is `{"body", "alg", "sig"}`, and `body` is a text in JSON in either encoding, so that
/// its bytes are the ones that were signed.
pub(in crate::uplink::profiles) fn opened(
    encoding: Encoding,
    payload: &[u8],
    topic: &str,
    authority: &Authority,
    bounds: Bounds,
) -> Result<(Map<String, Value>, bool), NoCommand> {
    let mut members = document(encoding, payload, bounds)?;
    let signed = members.contains_key("body");
    if signed {
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(NoCommand::new(None, "malformed", format!("{name}: must be a text"))),
        };
        let (body, alg, sig) = (text("body")?, text("alg")?, text("sig")?);
        if let Some(unknown) = members.keys().next() {
            let problem = format!("{}: unknown name beside body", shown(unknown));
            return Err(NoCommand::new(None, "malformed", problem));
        }
        authority.verify(&body, &alg, &sig)?;
        members = document(Encoding::Json, body.as_bytes(), bounds)?;
    } else {
        authority.may_be_unsigned()?;
    }
    authority.addressed(&mut members, topic, signed)?;
    Ok((members, signed))
}

/// Reads a payload as a map of bounded depth and size.
pub(in crate::uplink::profiles) fn document(
    encoding: Encoding,
    payload: &[u8],
    bounds: Bounds,
) -> Result<Map<String, Value>, NoCommand> {
    if payload.len() > COMMAND_MAX {
        let problem = format!(
            "a command has at most {} MiB, and this one has {} bytes: make its photos smaller",
            COMMAND_MAX >> 20,
            payload.len()
        );
        return Err(NoCommand::new(None, "too_large", problem));
    }
    let malformed = |why: String| NoCommand::new(None, "malformed", why);
    let read = match encoding {
        Encoding::Json => {
            let mut json = serde_json::Deserializer::from_slice(payload);
            let read = bounds.deserialize(&mut json).and_then(|read| json.end().map(|()| read));
            let read =
                read.map_err(|e| malformed(format!("it is not the JSON of a command: {e}")))?;
            Document(read)
        }
        Encoding::Cbor => {
            let mut rest = payload;
            let depth = usize::from(DEPTH_MAX) + 1;
            let read = ciborium::de::from_reader_with_recursion_limit(&mut rest, depth)
                .map_err(|e| malformed(format!("it is not the CBOR of a command: {e}")))?;
            if !rest.is_empty() {
                return Err(malformed(format!(
                    "trailing data after the command: {}",
                    crate::words::counted(rest.len(), "byte")
                )));
            }
            read
        }
    };
    match read {
        Document(Value::Object(members)) => Ok(members),
        Document(_) => Err(malformed("a command is a map".to_owned())),
    }
}

/// Returns the id: 1 to 64 letters, digits and `- _ . :`.
fn id(given: Option<Value>) -> Result<String, NoCommand> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    match given {
        Some(Value::String(id)) if !id.is_empty() && id.len() <= 64 && id.chars().all(allowed) => {
            Ok(id)
        }
        _ => {
            let problem =
                "id: must be 1 to 64 characters of A-Z a-z 0-9 - _ . : and never used before";
            Err(NoCommand::new(None, "malformed", problem))
        }
    }
}

/// Returns the reply to a command that was carried out.
pub fn done(id: &str, result: Value) -> Value {
    json!({ "id": id, "ok": true, "result": result })
}

/// Returns the reply to a command that was refused or failed. `id` is null if it could not be read.
pub fn refused(id: Option<&str>, code: &str, message: &str) -> Value {
    json!({ "id": id, "ok": false, "error": { "code": code, "message": message } })
}

/// Returns a reply's payload.
pub fn reply(encoding: Encoding, reply: &Value) -> Vec<u8> {
    // Writing a document cannot fail.
    encode(reply, encoding).unwrap_or_default()
}

/// Returns the reply `busy` to a command. `None` if its id cannot be read, or if the command is
/// larger than `GLANCE_MAX`.
pub fn busy(encoding: Encoding, payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() > GLANCE_MAX {
        return None;
    }
    let mut members = document(encoding, payload, BOUNDS).ok()?;
    if let Some(Value::String(body)) = members.remove("body") {
        members = document(Encoding::Json, body.as_bytes(), BOUNDS).ok()?;
    }
    let id = id(members.remove("id")).ok()?;
    Some(reply(encoding, &refused(Some(&id), "busy", BUSY)))
}

/// The sentence of the reply `busy`.
pub const BUSY: &str =
    "other commands are being carried out: wait for their replies, and send this one again";

/// A document of bounded depth and size, without repeated names. Numbers must be integers.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BOUNDS).map(Document)
    }
}

/// The bounds of a document.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Maximum number of names in a map, and of values in a list.
    pub members: usize,
    /// The number of levels that are still allowed.
    pub depth: u8,
    /// Whether a number may have a fraction.
    pub fractions: bool,
}

impl Bounds {
    fn below<E: de::Error>(self) -> Result<Bounds, E> {
        let deeper = self.depth.checked_sub(1);
        let depth = deeper.ok_or_else(|| E::custom("it is nested too deeply"))?;
        Ok(Bounds { depth, ..self })
    }
}

impl<'de> de::DeserializeSeed<'de> for Bounds {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Bounds {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text, a whole number, true, false, null, a list or a map")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    // Messages do not repeat the value, because it may be a person's ID number.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        match self.fractions {
            true => Ok(value.into()),
            false => Err(E::custom("a number must be a whole one")),
        }
    }

    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<Value, E> {
        Err(E::custom("bytes must be a text in base64"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(below)? {
            if values.len() == self.members {
                let problem = format!("a list has more than {} values", self.members);
                return Err(de::Error::custom(problem));
            }
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.len() == self.members {
                let problem = format!("a map has more than {} names", self.members);
                return Err(de::Error::custom(problem));
            }
            let value = map.next_value_seed(below)?;
            let name = shown(&key);
            if members.insert(key, value).is_some() {
                return Err(de::Error::custom(format!("{name} occurs twice")));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests;
