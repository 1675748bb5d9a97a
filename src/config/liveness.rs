//! The liveness check: whether it runs, and with which model.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::Error};

use super::value;
use crate::{turnstile::Direction, words::words};

words! {
    /// What is done with the judgement on a living face.
    #[derive(Default)]
    pub enum Liveness {
        /// No judgement is made.
        #[default]
        Off = "off",
        /// The judgement is recorded, and changes no decision.
        Watch = "watch",
        /// A low visit at an entry goes to the guard.
        Guard = "guard",
    }
}

impl Liveness {
    /// Returns what is done at a camera of this direction: no exit has a guard.
    pub fn at(self, direction: Direction) -> Liveness {
        match (self, direction) {
            (Liveness::Guard, Direction::Exit) => Liveness::Watch,
            (liveness, _) => liveness,
        }
    }
}

/// The file of a liveness model, and how it is used. The integrator answers for the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LivenessModel {
    /// The ONNX file, relative to `models.dir`.
    pub file: PathBuf,
    /// SHA-256 of the file, 64 hexadecimal digits.
    #[serde(deserialize_with = "sha256")]
    pub sha256: String,
    /// Width and height of the model's picture in pixels.
    #[serde(deserialize_with = "value::whole::<_, _, 32, 512>")]
    pub size: u32,
    /// Width of the picture in widths of the face, and height in heights of it.
    #[serde(deserialize_with = "value::decimal::<_, 100, 300>")]
    pub crop: f32,
    /// The class of living faces in the model's output, counted from 0.
    #[serde(deserialize_with = "value::whole::<_, _, 0, 99>")]
    pub live: u32,
}

/// The model that `models/fetch --liveness` fetches.
impl Default for LivenessModel {
    fn default() -> LivenessModel {
        LivenessModel {
            file: "fr_liveness.onnx".into(),
            sha256: "afa783b7e902fdfcf323a7240cac2a1c580c25314ea4161129dc1b0d100dc32d".to_owned(),
            size: 128,
            crop: 2.7,
            live: 0,
        }
    }
}

fn sha256<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?.to_ascii_lowercase();
    let digits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let form = "must be the 64 hexadecimal digits that `sha256sum FILE` prints";
    digits.then_some(text).ok_or_else(|| D::Error::custom(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_has_no_guard_and_a_wrong_hash_is_refused() {
        assert_eq!(Liveness::Guard.at(Direction::Entry), Liveness::Guard);
        assert_eq!(Liveness::Guard.at(Direction::Exit), Liveness::Watch);
        assert_eq!(Liveness::Off.at(Direction::Exit), Liveness::Off);
        let model = |text: &str| toml::from_str::<LivenessModel>(text);
        assert_eq!(model("").unwrap(), LivenessModel::default());
        assert_eq!(model("crop = 1.5\nlive = 2").unwrap().live, 2);
        for wrong in ["sha256 = \"afa7\"", "size = 16", "crop = 9.0", "live = -1", "name = \"x\""] {
            assert!(model(wrong).is_err(), "{wrong}");
        }
    }
}
