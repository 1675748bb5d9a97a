//! The evidence that was presented at a lane, in one shape for all means of identification. Also
//! the flags that mark an entry.

use std::{borrow::Cow, fmt};

use ciborium::Value;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

use super::words::{Actor, Score};

/// One piece of evidence of a person's identity. A face and a card may stand in one list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    Face(FaceEvidence),
    Card(CardEvidence),
    Qr(CardEvidence),
    IdCard(CardEvidence),
    /// A guard vouches for the person.
    Guard(Actor),
    /// Evidence of a later version, as the entry holds it.
    #[serde(skip_deserializing)]
    Other(Value),
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Evidence::Face(face) => serializer.collect_map([("face", face)]),
            Evidence::Card(card) => serializer.collect_map([("card", card)]),
            Evidence::Qr(card) => serializer.collect_map([("qr", card)]),
            Evidence::IdCard(card) => serializer.collect_map([("id_card", card)]),
            Evidence::Guard(guard) => serializer.collect_map([("guard", guard)]),
            Evidence::Other(value) => value.serialize(serializer),
        }
    }
}

/// Reads a list of evidence, and keeps unknown evidence as it is. The CBOR reader does not advance
/// past a value that it could not read. The same value is therefore read again, as `Other`.
pub(super) fn list<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<Evidence>, D::Error> {
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<Evidence>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of evidence")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            loop {
                match seq.next_element() {
                    Ok(Some(known)) => list.push(known),
                    Ok(None) => return Ok(list),
                    Err(_) => list.extend(seq.next_element()?.map(Evidence::Other)),
                }
            }
        }
    }

    list.deserialize_seq(List)
}

/// The scores of a recognised face.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaceEvidence {
    /// The best worker's score.
    pub score: Score,
    pub threshold: Score,
    /// The best worker's score minus the second's; absent with one worker on the roster.
    pub margin: Option<Score>,
    /// The embedder's name.
    pub model: String,
    /// Number of sightings of the visit that agree.
    pub frames: u32,
    /// The kind of the camera: the word before the colon of its source.
    pub camera: String,
    /// Whether a living person was before the camera, if that was examined.
    pub presentation: Option<Presentation>,
}

/// The result of the examination for a living person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Presentation {
    pub score: Score,
    /// The sign that decided it: a word.
    pub cue: String,
    /// The part of the face's surroundings that moved with it, as the paper of a photo does; absent
    /// where the looks did not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rides: Option<Score>,
}

/// A card or code that a reader read, without its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardEvidence {
    /// The reader's name in the configuration.
    pub reader: String,
    /// A salted hash of the number.
    #[serde(with = "serde_bytes")]
    pub commitment: [u8; 32],
}

impl Evidence {
    /// Returns the evidence of a face in one sighting, without a kind of camera.
    pub fn of_face(score: Score, threshold: Score, model: &str) -> Evidence {
        Evidence::Face(FaceEvidence {
            score,
            threshold,
            margin: None,
            model: model.to_owned(),
            frames: 1,
            camera: String::new(),
            presentation: None,
        })
    }

    pub fn face(&self) -> Option<&FaceEvidence> {
        match self {
            Evidence::Face(face) => Some(face),
            _ => None,
        }
    }

    pub fn guard(&self) -> Option<&Actor> {
        match self {
            Evidence::Guard(guard) => Some(guard),
            _ => None,
        }
    }
}

/// A word that marks a grant, a release or an outcome. A reader shows an unknown word as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flag(Cow<'static, str>);

impl Flag {
    /// The person passed after the time of the release was over.
    pub const LATE: Flag = Flag(Cow::Borrowed("late"));
    /// Another face was before the camera until the passage, and vanished with it.
    pub const OTHER_FACE: Flag = Flag(Cow::Borrowed("other_face"));
    /// The passage sensor has not shown lately that it works, or shows that it does not.
    pub const SENSOR_SUSPECT: Flag = Flag(Cow::Borrowed("sensor_suspect"));
    /// The worker had lost the card that opened the exit.
    pub const CARD_LOST: Flag = Flag(Cow::Borrowed("card_lost"));
    /// The face before the camera was clearly not that of the worker whose card was shown.
    pub const CARD_FACE_DIFFERS: Flag = Flag(Cow::Borrowed("card_face_differs"));
    /// The clock was not trusted, and the decision depended on it.
    pub const CLOCK: Flag = Flag(Cow::Borrowed("clock"));
    /// The roster was older than it should be.
    pub const ROSTER_STALE: Flag = Flag(Cow::Borrowed("roster_stale"));
    /// A second entry of the worker without an exit between.
    pub const REPEAT_ENTRY: Flag = Flag(Cow::Borrowed("repeat_entry"));

    pub fn word(&self) -> &str {
        &self.0
    }
}
