//! Reads a platform's command strictly. A command with an argument that is unknown, of a wrong type
//! or outside of its bound is refused. Messages never show a value, because it may be an ID number.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::refusal::{Refusal, Wrong};
use crate::{
    config::CommandLevel,
    roster::{IdType, Identity, Particulars, Person, State, Terms, WorkerId},
    services::{
        Edit, Enroll, Failure, IfKnown, ListedWorker, PHOTOS_MAX, Photo, Release, Remove, SetState,
    },
    uplink::profiles::native::command::shown,
    vision::Format,
    words::day,
};

/// Maximum size of a photo, in bytes.
const PHOTO_BYTES: usize = 1 << 20;
/// Maximum number of characters of an argument. Each argument also has a smaller maximum of its
/// own.
const TEXT_CHARS: usize = 256;
/// Maximum number of workers of a page. With the longest texts it is well under the 1 MiB of a
/// message.
pub(super) const PAGE_MAX: u64 = 200;
/// Maximum number of records that one command asks for again.
pub(super) const RESEND_MAX: u64 = 10_000;
/// The prefix of the verbs that carry out one verb for each of a list.
const EACH: &str = "workers.";
/// The reason of a suspension by a platform that only knows people who are blocked.
const BLOCKED: &str = "blocked by the platform";

/// A command's verb with its arguments.
pub(super) enum Verb {
    Upsert {
        enroll: Box<Enroll>,
        photos: Vec<Vec<u8>>,
    },
    Edit {
        edit: Box<Edit>,
        photos: Vec<Vec<u8>>,
    },
    /// Several, one after another.
    Each(Vec<Item>),
    SetState(SetState),
    Remove(Remove),
    Digest,
    Page {
        after: Option<WorkerId>,
        limit: u64,
    },
    Release(Release),
    Resend {
        from: u64,
        to: u64,
    },
    ResendBetween {
        since: Timestamp,
        until: Timestamp,
    },
    Show(WorkerId),
    Status,
    /// A part of the platform's list of workers. The gateway asked for it. `enrolls`: unknown workers
    /// are enrolled, and wait for a person.
    Listed {
        workers: Vec<ListedWorker>,
        enrolls: bool,
    },
}

/// One verb of several: the worker's id, if it is one, and the verb.
pub(super) struct Item {
    pub(super) id: Option<WorkerId>,
    pub(super) verb: Result<Verb, Failure>,
}

/// Maximum number of workers of a list in one command.
const LISTED_MAX: usize = 100;

/// Returns the level of commands that a verb needs; `None` for an unknown verb.
pub(super) fn level(verb: &str) -> Option<CommandLevel> {
    match verb {
        "roster.digest"
        | "attendance.resend"
        | "attendance.resend_between"
        | "status.now"
        | "workers.numbered" => Some(CommandLevel::Status),
        "worker.upsert" | "worker.suspend" | "worker.resume" | "worker.remove" | "roster.page"
        | "worker.edit" | "worker.show" | "workers.edit" | "workers.remove" | "workers.listed" => {
            Some(CommandLevel::Roster)
        }
        "lane.release" => Some(CommandLevel::All),
        _ => None,
    }
}

impl Verb {
    pub(super) fn read(verb: &str, args: Map<String, Value>) -> Result<Verb, Failure> {
        let mut args = Args(args);
        let read = match verb {
            "worker.upsert" => upsert(&mut args)?,
            "worker.edit" => edit(&mut args)?,
            "worker.show" => Verb::Show(args.worker()?),
            "workers.edit" | "workers.remove" => {
                Verb::Each(args.each(&verb.replacen(EACH, "worker.", 1))?)
            }
            "worker.suspend" => {
                let (id, reason) = (args.worker()?, args.needed("reason")?);
                Verb::SetState(SetState { id, state: State::Suspended, reason })
            }
            "worker.resume" => {
                let reason = args.text("reason")?.unwrap_or_else(|| "resumed".to_owned());
                Verb::SetState(SetState { id: args.worker()?, state: State::Active, reason })
            }
            "worker.remove" => {
                Verb::Remove(Remove { id: args.worker()?, reason: args.text("reason")? })
            }
            "roster.digest" => Verb::Digest,
            "roster.page" => Verb::Page {
                after: args.worker_at("after")?,
                limit: args.number("limit")?.unwrap_or(PAGE_MAX),
            },
            "lane.release" => Verb::Release(Release {
                lane: args.needed("lane")?,
                direction: args
                    .read("direction", str::parse)?
                    .ok_or_else(|| missing("direction"))?,
                worker: args.worker_at("worker")?,
                reason: args.needed("reason")?,
            }),
            "attendance.resend" => Verb::Resend {
                from: args.number("from")?.ok_or_else(|| missing("from"))?,
                to: args.number("to")?.ok_or_else(|| missing("to"))?,
            },
            "attendance.resend_between" => {
                Verb::ResendBetween { since: args.time("since")?, until: args.time("until")? }
            }
            "status.now" => Verb::Status,
            "workers.listed" | "workers.numbered" => {
                Verb::Listed { workers: args.workers()?, enrolls: verb == "workers.listed" }
            }
            unknown => return Err(Refusal::UnknownVerb(shown(unknown)).into()),
        };
        args.end()?;
        read.checked()
    }

    /// Checks the bounds of numbers.
    fn checked(self) -> Result<Verb, Failure> {
        match self {
            Verb::Page { limit, .. } if !(1..=PAGE_MAX).contains(&limit) => {
                Err(invalid("limit", Wrong::Limit { most: PAGE_MAX }))
            }
            Verb::Resend { from, to } if from == 0 || to < from => Err(invalid("to", Wrong::Range)),
            Verb::Resend { from, to } if to - from >= RESEND_MAX => {
                let upto = from + (RESEND_MAX - 1);
                Err(Refusal::TooMany { most: RESEND_MAX, from, upto }.into())
            }
            read => Ok(read),
        }
    }

    /// Returns whether the verb only reads, or states what the platform has. A repetition of it is
    /// carried out again.
    pub(super) fn only_reads(&self) -> bool {
        matches!(
            self,
            Verb::Digest | Verb::Page { .. } | Verb::Show(_) | Verb::Status | Verb::Listed { .. }
        )
    }

    /// Returns whether the verb comes only as the answer to a question of the gateway.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Verb::Listed { .. })
    }

    /// Returns whether the verb is carried out while the clock is not trusted: it admits no one,
    /// and shows no worker. A removal only bars then.
    pub(super) fn needs_no_clock(&self) -> bool {
        match self {
            Verb::SetState(SetState { state, .. }) => *state != State::Active,
            // A listed worker waits for a person.
            Verb::Remove(_)
            | Verb::Digest
            | Verb::Resend { .. }
            | Verb::ResendBetween { .. }
            | Verb::Status
            | Verb::Listed { .. } => true,
            Verb::Upsert { .. }
            | Verb::Edit { .. }
            | Verb::Page { .. }
            | Verb::Show(_)
            | Verb::Release(_) => false,
            Verb::Each(all) => {
                all.iter().all(|one| one.verb.as_ref().map_or(true, Verb::needs_no_clock))
            }
        }
    }
}

/// Reads the same fields as `worker enroll`. It updates a known worker, as an import with
/// `--update`.
fn upsert(args: &mut Args) -> Result<Verb, Failure> {
    let person = Person {
        id: args.worker()?,
        name: args.needed("name")?,
        team: args.needed("team")?,
        contractor: args.needed("contractor")?,
        trade: args.needed("trade")?,
    };
    let id_type = args.read("id_type", str::parse)?.unwrap_or_default();
    let mut enroll = Enroll::new(person, id_type, args.needed("id_number")?);
    enroll.particulars = Particulars {
        gender: args.read("gender", str::parse)?,
        birth_date: args.read("birth_date", day)?,
        phone: args.text("phone")?,
        bank_tail: args.text("bank_tail")?,
    };
    enroll.terms = Terms {
        valid_from: args.read("valid_from", day)?,
        valid_until: args.read("valid_until", day)?,
        consent: args.text("consent")?,
        consent_on: args.read("consent_on", day)?,
        contract_signed: args.read("contract_signed", day)?,
        trained_on: args.read("trained_on", day)?,
    };
    enroll.allow_duplicate_face = args.text("allow_duplicate_face")?;
    enroll.if_known = IfKnown::Update;
    // A platform cannot be asked for a confirmation.
    enroll.confirmed = true;
    let photos = args.photos()?;
    enroll.photos = announced(&photos);
    Ok(Verb::Upsert { enroll: Box::new(enroll), photos })
}

/// Reads what a platform says of a person that does not know the gateway's own fields. What it does
/// not say stays as it is, or is that of new workers (`new_…`).
fn edit(args: &mut Args) -> Result<Verb, Failure> {
    let id = args.worker()?;
    if args.take("blocked") == Some(Value::Bool(true)) {
        args.0.clear();
        let reason = BLOCKED.to_owned();
        return Ok(Verb::SetState(SetState { id, state: State::Suspended, reason }));
    }
    if let Some(what) = args.text("unsupported")? {
        return Err(invalid(&what, Wrong::NotKept));
    }
    if args.text("photo_at")?.is_some() {
        return Err(Refusal::PhotoByAddress.into());
    }
    let photos = args.photos()?;
    let edit = Edit {
        id,
        name: args.text("name")?,
        id_number: args.text("id_number")?,
        terms: Terms {
            valid_from: args.read("valid_from", day)?,
            valid_until: args.read("valid_until", day)?,
            ..Terms::default()
        },
        new_team: args.text("new_team")?,
        new_contractor: args.text("new_contractor")?,
        new_trade: args.text("new_trade")?,
        new_consent: args.text("new_consent")?,
        photos: announced(&photos),
    };
    Ok(Verb::Edit { edit: Box::new(edit), photos })
}

/// Returns the photos as a request announces them.
fn announced(photos: &[Vec<u8>]) -> Vec<Photo> {
    let one = |(n, photo): (usize, &Vec<u8>)| Photo {
        name: format!("photos[{n}]"),
        bytes: photo.len() as u64,
    };
    photos.iter().enumerate().map(one).collect()
}

fn invalid(key: &str, wrong: Wrong) -> Failure {
    Refusal::argument(key, wrong).into()
}

fn missing(key: &str) -> Failure {
    invalid(key, Wrong::Missing)
}

/// The arguments that are not read yet. A null argument counts as absent.
struct Args(Map<String, Value>);

impl Args {
    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.chars().nth(TEXT_CHARS).is_none() => Ok(Some(text)),
            Some(Value::String(_)) => Err(invalid(key, Wrong::Long { most: TEXT_CHARS })),
            Some(_) => Err(invalid(key, Wrong::NoText)),
        }
    }

    fn needed(&mut self, key: &str) -> Result<String, Failure> {
        self.text(key)?.ok_or_else(|| missing(key))
    }

    fn read<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let read =
            |text: String| read(&text).map_err(|problem| invalid(key, Wrong::Other(problem)));
        self.text(key)?.map(read).transpose()
    }

    fn number(&mut self, key: &str) -> Result<Option<u64>, Failure> {
        let read = |value: Value| value.as_u64().ok_or_else(|| invalid(key, Wrong::NoNumber));
        self.take(key).map(read).transpose()
    }

    fn time(&mut self, key: &str) -> Result<Timestamp, Failure> {
        let read = |text: &str| text.parse().map_err(|_| "must be a time".to_owned());
        self.read(key, read)?.ok_or_else(|| missing(key))
    }

    /// Reads the arguments of one verb for each of a list.
    fn each(&mut self, verb: &str) -> Result<Vec<Item>, Failure> {
        let Some(Value::Array(all)) = self.take("each") else { return Err(missing("each")) };
        let one = |args: Value| {
            let Value::Object(args) = args else {
                return Item { id: None, verb: Err(invalid("each", Wrong::NoMap)) };
            };
            let only = |id: &Value| Map::from_iter([("id".to_owned(), id.clone())]);
            let id = args.get("id").and_then(|id| Args(only(id)).worker_at("id").ok().flatten());
            Item { id, verb: Verb::read(verb, args) }
        };
        Ok(all.into_iter().map(one).collect())
    }

    fn worker(&mut self) -> Result<WorkerId, Failure> {
        self.worker_at("id")?.ok_or_else(|| missing("id"))
    }

    /// Reads a worker's id. An ID number is refused, because records and messages show the id.
    fn worker_at(&mut self, key: &str) -> Result<Option<WorkerId>, Failure> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if Identity::checked(IdType::Resident, &text, Particulars::default(), None).is_ok() {
            return Err(invalid(key, Wrong::IdNumber));
        }
        text.parse().map(Some).map_err(|_| invalid(key, Wrong::NoWorkerId))
    }

    fn photos(&mut self) -> Result<Vec<Vec<u8>>, Failure> {
        let list = match self.take("photos") {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) if list.len() <= PHOTOS_MAX => list,
            Some(_) => return Err(invalid("photos", Wrong::NoPhotos)),
        };
        let one = |(n, text): (usize, &Value)| {
            let at = format!("photos[{n}]");
            let photo = text.as_str().and_then(|text| STANDARD.decode(text).ok());
            match photo {
                Some(photo) if photo.len() > PHOTO_BYTES => Err(invalid(&at, Wrong::LargePhoto)),
                Some(photo) => match Format::of(&photo) {
                    Ok(_) => Ok(photo),
                    Err(why) => Err(invalid(&at, Wrong::NoPhoto { why })),
                },
                None => Err(invalid(&at, Wrong::NoBase64)),
            }
        };
        list.iter().enumerate().map(one).collect()
    }

    fn workers(&mut self) -> Result<Vec<ListedWorker>, Failure> {
        let list = self.take("workers").map(serde_json::from_value::<Vec<ListedWorker>>);
        match list {
            Some(Ok(list)) if list.len() <= LISTED_MAX => Ok(list),
            _ => Err(invalid("workers", Wrong::NoWorkers { most: LISTED_MAX })),
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self.0.keys().next() {
            Some(unknown) => Err(invalid(&shown(unknown), Wrong::Unknown)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
