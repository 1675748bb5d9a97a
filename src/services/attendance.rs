//! Lists the attendance and the workers on site, adds and disputes passages, and withdraws disputes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use jiff::{SignedDuration, Timestamp, civil::Date};
use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use super::{
    Code, Failure, PAGE, Services, asked::checked_reason, dates, refusal::Refusal, roster::is,
    set_aside,
};
use crate::{
    attendance::{
        Record,
        export::{Extent, is_zero},
        onsite::Present,
    },
    config::Direction,
    ledger::{
        self, Actor, Altered, AttendanceFilter, AttendancePage, Attended, Body, Dates, Entry,
        LedgerError, Search, Supplement,
    },
    roster::{self, WorkerId},
    store::{self, Priority, StoreError},
    turnstile::PassageId,
    words::day,
};

/// Maximum time on site without an exit. A worker who entered earlier counts as gone, although no
/// exit was recorded.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(72);
/// Maximum number of entries that cannot be read and are named in a list. Further ones are counted.
const NAMED: usize = 20;

/// The records that are asked for.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
pub struct AttendanceQuery {
    /// First day, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub from: Option<Date>,
    /// Last day
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub to: Option<Date>,
    /// Only records of this worker
    #[arg(long, value_name = "ID")]
    pub worker: Option<WorkerId>,
    /// Only records of this team
    #[arg(long)]
    pub team: Option<String>,
    /// Only records of this contractor
    #[arg(long)]
    pub contractor: Option<String>,
    /// Only records at this lane
    #[arg(long)]
    pub lane: Option<String>,
    /// From this instant to before `to_at`; given instead of days.
    #[arg(skip)]
    pub from_at: Option<Timestamp>,
    /// The instant after the last record; given instead of days.
    #[arg(skip)]
    pub to_at: Option<Timestamp>,
    /// The records go into a file, which the ledger then records.
    #[arg(skip)]
    #[serde(default)]
    pub export: bool,
}

/// A request to add a passage that no gate recorded.
#[derive(Clone, Serialize, Deserialize)]
pub struct Addition {
    /// The worker who passed.
    pub worker: WorkerId,
    /// The time of the passage.
    pub at: Timestamp,
    /// The worker's direction.
    pub direction: Direction,
    /// Why no gate recorded the passage: one line of at most 200 characters.
    pub reason: String,
    /// A person has confirmed a time that looks mistyped.
    #[serde(default)]
    pub confirmed: bool,
}

/// A request not to count the attendance with this seq: it was another person.
#[derive(Clone, Args, Serialize, Deserialize)]
pub struct Dispute {
    /// The record's number, as `attendance list` shows it
    pub seq: u64,
    /// Why, in words
    #[arg(long)]
    pub reason: String,
}

/// A request to take back a dispute.
#[derive(Clone, Args, Serialize, Deserialize)]
pub struct Withdraw {
    /// The number of the disputed record, or of its dispute
    pub seq: u64,
    /// Why, in words
    #[arg(long)]
    pub reason: String,
}

/// A list of records, read page by page, with the extent of the records read so far.
pub struct Listing<'a> {
    services: &'a Services,
    team: Option<String>,
    contractor: Option<String>,
    /// Databases that were set aside and are still to be read, the oldest last. They come first.
    set_aside: Vec<PathBuf>,
    /// What is searched for in each database.
    filter: AttendanceFilter,
    /// The search in the present database; `None` before its first page.
    search: Option<Search>,
    /// The entries that cannot be read, as far as they are known.
    unread: BTreeSet<u64>,
    /// Number of further records that cannot be read.
    unlisted: u64,
    /// All databases are read.
    done: bool,
    /// The range of the records read so far.
    pub extent: Extent,
}

impl Listing<'_> {
    /// Returns the next records; `None` where there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, Failure> {
        let page = self.page(|_, _| Ok(())).await?;
        Ok(page.map(|page| page.into_iter().map(|(record, ..)| record).collect()))
    }

    /// Returns the next records with their entries and with what `also` reads about these.
    pub(super) async fn page<T: Send + 'static>(
        &mut self,
        also: fn(&Transaction<'_>, &Attended) -> Result<T, LedgerError>,
    ) -> Result<Option<Vec<(Record, Attended, T)>>, Failure> {
        if self.done {
            return Ok(None);
        }
        let (search, mut filter) = (self.search.take(), self.filter.clone());
        if !self.set_aside.is_empty() {
            // What is known of the rows is of the present ledger.
            filter.altered = Arc::default();
        }
        let work = move |tx: &Transaction<'_>| {
            let begun = search.map_or_else(|| Search::begin(tx, filter), Ok);
            let mut search = begun?;
            let page = search.page(tx)?;
            let more = page.rows.iter().map(|row| also(tx, row)).collect::<Result<Vec<T>, _>>()?;
            Ok::<_, LedgerError>((Some(search), page, more))
        };
        let (search, page, more) = match self.set_aside.last() {
            None => self.services.store.read(work).await?,
            Some(place) => match set_aside::read(place.clone(), work).await? {
                Some(read) => read,
                None => {
                    self.extent.illegible.push(set_aside::name(place));
                    (None, AttendancePage::default(), Vec::new())
                }
            },
        };
        let AttendancePage { rows, unread } = page;
        match self.set_aside.last() {
            None => self.unread.extend(unread),
            // These are indices of another ledger.
            Some(_) => self.unlisted += unread.len() as u64,
        }
        let mut listed = Vec::with_capacity(rows.len());
        for (attended, more) in rows.into_iter().zip(more) {
            match Record::listed(&self.services.origin, &attended) {
                None => self.unlisted += 1,
                Some(r) if is(&self.team, &r.team) && is(&self.contractor, &r.contractor) => {
                    self.extent.saw(&r);
                    listed.push((r, attended, more));
                }
                Some(_) => {}
            }
        }
        self.extent.unread = self.unread.len() as u64 + self.unlisted;
        self.extent.unread_entries = self.unread.iter().copied().take(NAMED).collect();
        self.search = search.filter(Search::has_more);
        if self.search.is_none() {
            self.done = self.set_aside.pop().is_none();
        }
        Ok(Some(listed))
    }
}

/// The workers on site.
pub struct OnSite {
    /// The workers, by contractor, team and id.
    pub present: Vec<Present>,
    /// The end of the list.
    pub done: OnsiteDone,
}

/// The end of the list of workers on site.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OnsiteDone {
    /// The number of workers.
    pub count: u64,
    /// Number of entries of that time that cannot be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u64,
    /// Start of the time that was searched.
    pub since: String,
    /// The time of the request, in the site's time zone.
    pub at: String,
}

impl Services {
    /// Adds a passage that no gate recorded, and returns its record. Refuses a time in the future.
    /// A time that looks mistyped needs a confirmation.
    pub async fn supplement(
        &self,
        Addition { worker: id, at, direction, reason, confirmed }: Addition,
        by: Actor,
    ) -> Result<Option<Record>, Failure> {
        let reason = checked_reason(&reason)?;
        let (sealer, stamp) = (self.store.sealer().clone(), self.clock.stamp());
        // A removed worker is accepted too, because the wages of the last month may not be paid
        // yet.
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
        Ok(Record::listed(&self.origin, &Attended::supplement(written)))
    }

    /// Disputes the record with this seq, and returns it. Its hours then stand beside the others.
    pub async fn dispute(
        &self,
        Dispute { seq, reason }: Dispute,
        by: Actor,
    ) -> Result<Option<Record>, Failure> {
        let reason = checked_reason(&reason)?;
        let (ledger, stamp) = (self.ledger.clone(), self.clock.stamp());
        let written = self
            .store
            .write(Priority::Upkeep, move |tx| ledger.dispute(tx, stamp, seq, reason, by));
        let (attended, _) = written.await?;
        Ok(Record::listed(&self.origin, &attended))
    }

    /// Withdraws the dispute of the record with this seq, and returns the record. Its hours count
    /// again.
    pub async fn withdraw(
        &self,
        Withdraw { seq, reason }: Withdraw,
        by: Actor,
    ) -> Result<Option<Record>, Failure> {
        let reason = checked_reason(&reason)?;
        let (ledger, stamp) = (self.ledger.clone(), self.clock.stamp());
        let written = self
            .store
            .write(Priority::Upkeep, move |tx| ledger.withdraw(tx, stamp, seq, reason, by));
        let (attended, _) = written.await?;
        Ok(Record::listed(&self.origin, &attended))
    }

    /// Returns the attendance, to be read page by page.
    pub async fn attendance(&self, query: AttendanceQuery) -> Result<Listing<'_>, Failure> {
        if let (Some(from), Some(to)) = (query.from, query.to)
            && to < from
        {
            return Err(Refusal::RangeReversed { from, to }.into());
        }
        let day_after = |date: Date| {
            let next = date.tomorrow().map_err(|e| Failure::new(Code::Invalid, e));
            next.and_then(|next| self.midnight(next))
        };
        let (from, to) = (query.from.map(|d| self.midnight(d)), query.to.map(day_after));
        let (from, to) = (from.transpose()?.or(query.from_at), to.transpose()?.or(query.to_at));
        if let Some(id) = query.worker.clone() {
            // An unknown id is refused, because it would look like a worker who never came.
            self.store.read(move |tx| roster::must_exist(tx, &id)).await?;
        }
        if let Some(lane) = &query.lane {
            self.lane_is_known(lane).await?;
        }
        let altered = self.altered().await?;
        let range = (from.map(Timestamp::as_millisecond), to.map(Timestamp::as_millisecond));
        let filter = AttendanceFilter {
            altered: altered.clone(),
            worker: query.worker,
            lane: query.lane,
            from_ms: range.0,
            to_ms: range.1,
            limit: PAGE,
        };
        let stamp = self.clock.stamp();
        let checked = altered;
        let within = (range.0.unwrap_or(i64::MIN), range.1.unwrap_or(i64::MAX));
        let begun = |first: &Entry, dates: &Dates| {
            let at = Timestamp::from_millisecond(dates.ms(first.stamp));
            at.unwrap_or(first.stamp.timestamp())
        };
        let first = self.store.read(move |tx| {
            let dates = Dates::read(tx)?;
            let now = Timestamp::from_millisecond(dates.ms(stamp)).unwrap_or(stamp.timestamp());
            let first = ledger::read(tx, 0).ok().map(|first| first.entry);
            let (unread, unlisted) = (checked.illegible(&dates, within), checked.beyond());
            let first = first.map(|first| (begun(&first, &dates), first.body));
            Ok::<_, LedgerError>((now, first, unread, unlisted))
        });
        let (now, first, unread, unlisted) = first.await?;
        let set_aside: Vec<PathBuf> =
            store::all_set_aside(&self.storage_dir).into_iter().rev().collect();
        // The list begins with the oldest database that is still there.
        let oldest = match set_aside.last() {
            Some(place) => {
                set_aside::read(place.clone(), move |tx| {
                    let index = tx.query_row("SELECT min(idx) FROM entry", [], |row| row.get(0))?;
                    let (dates, first) = (Dates::read(tx)?, ledger::read(tx, index)?.entry);
                    Ok((begun(&first, &dates), first.body))
                })
                .await?
            }
            None => None,
        };
        let earliest = oldest.or(first);
        let extent = Extent {
            project: self.origin.project.clone(),
            gateway: self.origin.gateway.clone(),
            ledger: self.ledger.id.to_string(),
            count: 0,
            first_seq: None,
            last_seq: None,
            at: now,
            begins: earliest.as_ref().map(|(begins, _)| *begins),
            unread: unread.len() as u64 + unlisted,
            unread_entries: unread.iter().copied().take(NAMED).collect(),
            earlier: BTreeMap::new(),
            illegible: Vec::new(),
            set_aside: earliest.and_then(|(_, body)| match body {
                Body::Successor(successor) => Some(successor.set_aside),
                _ => None,
            }),
        };
        let AttendanceQuery { team, contractor, .. } = query;
        Ok(Listing {
            services: self,
            team,
            contractor,
            set_aside,
            filter,
            search: None,
            unread,
            unlisted,
            done: false,
            extent,
        })
    }

    fn midnight(&self, date: Date) -> Result<Timestamp, Failure> {
        let at = date.to_zoned(self.origin.timezone.clone()).map(|at| at.timestamp());
        at.map_err(|e| Failure::new(Code::Invalid, format!("{date}: {e}")))
    }

    /// Refuses an unknown lane, because a misspelt name would look like a lane without passages. A
    /// lane that has records is known, even if it is no longer configured.
    async fn lane_is_known(&self, lane: &str) -> Result<(), Failure> {
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
        Err(Refusal::NoSuchLane { name: lane.to_owned(), lanes }.into())
    }

    /// Returns the workers whose latest passage since this day is an entry. Without a day the last
    /// 72 hours are searched.
    pub async fn onsite(&self, since: Option<Date>) -> Result<OnSite, Failure> {
        let stamp = self.clock.stamp();
        let dates = self.store.read(Dates::read).await?;
        let now = Timestamp::from_millisecond(dates.ms(stamp)).unwrap_or(stamp.timestamp());
        let since = match since {
            Some(day) => self.midnight(day)?,
            None => now - LOOK_BACK,
        };
        if since > now {
            let at = self.origin.time(since);
            return Err(Refusal::SinceFuture { at, synced: stamp.synced }.into());
        }
        let range = (since.as_millisecond(), now.as_millisecond().saturating_add(1));
        let altered = self.altered().await?;
        let mut unread = altered.beyond();
        let mut illegible = altered.illegible(&dates, range);
        let latest = self.store.read(move |tx| ledger::latest_of_each(tx, &dates, range, &altered));
        let (mut all, left_out) = latest.await?;
        illegible.extend(left_out);
        for place in store::all_set_aside(&self.storage_dir) {
            let latest = move |tx: &Transaction<'_>| {
                ledger::latest_of_each(tx, &Dates::read(tx)?, range, &Altered::default())
            };
            let (latest, left_out) = set_aside::read(place, latest).await?.unwrap_or_default();
            all.extend(latest);
            unread += left_out.len() as u64;
        }
        let latest = ledger::latest_of_all(all);
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
        let done = OnsiteDone {
            count: present.len() as u64,
            unread: illegible.len() as u64 + unread,
            since: self.origin.time(since),
            at: self.origin.time(now),
        };
        Ok(OnSite { present, done })
    }
}
