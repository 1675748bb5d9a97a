//! The profiles there are, each a folder: a platform's topics and payloads.
//!
//! A new profile is a folder with a [`Profile`], its `mod`, and its line in `PROFILES`. From there come the
//! words of `profile = "…"` and what each upstream speaks.

pub mod native;
pub mod profile;

use std::sync::Arc;

pub use self::profile::{Heard, Made, Message, Online, OnlineLane, Profile};
use crate::{
    attendance::{EventRecord, Origin, Record},
    config::{Ack, Config, ConfigError, Upstream},
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

/// Refuses a configuration with a profile that there is not, or that cannot do what is asked of it.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    // Topics are of no interest here.
    let (project, timezone) = (config.site.project_code.clone(), config.site.timezone.clone());
    let origin = Origin { gateway: String::new(), project, timezone };
    config.upstreams.iter().enumerate().try_for_each(|(i, upstream)| {
        let wrong = |key: &str, message| config.wrong(&format!("upstream[{i}].{key}"), message);
        let profile = of(upstream, &origin).map_err(|e| wrong("profile", e.to_string()))?;
        can_acknowledge(&*profile, upstream).map_err(|message| wrong("ack", message))
    })
}

/// A row would wait for ever for an acknowledgement that cannot come.
fn can_acknowledge(profile: &dyn Profile, upstream: &Upstream) -> Result<(), String> {
    if upstream.ack == Ack::Broker || profile.acknowledges() {
        return Ok(());
    }
    let name = &upstream.profile;
    Err(format!("a platform with profile = {name:?} acknowledges nothing: write \"broker\""))
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

#[cfg(test)]
mod tests;
