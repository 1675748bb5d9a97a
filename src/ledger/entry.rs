//! What an entry says, and its bytes.
//!
//! The bytes of a version are frozen: courts read them years later. A change is a new version
//! beside the old one. An entry is one deterministic CBOR map with text keys:
//!
//! | key | value |
//! |---|---|
//! | `v` | 1 |
//! | `alg` | 1: leaf = SHA-256(0x00 \|\| these bytes), RFC 9162 |
//! | `salt` | 16 random bytes, so that a neighbour's leaf cannot be guessed |
//! | `ledger` | 16 bytes, made with the database |
//! | `index` | the entry's place among all entries, from 0 |
//! | `seq` | its place among those that go upstream, from 1; absent on a grant, which goes upstream with its outcome |
//! | `time` | `wall_ms` since 1970, `synced`, `boot` (16 bytes), `uptime_ms` |
//! | `kind` | `boot`, `config`, `enrolment`, `removal`, `grant`, `denial`, `release`, `outcome`, `clock`, `storage`, `successor`, `mode`, `fire`, `tailgate`, `amendment`, `state`, `supplement`, `dispute`, `key`, `pruning`, `alarm` |
//! | `data` | a map, by kind; scores are ten-thousandths (0.7123 is 7123), dates ISO 8601 |

use ciborium::Value;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    alarm::Alarm,
    cbor::{self, CborError, Fields, Map},
};
use crate::{
    clock::{BootId, ClockChange, ClockWhat, Stamp},
    config::Direction,
    roster::{Erased, Person, State, Terms, WorkerId},
    turnstile::PassageId,
};

const VERSION: u8 = 1;
const SHA256_LEAVES: u8 = 1;

/// A ledger: 128 random bits made with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerId(pub [u8; 16]);

impl std::fmt::Display for LedgerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A cosine in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Score(pub i32);

impl Score {
    pub fn of(cosine: f32) -> Score {
        // A cosine is within ±1, and `as` saturates where it is not.
        Score((f64::from(cosine) * 10_000.0).round() as i32)
    }

    pub fn value(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

/// How the face was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The best worker's score.
    pub score: Score,
    pub threshold: Score,
    /// The embedder's name.
    pub model: String,
}

/// How somebody could tell this gateway to do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The control socket; the kernel says who is behind it.
    #[default]
    Socket,
    /// A command that works on the storage folder itself while no daemon runs.
    Console,
    /// A platform's command: `user` is the upstream's name in the configuration, `uid` the daemon's
    /// own.
    Upstream,
}

impl Via {
    fn word(self) -> &'static str {
        match self {
            Via::Socket => "socket",
            Via::Console => "console",
            Via::Upstream => "upstream",
        }
    }
}

/// Who told the gateway to do something: a user of the operating system, or a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub uid: u32,
    pub user: String,
    pub via: Via,
}

/// Somebody whose face is like this worker's, and who was enrolled all the same: a twin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alike {
    pub worker: WorkerId,
    pub score: Score,
    /// Why both are enrolled.
    pub reason: String,
}

/// What became of a worker's templates and photos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacesChanged {
    pub what: FacesWhat,
    /// The embedder that made the new ones.
    pub model: String,
    /// How many templates there are then.
    pub templates: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FacesWhat {
    Added,
    Replaced,
    Erased,
}

impl FacesWhat {
    const ALL: [FacesWhat; 3] = [FacesWhat::Added, FacesWhat::Replaced, FacesWhat::Erased];

    fn word(self) -> &'static str {
        match self {
            FacesWhat::Added => "added",
            FacesWhat::Replaced => "replaced",
            FacesWhat::Erased => "erased",
        }
    }
}

/// Whether somebody went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    NotPassed,
    /// The controller could not tell, or a restart lost its answer.
    Unconfirmed,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::NotPassed => "not_passed",
            Outcome::Unconfirmed => "unconfirmed",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Outcome::Passed, Outcome::NotPassed, Outcome::Unconfirmed]
            .into_iter()
            .find(|o| o.word() == word)
    }
}

/// How a lane works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneMode {
    /// Who is recognised and in force passes.
    #[default]
    Normal,
    /// It stands open both ways, for an emergency. Who is recognised is recorded all the same.
    Free,
    /// Nobody enters. Who is recognised leaves: nobody is locked in.
    Closed,
}

impl LaneMode {
    pub const ALL: [LaneMode; 3] = [LaneMode::Normal, LaneMode::Free, LaneMode::Closed];

    pub fn word(self) -> &'static str {
        match self {
            LaneMode::Normal => "normal",
            LaneMode::Free => "free",
            LaneMode::Closed => "closed",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        LaneMode::ALL.into_iter().find(|mode| mode.word() == word)
    }
}

impl std::fmt::Display for LaneMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// The kind of an entry and what that kind holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The daemon started.
    Boot { version: String },
    /// The configuration differs from the one of the entry before: SHA-256 of the file.
    Config { sha256: [u8; 32] },
    /// A worker came onto the roster. `commitment`: see [`commitment`].
    Enrolment {
        person: Person,
        id_type: String,
        commitment: [u8; 32],
        terms: Terms,
        model: String,
        templates: u32,
        alike: Option<Alike>,
        by: Actor,
    },
    /// A worker left it; templates and photos are erased, attendance stays (I7). `erased`: how many,
    /// absent in entries of an early version.
    Removal { worker: WorkerId, reason: Option<String>, erased: Option<Erased>, by: Actor },
    /// A face was recognised and may pass. Its outcome follows.
    Grant {
        passage: PassageId,
        lane: String,
        direction: Direction,
        person: Person,
        judgement: Judgement,
        /// Best worker's score less the second's; absent with one worker on the roster.
        margin: Option<Score>,
        roster_version: u64,
        /// SHA-256 of the photo of this passage, where one is kept for a while.
        photo: Option<[u8; 32]>,
    },
    /// A face was not let through. `person` only where it was recognised.
    Denial {
        lane: String,
        direction: Direction,
        reason: String,
        person: Option<Person>,
        judgement: Judgement,
    },
    /// A gate is opened by hand, for a worker where a guard vouches for one. Its outcome follows.
    Release {
        passage: PassageId,
        lane: String,
        direction: Direction,
        person: Option<Person>,
        reason: String,
        by: Actor,
    },
    /// What became of a grant or a release: `cause` is that entry's index, `leaf` its leaf hash.
    Outcome {
        passage: PassageId,
        cause: u64,
        leaf: [u8; 32],
        outcome: Outcome,
        /// Why it is not `passed`; empty when it is.
        detail: String,
    },
    /// The wall clock was set, or its trust came or went.
    Clock(ClockChange),
    /// How the disk does: `state` is `ample`, `low`, `scarce`, `full` or `failing`. `unrecorded`:
    /// entries given up since the entry of this kind before.
    Storage { state: String, detail: String, unrecorded: u64 },
    /// This ledger takes the place of a damaged one, which lies in the folder `set_aside`. `of` is
    /// that ledger's id where it could be read, `found` what was wrong with it. So many workers
    /// were carried over from it, and so many could not be.
    Successor {
        of: Option<LedgerId>,
        set_aside: String,
        found: String,
        workers: u32,
        workers_lost: u32,
    },
    /// A lane works otherwise from now on. `by` is absent where a fire alarm opened it.
    Mode { lane: String, mode: LaneMode, reason: String, by: Option<Actor> },
    /// The fire alarm's input at this lane's controller went on or off.
    Fire { lane: String, on: bool },
    /// Somebody passed whom nobody let through. `after`: the passage just before, if there was one.
    Tailgate { lane: String, direction: Direction, after: Option<PassageId> },
    /// What is said of a worker is otherwise from now on. `commitment` where the document is another
    /// one, `faces` where templates and photos changed. `particulars`: the names of those that are
    /// sealed and changed; none in entries of an early version.
    Amendment {
        person: Person,
        terms: Terms,
        commitment: Option<[u8; 32]>,
        particulars: Vec<String>,
        faces: Option<FacesChanged>,
        alike: Option<Alike>,
        reason: Option<String>,
        by: Actor,
    },
    /// A worker is suspended, barred or readmitted (`active`).
    State { worker: WorkerId, state: State, reason: String, by: Actor },
    /// A passage that no gate recorded, as somebody says. `at_ms`: when it is said to have been, wall
    /// time in ms since 1970.
    Supplement {
        passage: PassageId,
        person: Person,
        direction: Direction,
        at_ms: i64,
        reason: String,
        by: Actor,
    },
    /// It was not this person: an attendance (its entry's index and leaf hash) does not count.
    Dispute { cause: u64, leaf: [u8; 32], reason: String, by: Actor },
    /// The key that seals the roster is another one; so many values were sealed with it anew.
    Key { resealed: u64, by: Actor },
    /// The bytes of so many entries before the index `before` were deleted, for their retention was
    /// over; their leaf hashes stay.
    Pruning { before: u64, entries: u64, settled_on: Date, keep_years: u8 },
    /// Something needs somebody's attention, or does no longer.
    Alarm(Alarm),
}

impl Body {
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Boot { .. } => "boot",
            Body::Config { .. } => "config",
            Body::Enrolment { .. } => "enrolment",
            Body::Removal { .. } => "removal",
            Body::Grant { .. } => "grant",
            Body::Denial { .. } => "denial",
            Body::Release { .. } => "release",
            Body::Outcome { .. } => "outcome",
            Body::Clock(_) => "clock",
            Body::Storage { .. } => "storage",
            Body::Successor { .. } => "successor",
            Body::Mode { .. } => "mode",
            Body::Fire { .. } => "fire",
            Body::Tailgate { .. } => "tailgate",
            Body::Amendment { .. } => "amendment",
            Body::State { .. } => "state",
            Body::Supplement { .. } => "supplement",
            Body::Dispute { .. } => "dispute",
            Body::Key { .. } => "key",
            Body::Pruning { .. } => "pruning",
            Body::Alarm(_) => "alarm",
        }
    }

    /// A grant waits for its outcome; all else goes upstream by itself.
    pub fn goes_upstream(&self) -> bool {
        !matches!(self, Body::Grant { .. })
    }

    /// The worker it names, if any.
    pub fn worker(&self) -> Option<&WorkerId> {
        match self {
            Body::Enrolment { person, .. }
            | Body::Amendment { person, .. }
            | Body::Grant { person, .. }
            | Body::Supplement { person, .. } => Some(&person.id),
            Body::Denial { person, .. } | Body::Release { person, .. } => {
                person.as_ref().map(|p| &p.id)
            }
            Body::Removal { worker, .. } | Body::State { worker, .. } => Some(worker),
            Body::Boot { .. }
            | Body::Config { .. }
            | Body::Outcome { .. }
            | Body::Clock(_)
            | Body::Storage { .. }
            | Body::Successor { .. }
            | Body::Mode { .. }
            | Body::Fire { .. }
            | Body::Tailgate { .. }
            | Body::Dispute { .. }
            | Body::Key { .. }
            | Body::Pruning { .. }
            | Body::Alarm(_) => None,
        }
    }

    /// When it happened, where that is not when it was recorded; wall time in ms since 1970.
    pub fn at_ms(&self) -> Option<i64> {
        match self {
            Body::Supplement { at_ms, .. } => Some(*at_ms),
            _ => None,
        }
    }

    pub fn lane(&self) -> Option<&str> {
        match self {
            Body::Grant { lane, .. }
            | Body::Denial { lane, .. }
            | Body::Release { lane, .. }
            | Body::Mode { lane, .. }
            | Body::Fire { lane, .. }
            | Body::Tailgate { lane, .. } => Some(lane),
            _ => None,
        }
    }

    /// The entry that an outcome closes, or a dispute is about.
    pub fn cause(&self) -> Option<u64> {
        match self {
            Body::Outcome { cause, .. } | Body::Dispute { cause, .. } => Some(*cause),
            _ => None,
        }
    }

    fn data(&self) -> Value {
        let map = Map::default();
        match self {
            Body::Boot { version } => map.with("version", version.as_str()),
            Body::Config { sha256 } => map.with("sha256", sha256.to_vec()),
            Body::Enrolment { person, id_type, commitment, terms, model, templates, alike, by } => {
                on_terms(map, terms)
                    .with("person", person_map(person))
                    .with("id_type", id_type.as_str())
                    .with("id_commitment", commitment.to_vec())
                    .with("model", model.as_str())
                    .with("templates", *templates)
                    .with_some("alike", alike.as_ref().map(alike_map))
                    .with("by", actor_map(by))
            }
            Body::Removal { worker, reason, erased, by } => map
                .with("worker", worker.as_str())
                .with_some("reason", reason.as_deref())
                .with_some("templates", erased.map(|e| e.templates))
                .with_some("photos", erased.map(|e| e.photos))
                .with("by", actor_map(by)),
            Body::Grant {
                passage,
                lane,
                direction,
                person,
                judgement,
                margin,
                roster_version,
                photo,
            } => judged(map, judgement)
                .with("passage", passage.0.to_vec())
                .with("lane", lane.as_str())
                .with("direction", direction_word(*direction))
                .with("person", person_map(person))
                .with_some("margin", margin.map(|m| m.0))
                .with("roster", *roster_version)
                .with_some("photo", photo.map(|sha256| sha256.to_vec())),
            Body::Denial { lane, direction, reason, person, judgement } => judged(map, judgement)
                .with("lane", lane.as_str())
                .with("direction", direction_word(*direction))
                .with("reason", reason.as_str())
                .with_some("person", person.as_ref().map(person_map)),
            Body::Release { passage, lane, direction, person, reason, by } => map
                .with("passage", passage.0.to_vec())
                .with("lane", lane.as_str())
                .with("direction", direction_word(*direction))
                .with_some("person", person.as_ref().map(person_map))
                .with("reason", reason.as_str())
                .with("by", actor_map(by)),
            Body::Outcome { passage, cause, leaf, outcome, detail } => map
                .with("passage", passage.0.to_vec())
                .with("cause", *cause)
                .with("cause_leaf", leaf.to_vec())
                .with("outcome", outcome.word())
                .with("detail", detail.as_str()),
            Body::Clock(ClockChange { what, moved_ms, booted_at_ms }) => map
                .with("change", what.word())
                .with("moved_ms", *moved_ms)
                .with_some("booted_at_ms", *booted_at_ms),
            Body::Storage { state, detail, unrecorded } => map
                .with("state", state.as_str())
                .with("detail", detail.as_str())
                .with("unrecorded", *unrecorded),
            Body::Successor { of, set_aside, found, workers, workers_lost } => map
                .with_some("of", of.map(|id| id.0.to_vec()))
                .with("set_aside", set_aside.as_str())
                .with("found", found.as_str())
                .with("workers", *workers)
                .with("workers_lost", *workers_lost),
            Body::Mode { lane, mode, reason, by } => map
                .with("lane", lane.as_str())
                .with("mode", mode.word())
                .with("reason", reason.as_str())
                .with_some("by", by.as_ref().map(actor_map)),
            Body::Fire { lane, on } => map.with("lane", lane.as_str()).with("on", *on),
            Body::Tailgate { lane, direction, after } => map
                .with("lane", lane.as_str())
                .with("direction", direction_word(*direction))
                .with_some("after", after.map(|id| id.0.to_vec())),
            Body::Amendment {
                person,
                terms,
                commitment,
                particulars,
                faces,
                alike,
                reason,
                by,
            } => {
                let changed = |faces: &FacesChanged| {
                    Map::default()
                        .with("what", faces.what.word())
                        .with("model", faces.model.as_str())
                        .with("templates", faces.templates)
                };
                on_terms(map, terms)
                    .with("person", person_map(person))
                    .with_some("id_commitment", commitment.map(|c| c.to_vec()))
                    .with_some(
                        "particulars",
                        (!particulars.is_empty()).then(|| particulars.join(" ")),
                    )
                    .with_some("faces", faces.as_ref().map(changed))
                    .with_some("alike", alike.as_ref().map(alike_map))
                    .with_some("reason", reason.as_deref())
                    .with("by", actor_map(by))
            }
            Body::State { worker, state, reason, by } => map
                .with("worker", worker.as_str())
                .with("state", state.word())
                .with("reason", reason.as_str())
                .with("by", actor_map(by)),
            Body::Supplement { passage, person, direction, at_ms, reason, by } => map
                .with("passage", passage.0.to_vec())
                .with("person", person_map(person))
                .with("direction", direction_word(*direction))
                .with("at_ms", *at_ms)
                .with("reason", reason.as_str())
                .with("by", actor_map(by)),
            Body::Dispute { cause, leaf, reason, by } => map
                .with("cause", *cause)
                .with("cause_leaf", leaf.to_vec())
                .with("reason", reason.as_str())
                .with("by", actor_map(by)),
            Body::Key { resealed, by } => map.with("resealed", *resealed).with("by", actor_map(by)),
            Body::Pruning { before, entries, settled_on, keep_years } => map
                .with("before", *before)
                .with("entries", *entries)
                .with("settled_on", settled_on.to_string())
                .with("keep_years", *keep_years),
            Body::Alarm(alarm) => alarm.on(map),
        }
        .into()
    }

    fn read(kind: &str, data: Fields<'_>) -> Result<Body, CborError> {
        let optional_person = || data.optional_map("person")?.map(read_person).transpose();
        Ok(match kind {
            "boot" => Body::Boot { version: data.text("version")? },
            "config" => Body::Config { sha256: data.bytes("sha256")? },
            "enrolment" => Body::Enrolment {
                person: read_person(data.map("person")?)?,
                id_type: data.text("id_type")?,
                commitment: data.bytes("id_commitment")?,
                terms: read_terms(data)?,
                model: data.text("model")?,
                templates: data.int("templates")?,
                alike: read_alike(data)?,
                by: read_actor(data.map("by")?)?,
            },
            "removal" => Body::Removal {
                worker: read_worker(data, "worker")?,
                reason: data.optional_text("reason")?,
                erased: match (data.optional_int("templates")?, data.optional_int("photos")?) {
                    (Some(templates), Some(photos)) => Some(Erased { templates, photos }),
                    _ => None,
                },
                by: read_actor(data.map("by")?)?,
            },
            "grant" => Body::Grant {
                passage: PassageId(data.bytes("passage")?),
                lane: data.text("lane")?,
                direction: read_direction(data)?,
                person: read_person(data.map("person")?)?,
                judgement: read_judgement(data)?,
                margin: data.optional_int("margin")?.map(Score),
                roster_version: data.int("roster")?,
                photo: data.optional_bytes("photo")?,
            },
            "denial" => Body::Denial {
                lane: data.text("lane")?,
                direction: read_direction(data)?,
                reason: data.text("reason")?,
                person: optional_person()?,
                judgement: read_judgement(data)?,
            },
            "release" => Body::Release {
                passage: PassageId(data.bytes("passage")?),
                lane: data.text("lane")?,
                direction: read_direction(data)?,
                person: optional_person()?,
                reason: data.text("reason")?,
                by: read_actor(data.map("by")?)?,
            },
            "outcome" => Body::Outcome {
                passage: PassageId(data.bytes("passage")?),
                cause: data.int("cause")?,
                leaf: data.bytes("cause_leaf")?,
                outcome: Outcome::from_word(data.word("outcome")?)
                    .ok_or(CborError::Field("outcome"))?,
                detail: data.text("detail")?,
            },
            "clock" => Body::Clock(ClockChange {
                what: ClockWhat::from_word(data.word("change")?)
                    .ok_or(CborError::Field("change"))?,
                moved_ms: data.int("moved_ms")?,
                booted_at_ms: data.optional_int("booted_at_ms")?,
            }),
            "storage" => Body::Storage {
                state: data.text("state")?,
                detail: data.text("detail")?,
                unrecorded: data.int("unrecorded")?,
            },
            "successor" => Body::Successor {
                of: data.optional_bytes("of")?.map(LedgerId),
                set_aside: data.text("set_aside")?,
                found: data.text("found")?,
                workers: data.int("workers")?,
                workers_lost: data.int("workers_lost")?,
            },
            "mode" => Body::Mode {
                lane: data.text("lane")?,
                mode: LaneMode::from_word(data.word("mode")?).ok_or(CborError::Field("mode"))?,
                reason: data.text("reason")?,
                by: data.optional_map("by")?.map(read_actor).transpose()?,
            },
            "fire" => Body::Fire { lane: data.text("lane")?, on: data.bool("on")? },
            "tailgate" => Body::Tailgate {
                lane: data.text("lane")?,
                direction: read_direction(data)?,
                after: data.optional_bytes("after")?.map(PassageId),
            },
            "amendment" => Body::Amendment {
                person: read_person(data.map("person")?)?,
                terms: read_terms(data)?,
                commitment: data.optional_bytes("id_commitment")?,
                particulars: read_names(data, "particulars")?,
                faces: data.optional_map("faces")?.map(read_faces).transpose()?,
                alike: read_alike(data)?,
                reason: data.optional_text("reason")?,
                by: read_actor(data.map("by")?)?,
            },
            "state" => Body::State {
                worker: read_worker(data, "worker")?,
                state: State::from_word(data.word("state")?).ok_or(CborError::Field("state"))?,
                reason: data.text("reason")?,
                by: read_actor(data.map("by")?)?,
            },
            "supplement" => Body::Supplement {
                passage: PassageId(data.bytes("passage")?),
                person: read_person(data.map("person")?)?,
                direction: read_direction(data)?,
                at_ms: data.int("at_ms")?,
                reason: data.text("reason")?,
                by: read_actor(data.map("by")?)?,
            },
            "dispute" => Body::Dispute {
                cause: data.int("cause")?,
                leaf: data.bytes("cause_leaf")?,
                reason: data.text("reason")?,
                by: read_actor(data.map("by")?)?,
            },
            "key" => {
                Body::Key { resealed: data.int("resealed")?, by: read_actor(data.map("by")?)? }
            }
            "pruning" => Body::Pruning {
                before: data.int("before")?,
                entries: data.int("entries")?,
                settled_on: read_date(data, "settled_on")?.ok_or(CborError::Field("settled_on"))?,
                keep_years: data.int("keep_years")?,
            },
            "alarm" => Body::Alarm(Alarm::read(data)?),
            _ => return Err(CborError::Field("kind")),
        })
    }
}

fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Entry => "entry",
        Direction::Exit => "exit",
    }
}

fn read_direction(data: Fields<'_>) -> Result<Direction, CborError> {
    let word = data.word("direction")?;
    Direction::BOTH
        .into_iter()
        .find(|d| direction_word(*d) == word)
        .ok_or(CborError::Field("direction"))
}

fn read_date(data: Fields<'_>, key: &'static str) -> Result<Option<Date>, CborError> {
    let date = |text: &str| text.parse().map_err(|_| CborError::Field(key));
    data.optional_word(key)?.map(date).transpose()
}

fn on_terms(map: Map, terms: &Terms) -> Map {
    let day = |day: Option<Date>| day.map(|d| d.to_string());
    map.with_some("valid_from", day(terms.valid_from))
        .with_some("valid_until", day(terms.valid_until))
        .with_some("consent", terms.consent.as_deref())
        .with_some("consent_on", day(terms.consent_on))
        .with_some("contract_signed", day(terms.contract_signed))
        .with_some("trained_on", day(terms.trained_on))
}

fn read_terms(data: Fields<'_>) -> Result<Terms, CborError> {
    Ok(Terms {
        valid_from: read_date(data, "valid_from")?,
        valid_until: read_date(data, "valid_until")?,
        consent: data.optional_text("consent")?,
        consent_on: read_date(data, "consent_on")?,
        contract_signed: read_date(data, "contract_signed")?,
        trained_on: read_date(data, "trained_on")?,
    })
}

/// Words with a blank between them.
fn read_names(data: Fields<'_>, key: &'static str) -> Result<Vec<String>, CborError> {
    let words = data.optional_word(key)?;
    Ok(words.iter().flat_map(|words| words.split(' ')).map(str::to_owned).collect())
}

fn alike_map(alike: &Alike) -> Map {
    Map::default()
        .with("worker", alike.worker.as_str())
        .with("score", alike.score.0)
        .with("reason", alike.reason.as_str())
}

fn read_alike(data: Fields<'_>) -> Result<Option<Alike>, CborError> {
    let read = |map: Fields<'_>| {
        Ok(Alike {
            worker: read_worker(map, "worker")?,
            score: Score(map.int("score")?),
            reason: map.text("reason")?,
        })
    };
    data.optional_map("alike")?.map(read).transpose()
}

fn read_faces(map: Fields<'_>) -> Result<FacesChanged, CborError> {
    let word = map.word("what")?;
    let what = FacesWhat::ALL.into_iter().find(|what| what.word() == word);
    Ok(FacesChanged {
        what: what.ok_or(CborError::Field("what"))?,
        model: map.text("model")?,
        templates: map.int("templates")?,
    })
}

fn judged(map: Map, judgement: &Judgement) -> Map {
    map.with("score", judgement.score.0)
        .with("threshold", judgement.threshold.0)
        .with("model", judgement.model.as_str())
}

fn read_judgement(data: Fields<'_>) -> Result<Judgement, CborError> {
    Ok(Judgement {
        score: Score(data.int("score")?),
        threshold: Score(data.int("threshold")?),
        model: data.text("model")?,
    })
}

fn person_map(person: &Person) -> Map {
    Map::default()
        .with("id", person.id.as_str())
        .with("name", person.name.as_str())
        .with("team", person.team.as_str())
        .with("contractor", person.contractor.as_str())
        .with("trade", person.trade.as_str())
}

fn read_person(map: Fields<'_>) -> Result<Person, CborError> {
    Ok(Person {
        id: read_worker(map, "id")?,
        name: map.text("name")?,
        team: map.text("team")?,
        contractor: map.text("contractor")?,
        trade: map.text("trade")?,
    })
}

fn read_worker(map: Fields<'_>, key: &'static str) -> Result<WorkerId, CborError> {
    map.word(key)?.parse().map_err(|_| CborError::Field(key))
}

fn actor_map(actor: &Actor) -> Map {
    let map = Map::default().with("via", actor.via.word());
    map.with("uid", actor.uid).with("user", actor.user.as_str())
}

fn read_actor(map: Fields<'_>) -> Result<Actor, CborError> {
    let via = map.word("via")?;
    let via = [Via::Socket, Via::Console, Via::Upstream].into_iter().find(|v| v.word() == via);
    let via = via.ok_or(CborError::Field("via"))?;
    Ok(Actor { uid: map.int("uid")?, user: map.text("user")?, via })
}

/// An entry in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub salt: [u8; 16],
    pub ledger: LedgerId,
    pub index: u64,
    pub seq: Option<u64>,
    pub stamp: Stamp,
    pub body: Body,
}

impl Entry {
    pub fn encode(&self) -> Vec<u8> {
        let time = Map::default()
            .with("wall_ms", self.stamp.wall_ms)
            .with("synced", self.stamp.synced)
            .with("boot", self.stamp.boot.0.to_vec())
            .with("uptime_ms", self.stamp.uptime_ms);
        let entry = Map::default()
            .with("v", VERSION)
            .with("alg", SHA256_LEAVES)
            .with("salt", self.salt.to_vec())
            .with("ledger", self.ledger.0.to_vec())
            .with("index", self.index)
            .with_some("seq", self.seq)
            .with("time", time)
            .with("kind", self.body.kind())
            .with("data", self.body.data());
        cbor::encode(entry.into())
    }

    /// Reads an entry of version 1, refusing any byte that [`Entry::encode`] would not write.
    pub fn decode(bytes: &[u8]) -> Result<Entry, CborError> {
        let entry = Entry::decode_known(bytes)?;
        // Unknown keys would be lost in between.
        if entry.encode() == bytes { Ok(entry) } else { Err(CborError::NotDeterministic) }
    }

    /// Of bytes that are known to be ours, by their hash; what else may stand in them is not looked
    /// for.
    pub(super) fn decode_known(bytes: &[u8]) -> Result<Entry, CborError> {
        let value = cbor::decode(bytes)?;
        let entry = value.fields();
        if entry.int::<u8>("v")? != VERSION || entry.int::<u8>("alg")? != SHA256_LEAVES {
            return Err(CborError::Field("v"));
        }
        let time = entry.map("time")?;
        Ok(Entry {
            salt: entry.bytes("salt")?,
            ledger: LedgerId(entry.bytes("ledger")?),
            index: entry.int("index")?,
            seq: entry.optional_int("seq")?,
            stamp: Stamp {
                wall_ms: time.int("wall_ms")?,
                synced: time.bool("synced")?,
                boot: BootId(time.bytes("boot")?),
                uptime_ms: time.int("uptime_ms")?,
            },
            body: Body::read(entry.word("kind")?, entry.map("data")?)?,
        })
    }
}

/// The hash of a leaf of the Merkle tree: SHA-256(0x00 || entry), RFC 9162, 2.1.1.
pub fn leaf_hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// What an enrolment's entry says of the ID number without telling it:
/// SHA-256("gatehouse id 1" || salt || type || 0x00 || number). `number` is the normalised one:
/// trimmed, ASCII letters in upper case ([`crate::roster::Identity::checked`]). `salt`: 32 random bytes, kept
/// sealed with the number; an evidence package opens the commitment by showing all three.
pub fn commitment(salt: &[u8; 32], id_type: &str, number: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"gatehouse id 1")
        .chain_update(salt)
        .chain_update(id_type)
        .chain_update([0])
        .chain_update(number)
        .finalize()
        .into()
}
