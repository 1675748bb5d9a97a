//! Whether an entry whose visits go to a guard has a guard, and a threshold of its own.

use super::Lines;
use crate::{
    config::{Config, Direction, Lane, Liveness},
    gate::lane::{self, LivenessShown},
    status::{LaneStatus, Status},
};

/// A threshold below which printed photos are often above it.
const LOW: f64 = 0.2;

/// The ways in besides the face.
fn ways(lane: &Lane) -> Vec<&'static str> {
    let button = lane.turnstile.has_button(Direction::Entry);
    let reader = lane.readers.iter().any(|reader| reader.direction == Direction::Entry);
    [(button, "the guard's button"), (reader, "a reader")]
        .into_iter()
        .filter_map(|(has, way)| has.then_some(way))
        .collect()
}

/// Returns what the database has of each entry with a camera.
pub(super) fn kept(config: &Config, db: &rusqlite::Connection) -> Vec<(String, LivenessShown)> {
    let rules = &config.recognition;
    let shown = |lane: &Lane| {
        let kept = lane::load_liveness(db, &lane.name, Direction::Entry);
        let mode = rules.liveness.at(Direction::Entry);
        (lane.name.clone(), LivenessShown::new(mode, &kept, rules.liveness_threshold))
    };
    config.lanes.iter().map(shown).collect()
}

/// Returns what the daemon shows of each entry with a camera.
pub(super) fn shown(status: &Status) -> Vec<(String, LivenessShown)> {
    let of = |lane: &LaneStatus| {
        let mut cameras = lane.cameras.iter();
        let entry = cameras.find(|camera| camera.direction == Direction::Entry)?;
        Some((lane.name.clone(), entry.liveness?))
    };
    status.lanes.iter().filter_map(of).collect()
}

/// Adds a line for each entry that has a guard. `shown`: of an entry, what the daemon or the database
/// knows of its living faces.
pub(super) fn check(lines: &mut Lines, config: &Config, shown: &[(String, LivenessShown)]) {
    if config.recognition.liveness != Liveness::Guard {
        return;
    }
    let entry = |lane: &&Lane| lane.cameras.iter().any(|c| c.direction == Direction::Entry);
    let entries: Vec<&Lane> = config.lanes.iter().filter(entry).collect();
    if entries.is_empty() {
        let problem = "recognition.liveness = \"guard\" asks the guard at entries, and no lane has a \
                       camera at its entry: nothing is guarded. Write \"watch\"";
        lines.warn("guard", problem.to_owned());
    }
    let mut measured = false;
    for lane in &entries {
        let name = format!("guard {}/entry", lane.name);
        let of = shown.iter().find(|(known, _)| *known == lane.name).map(|(_, shown)| shown);
        let own = of.and_then(|shown| shown.threshold);
        measured |= own.is_some();
        let below = match own {
            Some(own) => format!("below {own}, this camera's own threshold"),
            None => format!("below {}, the configured one", config.recognition.liveness_threshold),
        };
        if let Some(own) = own.filter(|own| *own < LOW) {
            let problem = format!(
                "the usual visits of this camera have scores as low as {own}, so photos pass: look at its \
                 light, its lens and its distance, exempt the workers on whom the model errs, and measure \
                 again with liveness = \"watch\""
            );
            lines.warn(name.clone(), problem);
        }
        let ways = ways(lane);
        if of.is_some_and(|shown| shown.fallback) {
            lines.warn(
                name.clone(),
                "it has fallen back to watch: see `gatehouse status`".to_owned(),
            );
        }
        match &ways[..] {
            [] => lines.warn(
                name,
                format!(
                    "a visit {below}, goes to the guard, and the guard has neither a button nor a reader \
                     here: only `gatehouse lane release {} --direction entry --worker ID` lets the worker \
                     in. Set guard_button_entry, or add a reader, or make sure that a guard with a \
                     terminal stands here",
                    lane.name
                ),
            ),
            ways => lines.add(
                name,
                Ok(format!("a visit {below}, goes to the guard; {} opens", ways.join(" or "))),
            ),
        }
    }
    if !entries.is_empty() && !measured {
        let problem = "no camera has a threshold of its own, so the guard may be asked too often, or too \
                       seldom: run with liveness = \"watch\" for a week first. `gatehouse status` shows \
                       each camera's visits and threshold";
        lines.warn("guard", problem.to_owned());
    }
}
