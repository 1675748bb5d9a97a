//! Keeps the liveness scores of a lane's granted visits in the database. They give each camera its
//! threshold ([`crate::gate::presentations`]).

use rusqlite::{Connection, Transaction};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::LaneState;
use crate::{
    clock::Stamp,
    config::{Direction, Liveness},
    gate::presentations::Usual,
    ledger::{Body, Evidence, Score},
    roster, store,
};

/// The liveness scores of a camera's granted visits, as `status` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LivenessShown {
    /// What the configuration does with them at this camera.
    #[serde(default)]
    pub mode: Liveness,
    /// The score below which a visit goes to the guard; `null` where none does.
    #[serde(default)]
    pub guard: Option<f64>,
    /// The guard is not asked, because too many visits were low.
    #[serde(default)]
    pub fallback: bool,
    /// Number of granted visits of the last seven days.
    pub visits: u32,
    /// The score below which a visit is low; `null` before there are enough visits.
    pub threshold: Option<f64>,
    /// Number of granted visits since the daemon's start that were low.
    pub low: u64,
}

impl LivenessShown {
    /// Returns what the database has of a camera. `guard`: the threshold of a camera that has none of
    /// its own.
    pub fn new(mode: Liveness, kept: &Usual, guard: f32) -> LivenessShown {
        let threshold = kept.threshold();
        let guard = threshold.unwrap_or_else(|| Score::of(guard).value());
        let guard = (mode == Liveness::Guard).then_some(guard);
        LivenessShown { mode, guard, visits: kept.visits(), threshold, ..LivenessShown::default() }
    }
}

/// Reads the scores of a camera. Scores that cannot be read begin again.
pub fn load(db: &Connection, lane: &str, direction: Direction) -> Usual {
    let kept = store::meta(db, &key(lane, direction)).ok().flatten();
    kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default()
}

/// The beginning of the keys of the scores in the database.
pub const LIVENESS: &str = "liveness/";

fn key(lane: &str, direction: Direction) -> String {
    format!("{LIVENESS}{lane}/{direction}")
}

/// Adds a grant whose visit was judged, unless the worker is exempt. A failure costs the grant
/// nothing. A grant while the clock is not synchronised is left out, because its day is not known.
pub(super) fn add(
    tx: &Transaction<'_>,
    stamp: Stamp,
    (state, lane): (&watch::Sender<LaneState>, &str),
    body: &Body,
) {
    let Body::Grant(grant) = body else { return };
    let face = grant.evidence.iter().find_map(Evidence::face);
    let Some(judged) = face.and_then(|face| face.presentation.as_ref()) else { return };
    // A worker who is exempt is unlike the others.
    if !stamp.synced || roster::is_exempt(tx, &grant.person.id) {
        return;
    }
    let (key, score) = (key(lane, grant.direction), judged.score.value());
    let mut usual = load(tx, lane, grant.direction);
    let low = usual.threshold().is_some_and(|threshold| score < threshold);
    usual.add(stamp.timestamp().as_second() / 86_400, score);
    let bytes = serde_json::to_vec(&usual).unwrap_or_default();
    if let Err(error) = store::set_meta(tx, &key, &bytes) {
        tracing::warn!(%lane, %error, "the liveness score of a visit was not kept");
        return;
    }
    state.send_modify(|state| {
        let shown = &mut state.liveness[grant.direction.index()];
        let before = shown.unwrap_or_default();
        *shown = Some(LivenessShown {
            visits: usual.visits(),
            threshold: usual.threshold(),
            low: before.low + u64::from(low),
            ..before
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{FaceEvidence, Grant, Presentation},
        roster::Person,
        turnstile::PassageId,
    };

    fn grant(score: Option<f32>) -> Body {
        let presentation = score.map(|score| Presentation {
            score: Score::of(score),
            cue: "model".into(),
            rides: None,
        });
        let text = || "x".to_owned();
        let id = "W001".parse().unwrap();
        let face = FaceEvidence {
            score: Score::of(0.7),
            threshold: Score::of(0.5),
            margin: None,
            model: text(),
            frames: 2,
            camera: text(),
            presentation,
        };
        let grant = Grant {
            passage: PassageId([0; 16]),
            lane: "north".to_owned(),
            direction: Direction::Entry,
            person: Person { id, name: text(), team: text(), contractor: text(), trade: text() },
            evidence: vec![Evidence::Face(face)],
            flags: Vec::new(),
            roster: 1,
            photo: None,
        };
        grant.into()
    }

    #[test]
    fn the_scores_of_granted_visits_outlive_a_restart_and_give_a_threshold() {
        let mut db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(store::SCHEMA).unwrap();
        let synced = Stamp {
            wall_ms: 1_790_000_000_000,
            synced: true,
            boot: crate::clock::BootId([0; 16]),
            uptime_ms: 1,
        };
        let mut adds = |state: &watch::Sender<LaneState>, stamp: Stamp, score, times| {
            let tx = db.transaction().unwrap();
            (0..times).for_each(|_| add(&tx, stamp, (state, "north"), &grant(score)));
            tx.commit().unwrap();
            state.borrow().liveness[0]
        };
        let state = watch::Sender::default();
        assert_eq!(adds(&state, synced, None, 3), None, "not judged");
        assert_eq!(adds(&state, Stamp { synced: false, ..synced }, Some(0.9), 3), None);
        let shown = adds(&state, synced, Some(0.9), 199).unwrap();
        assert_eq!((shown.visits, shown.threshold), (199, None));
        // After a restart.
        let state = watch::Sender::default();
        let shown = adds(&state, synced, Some(0.9), 1).unwrap();
        assert_eq!((shown.visits, shown.threshold, shown.low), (200, Some(0.5), 0));
        assert_eq!(adds(&state, synced, Some(0.1), 2).unwrap().low, 2);
        let kept = load(&db, "north", Direction::Entry);
        let shown = LivenessShown::new(Liveness::Guard, &kept, 0.3);
        assert_eq!((shown.guard, shown.visits), (Some(0.5), 202));
        let none = load(&db, "south", Direction::Entry);
        assert_eq!(LivenessShown::new(Liveness::Guard, &none, 0.3).guard, Some(0.3));
        assert_eq!(LivenessShown::new(Liveness::Watch, &none, 0.3).guard, None);
        // The visits of an exempt worker move no threshold.
        let exempt =
            "INSERT INTO worker (id, name, team, contractor, trade, identity, identity_lookup,
                          state, liveness_exempt)
                      VALUES ('W001', '', '', '', '', x'', x'', 'active', 'x')";
        db.execute(exempt, []).unwrap();
        let tx = db.transaction().unwrap();
        add(&tx, synced, (&state, "north"), &grant(Some(0.1)));
        assert_eq!(load(&tx, "north", Direction::Entry).visits(), 202);
    }
}
