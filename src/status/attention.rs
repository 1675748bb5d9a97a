//! Collects the parts that need attention.

use std::fmt::Display;

use super::{Degraded, part::Part};
use crate::{
    alarms::{PartState, Trouble},
    clock::{Monotonic, Stamp},
    services::Services,
};

/// The parts that need attention, with times in the site's time zone.
pub(super) struct Attention<'a> {
    pub(super) services: &'a Services,
    pub(super) now: Monotonic,
    pub(super) found: Vec<Degraded>,
}

impl<'a> Attention<'a> {
    pub(super) fn new(services: &'a Services, now: Monotonic) -> Attention<'a> {
        Attention { services, now, found: Vec::new() }
    }

    pub(super) fn since(&self, at: Monotonic) -> String {
        let now = self.services.clock.stamp();
        let ago = i64::try_from(self.now.since(at).as_millis()).unwrap_or(i64::MAX);
        let at = Stamp { wall_ms: now.wall_ms.saturating_sub(ago), ..now };
        self.services.origin.time(at.timestamp())
    }

    pub(super) fn add(&mut self, what: Part, since: Monotonic, remedy: impl Display) {
        let since = self.since(since);
        self.found.push(Degraded { what, since, remedy: remedy.to_string() });
    }

    pub(super) fn trouble(&mut self, what: Part, trouble: Trouble) {
        self.add(what, trouble.since, trouble.detail.to_string());
    }

    /// Adds a trouble. If it is an active alarm, it shows the time of the alarm, which may be
    /// before the daemon's start.
    pub(super) fn look(&mut self, what: Part, look: &PartState) {
        let Some(trouble) = look.trouble() else { return };
        let alarms = self.services.alarms.borrow();
        let active =
            alarms.standing.iter().find(|s| (s.what, &s.subject) == (look.what, &look.subject));
        let since = match active {
            Some(alarm) => self.services.origin.time(alarm.raised.timestamp()),
            None => self.since(trouble.since),
        };
        drop(alarms);
        self.found.push(Degraded { what, since, remedy: trouble.detail.to_string() });
    }
}
