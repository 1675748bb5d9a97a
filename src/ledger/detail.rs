//! Why something is as it is: a code with parameters. Sentences are made for the reader.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use ciborium::Value;
use serde::{Deserialize, Serialize};

/// A code and its parameters, as an entry holds them. Readers show codes that they do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    pub code: Cow<'static, str>,
    #[serde(default)]
    pub params: BTreeMap<Cow<'static, str>, Param>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Param {
    Number(i64),
    /// Of a name, or of an error of the operating system or a library.
    Text(String),
    /// Of a later version.
    Other(Value),
}

impl From<&str> for Param {
    fn from(text: &str) -> Param {
        Param::Text(text.to_owned())
    }
}

impl From<String> for Param {
    fn from(text: String) -> Param {
        Param::Text(text)
    }
}

impl From<u64> for Param {
    fn from(number: u64) -> Param {
        Param::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Param::Number(number) => number.fmt(f),
            Param::Text(text) => f.write_str(text),
            Param::Other(value) => match serde_json::to_string(value) {
                Ok(json) => f.write_str(&json),
                Err(_) => f.write_str("?"),
            },
        }
    }
}

impl Detail {
    pub const fn new(code: &'static str) -> Detail {
        Detail { code: Cow::Borrowed(code), params: BTreeMap::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Param>) -> Detail {
        self.params.insert(Cow::Borrowed(name), value.into());
        self
    }
}

/// In English: a code, and what it says. `{name}` is a parameter.
const ENGLISH: &[(&str, &str)] = &[
    ("alarm", "{text}"),
    ("commit_late", "void: recorded only after its time was over"),
    ("configuration_gone", "over after {lasted}: it is not configured any more"),
    ("controller_away", "the turnstile was away while somebody may have walked through"),
    ("damaged", "{problem}"),
    (
        "damaged_acknowledgements_unknown",
        "{problem}; how many of its records were acknowledged is not known",
    ),
    ("damaged_unacknowledged", "{problem}; {records} of its records were not yet acknowledged"),
    ("disk_error", "{problem}"),
    ("disk_free", "{mib} MiB free in {folder}"),
    ("faces_over", "over after {lasted}; {most} in all"),
    ("fire_alarm", "fire alarm at lane {lane}"),
    ("gateway_restarted", "the gateway restarted before the outcome was known"),
    ("lane_restarted", "the lane restarted before the outcome was known"),
    ("lane_stands_open", "the lane stands open"),
    ("no_answer", "the turnstile gave no answer"),
    ("no_passage_reports", "this controller does not report passages"),
    ("not_released", "not released: {problem}"),
    ("nothing_passed", "nobody walked through in time"),
    ("over", "over after {lasted}"),
    ("records_over", "over after {lasted}; {records} waited at most"),
    ("release_late", "void: its time was over before the turnstile was told"),
    (
        "router_over",
        "over after {lasted}: the known router is back, or another one took this one's place, or \
         this one is known now",
    ),
];

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, english)) = ENGLISH.iter().find(|(code, _)| *code == self.code) else {
            f.write_str(&self.code)?;
            return self.params.iter().try_for_each(|(name, value)| write!(f, ", {name} {value}"));
        };
        let mut rest = *english;
        while let Some((before, (name, after))) =
            rest.split_once('{').and_then(|(before, more)| Some((before, more.split_once('}')?)))
        {
            f.write_str(before)?;
            match self.params.get(name) {
                Some(value) => value.fmt(f)?,
                None => f.write_str("?")?,
            }
            rest = after;
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests;
