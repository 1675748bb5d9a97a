//! Records who reads personal data. The journal rotates, so the ledger has it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::Services;
use crate::{
    clock::Monotonic,
    ledger::{Access, AccessWhat, Actor, LedgerError},
    store::Priority,
};

/// Interval between two entries on one user and kind of data.
const RECORDED_EVERY: Duration = Duration::from_hours(1);

/// The latest entries since the daemon's start, by user and kind of data.
#[derive(Debug, Default)]
pub struct Readings(Mutex<HashMap<(u32, &'static str), Monotonic>>);

impl Readings {
    /// Returns whether an entry is due, and notes it.
    fn is_due(&self, user: u32, what: AccessWhat, now: Monotonic) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, at| now.since(*at) < RECORDED_EVERY);
        let due = !last.contains_key(&(user, what.word()));
        if due {
            last.insert((user, what.word()), now);
        }
        due
    }

    fn forget(&self, user: u32, what: AccessWhat) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(user, what.word()));
    }
}

impl Services {
    /// Records that a user reads personal data, before it is shown. On a full disk the log has it.
    pub async fn record_reading(&self, what: AccessWhat, by: &Actor) {
        let (ledger, stamp) = (self.ledger.clone(), self.clock.stamp());
        if !self.readings.is_due(by.uid, what, self.clock.monotonic()) {
            return;
        }
        let access = Access { what, by: by.clone() };
        let append = self.store.write(Priority::Upkeep, move |tx| {
            ledger.append(tx, stamp, access)?;
            Ok::<_, LedgerError>(())
        });
        if let Err(error) = append.await {
            self.readings.forget(by.uid, what);
            tracing::warn!(user = %by.user, uid = by.uid, %what, %error, "a user reads personal data");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_an_hour_is_due_for_each_user_and_kind_of_data() {
        let readings = Readings::default();
        let at = |minutes: u64| Monotonic::from_millis(minutes * 60_000);
        assert!(readings.is_due(1000, AccessWhat::Photo, at(0)));
        assert!(!readings.is_due(1000, AccessWhat::Photo, at(59)));
        assert!(readings.is_due(1000, AccessWhat::Evidence, at(59)));
        assert!(readings.is_due(1001, AccessWhat::Photo, at(59)));
        assert!(readings.is_due(1000, AccessWhat::Photo, at(60)));
        readings.forget(1000, AccessWhat::Photo);
        assert!(readings.is_due(1000, AccessWhat::Photo, at(61)));
    }
}
