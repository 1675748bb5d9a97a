//! The profiles, a folder for each: a platform's topics and payloads.
//!
//! A new profile is a folder with a [`Profile`] that is a [`Dialect`], its `mod`, and its line in
//! `PROFILES`. That list gives the values of `profile = "…"`, the known keys and the profile of
//! each upstream.

#![warn(missing_docs)]

pub mod face_terminal;
mod message;
pub mod national;
pub mod native;
pub mod profile;
pub mod talk;
pub mod tcp843;

use std::sync::Arc;

pub use self::profile::{
    Attached, Dialect, HeadNotice, Heard, Made, Message, Needs, Online, OnlineLane, PhotoNotice,
    Profile, Stub,
};
pub use self::talk::{
    Calls, Dialogue, Moment, Parcel, Request, Said, Sessions, Talk, Unusable, Verdict,
};
use crate::{
    attendance::{EventRecord, Origin, Record},
    config::{self, Ack, Config, ConfigError, PlatformUrl, Upstream},
    ledger::Stored,
    turnstile::settings::{Checked, Wrong, wrong},
};

const PROFILES: &[Registered] = &[
    registered::<native::Native>(),
    registered::<face_terminal::FaceTerminal>(),
    registered::<national::National>(),
    registered::<tcp843::Tcp843>(),
];

/// A profile in the list.
struct Registered {
    word: &'static str,
    keys: fn() -> Vec<String>,
    make: fn(&Upstream, &Origin) -> Checked<Arc<dyn Profile>>,
}

const fn registered<D: Dialect>() -> Registered {
    Registered { word: D::WORD, keys: config::keys::<D::Keys>, make: make::<D> }
}

fn make<D: Dialect>(upstream: &Upstream, origin: &Origin) -> Checked<Arc<dyn Profile>> {
    let own = toml::Value::Table(upstream.own.0.clone());
    let keys = serde_path_to_error::deserialize(own).or_else(|error| {
        let path = error.path().to_string();
        wrong(path.trim_start_matches('.'), error.inner().message())
    })?;
    Ok(Arc::new(D::new(keys, upstream, origin)?))
}

/// Refuses a configuration with an unknown profile, or with keys that its profile cannot fulfil.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    checked(PROFILES, config)
}

fn checked(profiles: &[Registered], config: &Config) -> Result<(), ConfigError> {
    let site = &config.site;
    // Without `gateway_id` the daemon generates a name, which no key can equal.
    let gateway = site.gateway_id.clone().unwrap_or_default();
    let (project, timezone) = (site.project_code.clone(), site.timezone.clone());
    let origin = Origin { gateway, project, timezone };
    let mut before: Vec<(&Upstream, Arc<dyn Profile>)> = Vec::new();
    for (i, upstream) in config.upstreams.iter().enumerate() {
        let made = made(profiles, upstream, &origin).and_then(|profile| {
            can_reach(&*profile, upstream)?;
            can_give(&*profile, upstream)?;
            can_acknowledge(&*profile, upstream)?;
            before.iter().try_for_each(|(other, theirs)| {
                distinct((upstream, &*profile), (other, &**theirs), &origin)
            })?;
            Ok(profile)
        });
        let at = |key: &str| format!("upstream[{i}].{key}").trim_end_matches('.').to_owned();
        let profile = made.map_err(|wrong| config.wrong(&at(&wrong.key), &wrong.message))?;
        before.push((upstream, profile));
    }
    Ok(())
}

fn made(
    profiles: &[Registered],
    upstream: &Upstream,
    origin: &Origin,
) -> Checked<Arc<dyn Profile>> {
    let named = |profile: &&Registered| profile.word == upstream.profile;
    let Some(profile) = profiles.iter().find(named) else {
        let word = &upstream.profile;
        let names = listed(profiles.iter(), ", ");
        return wrong("profile", format!("{word:?} is not in this version; it has {names}"));
    };
    (profile.make)(upstream, origin).map_err(|Wrong { key, message }| {
        let has = |profile: &&Registered| (profile.keys)().contains(&key);
        let owners = listed(profiles.iter().filter(has), " or ");
        let of_another = message.starts_with("unknown field") && !owners.is_empty();
        let message = if of_another { format!("belongs to profile = {owners}") } else { message };
        Wrong { key, message }
    })
}

fn listed<'a>(profiles: impl Iterator<Item = &'a Registered>, between: &str) -> String {
    profiles.map(|profile| format!("{:?}", profile.word)).collect::<Vec<_>>().join(between)
}

/// Refuses an address that the profile does not speak to.
fn can_reach(profile: &dyn Profile, upstream: &Upstream) -> Checked<()> {
    let scheme = upstream.url.as_ref().map(PlatformUrl::scheme);
    let (key, form) = match (profile.talk(), scheme) {
        (Talk::Mqtt, None)
        | (Talk::Https(_), Some("https" | "http"))
        | (Talk::Tcp(_), Some("tcp")) => {
            return Ok(());
        }
        (Talk::Mqtt, Some(_)) => ("url", "broker = \"mqtts://HOST:PORT\""),
        (Talk::Https(_), Some(_)) => ("url", "url = \"https://HOST/PATH\""),
        (Talk::Https(_), None) => ("broker", "url = \"https://HOST/PATH\""),
        (Talk::Tcp(_), Some(_)) => ("url", "url = \"tcp://HOST:PORT\""),
        (Talk::Tcp(_), None) => ("broker", "url = \"tcp://HOST:PORT\""),
    };
    let name = &upstream.profile;
    wrong(key, format!("is not the address of a platform with profile = {name:?}: write {form}"))
}

/// Refuses a configuration that cannot give what the profile needs. ID numbers and the numbers of
/// workers are on the roster; photos are not sent by default.
fn can_give(profile: &dyn Profile, upstream: &Upstream) -> Checked<()> {
    if !profile.needs().photo || upstream.photos.are_sent() {
        return Ok(());
    }
    let (name, upstream) = (&upstream.profile, &upstream.name);
    let problem = format!(
        "a platform with profile = {name:?} wants a photo with each record: write \"record\". The photo of \
         a worker goes only with the consent to photo:{upstream}; the other records go without"
    );
    wrong("photos", problem)
}

/// Refuses `ack = "platform"` for a platform that cannot acknowledge. Its rows would wait for ever.
fn can_acknowledge(profile: &dyn Profile, upstream: &Upstream) -> Checked<()> {
    if upstream.ack == Ack::Broker || profile.acknowledges() {
        return Ok(());
    }
    let name = &upstream.profile;
    let problem =
        format!("a platform with profile = {name:?} acknowledges nothing: write \"broker\"");
    wrong("ack", problem)
}

/// Refuses two upstreams of one broker with a topic or a client id in common. A broker keeps one
/// session for a client id, and accepts one connection under it.
fn distinct(
    (upstream, profile): (&Upstream, &dyn Profile),
    (other, theirs): (&Upstream, &dyn Profile),
    origin: &Origin,
) -> Checked<()> {
    if !upstream.shares_a_broker(other) {
        return Ok(());
    }
    let (topics, taken) = (profile.topics(), theirs.topics());
    if topics.starts_with(taken) || taken.starts_with(topics) {
        let problem = format!(
            "is that of the upstream {:?} too, whose topics are the same: name another broker, or delete \
             one of the two upstreams",
            other.name
        );
        return wrong("broker", problem);
    }
    let id = upstream.client_id(&origin.gateway);
    if id == other.client_id(&origin.gateway) {
        let problem = format!(
            "{id:?} is that of the upstream {:?} on the same broker, which accepts only one of the two: \
             write another client id",
            other.name
        );
        return wrong("client_id", problem);
    }
    Ok(())
}

/// Returns the profile of an upstream, which [`check`] has accepted.
pub fn of(upstream: &Upstream, origin: &Origin) -> Checked<Arc<dyn Profile>> {
    made(PROFILES, upstream, origin)
}

/// Returns an outbox row's message. The message is attendance if an outcome closes a worker's
/// passage or a person adds attendance, else an event. `cause` is the entry that an outcome closes.
/// `attach` gives what the platform asks for besides.
/// Returns `None` for an entry that is not sent.
pub fn message(
    profile: &dyn Profile,
    origin: &Origin,
    stored: &Stored,
    cause: Option<Stored>,
    resent: bool,
    attach: impl FnOnce(&Record) -> Attached,
) -> Option<Made> {
    match Record::of(origin, stored, cause) {
        Some(record) => {
            let record = Record { resent, ..record };
            Some(profile.record(&record, &attach(&record)))
        }
        None => {
            EventRecord::of(origin, stored).map(|e| profile.event(&EventRecord { resent, ..e }))
        }
    }
}

#[cfg(test)]
mod tests;
