//! A consumer that acknowledges each row by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use super::{Delivery, Late, NeverSent, PLATFORM_TIMEOUT};
use crate::clock::Monotonic;

/// The rows that wait for their own acknowledgement, over one connection.
#[derive(Debug, Default)]
pub(super) struct Each {
    /// Rows that the broker has acknowledged and the consumer has not, since when.
    since: BTreeMap<u64, Monotonic>,
    /// Rows that the consumer has acknowledged, and the broker has not yet. They are on their way,
    /// so a window bounds them.
    early: BTreeSet<u64>,
}

impl<T> Delivery<T> {
    /// Returns the delivery to a consumer that acknowledges each row by itself.
    pub fn of_each(self) -> Delivery<T> {
        Delivery { each: Some(Each::default()), ..self }
    }

    /// Notes that the consumer has one row. The acknowledgement may come from any client of the
    /// broker, so it counts once the broker itself has acknowledged the row. For a row that is not
    /// on its way it is ignored: the row was struck off, or is sent again and acknowledged then.
    pub fn platform_has(&mut self, seq: u64, now: Monotonic) -> Result<(), NeverSent> {
        self.remember();
        if !self.sent.contains(seq) {
            return Err(NeverSent { upto: seq, sent: self.sent.all_upto() });
        }
        let Some(each) = &mut self.each else { return Ok(()) };
        if each.since.remove(&seq).is_some() {
            for queue in [&mut self.backlog, &mut self.fresh] {
                queue.awaited.remove(&seq);
            }
            self.strike_one(seq);
            self.platform_since = self.awaits_platform().then_some(now);
        } else if self.busy.contains(&seq) {
            each.early.insert(seq);
        }
        Ok(())
    }

    pub(super) fn strike_one(&mut self, seq: u64) {
        self.acknowledged.push(seq);
        self.platform_timeout = *PLATFORM_TIMEOUT.start();
    }

    /// Takes in that the broker has a row. Returns whether the consumer has said so of it already.
    pub(super) fn is_taken_early(&mut self, seq: u64) -> bool {
        self.each.as_mut().is_some_and(|each| each.early.remove(&seq))
    }

    pub(super) fn await_each(&mut self, seq: u64, now: Monotonic) {
        if let Some(each) = &mut self.each {
            each.since.insert(seq, now);
        }
    }

    /// Withdraws the acknowledgements of these rows.
    pub(super) fn no_longer_each(&mut self, first: u64, last: u64) {
        let range: RangeInclusive<u64> = first..=last;
        if let Some(each) = &mut self.each {
            each.since.retain(|seq, _| !range.contains(seq));
            each.early.retain(|seq| !range.contains(seq));
        }
    }

    /// Goes back to rows that have waited too long. Returns why the connection is to be given up,
    /// if so: they were sent again, and no row was acknowledged meanwhile.
    pub(super) fn look_at_each(&mut self, now: Monotonic) -> Option<Late> {
        let each = self.each.as_mut()?;
        let is_late = |at: &Monotonic| now.since(*at) >= self.platform_timeout;
        let late: Vec<u64> =
            each.since.iter().filter(|(_, at)| is_late(at)).map(|(seq, _)| *seq).collect();
        let (Some(first), Some(last)) = (late.first(), late.last()) else { return None };
        let is_first = self.platform_timeout == *PLATFORM_TIMEOUT.start();
        self.platform_timeout = (self.platform_timeout * 2).min(*PLATFORM_TIMEOUT.end());
        if !is_first {
            return Some(Late::Platform);
        }
        for seq in &late {
            each.since.remove(seq);
            self.backlog.awaited.remove(seq);
            self.fresh.awaited.remove(seq);
        }
        self.rewind(*first, *last);
        None
    }
}
