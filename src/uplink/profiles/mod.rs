//! The profiles there are, each a folder: a platform's topics and payloads.
//!
//! A new profile is a folder with a [`Profile`], and its line in [`PROFILES`]. From there come the
//! words of `profile = "…"` and what each upstream speaks.

pub mod native;
pub mod profile;

use std::sync::Arc;

pub use self::profile::{Heard, Made, Message, Online, OnlineLane, Profile};
use crate::{
    attendance::{EventRecord, Origin, Record},
    config::{Config, ConfigError, Upstream},
    ledger::Stored,
};

type Make = fn(&Upstream, &Origin) -> Arc<dyn Profile>;

/// Each profile by its name in the configuration.
const PROFILES: &[(&str, Make)] = &[("native", native::profile)];

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not in this version; it has {names}", names = names())]
pub struct NoProfile(String);

fn names() -> String {
    PROFILES.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

fn named(name: &str) -> Result<Make, NoProfile> {
    let found = PROFILES.iter().find(|(known, _)| *known == name);
    found.map(|(_, make)| *make).ok_or_else(|| NoProfile(name.to_owned()))
}

/// Refuses a configuration with a profile that there is not.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    config.upstreams.iter().enumerate().try_for_each(|(i, upstream)| {
        let wrong = |e: NoProfile| config.wrong(&format!("upstream[{i}].profile"), e.to_string());
        named(&upstream.profile).map(drop).map_err(wrong)
    })
}

/// What this upstream speaks.
pub fn of(upstream: &Upstream, origin: &Origin) -> Result<Arc<dyn Profile>, NoProfile> {
    Ok(named(&upstream.profile)?(upstream, origin))
}

/// An outbox row's message: attendance where an outcome closes a worker's passage or somebody adds
/// one, else an event. `cause` is the entry that an outcome closes. `None` for an entry that goes
/// nowhere.
pub fn message(
    profile: &dyn Profile,
    origin: &Origin,
    stored: &Stored,
    cause: Option<Stored>,
    resent: bool,
) -> Option<Made> {
    match Record::of(origin, stored, cause) {
        Some(record) => Some(profile.record(&Record { resent, ..record })),
        None => {
            EventRecord::of(origin, stored).map(|e| profile.event(&EventRecord { resent, ..e }))
        }
    }
}
