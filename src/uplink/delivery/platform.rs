//! The platform's own acknowledgements.

use super::{Delivery, PLATFORM_TIMEOUT};
use crate::clock::Monotonic;

/// The platform acknowledged a seq that was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it acknowledges up to {upto}, and nothing after {sent} was ever sent")]
pub struct NeverSent {
    pub upto: u64,
    pub sent: u64,
}

impl<T> Delivery<T> {
    /// Notes that the consumer has everything up to a seq. An acknowledgement older than the last
    /// one is ignored. An unsigned one may come from any client of the broker, so it counts up to
    /// what the broker itself has acknowledged, now or later.
    pub fn platform_acknowledged(
        &mut self,
        upto: u64,
        signed: bool,
        now: Monotonic,
    ) -> Result<(), NeverSent> {
        self.remember();
        let sent = self.sent.all_upto();
        if upto > sent {
            return Err(NeverSent { upto, sent });
        }
        if signed {
            // The platform counts the stubs of rows that stood aside, and does not know that the rows
            // themselves are sent now.
            let broker = self.broker_upto();
            self.returned = self.returned.filter(|last| broker <= *last);
            let bound = self.returned.map_or(u64::MAX, |_| broker);
            self.has_upto(upto.min(bound), now);
        } else {
            self.claimed = self.claimed.max(Some(upto));
            self.take_claim(now);
        }
        Ok(())
    }

    /// Applies an unsigned acknowledgement as far as the broker has acknowledged the rows.
    pub(super) fn take_claim(&mut self, now: Monotonic) {
        if let Some(claimed) = self.claimed {
            self.has_upto(claimed.min(self.broker_upto()), now);
        }
    }

    /// Returns the seq up to which the broker has acknowledged every row that was waiting.
    fn broker_upto(&self) -> u64 {
        let queues = [self.backlog.unsent(), self.fresh.unsent()];
        let refused = self.refused.map(|(first, ..)| first);
        let held = [self.busy.first().copied(), refused, self.put_off.first()];
        let first = queues.into_iter().chain(held).flatten().min();
        first.map_or(u64::MAX, |first| first.saturating_sub(1))
    }

    fn has_upto(&mut self, upto: u64, now: Monotonic) {
        if self.upto.is_some_and(|before| upto <= before) || upto == 0 {
            return;
        }
        self.upto = Some(upto);
        self.platform_timeout = *PLATFORM_TIMEOUT.start();
        for queue in [&mut self.backlog, &mut self.fresh] {
            queue.awaited = queue.awaited.split_off(&(upto + 1));
        }
        self.platform_since = self.awaits_platform().then_some(now);
    }

    pub(super) fn awaits_platform(&self) -> bool {
        !self.backlog.awaited.is_empty() || !self.fresh.awaited.is_empty()
    }

    /// Returns the seq up to which the consumer has acknowledged everything.
    pub fn upto(&self) -> Option<u64> {
        self.upto
    }

    /// Withdraws the acknowledgements of these rows.
    pub(super) fn no_longer_awaited(&mut self, first: u64, last: u64) {
        for queue in [&mut self.backlog, &mut self.fresh] {
            queue.awaited.retain(|seq| !(first..=last).contains(seq));
        }
        self.platform_since = self.platform_since.filter(|_| self.awaits_platform());
        self.no_longer_each(first, last);
        // An earlier acknowledgement of the platform no longer counts for these rows.
        let before = first.saturating_sub(1);
        self.upto = self.upto.map(|upto| upto.min(before));
        self.claimed = self.claimed.map(|upto| upto.min(before));
    }
}
