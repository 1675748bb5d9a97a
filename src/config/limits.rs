//! The limits of the gate: for faces, for matches, and for alarms.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::{
    liveness::Liveness,
    threshold::Threshold,
    value::{self, within},
};

/// The quality that a sighting must have.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaceLimits {
    /// Minimum width of the face's box, in pixels of the picture.
    #[serde(deserialize_with = "value::decimal::<_, 1600, 200_000>")]
    pub min_face_px: f32,
    /// Minimum sharpness, as [`crate::vision::Quality`] measures it.
    #[serde(deserialize_with = "value::decimal::<_, 0, 200>")]
    pub min_sharpness: f32,
    /// Maximum turn of the face to the side, in distances between the eyes.
    #[serde(deserialize_with = "value::decimal::<_, 5, 100>")]
    pub max_aside: f32,
    /// Maximum tilt of the head in degrees.
    #[serde(deserialize_with = "value::decimal::<_, 500, 9000>")]
    pub max_tilt_deg: f32,
    /// Minimum and maximum of the face's mean grey level, 0 to 255.
    #[serde(deserialize_with = "light")]
    pub light: (f32, f32),
    /// Minimum detail around the mouth, as a share of the whole face's. A mask has less.
    #[serde(deserialize_with = "value::decimal::<_, 0, 100>")]
    pub min_mouth: f32,
    /// Minimum brightness of the eyes, as a share of the skin's. Dark glasses have less.
    #[serde(deserialize_with = "value::decimal::<_, 0, 100>")]
    pub min_eyes: f32,
}

impl Default for FaceLimits {
    fn default() -> FaceLimits {
        FaceLimits {
            min_face_px: 48.0,
            min_sharpness: 0.05,
            max_aside: 0.3,
            max_tilt_deg: 35.0,
            light: (45.0, 215.0),
            min_mouth: 0.15,
            min_eyes: 0.4,
        }
    }
}

fn light<'de, D: Deserializer<'de>>(from: D) -> Result<(f32, f32), D::Error> {
    let (dark, bright) = <(f32, f32)>::deserialize(from)?;
    if 0.0 <= dark && dark < bright && bright <= 255.0 {
        return Ok((dark, bright));
    }
    let problem = format!("[{dark}, {bright}] must be two rising grey levels from 0 to 255");
    Err(D::Error::custom(problem))
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recognition {
    pub threshold: Threshold,
    /// Minimum distance of the best worker's score to the second's.
    #[serde(deserialize_with = "value::decimal::<_, 0, 50>")]
    pub margin: f32,
    /// Minimum width of a face's box in pixels of the camera's frame.
    #[serde(deserialize_with = "face_width")]
    pub min_face_px: f32,
    /// Number of frames of one visit that must name the same worker.
    #[serde(deserialize_with = "value::whole::<_, _, 1, 10>")]
    pub frames_to_agree: u32,
    pub liveness: Liveness,
    /// The liveness score below which a visit is low, at a camera without a threshold of its own.
    #[serde(deserialize_with = "value::decimal::<_, 1, 100>")]
    pub liveness_threshold: f32,
}

impl Default for Recognition {
    fn default() -> Recognition {
        Recognition {
            threshold: Threshold::ByRoster,
            margin: 0.05,
            min_face_px: 48.0,
            frames_to_agree: 2,
            liveness: Liveness::Off,
            liveness_threshold: 0.5,
        }
    }
}

fn face_width<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let refused = |message| format!("{message}: smaller faces cannot be told apart");
    within(f32::deserialize(from)?, 16.0..=2000.0).map_err(refused).map_err(D::Error::custom)
}

/// The limits beyond which an alarm is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmLimits {
    /// Maximum time that a record waits for its upstream.
    #[serde(rename = "outbox_age_s", deserialize_with = "value::seconds::<_, 604_800>")]
    pub outbox_age: Duration,
    /// Maximum time that a link is down.
    #[serde(rename = "link_down_s", deserialize_with = "value::seconds::<_, 86_400>")]
    pub link_down: Duration,
    /// Maximum time that a camera or turnstile is away.
    #[serde(rename = "device_down_s", deserialize_with = "value::seconds::<_, 3600>")]
    pub device_down: Duration,
    /// Maximum time that a camera shows faces without a decision.
    #[serde(rename = "undecided_s", deserialize_with = "value::seconds::<_, 3600>")]
    pub undecided: Duration,
    /// Number of visits of unknown faces at one lane, within `unknown_faces_within`, that raises an
    /// alarm.
    #[serde(deserialize_with = "value::whole::<_, _, 2, 1000>")]
    pub unknown_faces: u16,
    #[serde(rename = "unknown_faces_within_s", deserialize_with = "value::seconds::<_, 3600>")]
    pub unknown_faces_within: Duration,
}

impl Default for AlarmLimits {
    fn default() -> AlarmLimits {
        let seconds = Duration::from_secs;
        AlarmLimits {
            outbox_age: seconds(900),
            link_down: seconds(60),
            device_down: seconds(30),
            undecided: seconds(60),
            unknown_faces: 10,
            unknown_faces_within: seconds(60),
        }
    }
}
