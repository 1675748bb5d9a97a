//! One connection: one call after another.
//!
//! `gathering` chooses the rows of a call. `verdicts` carries out what the platform says of them.
//! `upkeep` takes in what comes without a row. `earlier` delivers what waits in databases that were
//! set aside.

mod earlier;
mod gathering;
mod upkeep;
mod verdicts;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{BoxFuture, OptionFuture};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use self::earlier::{Earlier, Next};
use super::pauses::Pauses;
use crate::{
    clock::Monotonic,
    failpoint, ledger,
    uplink::{
        authority::Authority,
        link::{Asked, LinkError},
        profiles::Verdict,
        rows::{PageRead, Row, Rows, recount},
        suspects::{Key, Suspects, present},
        tls::Safety,
        wire::{Kept, Wire, WireError},
    },
};

/// Interval between transactions that strike off rows.
const STRIKE_EVERY: Duration = Duration::from_millis(50);
/// Shortest and longest pause between two inquiries for one verdict. It doubles.
const INQUIRIES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);
/// Interval between attempts to make the rows for which the gateway lacked something. A clock that
/// was synchronised since may date them.
const LACKING_EVERY: Duration = Duration::from_secs(600);

/// A call under way, with the wire.
type Running = BoxFuture<'static, (Box<dyn Wire>, Done)>;

/// What a call was for, and what came of it.
enum Done {
    Rows(String, Vec<(u16, u64)>, Result<Vec<Verdict>, WireError>),
    /// A record of a database that was set aside, which was sent or asked for.
    Earlier(Result<Option<Verdict>, WireError>),
    Inquiry(String, Result<Option<Verdict>, WireError>),
    Upkeep(Result<Kept, WireError>),
}

/// Rows of one call that the platform has not judged.
struct Waiting {
    seqs: BTreeSet<u64>,
    at: Monotonic,
    pause: Duration,
}

pub(super) struct Session<'a> {
    rows: Rows<'a>,
    suspects: &'a mut Suspects,
    authority: Arc<Authority>,
    safety: Arc<Safety>,
    wire: Option<Box<dyn Wire>>,
    running: Option<Running>,
    /// Rows of the next calls. A call takes those that have their topic in common.
    next: VecDeque<(u16, u64, Row)>,
    packet: u16,
    /// By the number of their call.
    waiting: BTreeMap<String, Waiting>,
    /// Rows that go alone, because a call with others was refused as a whole.
    alone: BTreeSet<u64>,
    /// Rows over which connections ended. They go when no other row waits.
    put_off: BTreeSet<Key>,
    /// Topics whose rows the platform does not take for now.
    pauses: Pauses,
    /// The last call was an inquiry, so rows are next.
    inquired: bool,
    /// The one of them that goes now.
    last: Option<Key>,
    upkeep_due: bool,
    /// Interval between looks at what is due without a row.
    tick: Duration,
    heard: VecDeque<Vec<u8>>,
    /// The answer to the command that is being carried out. The next command waits for it.
    answered: Option<oneshot::Receiver<Vec<u8>>>,
    earlier: Earlier,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        rows: Rows<'a>,
        suspects: &'a mut Suspects,
        authority: Arc<Authority>,
        wire: Box<dyn Wire>,
        (safety, tick): (Arc<Safety>, Duration),
    ) -> Session<'a> {
        Session {
            rows,
            suspects,
            authority,
            safety,
            wire: Some(wire),
            running: None,
            next: VecDeque::new(),
            packet: 0,
            waiting: BTreeMap::new(),
            alone: BTreeSet::new(),
            put_off: BTreeSet::new(),
            pauses: Pauses::default(),
            inquired: false,
            last: None,
            upkeep_due: false,
            tick,
            heard: VecDeque::new(),
            answered: None,
            earlier: Earlier::default(),
        }
    }

    /// Runs the connection until it fails or the daemon stops.
    pub(super) async fn run(&mut self, asked: &mut mpsc::Receiver<Asked>) -> Result<(), LinkError> {
        let context = self.rows.context;
        let cancel = context.cancel.clone();
        if let Some(wire) = &mut self.wire {
            let opened = cancel.run_until_cancelled(wire.open()).await;
            let Some(opened) = opened else { return Ok(()) };
            opened.map_err(|error| self.failed(error))?;
        }
        self.begin().await?;
        let ended = self.exchange(asked).await;
        let settled = self.rows.settle().await;
        let noted = self.note_earlier().await;
        ended.and(settled).and(noted)
    }

    async fn begin(&mut self) -> Result<(), LinkError> {
        let (name, context) = (self.rows.upstream.name.clone(), self.rows.context);
        let head = context.store.read(ledger::last_seq).await?;
        recount(context, &name, self.rows.state).await?;
        self.rows.delivery.connected(head);
        let now = context.clock.monotonic();
        let (upstream, url) = (&self.rows.upstream.name, self.rows.upstream.address());
        tracing::info!(%upstream, url, "link is up");
        let certificates = self.safety.certificates();
        self.rows.state.send_modify(|s| {
            (s.connected, s.since, s.last_error) = (true, now, None);
            s.connects += 1;
            (s.undecided, s.certificates) = (0, certificates);
        });
        Ok(())
    }

    async fn exchange(&mut self, asked: &mut mpsc::Receiver<Asked>) -> Result<(), LinkError> {
        let context = self.rows.context;
        let mut commits = context.store.commits();
        let mut online = context.online.clone();
        let mut roster = online.borrow_and_update().roster_version;
        let every = |period| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let [mut tick, mut strike, mut lacking] =
            [self.tick, STRIKE_EVERY, LACKING_EVERY].map(every);
        lacking.reset();
        let mut page: Option<PageRead> = None;
        loop {
            self.pass_on();
            if self.running.is_none() {
                self.running = self.call().await?;
            }
            if page.is_none() {
                page = self.rows.next_page();
            }
            if self.rows.is_strike_due() {
                self.rows.strike();
            }
            let unstruck = self.rows.striking.is_none() && self.rows.has_to_strike();
            tokio::select! {
                _ = context.cancel.cancelled() => return Ok(()),
                Some((wire, done)) = OptionFuture::from(self.running.as_mut()) => {
                    (self.running, self.wire) = (None, Some(wire));
                    self.done(done).await?;
                }
                Some(read) = OptionFuture::from(page.as_mut()) => {
                    page = None;
                    self.rows.fetched(read?);
                }
                Some(struck) = OptionFuture::from(self.rows.striking.as_mut()) => {
                    self.rows.striking = None;
                    self.rows.struck(struck?);
                }
                _ = strike.tick(), if unstruck => self.rows.strike(),
                Some(asked) = asked.recv() => match asked {
                    Asked::Again { from, to } => {
                        self.rows.settle().await?;
                        self.rows.delivery.again(from, to);
                    }
                    Asked::Recount => {
                        recount(context, &self.rows.upstream.name, self.rows.state).await?;
                    }
                    Asked::Earlier => {
                        self.earlier.rests = false;
                        // Dismissed rows may be offered again.
                        recount(context, &self.rows.upstream.name, self.rows.state).await?;
                    }
                },
                Some(answer) = OptionFuture::from(self.answered.as_mut()) => {
                    self.answered = None;
                    // It says that records may go for which something was lacking.
                    if answer.is_ok_and(|answer| !answer.is_empty()) {
                        self.retry_lacking().await?;
                    }
                }
                changed = commits.changed() => match changed {
                    Ok(()) => self.rows.delivery.committed(),
                    Err(_) => return Ok(()),
                },
                Ok(()) = online.changed() => {
                    let now = online.borrow_and_update().roster_version;
                    if std::mem::replace(&mut roster, now) != now {
                        self.rows.profile.roster_changed();
                        self.retry_lacking().await?;
                    }
                }
                _ = lacking.tick() => self.retry_lacking().await?,
                _ = tick.tick() => {
                    self.upkeep_due = true;
                    // Rows that the platform did not take for now are read again.
                    if let Some((first, last)) = self.pauses.over(context.clock.monotonic()) {
                        self.rows.settle().await?;
                        self.rows.delivery.again(first, last);
                    }
                }
            }
        }
    }

    async fn retry_lacking(&mut self) -> Result<(), LinkError> {
        self.rows.retry_lacking().await?;
        // Records may have been rescued meanwhile, too.
        self.earlier.rests = false;
        Ok(())
    }

    fn failed(&self, error: WireError) -> LinkError {
        let WireError { problem, cause } = error;
        LinkError::Connection { broker: self.rows.upstream.address(), problem, cause }
    }

    /// Begins the next call, if one is due: an inquiry and rows by turns, upkeep, and then records of
    /// databases that were set aside.
    async fn call(&mut self) -> Result<Option<Running>, LinkError> {
        let now = self.rows.context.clock.monotonic();
        let Some(mut wire) = self.wire.take() else { return Ok(None) };
        if !self.inquired
            && let Some(serial) = self.due(now)
        {
            return Ok(Some(self.inquiry(wire, serial)));
        }
        if std::mem::take(&mut self.upkeep_due) {
            return Ok(Some(Box::pin(async move {
                let kept = wire.upkeep().await;
                (wire, Done::Upkeep(kept))
            })));
        }
        let rows = self.gather(wire.at_once(), now);
        if !rows.is_empty() {
            let (keys, parcels): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            self.suspects.begins(keys.iter().map(|(_, seq)| present(*seq)));
            self.inquired = false;
            let topic = parcels.first().map(|row| row.message.topic.clone()).unwrap_or_default();
            failpoint::at("uplink.published");
            return Ok(Some(Box::pin(async move {
                let verdicts = wire.deliver(parcels).await;
                (wire, Done::Rows(topic, keys, verdicts))
            })));
        }
        if let Some(serial) = self.due(now) {
            return Ok(Some(self.inquiry(wire, serial)));
        }
        if self.rows.delivery.is_idle()
            && let Some(next) = self.next_earlier(now).await?
        {
            return Ok(Some(Box::pin(async move {
                let verdict = match next {
                    Next::Send(parcel) => wire.deliver(vec![parcel]).await.map(|mut all| all.pop()),
                    Next::Ask(serial) => wire.inquire(serial).await,
                };
                (wire, Done::Earlier(verdict))
            })));
        }
        self.wire = Some(wire);
        self.offer_last();
        Ok(None)
    }

    /// Returns the call whose verdict was due first.
    fn due(&self, now: Monotonic) -> Option<String> {
        let due = self.waiting.iter().filter(|(_, waiting)| now >= waiting.at);
        due.min_by_key(|(_, waiting)| waiting.at).map(|(serial, _)| serial.clone())
    }

    /// Asks for the verdict on a call. Rows come next, so that late verdicts hold none up.
    fn inquiry(&mut self, mut wire: Box<dyn Wire>, serial: String) -> Running {
        self.inquired = true;
        let seqs = self.waiting.get(&serial).map(|waiting| waiting.seqs.clone());
        self.suspects.begins(seqs.into_iter().flatten().map(present));
        Box::pin(async move {
            let answer = wire.inquire(serial.clone()).await;
            (wire, Done::Inquiry(serial, answer))
        })
    }

    async fn done(&mut self, done: Done) -> Result<(), LinkError> {
        match done {
            Done::Rows(topic, keys, verdicts) => {
                let verdicts = verdicts.map_err(|error| self.failed(error))?;
                if verdicts.len() != keys.len() {
                    let error = WireError::new("it does not answer for each record");
                    return Err(self.failed(error));
                }
                let is_final = |verdict: &Verdict| !matches!(verdict, Verdict::NotNow(_));
                self.suspects.answered(verdicts.iter().any(is_final));
                self.judged(&topic, keys, verdicts).await
            }
            Done::Inquiry(serial, answer) => {
                let answer = answer.map_err(|error| self.failed(error))?;
                self.suspects.answered(matches!(answer, Some(Verdict::Taken)));
                self.answered(serial, answer).await
            }
            Done::Upkeep(kept) => {
                let kept = kept.map_err(|error| self.failed(error))?;
                self.kept(kept);
                Ok(())
            }
            Done::Earlier(verdict) => {
                let verdict = verdict.map_err(|error| self.failed(error))?;
                self.suspects.answered(matches!(verdict, Some(Verdict::Taken)));
                self.earlier_judged(verdict).await
            }
        }
    }

    fn trouble(&self, what: String) {
        let now = self.rows.context.clock.monotonic();
        self.rows.state.send_modify(|s| s.trouble(now, what));
    }
}
