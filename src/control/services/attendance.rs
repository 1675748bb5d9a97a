//! What was recorded of who went through, and what is added to it.

use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{Failure, PAGE, Refusal, Services, dates, to_json};
use crate::{
    attendance::{Record, merge::Extent, onsite::Present},
    config::Direction,
    control::protocol::{AttendanceQuery, OnsiteDone, Reply, Wire, patient},
    ledger::{self, Actor, AttendanceFilter, Attended, Body, Supplement},
    roster::{self, WorkerId, checked_text},
    store::{Priority, StoreError},
    turnstile::PassageId,
};

/// Who came in longer ago than this has gone, and nothing recorded it.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(72);

impl Services {
    pub(super) async fn supplement(
        &self,
        id: WorkerId,
        at: Timestamp,
        direction: Direction,
        reason: &str,
        confirmed: bool,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let reason = checked_text("reason", reason, 200)?;
        let (sealer, stamp) = (self.store.sealer().clone(), self.clock.stamp());
        // Also for one who has left: the wages of the last month are still to be paid.
        let (worker, _) = self.store.read(move |tx| roster::identity(tx, &sealer, &id)).await?;
        let first = self.store.read(|tx| ledger::read(tx, 0)).await.ok();
        let began = first.map(|first| first.entry.stamp.timestamp());
        let shown = |at| self.origin.time(at);
        match dates::passage(at, stamp.timestamp(), stamp.synced, began, shown) {
            Err(asks) if asks.asks() && confirmed => {}
            judged => judged?,
        }
        let mut passage = [0; 16];
        getrandom::fill(&mut passage).map_err(StoreError::from)?;
        let supplement = Supplement {
            passage: PassageId(passage),
            person: worker.person,
            direction,
            at_ms: at.as_millisecond(),
            reason,
            by,
        };
        let ledger = self.ledger.clone();
        let written = self
            .store
            .write(Priority::Upkeep, move |tx| ledger.supplement(tx, stamp, supplement))
            .await?;
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
        if let (Some(from), Some(to)) = (query.from, query.to)
            && to < from
        {
            return Err(Failure::new("invalid", format!("to: {to} is before from {from}")).into());
        }
        let day_after = |date: Date| {
            let next = date.tomorrow().map_err(|e| Failure::new("invalid", e));
            next.and_then(|next| self.midnight(next))
        };
        let (from, to) = (query.from.map(|d| self.midnight(d)), query.to.map(day_after));
        let (from, to) = (from.transpose()?.or(query.from_at), to.transpose()?.or(query.to_at));
        if let Some(id) = query.worker.clone() {
            // An id that never was would read as somebody who never came.
            self.store.read(move |tx| roster::must_exist(tx, &id)).await?;
        }
        if let Some(lane) = &query.lane {
            self.lane_is_known(lane).await?;
        }
        let mut filter = AttendanceFilter {
            worker: query.worker,
            lane: query.lane,
            from_ms: from.map(Timestamp::as_millisecond),
            to_ms: to.map(Timestamp::as_millisecond),
            after: None,
            limit: PAGE,
        };
        let first = self.store.read(|tx| ledger::read(tx, 0)).await.ok().map(|first| first.entry);
        let mut extent = Extent {
            project: self.origin.project.clone(),
            gateway: self.origin.gateway.clone(),
            ledger: self.ledger.id.to_string(),
            count: 0,
            first_seq: None,
            last_seq: None,
            at: self.clock.stamp().timestamp(),
            begins: first.as_ref().map(|first| first.stamp.timestamp()),
            set_aside: first.and_then(|first| match first.body {
                Body::Successor(successor) => Some(successor.set_aside),
                _ => None,
            }),
        };
        let is =
            |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|w| w == there);
        loop {
            let page = filter.clone();
            let page = self.store.read(move |tx| ledger::attendance(tx, &page)).await?;
            for attended in &page.rows {
                let record = Record::listed(&self.origin, attended).filter(|record| {
                    is(&query.team, &record.team) && is(&query.contractor, &record.contractor)
                });
                if let Some(record) = record {
                    extent.saw(record.seq);
                    patient(wire.send_json(&Reply::Item(to_json(&record)?))).await?;
                }
            }
            filter.after = page.next;
            if page.next.is_none() {
                return to_json(&extent);
            }
        }
    }

    fn midnight(&self, date: Date) -> Result<Timestamp, Failure> {
        let at = date.to_zoned(self.origin.timezone.clone()).map(|at| at.timestamp());
        at.map_err(|e| Failure::new("invalid", format!("{date}: {e}")))
    }

    /// A lane that was taken down has records still; a misspelt one would read as nobody there.
    async fn lane_is_known(&self, lane: &str) -> Result<(), Refusal> {
        let mut lanes: Vec<String> = self.lanes.iter().map(|panel| panel.name.clone()).collect();
        if lanes.iter().any(|known| known == lane) {
            return Ok(());
        }
        lanes.extend(self.store.read(ledger::attended_lanes).await?);
        if lanes.iter().any(|known| known == lane) {
            return Ok(());
        }
        lanes.sort();
        lanes.dedup();
        let problem = format!("there is no lane {lane}; there are: {}", lanes.join(", "));
        Err(Failure::new("no_such_lane", problem).into())
    }

    pub(super) async fn onsite(
        &self,
        wire: &mut Wire,
        since: Option<Date>,
    ) -> Result<serde_json::Value, Refusal> {
        let stamp = self.clock.stamp();
        let now = stamp.timestamp();
        let since = match since {
            Some(day) => self.midnight(day)?,
            None => now - LOOK_BACK,
        };
        if since > now {
            let clock = if stamp.synced {
                ""
            } else {
                " of this gateway's clock, which is not synchronised"
            };
            let problem = format!("{} lies in the future{clock}", self.origin.time(since));
            return Err(Failure::invalid("since", problem).into());
        }
        let range = (since.as_millisecond(), now.as_millisecond().saturating_add(1));
        let latest = self.store.read(move |tx| ledger::latest_of_each(tx, range)).await?;
        let records = latest.iter().filter_map(|latest| Record::listed(&self.origin, latest));
        let mut present: Vec<Present> = records.filter_map(|r| Present::of(r, now)).collect();
        let roster = self.roster.borrow().clone();
        for present in &mut present {
            let id: Result<WorkerId, _> = present.worker.parse();
            present.removed = id.is_ok_and(|id| roster.worker(&id).is_none());
        }
        present.sort_by(|a, b| {
            (&a.contractor, &a.team, &a.worker).cmp(&(&b.contractor, &b.team, &b.worker))
        });
        for present in &present {
            patient(wire.send_json(&Reply::Item(to_json(present)?))).await?;
        }
        to_json(&OnsiteDone {
            count: present.len() as u64,
            since: self.origin.time(since),
            at: self.origin.time(now),
        })
    }
}
