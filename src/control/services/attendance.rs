//! What was recorded of who went through, and what is added to it.

use jiff::Timestamp;
use serde_json::json;

use super::{Failure, PAGE, Refusal, Services, to_json};
use crate::{
    attendance::Record,
    config::Direction,
    control::protocol::{AttendanceQuery, Reply, Wire, patient},
    ledger::{self, Actor, AttendanceFilter, Attended, Body},
    roster::{self, WorkerId, checked_text},
    store::{Priority, StoreError},
    turnstile::PassageId,
};

impl Services {
    pub(super) async fn supplement(
        &self,
        id: WorkerId,
        at: Timestamp,
        direction: Direction,
        reason: &str,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let reason = checked_text("reason", reason, 200)?;
        let (sealer, stamp) = (self.store.sealer().clone(), self.clock.stamp());
        if at > stamp.timestamp() {
            let problem = format!("at: {} lies in the future", self.origin.time(at));
            return Err(Failure::new("invalid", problem).into());
        }
        // Also for one who has left: the wages of the last month are still to be paid.
        let (worker, _) = self.store.read(move |tx| roster::identity(tx, &sealer, &id)).await?;
        let mut passage = [0; 16];
        getrandom::fill(&mut passage).map_err(StoreError::from)?;
        let body = Body::Supplement {
            passage: PassageId(passage),
            person: worker.person,
            direction,
            at_ms: at.as_millisecond(),
            reason,
            by,
        };
        let ledger = self.ledger.clone();
        let written =
            self.store.write(Priority::Upkeep, move |tx| ledger.append(tx, stamp, body)).await?;
        let entry = Attended { entry: written, cause: None, disputed: None };
        to_json(&Record::listed(&self.origin, &entry))
    }

    pub(super) async fn dispute(
        &self,
        seq: u64,
        reason: &str,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let reason = checked_text("reason", reason, 200)?;
        let (ledger, stamp) = (self.ledger.clone(), self.clock.stamp());
        let written = self
            .store
            .write(Priority::Upkeep, move |tx| ledger.dispute(tx, stamp, seq, reason, by));
        let (attended, _) = written.await?;
        to_json(&Record::listed(&self.origin, &attended))
    }

    pub(super) async fn attendance(
        &self,
        wire: &mut Wire,
        query: AttendanceQuery,
    ) -> Result<serde_json::Value, Refusal> {
        let zone = self.origin.timezone.clone();
        let midnight = |date: jiff::civil::Date| {
            let at = date.to_zoned(zone.clone()).map(|z| z.timestamp().as_millisecond());
            at.map_err(|e| Failure::new("invalid", format!("{date}: {e}")))
        };
        let day_after = |date: jiff::civil::Date| {
            let next = date.tomorrow().map_err(|e| Failure::new("invalid", e));
            next.and_then(midnight)
        };
        if let (Some(from), Some(to)) = (query.from, query.to)
            && to < from
        {
            return Err(Failure::new("invalid", format!("to: {to} is before from {from}")).into());
        }
        if let Some(id) = query.worker.clone() {
            // An id that never was would read as somebody who never came.
            self.store.read(move |tx| roster::must_exist(tx, &id)).await?;
        }
        let mut filter = AttendanceFilter {
            worker: query.worker,
            lane: query.lane,
            from_ms: query.from.map(midnight).transpose()?,
            to_ms: query.to.map(day_after).transpose()?,
            after: None,
            limit: PAGE,
        };
        let mut count = 0;
        loop {
            let page = filter.clone();
            let page = self.store.read(move |tx| ledger::attendance(tx, &page)).await?;
            for attended in &page.rows {
                if let Some(record) = Record::listed(&self.origin, attended) {
                    count += 1;
                    patient(wire.send_json(&Reply::Item(to_json(&record)?))).await?;
                }
            }
            filter.after = page.next;
            if page.next.is_none() {
                return Ok(json!({ "count": count }));
            }
        }
    }
}
