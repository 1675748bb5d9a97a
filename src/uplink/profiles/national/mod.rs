//! The `national` profile: attendance for the national platform of construction workers
//! (全国建筑工人管理服务信息平台) and for platforms that speak the same interface.
//!
//! A call is a form by POST with a signature ([`account`]). It delivers rows of one team. The
//! platform answers at once, or with a number under which its verdict is asked for ([`answer`]). A
//! row is a worker's ID number, a time and a direction. Everything else is left out: events, and
//! passages that did not take place. The platform takes no record back. `docs/integrate/national.md`
//! says how sure each of these facts is.

mod account;
mod answer;
mod keys;
#[cfg(test)]
mod tests;

use std::{ops::RangeInclusive, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

pub use self::keys::{Code, Keys, Unconfirmed};
use self::{
    account::{Account, HEX_NONCE},
    answer::{Answer, Said},
    keys::AT_ONCE_MAX,
};
use super::{
    profile::{Attached, Dialect, Made, Message, Needs, Online, Profile, Unmade},
    talk::{Calls, Moment, Parcel, Request, Talk, Unusable, Verdict},
};
use crate::{
    attendance::{EventRecord, Origin, Record, RecordOutcome},
    config::{self, Secret, Upstream},
    turnstile::settings::{Checked, wrong},
};

/// Numbers of decimal digits that a nonce may have.
const NONCE_DIGITS: RangeInclusive<u8> = 4..=16;

/// The profile of one upstream.
pub struct National(Arc<Platform>);

struct Platform {
    keys: Keys,
    account: Account,
    project: String,
    timezone: TimeZone,
    /// Whether a record carries its photo.
    photos: bool,
}

impl Dialect for National {
    const WORD: &'static str = "national";
    type Keys = Keys;

    fn new(keys: Keys, upstream: &Upstream, origin: &Origin) -> Checked<National> {
        let secret = kept_apart("secret", &keys.secret)?;
        if !Account::is_secret(&secret) {
            return wrong(
                "secret",
                "must have 16, 24 or 32 bytes, because it is the key of the ID numbers too: ask the \
                 platform's operator for it",
            );
        }
        let corp_key = keys.corp_key.as_ref().map(|key| kept_apart("corp_key", key)).transpose()?;
        if keys.appid.is_empty() {
            return wrong("appid", "is empty: write the account's name at the platform");
        }
        let digits = keys.nonce_digits;
        if digits != HEX_NONCE && !NONCE_DIGITS.contains(&digits) {
            let (least, most) = NONCE_DIGITS.into_inner();
            let form = format!("must be {HEX_NONCE} (hexadecimal), or {least} to {most} (decimal)");
            return wrong("nonce_digits", form);
        }
        let own = config::keys::<Keys>().into_iter().chain(config::keys::<Upstream>());
        if let Some(key) = own.into_iter().find(|key| keys.teams.contains_key(key)) {
            return wrong(
                format!("teams.{key}"),
                "is a key of [[upstream]]: write it above [upstream.teams]",
            );
        }
        if !(1..=AT_ONCE_MAX).contains(&keys.at_once) {
            return wrong("at_once", format!("must be from 1 to {AT_ONCE_MAX}"));
        }
        if keys.taken_words.iter().any(|words| words.trim().is_empty()) {
            return wrong("taken_words", "has an empty text, which is in every refusal: delete it");
        }
        let project = keys.platform_project.clone().unwrap_or_else(|| origin.project.clone());
        let (appid, nonce_digits) = (keys.appid.clone(), keys.nonce_digits);
        let account = Account { appid, secret, corp_key, nonce_digits };
        let (timezone, photos) = (origin.timezone.clone(), upstream.photos.are_sent());
        Ok(National(Arc::new(Platform { keys, account, project, timezone, photos })))
    }
}

/// Reads a secret that must not be in the configuration itself.
fn kept_apart(key: &str, secret: &Secret) -> Checked<Zeroizing<String>> {
    if matches!(secret, Secret::Plain(_)) {
        return wrong(key, "give file:PATH or credential:NAME, never the secret itself");
    }
    secret.read().or_else(|error| wrong(key, error.to_string()))
}

/// A row of a call, as the platform wants it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    id_card_type: &'a Code,
    id_card_number: String,
    date: String,
    direction: &'a Code,
    #[serde(skip_serializing_if = "Option::is_none")]
    attend_type: Option<&'a Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

impl Profile for National {
    fn topics(&self) -> &str {
        ""
    }

    fn needs(&self) -> Needs {
        Needs { id_number: true, time: true, photo: self.0.photos, ..Needs::default() }
    }

    fn doubts(&self) -> Option<String> {
        let words = "no team has a number under [upstream.teams], so each record will stand aside";
        self.0.keys.teams.is_empty().then(|| words.to_owned())
    }

    fn talk(&self) -> Talk {
        Talk::Https(self.0.clone())
    }

    fn record(&self, record: &Record, attached: &Attached) -> Made {
        self.0.row(record, attached)
    }

    fn event(&self, _: &EventRecord) -> Made {
        Ok(None)
    }

    fn status(&self, _: &Online) -> Made {
        Ok(None)
    }

    fn offline(&self) -> Made {
        Ok(None)
    }
}

impl Platform {
    /// Makes the row of a record. Its topic is the number of its team, in JSON.
    fn row(&self, record: &Record, attached: &Attached) -> Made {
        let lacks = |words: String| Err(Unmade::Lacks(words));
        match (record.outcome, record.corrects) {
            (RecordOutcome::NotPassed, None) => return Ok(None),
            (RecordOutcome::NotPassed, Some(seq)) => {
                return lacks(format!(
                    "it says that the passage of record {seq} did not take place, and this platform \
                     takes no record back: tell its operator"
                ));
            }
            (RecordOutcome::Unconfirmed | RecordOutcome::Other, _)
                if self.keys.unconfirmed == Unconfirmed::LeaveOut =>
            {
                return Ok(None);
            }
            _ => {}
        }
        let Some(team) = self.team(record) else {
            return match &*record.team {
                "" => lacks(format!(
                    "worker {} has no team, and the platform takes attendance by team only: add \"\" = \
                     NUMBER under [upstream.teams]",
                    record.worker
                )),
                team => lacks(format!(
                    "the team {team:?} has no number of the platform: add {team:?} = NUMBER under \
                     [upstream.teams], and restart"
                )),
            };
        };
        let Some((kind, number)) = &attached.identity else {
            let worker = &record.worker;
            return lacks(format!("the ID number of worker {worker} is not there any more"));
        };
        let at = match &attached.reckoned {
            Some(reckoned) if reckoned.undated.is_some() => {
                return lacks(
                    "the gateway's clock was wrong when it was recorded, and nothing dates it yet: \
                     synchronise the clock"
                        .to_owned(),
                );
            }
            Some(reckoned) => reckoned.corrected_at.as_deref().unwrap_or(&record.at),
            None => &record.at,
        };
        let Some(id_card_number) = self.account.sealed(number) else {
            return lacks("the secret is no key for ID numbers".to_owned());
        };
        let photo = attached.photo.as_ref().and_then(|photo| photo.as_ref().ok());
        let row = Row {
            id_card_type: self.keys.id_card_types.of(*kind),
            id_card_number,
            // The form is that of RFC 3339 with the site's offset.
            date: at.chars().take(19).collect::<String>().replace('T', " "),
            direction: self.keys.direction_codes.of(record.direction),
            attend_type: self.keys.attend_types.of(record.means),
            image: photo.map(|jpeg| STANDARD.encode(jpeg)),
        };
        let (topic, payload) = (serde_json::to_string(team)?, serde_json::to_vec(&row)?);
        Ok(Some(Message { topic, payload, retained: false }))
    }

    /// Returns the platform's number of a record's team. Two contractors may each have a team of one
    /// name.
    fn team(&self, record: &Record) -> Option<&Code> {
        let teams = &self.keys.teams;
        let of_contractor = format!("{}/{}", record.contractor, record.team);
        teams.get(&of_contractor).or_else(|| teams.get(&record.team))
    }

    fn request(&self, method: &str, data: &str, moment: &Moment) -> Request {
        let at = moment.at.to_zoned(self.timezone.clone());
        let body = self.account.form(method, data, &at, moment);
        Request {
            path: String::new(),
            content_type: "application/x-www-form-urlencoded; charset=utf-8",
            body,
        }
    }

    /// Returns the verdict on a refused call. `repeats`: it had one row, which was sent before. A
    /// refusal of such a row that the platform has already is none.
    fn refused(&self, repeats: bool, words: String) -> Verdict {
        let has_it = self.keys.taken_words.iter().any(|taken| words.contains(taken));
        if repeats && has_it { Verdict::Taken } else { Verdict::Refused(words) }
    }
}

impl Calls for Platform {
    fn at_once(&self) -> usize {
        self.keys.at_once
    }

    fn deliver(&self, rows: &[Parcel], moment: &Moment) -> Result<Request, Unmade> {
        let project = serde_json::to_string(&self.project)?;
        let team = rows.first().map_or("null", |row| &row.message.topic);
        let list: Vec<_> =
            rows.iter().map(|row| String::from_utf8_lossy(&row.message.payload)).collect();
        let list = list.join(",");
        let data =
            format!("{{\"projectCode\":{project},\"teamSysNo\":{team},\"dataList\":[{list}]}}");
        Ok(self.request(&self.keys.method, &data, moment))
    }

    fn delivered(&self, rows: &[Parcel], answer: &[u8]) -> Result<Vec<Verdict>, Unusable> {
        let answer = Answer::read(answer)?;
        let verdict = match answer.said()? {
            Said::Accepted => match answer.serial() {
                // The kind tells, after a restart too, how a refusal is to be taken.
                Some(serial) => Verdict::Later(format!("{}:{serial}", kind(rows))),
                None => Verdict::Taken,
            },
            Said::Wrong(words) => self.refused(kind(rows) == REPEAT, words),
            Said::NotNow(words) => Verdict::NotNow(words),
        };
        Ok(vec![verdict; rows.len()])
    }

    fn inquire(&self, serial: &str, moment: &Moment) -> Option<Request> {
        let (_, serial) = split(serial);
        let data = json!({ "requestSerialCode": serial }).to_string();
        Some(self.request(&self.keys.result_method, &data, moment))
    }

    fn inquired(&self, serial: &str, answer: &[u8]) -> Result<Option<Verdict>, Unusable> {
        let (kind, serial) = split(serial);
        let answer = Answer::read(answer)?;
        match answer.said()? {
            Said::Accepted => {}
            // The platform does not know the number.
            Said::Wrong(words) => return Ok(Some(Verdict::NotNow(words))),
            Said::NotNow(words) => return Ok(Some(Verdict::Later(words))),
        }
        if let Some(other) = answer.serial().filter(|other| other != serial) {
            return Err(
                format!("it answers for call {other:?}, and was asked for {serial:?}").into()
            );
        }
        Ok(match answer.verdict() {
            Some(Verdict::Refused(words)) => match self.refused(kind == REPEAT, words) {
                // One row may have spoilt the call, so each goes alone.
                Verdict::Refused(words) if kind > REPEAT => Some(Verdict::NotNow(words)),
                verdict => Some(verdict),
            },
            verdict => verdict,
        })
    }
}

/// Reads a platform's answer.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    if let Ok(answer) = Answer::read(bytes) {
        let _ = (answer.said(), answer.serial(), answer.verdict(), answer.words());
    }
}

/// The kind of a call with one row that was sent before.
const REPEAT: usize = 1;

/// Returns the kind of a call: 0 for one row, [`REPEAT`] for one that was sent before, and the number
/// of several.
fn kind(rows: &[Parcel]) -> usize {
    match rows {
        [row] => usize::from(row.resent),
        rows => rows.len(),
    }
}

/// Returns the kind of a call and the platform's number of it.
fn split(serial: &str) -> (usize, &str) {
    let parts = serial.split_once(':').and_then(|(kind, of)| Some((kind.parse().ok()?, of)));
    parts.unwrap_or((REPEAT, serial))
}
