//! The events: all that goes upstream and is not attendance.
//!
//! In: an entry. Out: an [`EventRecord`]. An event has the fields of its entry's kind, in their
//! order and under their names, so a new kind needs no code here. Bytes become hexadecimal, cosines
//! become numbers, and times become RFC 3339. The fields of a worker, an actor or a face stand
//! beside the other fields, under the names below. Absent values are left out.

use ciborium::Value;
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value as Json;

use super::{ClockState, Leaf, Origin};
use crate::ledger::{Body, Detail, Entry, ModeChange, Stored, Unknown};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRecord {
    pub v: u8,
    pub gateway: String,
    pub project: String,
    pub ledger: String,
    pub seq: u64,
    pub kind: String,
    pub at: String,
    pub clock: ClockState,
    #[serde(flatten)]
    pub what: What,
    pub leaf: Leaf,
    /// This event may have reached you before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resent: bool,
}

impl EventRecord {
    /// Returns `None` for an entry that is not sent upstream by itself.
    pub fn of(origin: &Origin, stored: &Stored) -> Option<EventRecord> {
        let entry = &stored.entry;
        let mut what = What::default();
        what.fields(origin, &entry.body.fields().ok()?);
        unknown(entry).for_each(|(name, value)| what.say(&name, value));
        match &entry.body {
            Body::Closing(_) => what.say_at_least("detail", ""),
            // No person gives a reason for these changes, so the detail is the reason.
            Body::ModeChange(ModeChange { detail: Some(detail), .. }) => {
                what.say_at_least("reason", &detail.to_string());
            }
            _ => {}
        }
        Some(EventRecord {
            v: 1,
            gateway: origin.gateway.clone(),
            project: origin.project.clone(),
            ledger: entry.ledger.to_string(),
            seq: entry.seq?,
            kind: entry.body.word().to_owned(),
            at: origin.time(entry.stamp.timestamp()),
            clock: entry.stamp.into(),
            what,
            leaf: stored.into(),
            resent: false,
        })
    }
}

/// The fields of an event's kind: names and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct What(Vec<(String, Json)>);

impl Serialize for What {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl What {
    fn fields(&mut self, origin: &Origin, data: &Value) {
        for (name, value) in pairs(data) {
            match name {
                "person" => self.renamed(value, &[("id", "worker")]),
                "terms" | "erased" => self.renamed(value, &[]),
                "faces" => self.renamed(value, &[("what", "faces")]),
                "alike" => self.renamed(
                    value,
                    &[("worker", "alike"), ("score", "alike_score"), ("reason", "alike_reason")],
                ),
                "compared" => self.renamed(value, &[("score", "anchor_score")]),
                "by" => self.actor(value),
                "evidence" => self.evidence(value),
                "detail" => self.detail(value),
                _ => match (name.strip_suffix("_ms"), value.as_integer()) {
                    (Some(name), Some(ms)) if name.ends_with("_at") => {
                        let ms = i64::try_from(i128::from(ms)).ok();
                        if let Some(at) = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
                            self.say(name, origin.time(at).into());
                        }
                    }
                    _ => self.say(name, plain(name, value)),
                },
            }
        }
    }

    fn say(&mut self, name: &str, value: Json) {
        let absent = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !absent {
            self.0.push((name.to_owned(), value));
        }
    }

    fn say_at_least(&mut self, name: &str, text: &str) {
        if self.0.iter().all(|(said, _)| said != name) {
            self.say(name, text.into());
        }
    }

    /// Adds the values of a map beside the other fields, some of these under other names.
    fn renamed(&mut self, map: &Value, names: &[(&str, &str)]) {
        for (name, value) in pairs(map) {
            let new_name = names.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| to);
            self.say(new_name, plain(name, value));
        }
    }

    /// Adds only the name of an actor: a user of the operating system, or an upstream.
    fn actor(&mut self, actor: &Value) {
        for (_, user) in pairs(actor).filter(|(name, _)| *name == "user") {
            self.say("by", plain("user", user));
        }
    }

    /// Adds the scores of a face, and the name of a guard. Adds the whole list if these two do not
    /// hold all of it.
    fn evidence(&mut self, list: &Value) {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        for (means, value) in list.iter().flat_map(pairs) {
            match means {
                "face" => {
                    let is_shown =
                        |(name, _): &(&str, &Value)| ["score", "threshold", "model"].contains(name);
                    pairs(value).filter(is_shown).for_each(|(n, v)| self.say(n, plain(n, v)));
                }
                "guard" => self.actor(value),
                _ => {}
            }
        }
        let is_shown = |one: &Value| matches!(pairs(one).next(), Some(("face" | "guard", _)));
        if !matches!(list, [one] if is_shown(one)) {
            self.say("evidence", list.iter().map(|one| plain("", one)).collect());
        }
    }

    /// Adds the detail's sentence and its code.
    fn detail(&mut self, detail: &Value) {
        if let Ok(detail) = detail.deserialized::<Detail>() {
            self.say("detail", detail.to_string().into());
            self.say("code", detail.code.into());
        } else {
            self.say("detail", plain("", detail));
        }
    }
}

/// Returns the fields of a later version: their paths and values.
pub(super) fn unknown(entry: &Entry) -> impl Iterator<Item = (String, Json)> {
    entry.unknown.iter().map(|Unknown { path, value }| {
        let name = |key: &Value| match key {
            Value::Text(name) => name.clone(),
            other => plain("", other).to_string(),
        };
        let names =
            Vec::from_iter(path.iter().skip_while(|key| key.as_text() == Some("data")).map(name));
        (names.join("."), plain(names.last().map_or("", String::as_str), value))
    })
}

fn pairs(map: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let pairs = map.as_map().map(Vec::as_slice).unwrap_or_default();
    pairs.iter().filter_map(|(name, value)| Some((name.as_text()?, value)))
}

/// Converts a value to JSON.
pub(super) fn plain(name: &str, value: &Value) -> Json {
    match value {
        Value::Integer(int) => {
            let int = i64::try_from(i128::from(*int)).unwrap_or(i64::MAX);
            match name {
                "score" | "threshold" | "margin" => (int as f64 / 10_000.0).into(),
                _ => int.into(),
            }
        }
        Value::Bytes(bytes) => hex::encode(bytes).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Bool(is) => (*is).into(),
        Value::Array(items) => items.iter().map(|item| plain(name, item)).collect(),
        Value::Map(_) => Json::Object(
            pairs(value)
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.to_owned(), plain(name, value)))
                .collect(),
        ),
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests;
