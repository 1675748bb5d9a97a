//! Reads rows, publishes them and strikes them off.

use super::{
    Session,
    work::{PageRead, Row, Struck},
};
use crate::{
    failpoint,
    ledger::{self, LedgerError, Stored},
    store::Priority,
    uplink::{
        delivery::{PAGE, Page},
        link::LinkError,
        profiles,
    },
};

/// Number of acknowledged rows at which they are struck off in one transaction. Fewer are struck
/// off when no row is on its way, or after `STRIKE_EVERY`.
const STRIKE_ROWS: usize = 1024;

impl Session<'_> {
    /// Hands rows to the client while the window has room.
    pub(super) fn publish_rows(&mut self) -> Result<(), LinkError> {
        let now = self.context.clock.monotonic();
        let (mut published, mut repeated) = (0, 0);
        while let Some((seq, Row { message, resent })) = self.delivery.next(now) {
            // The line comes before the publish, so that a killed process has logged all it sent.
            tracing::trace!(seq, resent, "a row is handed on");
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
                    let seq = stored.entry.seq?;
                    let resent = sent.contains(seq);
                    let made = profiles::message(&*profile, &origin, &stored, cause, resent)?;
                    Some(made.map(|message| (seq, message.map(|message| Row { message, resent }))))
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
        let signed = self.signed.0.filter(|_| std::mem::take(&mut self.signed.1));
        let (store, name) = (self.context.store.clone(), self.to.upstream.name.clone());
        self.striking = Some(Box::pin(async move {
            let struck = store.write(Priority::Upkeep, move |tx| {
                let rows = ledger::strike_off(tx, &name, &rows)?;
                let left_out = ledger::strike_off(tx, &name, &left_out)?;
                if let Some(signed) = signed {
                    ledger::keep_signed_ack(tx, &name, signed)?;
                }
                let more = upto.map(|upto| ledger::strike_off_upto(tx, &name, upto));
                failpoint::at("uplink.striking");
                let acknowledged = rows + more.transpose()?.unwrap_or(0);
                Ok::<_, LedgerError>(Struck { acknowledged, left_out })
            });
            Ok(struck.await?)
        }));
    }

    pub(super) fn struck(&self, rows: Struck) {
        failpoint::at("uplink.struck");
        self.state.send_modify(|s| {
            s.acknowledged += rows.acknowledged;
            s.left_out += rows.left_out;
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
