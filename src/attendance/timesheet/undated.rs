//! The records that no clock dates. Their day is not known, but the hours of a pair are: both times
//! are of one boot's monotonic clock.

use super::{Crossing, Days, SheetFilter, Text, WithoutDate};
use crate::config::Direction;

/// Returns the captures that may be of the shown days, in order of worker and time.
pub(super) fn listed(
    mut crossings: Vec<Crossing>,
    days: &Days,
    only: &SheetFilter,
) -> Vec<WithoutDate> {
    crossings.retain(Crossing::is_capture);
    crossings.sort_by(|a, b| key(a).cmp(&key(b)));
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

/// Of one boot, the uptime orders the crossings. Boots are in the order of the ledger.
fn key(crossing: &Crossing) -> (&Text, &Text, Option<(jiff::Timestamp, &Text, u64)>, u64) {
    let order = crossing.undated.as_ref().map(|between| {
        let began = between.after.unwrap_or(jiff::Timestamp::MIN);
        let up =
            jiff::SignedDuration::try_from(std::time::Duration::from_millis(between.uptime_ms));
        let began = up.ok().and_then(|up| began.checked_sub(up).ok()).unwrap_or(began);
        (began, &between.boot, between.uptime_ms)
    });
    (&crossing.worker, &crossing.ledger, order, crossing.seq)
}

/// Returns the minutes of a pair: of one worker, in one boot.
fn minutes(entry: &Crossing, exit: &Crossing) -> Option<u64> {
    let (from, to) = (entry.undated.as_ref()?, exit.undated.as_ref()?);
    let same = (&entry.worker, &entry.ledger, &from.boot) == (&exit.worker, &exit.ledger, &to.boot);
    same.then(|| to.uptime_ms.saturating_sub(from.uptime_ms) / 60_000)
}
