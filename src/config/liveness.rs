//! The liveness check: whether it runs, and with which model.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::Error};

use super::value;

/// What is done with the judgement on a living face.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Liveness {
    /// No judgement is made.
    #[default]
    Off,
    /// The judgement is recorded, and changes no decision.
    Watch,
}

impl TryFrom<String> for Liveness {
    type Error = String;

    fn try_from(word: String) -> Result<Liveness, String> {
        match &*word {
            "off" => Ok(Liveness::Off),
            "watch" => Ok(Liveness::Watch),
            "guard" => Err("\"guard\" is not in this version: a photo before the camera is not \
                            refused. Write \"watch\", which records a judgement, and let a guard \
                            stand at the gate"
                .to_owned()),
            _ => Err("must be \"off\" or \"watch\"".to_owned()),
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
    fn guard_and_a_wrong_hash_are_refused_with_what_to_write() {
        let refused = Liveness::try_from("guard".to_owned()).unwrap_err();
        assert!(
            refused.contains("not in this version") && refused.contains("\"watch\""),
            "{refused}"
        );
        assert!(Liveness::try_from("on".to_owned()).is_err());
        assert_eq!(Liveness::try_from("watch".to_owned()), Ok(Liveness::Watch));
        let model = |text: &str| toml::from_str::<LivenessModel>(text);
        assert_eq!(model("").unwrap(), LivenessModel::default());
        assert_eq!(model("crop = 1.5\nlive = 2").unwrap().live, 2);
        for wrong in ["sha256 = \"afa7\"", "size = 16", "crop = 9.0", "live = -1", "name = \"x\""] {
            assert!(model(wrong).is_err(), "{wrong}");
        }
    }
}
