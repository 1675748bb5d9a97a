//! The tables of the file, and the keys of each.

use std::{sync::LazyLock, time::Duration};

use serde::Deserialize;

use super::{
    AlarmLimits, Camera, Config, Control, FaceLimits, LivenessModel, Metrics, ModelFiles,
    Recognition, RosterRules, Site, Storage, Upstream,
    value::{self, keys},
};
use crate::{
    reader::Reader,
    turnstile::{drivers, settings::FireSignal},
};

/// The table `[[lane]]`. Some of its keys belong to the turnstile's driver.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LaneTable {
    #[serde(deserialize_with = "value::name")]
    pub(super) name: String,
    pub(super) entry_side: Option<toml::Value>,
    pub(super) fire_input: Option<toml::Value>,
    pub(super) fire_signal: Option<FireSignal>,
    #[serde(default = "cool_down", deserialize_with = "value::seconds::<_, 3600>")]
    pub(super) cool_down_s: Duration,
    #[serde(default = "pass_within", deserialize_with = "value::seconds::<_, 60>")]
    pub(super) pass_within_s: Duration,
    pub(super) turnstile: toml::Table,
    #[serde(default)]
    pub(super) camera: Vec<Camera>,
    #[serde(default)]
    pub(super) reader: Vec<Reader>,
}

fn cool_down() -> Duration {
    Duration::from_secs(5)
}

fn pass_within() -> Duration {
    Duration::from_secs(8)
}

/// Each table with the keys below its header. A key that is itself a table has an entry of its own.
pub(super) static TABLES: LazyLock<[(&str, Vec<String>); 16]> = LazyLock::new(|| {
    [
        ("", keys::<Config>()),
        ("site", keys::<Site>()),
        ("storage", keys::<Storage>()),
        ("models", keys::<ModelFiles>()),
        ("models.liveness", keys::<LivenessModel>()),
        ("roster", keys::<RosterRules>()),
        ("enrolment", keys::<FaceLimits>()),
        ("recognition", keys::<Recognition>()),
        ("lane", keys::<LaneTable>()),
        ("lane.turnstile", drivers::keys().into_iter().map(str::to_owned).collect()),
        ("lane.camera", keys::<Camera>()),
        ("lane.reader", keys::<Reader>()),
        ("upstream", keys::<Upstream>()),
        ("control", keys::<Control>()),
        ("metrics", keys::<Metrics>()),
        ("alarms", keys::<AlarmLimits>()),
    ]
});
