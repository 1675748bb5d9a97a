//! Keeps the health journal: signs of life while nothing else is recorded, times in which the daemon
//! stood still, and its orderly end.
//!
//! In: the clock, the states of the lanes. Out: ledger entries. Alarms, `clock`, `storage` and
//! `config` entries belong to the journal too; other parts record them.

use std::{sync::Arc, time::Duration};

use rusqlite::Transaction;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Monotonic, Stamp},
    ledger::{
        Body, Gap, GapWhy, Heartbeat, LedgerError, SHORTEST_GAP, Shutdown, ShutdownWhy, last_stamp,
    },
    services::Services,
    status,
    store::Priority,
};

/// Interval between two checks.
const EVERY: Duration = Duration::from_secs(5);
/// Time without an entry after which a sign of life is recorded. A platform gets a head as often.
/// Without a single passage that is 52,560 entries a year, some 13 MB.
const HEARTBEAT_AFTER: Duration = Duration::from_secs(600);

/// Records signs of life and standstills, until cancelled.
pub(super) async fn keep_journal(services: Arc<Services>, cancel: CancellationToken) {
    let mut pulse = Pulse::new(services.clock.stamp());
    let mut due = services.clock.monotonic() + HEARTBEAT_AFTER;
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        let stamp = services.clock.stamp();
        let gap = pulse.look(stamp);
        if gap.is_none() && services.clock.monotonic() < due {
            continue;
        }
        let standstill = gap.is_some();
        let (lanes, working) = status::working(&services);
        let body = gap.map_or_else(|| Heartbeat { lanes, working }.into(), Body::from);
        let ledger = services.ledger.clone();
        let record = move |tx: &Transaction<'_>| {
            // Another entry is a sign of life, too.
            let quiet = match last_stamp(tx)? {
                Some(last) if !standstill && last.boot == stamp.boot => stamp.since(last),
                _ => HEARTBEAT_AFTER,
            };
            if quiet < HEARTBEAT_AFTER {
                return Ok(HEARTBEAT_AFTER - quiet);
            }
            ledger.append(tx, stamp, body)?;
            Ok::<_, LedgerError>(HEARTBEAT_AFTER)
        };
        // The store reports its errors itself, and the next check tries again.
        if let Ok(wait) = services.store.write(Priority::Upkeep, record).await {
            due = Monotonic::from_millis(stamp.uptime_ms) + wait;
            pulse.recorded();
        }
    }
}

/// Finds times in which the daemon stood still.
struct Pulse {
    /// The last check.
    last: Stamp,
    /// The check before a standstill that is not recorded yet.
    before: Option<Stamp>,
}

impl Pulse {
    fn new(now: Stamp) -> Pulse {
        Pulse { last: now, before: None }
    }

    /// Returns a standstill that is to be recorded.
    fn look(&mut self, now: Stamp) -> Option<Gap> {
        let last = std::mem::replace(&mut self.last, now);
        if now.since(last) >= SHORTEST_GAP {
            self.before.get_or_insert(last);
        }
        self.before.map(|before| Gap::between(GapWhy::Standstill, before, now))
    }

    fn recorded(&mut self) {
        self.before = None;
    }
}

/// Records the daemon's orderly end, after everything else.
pub(super) async fn record_shutdown(services: &Services, problem: Option<String>) {
    let (ledger, stamp) = (services.ledger.clone(), services.clock.stamp());
    let why = if problem.is_some() { ShutdownWhy::Failed } else { ShutdownWhy::Asked };
    let record =
        move |tx: &Transaction<'_>| ledger.append(tx, stamp, Shutdown { why, problem }).map(drop);
    if let Err(error) = services.store.write(Priority::Upkeep, record).await {
        tracing::warn!(%error, "the end of the daemon is not recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::BootId;

    #[test]
    fn a_daemon_that_stood_still_says_for_how_long_until_that_is_recorded() {
        let at = |s: u64| Stamp {
            wall_ms: 1_793_577_600_000 + s as i64 * 1000,
            synced: true,
            boot: BootId([1; 16]),
            uptime_ms: s * 1000,
        };
        let mut pulse = Pulse::new(at(0));
        assert_eq!(pulse.look(at(59)), None);
        let gap = |from: u64, to: u64| Some(Gap::between(GapWhy::Standstill, at(from), at(to)));
        assert_eq!(pulse.look(at(3659)), gap(59, 3659));
        assert_eq!(pulse.look(at(3664)).unwrap().lasted_ms, Some(3_605_000));
        pulse.recorded();
        assert_eq!(pulse.look(at(3669)), None);
    }
}
