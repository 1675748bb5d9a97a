//! Reads rows, publishes them and strikes them off.

use super::{
    Session,
    work::{PageRead, Row, Struck},
};
use crate::{
    failpoint,
    ledger::{self, LedgerError, Stored, WithheldFor},
    store::{Priority, set_meta},
    uplink::{
        delivery::{PAGE, Page},
        link::LinkError,
    },
};

/// Number of acknowledged rows at which they are struck off in one transaction. Fewer are struck
/// off when no row is on its way, or after `STRIKE_EVERY`.
const STRIKE_ROWS: usize = 1024;

/// Returns the key in `meta` of the size over which records stand aside, 8 bytes.
pub(super) fn limit_key(upstream: &str) -> String {
    format!("withheld_over/{upstream}")
}

/// Returns the key of the last row that stood aside and was put back.
pub(super) fn returned_key(upstream: &str) -> String {
    format!("returned/{upstream}")
}

impl Session<'_> {
    /// Hands rows to the client while the window has room.
    pub(super) fn publish_rows(&mut self) -> Result<(), LinkError> {
        let now = self.context.clock.monotonic();
        let (mut published, mut repeated) = (0, 0);
        while self.may_send()
            && let Some((seq, row)) = self.delivery.next(now)
        {
            let resent = row.resent;
            let (message, withheld) = self.fitting(row)?;
            // The line comes before the publish, so that a killed process has logged all it sent.
            tracing::trace!(seq, resent, "a row is handed on");
            self.handed_row(&message, withheld.map(|why| (seq, why)));
            self.publish(message)?;
            published += 1;
            repeated += u64::from(resent);
        }
        if published > 0 {
            // The counters change often, so they wake no reader.
            self.state.send_if_modified(|s| {
                s.published += published;
                s.repeated += repeated;
                false
            });
        }
        Ok(())
    }

    /// Begins to read the rows that are wanted next, and to make them messages.
    pub(super) fn next_page(&self) -> Option<PageRead> {
        let fetch = self.delivery.wants()?;
        let (store, name) = (self.context.store.clone(), self.to.upstream.name.clone());
        let (origin, profile) = (self.context.origin.clone(), self.to.profile.clone());
        Some(Box::pin(async move {
            let (after, until, sent) = (fetch.after, fetch.until, fetch.sent.clone());
            let read = store.read(move |tx| {
                let make = |stored: Stored, cause| {
                    let resent = sent.contains(stored.entry.seq?);
                    Row::make(&*profile, &origin, &stored, cause, resent)
                };
                let waiting = ledger::waiting(tx, &name, after, until, PAGE, make)?;
                let (upto, more) = (waiting.upto, waiting.more);
                let mut page = Page { rows: Vec::new(), left_out: Vec::new(), upto, more };
                for made in waiting.rows.into_iter().flatten() {
                    match made? {
                        (seq, Some(row)) => page.rows.push((seq, row)),
                        (seq, None) => page.left_out.push(seq),
                    }
                }
                Ok::<_, LinkError>(page)
            });
            Ok((fetch, read.await?))
        }))
    }

    pub(super) fn has_to_strike(&self) -> bool {
        self.delivery.to_strike() > 0
            || !self.stubbed.is_empty()
            || self.delivery.upto().unwrap_or(0) > self.struck_upto
            || self.signed.1
    }

    pub(super) fn is_strike_due(&self) -> bool {
        let enough = self.delivery.to_strike() >= STRIKE_ROWS;
        let last = self.has_to_strike() && self.delivery.is_idle();
        self.striking.is_none() && (enough || last)
    }

    /// Begins to strike off acknowledged rows and rows that are not for this platform.
    pub(super) fn strike(&mut self) {
        let (rows, left_out) = (self.delivery.strike(), self.delivery.strike_left_out());
        let upto = self.delivery.upto().unwrap_or(0);
        let upto = (upto > self.struck_upto).then_some(upto);
        self.struck_upto = upto.unwrap_or(self.struck_upto);
        if let Some(upto) = upto {
            self.state.send_modify(|s| s.acknowledged_upto = Some(upto));
        }
        let stubbed = std::mem::take(&mut self.stubbed);
        let largest = self.largest as u64;
        let signed = self.signed.0.filter(|_| std::mem::take(&mut self.signed.1));
        let (store, name) = (self.context.store.clone(), self.to.upstream.name.clone());
        self.striking = Some(Box::pin(async move {
            let struck = store.write(Priority::Upkeep, move |tx| {
                let stands_aside = !stubbed.is_empty();
                if stands_aside {
                    ledger::withhold(tx, &name, &stubbed)?;
                    if stubbed.iter().any(|(_, why)| *why == WithheldFor::TooLarge) {
                        set_meta(tx, &limit_key(&name), &largest.to_be_bytes())?;
                    }
                }
                let rows = ledger::strike_off(tx, &name, &rows)?;
                let left_out = ledger::strike_off(tx, &name, &left_out)?;
                if let Some(signed) = signed {
                    ledger::keep_signed_ack(tx, &name, signed)?;
                }
                let more = upto.map(|upto| ledger::strike_off_upto(tx, &name, upto));
                failpoint::at("uplink.striking");
                let acknowledged = rows + more.transpose()?.unwrap_or(0);
                let withheld = stands_aside.then(|| ledger::withheld(tx, &name)).transpose()?;
                Ok::<_, LedgerError>(Struck { acknowledged, left_out, withheld })
            });
            Ok(struck.await?)
        }));
    }

    pub(super) fn struck(&self, rows: Struck) {
        failpoint::at("uplink.struck");
        self.state.send_modify(|s| {
            s.acknowledged += rows.acknowledged;
            s.left_out += rows.left_out;
            s.withheld = rows.withheld.unwrap_or(s.withheld);
        });
    }

    /// Strikes off all rows that are due, and waits for it.
    pub(super) async fn settle(&mut self) -> Result<(), LinkError> {
        loop {
            match self.striking.take() {
                Some(striking) => {
                    let rows = striking.await?;
                    self.struck(rows);
                }
                None if self.has_to_strike() => self.strike(),
                None => return Ok(()),
            }
        }
    }
}
