//! What a worker consents to, by purpose. Pure.

use std::{fmt, str::FromStr};

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What a worker consents to. Each purpose has a consent of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The gateway keeps templates and photos of the face, and recognises it.
    Face,
    /// Photos of the worker go to the upstream of this name.
    Photo(String),
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purpose::Face => f.write_str("face"),
            Purpose::Photo(upstream) => write!(f, "photo:{upstream}"),
        }
    }
}

impl FromStr for Purpose {
    type Err = String;

    fn from_str(text: &str) -> Result<Purpose, String> {
        let named = |name: &&str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=64).contains(&name.len()) && name.chars().all(allowed)
        };
        match text.strip_prefix("photo:").filter(named) {
            Some(upstream) => Ok(Purpose::Photo(upstream.to_owned())),
            None if text == "face" => Ok(Purpose::Face),
            None => Err("must be `face`, or `photo:` and the name of an upstream".to_owned()),
        }
    }
}

impl Serialize for Purpose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Purpose, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A worker's consent to one purpose, as it was recorded last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    pub purpose: Purpose,
    /// Number of the signed form; `None`: the worker withdrew without a form before.
    pub form: Option<String>,
    /// Day of the signature.
    pub given_on: Option<Date>,
    /// Day of the withdrawal; `None` while the consent is in force.
    pub withdrawn_on: Option<Date>,
}

impl Consent {
    pub fn is_in_force(&self) -> bool {
        self.withdrawn_on.is_none()
    }
}

#[cfg(test)]
mod tests;
