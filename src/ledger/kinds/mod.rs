//! The kinds of entries, one file each: the fields of the kind, and the facts that the ledger
//! needs.
//!
//! A new kind is a file here and a line in the list below. Its fields are frozen once a gateway has
//! written them; a later field is optional. An event's JSON follows from the fields
//! ([`crate::attendance::EventRecord`]).
//!
//! These names are reserved for later kinds:
//!
//! | kind | will hold |
//! |---|---|
//! | `device` | a camera, controller or reader was replaced: lane, part, detail |

use serde::{Deserialize, Serialize, Serializer};

pub use self::{
    access::AccessWhat,
    alarm::AlarmWhat,
    confirmation::ConfirmationResult,
    consent::ConsentWhat,
    exemption::ExemptionWhat,
    gap::{GapWhy, SHORTEST_GAP},
    shutdown::ShutdownWhy,
};
use super::{
    CborError, EntryRef, Flag,
    cbor::{Read, canonical},
};
use crate::{roster::WorkerId, turnstile::PassageId};

/// The facts about a kind that the ledger needs.
#[warn(missing_docs)]
pub trait Kind: Serialize + for<'a> Deserialize<'a> {
    /// Its word in entries and events.
    const NAME: &str;
    /// Whether it goes upstream by itself.
    const GOES_UPSTREAM: bool = true;
    /// Whether a worker's history shows it.
    const IN_HISTORY: bool = false;

    /// The worker it names, if any.
    fn worker(&self) -> Option<&WorkerId> {
        None
    }

    /// The lane it happened at, if any.
    fn lane(&self) -> Option<&str> {
        None
    }

    /// The index of the entry that this one is about.
    fn cause(&self) -> Option<u64> {
        None
    }

    /// The entries that this one is about, with their leaf hashes.
    fn refers_to(&self) -> Vec<EntryRef> {
        Vec::new()
    }

    /// When it happened, if not at the time of the entry; wall time in ms since 1970.
    fn at_ms(&self) -> Option<i64> {
        None
    }

    /// The passage that begins with it.
    fn opens(&self) -> Option<PassageId> {
        None
    }

    /// The passage that ends with it.
    fn closes(&self) -> Option<PassageId> {
        None
    }
}

macro_rules! kinds {
    ($($module:ident::$kind:ident,)*) => {
        $(mod $module;)*
        $(pub use self::$module::$kind;)*

        /// The kind of an entry, with its fields.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Body {
            $($kind($kind),)*
            /// An unknown kind, or a known kind with values that this version does not know.
            Other(Other),
        }

        $(impl From<$kind> for Body {
            fn from(kind: $kind) -> Body {
                Body::$kind(kind)
            }
        })*

        /// Does the same for every kind, and `$else` for an unknown kind.
        macro_rules! each {
            ($body:expr, $it:ident => $do:expr, $else:expr) => {
                match $body {
                    $(Body::$kind($it) => $do,)*
                    Body::Other(_) => $else,
                }
            };
        }

        impl Body {
            /// Returns the kinds that a worker's history shows.
            pub(super) fn in_history() -> impl Iterator<Item = &'static str> {
                let all = [$(($kind::NAME, $kind::IN_HISTORY),)*];
                all.into_iter().filter_map(|(name, shown)| shown.then_some(name))
            }

            fn known(kind: &str, data: Read<'_, '_>) -> Option<Body> {
                match kind {
                    $($kind::NAME => $kind::deserialize(data).ok().map(Body::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    boot::Boot,
    config::ConfigChange,
    enrolment::Enrolment,
    removal::Removal,
    grant::Grant,
    denial::Denial,
    release::GuardRelease,
    outcome::Closing,
    clock::ClockChange,
    storage::DiskState,
    successor::Successor,
    mode::ModeChange,
    fire::Fire,
    tailgate::Tailgate,
    amendment::Amendment,
    state::StateChange,
    supplement::Supplement,
    dispute::Dispute,
    key::KeyChange,
    signing_key::SigningKeyChange,
    pruning::Pruning,
    alarm::Alarm,
    correction::Correction,
    other_face::OtherFace,
    shutdown::Shutdown,
    gap::Gap,
    heartbeat::Heartbeat,
    access::Access,
    planned_deletion::PlannedDeletion,
    photo_pruning::PhotoPruning,
    erasure::Erasure,
    lost::Lost,
    roster_confirmation::RosterConfirmation,
    withdrawal::Withdrawal,
    card::Card,
    several_cards::SeveralCards,
    consent::ConsentChange,
    confirmation::Confirmation,
    exemption::Exemption,
}

/// The body of an entry of a later version: its kind and its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    pub kind: String,
    pub data: ciborium::Value,
}

impl Other {
    /// Returns the index in its field `cause`, as the known kinds have it.
    fn cause(&self) -> Option<u64> {
        let field = |value: &ciborium::Value, name: &str| {
            let (_, value) = value.as_map()?.iter().find(|(key, _)| key.as_text() == Some(name))?;
            Some(value.clone())
        };
        let index = field(&field(&self.data, "cause")?, "index")?;
        index.as_integer()?.try_into().ok()
    }
}

impl Body {
    /// Returns the kind's word; `unknown` for a kind that this version does not know.
    pub fn kind(&self) -> &'static str {
        fn name<K: Kind>(_: &K) -> &'static str {
            K::NAME
        }
        each!(self, it => name(it), "unknown")
    }

    /// Returns the kind's word as the entry has it.
    pub fn word(&self) -> &str {
        match self {
            Body::Other(other) => &other.kind,
            known => known.kind(),
        }
    }

    /// Returns whether it goes upstream by itself.
    pub fn goes_upstream(&self) -> bool {
        fn goes<K: Kind>(_: &K) -> bool {
            K::GOES_UPSTREAM
        }
        each!(self, it => goes(it), true)
    }

    pub fn worker(&self) -> Option<&WorkerId> {
        each!(self, it => it.worker(), None)
    }

    pub fn lane(&self) -> Option<&str> {
        each!(self, it => it.lane(), None)
    }

    pub fn cause(&self) -> Option<u64> {
        match self {
            Body::Other(other) => other.cause(),
            known => each!(known, it => it.cause(), None),
        }
    }

    pub fn refers_to(&self) -> Vec<EntryRef> {
        each!(self, it => it.refers_to(), Vec::new())
    }

    pub fn at_ms(&self) -> Option<i64> {
        each!(self, it => it.at_ms(), None)
    }

    pub(super) fn opens(&self) -> Option<PassageId> {
        each!(self, it => it.opens(), None)
    }

    pub(super) fn closes(&self) -> Option<PassageId> {
        each!(self, it => it.closes(), None)
    }

    /// Marks a grant, a release or a denial. Other kinds have no flags of the decision.
    pub fn flag(&mut self, flag: Flag) {
        match self {
            Body::Grant(Grant { flags, .. })
            | Body::GuardRelease(GuardRelease { flags, .. })
            | Body::Denial(Denial { flags, .. }) => flags.push(flag),
            _ => {}
        }
    }

    /// Returns its fields, in the order in which the kind declares them; absent fields are null.
    ///
    /// # Errors
    /// None for a declared kind.
    pub fn fields(&self) -> Result<ciborium::Value, CborError> {
        ciborium::Value::serialized(self).map_err(|e| CborError::Content(e.to_string()))
    }

    /// Reads the data of a kind. An unknown kind, or a known kind with an unknown value, is kept as
    /// it is.
    pub(super) fn read(kind: &str, data: Read<'_, '_>) -> Result<Body, CborError> {
        match Body::known(kind, data) {
            Some(body) => Ok(body),
            None => {
                let data = canonical(&ciborium::Value::deserialize(data)?)?;
                Ok(Body::Other(Other { kind: kind.to_owned(), data }))
            }
        }
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Body::Other(other) => other.data.serialize(serializer),
            known => each!(known, it => it.serialize(serializer), serializer.serialize_unit()),
        }
    }
}
