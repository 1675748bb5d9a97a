//! The reason for an event: a code with parameters. An entry stores these; the English sentence is
//! made when a person reads it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use ciborium::Value;
use serde::{Deserialize, Serialize};

use crate::words::counted;

/// A code and its parameters, as an entry holds them. A reader shows an unknown code as it is.
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
    /// A name, or an error text of the operating system or of a library.
    Text(String),
    /// A value of a later version.
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

/// The English sentence of each code. `{name}` is a parameter, `{name:seconds}` a time, and
/// `{name:record}` a number of records. A part in `[ ]` is left out when its parameter is absent.
const ENGLISH: &[(&str, &str)] = &[
    (
        "authority_certificate_ended",
        "the authority's certificate[ in {path}] has ended on {until}: ask the broker's operator for \
         the new one",
    ),
    (
        "authority_certificate_ends",
        "the authority's certificate[ in {path}] ends on {until}, in {left_s:seconds}; then this link is \
         down: ask the broker's operator for the new one",
    ),
    (
        "broker_certificate_ended",
        "the broker's certificate[ in {path}] has ended on {until}: its operator must renew it",
    ),
    (
        "broker_certificate_ends",
        "the broker's certificate[ in {path}] ends on {until}, in {left_s:seconds}; then this link is \
         down: its operator must renew it",
    ),
    (
        "camera_black",
        "{source} gives a black picture: check the light, the lens and the camera's exposure",
    ),
    ("camera_error", "{problem}"),
    ("camera_frozen", "{source} gives the same picture again and again: restart the camera"),
    (
        "camera_login_refused",
        "{problem}. The next try is in {wait_s:seconds}, because many cameras lock a user after a few \
         wrong passwords. A changed password, or a restart of the daemon, is tried at once",
    ),
    (
        "camera_no_key_frame",
        "{source}: pictures come, no key frame for {lasted_s} s: set the key-frame interval to 1 to 2 s \
         in the camera's settings, and switch its smart codec (H.264+) and intra refresh off",
    ),
    (
        "camera_plain",
        "{source} gives a picture of one grey: something may cover the lens (dirt, tape, a web), or a \
         light blinds it",
    ),
    ("camera_silent", "{source} is open but sends no frames: check the camera"),
    ("commit_late", "void: recorded only after its time was over"),
    ("configuration_gone", "over after {lasted_s:seconds}: it is not configured any more"),
    ("controller_away", "the turnstile was away while a person may have walked through"),
    (
        "counters_restarted",
        "the controller's counters started again while the arm was open[: {sensor}, for {direction} at \
         lane {lane}. Check the controller's power supply]",
    ),
    ("damaged", "{problem}"),
    (
        "damaged_acknowledgements_unknown",
        "{problem}; the number of its acknowledged records is not known",
    ),
    ("damaged_unacknowledged", "{problem}; {records} of its records were not yet acknowledged"),
    (
        "database_shortened",
        "the database ended with record {last}, and more had been committed: the disk lost data that it \
         had confirmed",
    ),
    ("disk_error", "{problem}"),
    ("disk_free", "{mib} MiB free in {folder}"),
    (
        "faces_cut_off",
        "{source} shows only faces that its edge cuts off: aim it at the place where workers stand, or \
         give it a wider view",
    ),
    (
        "faces_outside",
        "{source} has shown only faces outside its zone since the daemon's start: see `gatehouse lane \
         watch LANE --picture FILE`, and correct the zone",
    ),
    ("faces_over", "over after {lasted_s:seconds}; {most} in all"),
    (
        "faces_too_small",
        "{source} shows only faces that are narrower than recognition.min_face_px: if workers stand \
         there, move the camera nearer, or give it a larger picture or a narrower view",
    ),
    (
        "faces_undecided",
        "{source} shows faces, and the gate has decided on none of them for {lasted_s:seconds}: no \
         sighting agrees with the sighting before. Check what is before the camera. With \
         GATEHOUSE_LOG=debug the log shows the result of each sighting",
    ),
    (
        "faces_unknown",
        "{count} visits of unknown faces, with less than {within} s between two: a person tries \
         pictures or masks, or the people there are not on the roster. Check who stands there",
    ),
    ("fire_alarm", "fire alarm at lane {lane}"),
    (
        "fire_glitch",
        "the fire sign at lane {lane} was a glitch of its input: it lasted {ms} ms at most",
    ),
    (
        "fire_input_glitch",
        "a fire sign of {ms} ms at most opened every lane; with no further sign for 5 s, the lanes go \
         back to their modes. Check the wires and clamps of input {input}, and the panel's contact. If \
         the panel speaks by pulses, set fire_signal = \"pulse\"",
    ),
    (
        "fire_input_glitches",
        "{count} fire signs of less than 200 ms, each within 10 minutes of the one before; the lanes \
         stay free. If there is no fire, check the wires and clamps of input {input}, its cable's way \
         past motors, and the panel's contact; then run `gatehouse lane mode LANE normal`. If the panel \
         speaks by pulses, set fire_signal = \"pulse\"",
    ),
    (
        "foreign_release",
        "{output} is on and releases {direction}, and this gateway has not switched it on. It was \
         withdrawn once and came back, so it is left on, and the arm may be open. Look for another \
         controller or program, a fire panel or a guard's button wired in parallel, or a relay board \
         with a fault. The alarm ends when it is off",
    ),
    (
        "gateway_certificate_ended",
        "this gateway's certificate[ in {path}] has ended on {until}: have a new one issued and put it \
         there",
    ),
    (
        "gateway_certificate_ends",
        "this gateway's certificate[ in {path}] ends on {until}, in {left_s:seconds}; then this link is \
         down: have a new one issued and put it there",
    ),
    ("gateway_restarted", "the gateway restarted before the outcome was known"),
    ("lane_restarted", "the lane restarted before the outcome was known"),
    ("lane_stands_open", "the lane stands open"),
    (
        "ledger_altered",
        "{entries:entry} of the ledger unreadable or altered, the first is number {first}: copy the storage \
         folder to a safe place, run `gatehouse evidence audit`, and ask who had access",
    ),
    (
        "ledger_broken",
        "the ledger is not the one of {size:entry} that this gateway signed: the database was altered, or an \
         older copy was put in its place",
    ),
    ("ledger_renewed", "{problem}"),
    (
        "link_down",
        "{problem}; check the link and the broker. Gatehouse tries again at least every 30 s, and then \
         sends what waits ({records:record})",
    ),
    (
        "link_login_refused",
        "{problem}; check username and password. The next try is in {wait_s:seconds}, because many \
         brokers lock a user after a few wrong passwords. A changed password, or a restart of the daemon, \
         is tried at once ({records:record})",
    ),
    (
        "liveness_fallback",
        "{low} of {visits} visits of an hour were not judged, so the guard is not asked, and a photo of a \
         worker passes. Look who stands there, at the light and at the lens; exempt the workers on whom \
         the model errs; or measure for a week with liveness = \"watch\". The guard is asked again when \
         an hour was better, or after a restart of the daemon",
    ),
    ("next_came", "the next person was let through before it was known whether this one walked"),
    ("no_answer", "the turnstile gave no answer"),
    ("no_passage_reports", "this controller does not report passages"),
    ("not_released", "not released: {problem}"),
    ("nothing_passed", "no one walked through in time"),
    ("older_copy", "{problem}"),
    (
        "one_record_waits",
        "1 record has waited for {age_s:seconds}, though the broker is connected; if the number does \
         not fall, ask the broker's operator",
    ),
    (
        "one_record_waits_for_platform",
        "1 record has waited for {age_s:seconds}, though the platform is connected; if the \
         number does not fall, ask the platform's operator",
    ),
    (
        "one_record_waits_link_down",
        "1 record has waited for {age_s:seconds}, and the link is down: check the link",
    ),
    ("over", "over after {lasted_s:seconds}"),
    (
        "platform_authority_certificate_ended",
        "the authority's certificate[ in {path}] has ended on {until}: ask the platform's \
         operator for the new one",
    ),
    (
        "platform_authority_certificate_ends",
        "the authority's certificate[ in {path}] ends on {until}, in {left_s:seconds}; then \
         this link is down: ask the platform's operator for the new one",
    ),
    (
        "platform_certificate_ended",
        "the platform's certificate[ in {path}] has ended on {until}: its operator must renew \
         it",
    ),
    (
        "platform_certificate_ends",
        "the platform's certificate[ in {path}] ends on {until}, in {left_s:seconds}; then \
         this link is down: its operator must renew it",
    ),
    (
        "platform_link_down",
        "{problem}; check the link and the platform. Gatehouse tries again, and then sends \
         what waits ({records:record})",
    ),
    (
        "platform_login_refused",
        "{problem}; check the account with the platform's operator. The next try is in \
         {wait_s:seconds}, because a platform may lock an account after a few refused logins \
         ({records:record})",
    ),
    ("reader_error", "{problem}"),
    ("records_over", "over after {lasted_s:seconds}; {records:record} waited at most"),
    (
        "records_wait",
        "{records} records wait, the oldest for {age_s:seconds}, though the broker is connected; if \
         the number does not fall, ask the broker's operator",
    ),
    (
        "records_wait_for_platform",
        "{records} records wait, the oldest for {age_s:seconds}, though the platform is \
         connected; if the number does not fall, ask the platform's operator",
    ),
    (
        "records_wait_link_down",
        "{records} records wait, the oldest for {age_s:seconds}, and the link is down: check the link",
    ),
    ("release_late", "void: its time was over before the turnstile got the command"),
    (
        "replay_over",
        "{source} is over, so the lane sees no one on this side: to play it again and again, set \
         loop = true in the camera's settings",
    ),
    (
        "roster_stale",
        "the database lost entries, so the roster may be older than it should be: a worker who was \
         suspended, barred or removed may pass, and each record is flagged. Check the roster \
         (`gatehouse worker list`), bar or remove these workers again, then run `gatehouse roster \
         confirm`. Replace the card or disk if no copy was put back",
    ),
    (
        "router_changed",
        "the router is {router} and was {known} until now: either the router or modem was replaced, or \
         this box was moved to another place, where attendance means nothing. Check the box. The alarm \
         ends when {known} is back, or after 7 days",
    ),
    (
        "router_over",
        "over after {lasted_s:seconds}: the known router is back, or a third router took its place, or \
         the new router is known now",
    ),
    (
        "sensor_chatters",
        "the passage sensor reports people without a release[: {sensor}, for {direction} at lane {lane}. \
         Look for a loose wire, for dirt or water on the sensor, and at its alignment; or people pass \
         without being let through]",
    ),
    (
        "sensor_on",
        "the passage sensor stays on[: {sensor}, for {direction} at lane {lane}. Look for a thing that \
         stands before it, for dirt on it, at its alignment, and for a short circuit in its wire]",
    ),
    (
        "sensor_silent",
        "the passage sensor saw no one at several releases[: {sensor}, for {direction} at lane {lane}. \
         Look for a torn or loose wire, at the sensor's power and alignment, and for dirt on it]",
    ),
    ("sensor_unproven", "the passage sensor saw no one, and has not shown lately that it works"),
    (
        "signing_key_replaced",
        "the signing key is not the one of fingerprint {before}, which has not endorsed it: put that key back and \
         restart the daemon, or find out who replaced it",
    ),
    ("turnstile_down", "{problem}"),
    ("yielded", "no one walked through in time, and the arm was released for the other side"),
];

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, english)) = ENGLISH.iter().find(|(code, _)| *code == self.code) else {
            f.write_str(&self.code)?;
            return self.params.iter().try_for_each(|(name, value)| write!(f, ", {name} {value}"));
        };
        for (n, part) in english.split(['[', ']']).enumerate() {
            let mut pieces = part.split(['{', '}']);
            let lacks = |name| !self.params.contains_key(name);
            if n % 2 == 1 && pieces.clone().nth(1).is_some_and(lacks) {
                continue;
            }
            while let Some(words) = pieces.next() {
                f.write_str(words)?;
                pieces.next().map_or(Ok(()), |placeholder| f.write_str(&self.said(placeholder)))?;
            }
        }
        Ok(())
    }
}

impl Detail {
    /// Returns a parameter in the form that its sentence asks for.
    fn said(&self, placeholder: &str) -> String {
        let (name, form) = placeholder.split_once(':').unwrap_or((placeholder, ""));
        match (self.params.get(name), form) {
            (Some(Param::Number(time)), "seconds") => in_words(time.unsigned_abs()),
            (Some(Param::Number(count)), one) if !one.is_empty() => counted(*count, one),
            (Some(value), _) => value.to_string(),
            (None, "") => "?".to_owned(),
            (None, one) => format!("? {one}s"),
        }
    }
}

/// Returns a time for people, in its largest one or two units.
fn in_words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
