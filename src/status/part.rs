//! The parts of the gateway that may need attention.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::uplink::CertificateOf;

/// A part of the gateway. It is written as words: `lane north`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Part {
    Lane(String),
    Turnstile(String),
    FireAlarm(String),
    /// The passage sensor of a lane and direction: `north/entry`.
    PassageSensor(String),
    /// The fire alarm's input of a lane.
    FireInput(String),
    /// A camera, by its lane and direction: `north/entry`.
    Camera(String),
    /// A reader of cards, by its name.
    Reader(String),
    /// The models for the frames of a camera.
    Vision(String),
    /// The unknown faces at a lane.
    Faces(String),
    Upstream(String),
    Certificate {
        upstream: String,
        whose: CertificateOf,
    },
    Network,
    Clock,
    /// What is deleted by date.
    Deletion,
    Disk,
    Database,
    Ledger,
    Roster,
    /// The comparison of faces with the roster.
    Recognition,
    Metrics,
    /// A part of the daemon, by its own name; also any part that is deserialised.
    Named(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Lane(name) => write!(f, "lane {name}"),
            Part::Turnstile(lane) => write!(f, "turnstile {lane}"),
            Part::FireAlarm(lane) => write!(f, "fire alarm {lane}"),
            Part::PassageSensor(name) => write!(f, "passage sensor {name}"),
            Part::FireInput(lane) => write!(f, "fire input {lane}"),
            Part::Camera(name) => write!(f, "camera {name}"),
            Part::Reader(name) => write!(f, "reader {name}"),
            Part::Vision(camera) => write!(f, "vision {camera}"),
            Part::Faces(lane) => write!(f, "faces {lane}"),
            Part::Upstream(name) => write!(f, "upstream {name}"),
            Part::Certificate { upstream, whose } => {
                write!(f, "certificate {upstream}/{}", whose.word())
            }
            Part::Network => f.write_str("network"),
            Part::Clock => f.write_str("clock"),
            Part::Deletion => f.write_str("deletion"),
            Part::Disk => f.write_str("disk"),
            Part::Database => f.write_str("database"),
            Part::Ledger => f.write_str("ledger"),
            Part::Roster => f.write_str("roster"),
            Part::Recognition => f.write_str("recognition"),
            Part::Metrics => f.write_str("metrics"),
            Part::Named(name) => f.write_str(name),
        }
    }
}

impl From<Part> for String {
    fn from(part: Part) -> String {
        part.to_string()
    }
}

impl From<String> for Part {
    fn from(name: String) -> Part {
        Part::Named(name)
    }
}

impl Part {
    /// Returns whether this part belongs to another upstream than the given one.
    pub fn is_anothers(&self, upstream: &str) -> bool {
        match self {
            Part::Upstream(name) | Part::Certificate { upstream: name, .. } => name != upstream,
            _ => false,
        }
    }
}
