//! The records that no clock dates. Their day is not known, but the hours of a pair are: both times
//! are of one boot's monotonic clock.

use std::collections::HashMap;

use super::{Crossing, Days, SheetFilter, Text, WithoutDate};
use crate::config::Direction;

/// Returns the captures that may be of the shown days, in order of worker and time.
pub(super) fn listed(
    mut crossings: Vec<Crossing>,
    days: &Days,
    only: &SheetFilter,
) -> Vec<WithoutDate> {
    crossings.retain(Crossing::is_capture);
    // Boots are in the order of their first passage. Within a boot, the uptime orders the passages.
    crossings.sort_by_key(|crossing| (crossing.at, crossing.seq));
    let mut boots: HashMap<(Text, Text), usize> = HashMap::new();
    for (n, crossing) in crossings.iter().enumerate() {
        boots.entry(boot(crossing)).or_insert(n);
    }
    crossings.sort_by_cached_key(|crossing| {
        let order = boots.get(&boot(crossing)).copied();
        let up = crossing.undated.as_ref().map(|between| between.uptime_ms);
        (crossing.worker.clone(), order, up, crossing.seq)
    });
    let mut listed = Vec::new();
    let mut entry: Option<&Crossing> = None;
    for crossing in &crossings {
        let counts = crossing.disputed.is_none();
        let minutes = entry
            .filter(|_| counts && crossing.direction == Direction::Exit)
            .and_then(|entry| minutes(entry, crossing));
        if counts {
            entry = Some(crossing).filter(|crossing| crossing.direction == Direction::Entry);
        }
        let Some(between) = &crossing.undated else { continue };
        let admitted = only.admits(&crossing.contractor, &crossing.team, &crossing.worker);
        if admitted && between.meets((days.begin(), days.end())) {
            listed.push(WithoutDate {
                contractor: crossing.contractor.clone(),
                team: crossing.team.clone(),
                worker: crossing.worker.clone(),
                name: crossing.name.clone(),
                direction: crossing.direction,
                clock_showed: days.at(crossing.recorded()),
                after: between.after.map(|at| days.at(at)),
                before: between.before.map(|at| days.at(at)),
                minutes,
                outcome: crossing.outcome,
                gateway: crossing.gateway.clone(),
                ledger: crossing.ledger.clone(),
                seq: crossing.seq,
                lane: crossing.lane.clone(),
                disputed: crossing.disputed,
            });
        }
    }
    listed
}

/// Returns the ledger and the boot of a crossing.
fn boot(crossing: &Crossing) -> (Text, Text) {
    let boot = crossing.undated.as_ref().map_or_else(|| Text::from(""), |of| of.boot.clone());
    (crossing.ledger.clone(), boot)
}

/// Returns the minutes of a pair: of one worker, in one boot.
fn minutes(entry: &Crossing, exit: &Crossing) -> Option<u64> {
    let (from, to) = (entry.undated.as_ref()?, exit.undated.as_ref()?);
    let same = entry.worker == exit.worker && boot(entry) == boot(exit);
    same.then(|| to.uptime_ms.saturating_sub(from.uptime_ms) / 60_000)
}
