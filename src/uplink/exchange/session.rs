//! One connection: gathers rows for calls, and carries out the platform's verdicts.

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

use super::UNDECIDED;
use crate::{
    clock::Monotonic,
    failpoint,
    ledger::{self, LedgerError, Refusal, Stored},
    store::Priority,
    uplink::{
        authority::Authority,
        delivery::WINDOW,
        link::{Asked, Incoming, LinkError},
        profiles::{Parcel, Verdict},
        rows::{Maker, PageRead, Row, RowMade, Rows},
        state::Without,
        tls::Safety,
        wire::{Kept, Wire, WireError},
    },
};

/// Interval between transactions that strike off rows.
const STRIKE_EVERY: Duration = Duration::from_millis(50);
/// Shortest and longest pause between two inquiries for one verdict. It doubles.
const INQUIRIES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);
/// Maximum length of a platform's words, in characters.
const WORDS: usize = 300;
/// Maximum number of commands that wait for the task that runs them.
const HEARD: usize = 1024;
/// Maximum size of the rows of a call, if it has several.
const CALL_BYTES: usize = 512 << 10;
/// Interval between attempts to make the rows for which the gateway lacked something. A clock that
/// was synchronised since may date them.
const LACKING_EVERY: Duration = Duration::from_secs(600);
/// Maximum number of records of a database that was set aside, in one call.
const EARLIER: usize = 4;

/// A call under way, with the wire.
type Running = BoxFuture<'static, (Box<dyn Wire>, Done)>;

/// What a call was for, and what came of it.
enum Done {
    Rows(Vec<(u16, u64)>, Result<Vec<Verdict>, WireError>),
    Earlier((String, u64), Result<Vec<Verdict>, WireError>),
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
    upkeep_due: bool,
    /// Interval between looks at what is due without a row.
    tick: Duration,
    heard: VecDeque<Vec<u8>>,
    /// The answer to the command that is being carried out. The next command waits for it.
    answered: Option<oneshot::Receiver<Vec<u8>>>,
    /// No record of a database that was set aside is left to send.
    earlier_rests: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        rows: Rows<'a>,
        authority: Arc<Authority>,
        wire: Box<dyn Wire>,
        (safety, tick): (Arc<Safety>, Duration),
    ) -> Session<'a> {
        Session {
            rows,
            authority,
            safety,
            wire: Some(wire),
            running: None,
            next: VecDeque::new(),
            packet: 0,
            waiting: BTreeMap::new(),
            alone: BTreeSet::new(),
            upkeep_due: false,
            tick,
            heard: VecDeque::new(),
            answered: None,
            earlier_rests: false,
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
        ended.and(settled)
    }

    async fn begin(&mut self) -> Result<(), LinkError> {
        let (name, context) = (self.rows.upstream.name.clone(), self.rows.context);
        let known = context.store.read(move |tx| {
            Ok::<_, LedgerError>((ledger::last_seq(tx)?, ledger::count_refused(tx, &name)?))
        });
        let (head, refused) = known.await?;
        self.rows.delivery.connected(head);
        let now = context.clock.monotonic();
        let (upstream, url) = (&self.rows.upstream.name, self.rows.upstream.address());
        tracing::info!(%upstream, url, "link is up");
        let certificates = self.safety.certificates();
        self.rows.state.send_modify(|s| {
            (s.connected, s.since, s.last_error) = (true, now, None);
            s.connects += 1;
            (s.refused_rows, s.undecided, s.certificates) = (refused, 0, certificates);
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
                Some(Asked::Again { from, to }) = asked.recv() => {
                    self.rows.delivery.again(from, to);
                }
                Some(answer) = OptionFuture::from(self.answered.as_mut()) => {
                    self.answered = None;
                    // It says that records may go for which something was lacking.
                    if answer.is_ok_and(|answer| !answer.is_empty()) {
                        self.rows.retry_lacking().await?;
                    }
                }
                changed = commits.changed() => match changed {
                    Ok(()) => self.rows.delivery.committed(),
                    Err(_) => return Ok(()),
                },
                Ok(()) = online.changed() => {
                    let now = online.borrow_and_update().roster_version;
                    if std::mem::replace(&mut roster, now) != now {
                        self.rows.retry_lacking().await?;
                    }
                }
                _ = lacking.tick() => self.rows.retry_lacking().await?,
                _ = tick.tick() => {
                    self.upkeep_due = true;
                    // It also offers rows that the platform did not take for now.
                    self.rows.delivery.look(context.clock.monotonic());
                }
            }
        }
    }

    fn failed(&self, error: WireError) -> LinkError {
        let WireError { problem, cause } = error;
        LinkError::Connection { broker: self.rows.upstream.address(), problem, cause }
    }

    /// Begins the next call, if one is due: rows, then an inquiry, then upkeep, then records of
    /// databases that were set aside.
    async fn call(&mut self) -> Result<Option<Running>, LinkError> {
        let now = self.rows.context.clock.monotonic();
        let Some(mut wire) = self.wire.take() else { return Ok(None) };
        let due = self.waiting.iter().find(|(_, waiting)| now >= waiting.at);
        let due = due.map(|(serial, _)| serial.clone());
        if let Some(serial) = due {
            return Ok(Some(Box::pin(async move {
                let answer = wire.inquire(serial.clone()).await;
                (wire, Done::Inquiry(serial, answer))
            })));
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
            failpoint::at("uplink.published");
            return Ok(Some(Box::pin(async move {
                let verdicts = wire.deliver(parcels).await;
                (wire, Done::Rows(keys, verdicts))
            })));
        }
        if !self.earlier_rests && self.rows.delivery.is_idle() {
            match self.earlier().await? {
                None => self.earlier_rests = true,
                Some((parcels, progress)) => {
                    return Ok(Some(Box::pin(async move {
                        let mut all = Vec::new();
                        for parcel in parcels {
                            match wire.deliver(vec![parcel]).await {
                                Ok(verdicts) => all.extend(verdicts),
                                Err(error) => return (wire, Done::Earlier(progress, Err(error))),
                            }
                        }
                        (wire, Done::Earlier(progress, Ok(all)))
                    })));
                }
            }
        }
        self.wire = Some(wire);
        Ok(None)
    }

    /// Returns the rows of the next call: the oldest one, and those that have their topic in common
    /// with it.
    fn gather(&mut self, at_once: usize, now: Monotonic) -> Vec<((u16, u64), Parcel)> {
        let undecided: usize = self.waiting.values().map(|waiting| waiting.seqs.len()).sum();
        let room = UNDECIDED.saturating_sub(undecided);
        // Rows of several topics come mixed, so a call of many rows looks ahead.
        let ahead = if at_once > 1 { WINDOW } else { 1 };
        while self.next.len() < ahead.min(room)
            && let Some((packet, seq, row)) = self.numbered(now)
        {
            match row.serial {
                Some(serial) => {
                    self.rows.delivery.undecided(packet);
                    self.wait_for(serial, [seq], now);
                }
                None => self.next.push_back((packet, seq, row)),
            }
        }
        if room == 0 {
            return Vec::new();
        }
        let mut rows: Vec<((u16, u64), Parcel)> = Vec::new();
        let (mut published, mut repeated, mut bytes) = (0, 0, 0);
        let mut others = VecDeque::new();
        let mut is_full = false;
        for (packet, seq, row) in self.next.drain(..) {
            let size = row.message.payload.len();
            let goes_alone = self.alone.contains(&seq);
            let fits = rows.first().is_none_or(|(_, first)| {
                first.message.topic == row.message.topic
                    && !goes_alone
                    && bytes + size <= CALL_BYTES
            });
            if is_full || !fits {
                others.push_back((packet, seq, row));
                continue;
            }
            tracing::trace!(seq, resent = row.resent, "a row is handed on");
            published += 1;
            repeated += u64::from(row.resent);
            bytes += size;
            let Row { message, resent, .. } = row;
            rows.push(((packet, seq), Parcel { seq, message, resent }));
            is_full = goes_alone || rows.len() >= at_once.min(room);
        }
        self.next = others;
        if published > 0 {
            self.rows.state.send_if_modified(|s| {
                s.published += published;
                s.repeated += repeated;
                false
            });
        }
        rows
    }

    /// Returns the next row of the delivery with a number of its own.
    fn numbered(&mut self, now: Monotonic) -> Option<(u16, u64, Row)> {
        let (seq, row) = self.rows.delivery.next(now)?;
        self.packet = self.packet.wrapping_add(1);
        self.rows.delivery.numbered(self.packet);
        Some((self.packet, seq, row))
    }

    fn wait_for(&mut self, serial: String, seqs: impl IntoIterator<Item = u64>, now: Monotonic) {
        let pause = *INQUIRIES.start();
        let fresh = || Waiting { seqs: BTreeSet::new(), at: now + pause, pause };
        self.waiting.entry(serial).or_insert_with(fresh).seqs.extend(seqs);
        self.tell_undecided();
    }

    fn tell_undecided(&self) {
        let undecided = self.waiting.values().map(|waiting| waiting.seqs.len() as u64).sum();
        self.rows.state.send_modify(|s| s.undecided = undecided);
    }

    async fn done(&mut self, done: Done) -> Result<(), LinkError> {
        match done {
            Done::Rows(keys, verdicts) => {
                let verdicts = verdicts.map_err(|error| self.failed(error))?;
                self.judged(keys, verdicts).await
            }
            Done::Inquiry(serial, answer) => {
                let answer = answer.map_err(|error| self.failed(error))?;
                self.answered(serial, answer).await
            }
            Done::Upkeep(kept) => {
                let kept = kept.map_err(|error| self.failed(error))?;
                self.kept(kept);
                Ok(())
            }
            Done::Earlier(progress, verdicts) => {
                let verdicts = verdicts.map_err(|error| self.failed(error))?;
                let words = verdicts.iter().find_map(|verdict| match verdict {
                    Verdict::Refused(words) | Verdict::NotNow(words) => Some(words.clone()),
                    Verdict::Taken | Verdict::Later(_) => None,
                });
                if let Some(words) = words {
                    self.earlier_rests = true;
                    self.trouble(format!(
                        "the platform refused a record of a database that was set aside: {words}"
                    ));
                    return Ok(());
                }
                let note = move |tx: &rusqlite::Transaction<'_>| ledger::drained(tx, &progress);
                let store = &self.rows.context.store;
                Ok(store.write::<_, LedgerError>(Priority::Upkeep, note).await?)
            }
        }
    }

    /// Takes in the verdicts on the rows of a call.
    async fn judged(
        &mut self,
        keys: Vec<(u16, u64)>,
        verdicts: Vec<Verdict>,
    ) -> Result<(), LinkError> {
        if verdicts.len() != keys.len() {
            return Err(self.failed(WireError::new("it does not answer for each record")));
        }
        let now = self.rows.context.clock.monotonic();
        let refuses_all = verdicts.len() > 1
            && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Refused(_)))
            && verdicts.windows(2).all(|two| two.first() == two.last());
        if refuses_all {
            // One record may have spoilt the call of all.
            return self.send_alone(keys.into_iter()).await;
        }
        let mut serials: Vec<(u64, String)> = Vec::new();
        for ((packet, seq), verdict) in keys.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Taken => {
                    self.alone.remove(&seq);
                    self.rows.delivery.acknowledged(packet, now);
                    failpoint::at("uplink.acknowledged");
                }
                Verdict::Refused(words) => {
                    self.rows.delivery.undecided(packet);
                    self.refused(seq, words);
                }
                Verdict::Later(serial) => {
                    self.rows.delivery.undecided(packet);
                    serials.push((seq, serial));
                }
                Verdict::NotNow(words) => {
                    self.rows.delivery.refused(packet, now);
                    let words = shortened(&words);
                    self.rows.state.send_modify(|s| s.refused += 1);
                    self.trouble(format!(
                        "the platform did not take a record for now ({words}). It is offered again \
                         each minute"
                    ));
                }
            }
        }
        if !serials.is_empty() {
            let (name, kept) = (self.rows.upstream.name.clone(), serials.clone());
            let at_ms = self.rows.context.clock.stamp().wall_ms;
            let keep =
                self.rows.context.store.write(Priority::Upkeep, move |tx| {
                    ledger::await_verdict(tx, &name, &kept, at_ms)
                });
            keep.await?;
            failpoint::at("uplink.undecided");
            for (seq, serial) in serials {
                self.wait_for(serial, [seq], now);
            }
        }
        Ok(())
    }

    /// Sends rows of a refused call again, each by itself.
    async fn send_alone(
        &mut self,
        keys: impl Iterator<Item = (u16, u64)>,
    ) -> Result<(), LinkError> {
        let mut seqs = BTreeSet::new();
        for (packet, seq) in keys {
            self.rows.delivery.undecided(packet);
            seqs.insert(seq);
        }
        self.again(seqs).await
    }

    /// Sends undecided rows again, each by itself.
    async fn again(&mut self, seqs: BTreeSet<u64>) -> Result<(), LinkError> {
        self.rows.settle().await?;
        if let (Some(first), Some(last)) = (seqs.first(), seqs.last()) {
            self.rows.delivery.again(*first, *last);
        }
        self.alone.extend(seqs);
        Ok(())
    }

    fn refused(&mut self, seq: u64, words: String) {
        self.alone.remove(&seq);
        let at_ms = self.rows.context.clock.stamp().wall_ms;
        let words = shortened(&words);
        tracing::warn!(upstream = %self.rows.upstream.name, seq, words, "the platform refused a record");
        self.trouble(format!(
            "the platform refused record {seq} ({words}): see `gatehouse upstream refused {}`",
            self.rows.upstream.name
        ));
        self.rows.refusals.push(Refusal { seq, words, here: false, at_ms });
    }

    fn trouble(&self, what: String) {
        let now = self.rows.context.clock.monotonic();
        self.rows.state.send_modify(|s| s.trouble(now, what));
    }

    /// Takes in the answer to an inquiry.
    async fn answered(
        &mut self,
        serial: String,
        verdict: Option<Verdict>,
    ) -> Result<(), LinkError> {
        let now = self.rows.context.clock.monotonic();
        if let Some(Verdict::Later(words) | Verdict::NotNow(words)) = &verdict {
            let words = shortened(words);
            self.trouble(format!("the platform has no verdict on a call: {words}"));
        }
        let Some(waiting) = self.waiting.get_mut(&serial) else { return Ok(()) };
        // A platform that forgets each call does not get its rows again at once for ever.
        let forgotten_again = matches!(verdict, Some(Verdict::NotNow(_)))
            && waiting.pause < *INQUIRIES.end()
            && waiting.seqs.is_subset(&self.alone);
        let verdict = match verdict {
            Some(verdict) if !matches!(verdict, Verdict::Later(_)) && !forgotten_again => verdict,
            _ => {
                waiting.at = now + waiting.pause;
                waiting.pause = (waiting.pause * 2).min(*INQUIRIES.end());
                return Ok(());
            }
        };
        let Some(Waiting { seqs, .. }) = self.waiting.remove(&serial) else { return Ok(()) };
        self.tell_undecided();
        match verdict {
            Verdict::Taken => {
                seqs.iter().for_each(|seq| {
                    self.alone.remove(seq);
                    self.rows.delivery.judged(*seq);
                });
                failpoint::at("uplink.acknowledged");
                Ok(())
            }
            Verdict::Refused(words) if seqs.len() == 1 => {
                seqs.into_iter().for_each(|seq| self.refused(seq, words.clone()));
                Ok(())
            }
            // One record may have spoilt the call of all; or the platform has forgotten the call.
            _ => {
                let (name, lost) = (self.rows.upstream.name.clone(), seqs.clone());
                let forget = self.rows.context.store.write(Priority::Upkeep, move |tx| {
                    ledger::forget_serials(tx, &name, &lost.into_iter().collect::<Vec<_>>())
                });
                forget.await?;
                self.again(seqs).await
            }
        }
    }

    /// Takes in what came without a row.
    fn kept(&mut self, kept: Kept) {
        let Kept { commands, unreadable, note, down, came_back } = kept;
        let room = HEARD.saturating_sub(self.heard.len());
        let refused = commands.len().saturating_sub(room) as u64;
        self.heard.extend(commands.into_iter().take(room));
        if came_back {
            self.rows.delivery.offer_refused();
        }
        let now = self.rows.context.clock.monotonic();
        self.rows.state.send_if_modified(|s| {
            let since =
                |what: &str| s.sessions_down.iter().find(|d| d.what == what).map(|d| d.since);
            let down: Vec<Without> = down
                .into_iter()
                .map(|(what, why)| Without { since: since(&what).unwrap_or(now), what, why })
                .collect();
            let changed = s.sessions_down != down || unreadable > 0 || refused > 0;
            s.sessions_down = down;
            s.unreadable += unreadable;
            s.commands_refused += refused;
            changed
        });
        if unreadable > 0 {
            let entries = crate::words::counted(unreadable, "entry");
            self.trouble(format!(
                "{entries} of the platform's list are illegible and were passed over"
            ));
        }
        if let Some(note) = note {
            self.trouble(note);
        }
    }

    /// Hands the next command to the task that runs them, if the one before is answered. While
    /// there is no room, it waits for the next look.
    fn pass_on(&mut self) {
        let context = self.rows.context;
        let Some(payload) = self.heard.front().filter(|_| self.answered.is_none()) else { return };
        let held = context.memory.try_hold(2 * payload.len());
        let Some((held, place)) = held.zip(context.commands.try_reserve().ok()) else { return };
        let Some(payload) = self.heard.pop_front() else { return };
        // The platform awaits no reply. The answer is for this link.
        let (answer, answered) = oneshot::channel();
        self.answered = Some(answered);
        place.send(Incoming {
            upstream: self.rows.upstream.name.clone(),
            profile: self.rows.profile.clone(),
            authority: self.authority.clone(),
            payload,
            held,
            received: context.clock.monotonic(),
            answer,
        });
        self.rows.state.send_modify(|s| s.commands += 1);
    }

    /// Reads the next records of a database that was set aside.
    async fn earlier(&mut self) -> Result<Option<(Vec<Parcel>, (String, u64))>, LinkError> {
        let context = self.rows.context;
        let (store, name) = (context.store.clone(), self.rows.upstream.name.clone());
        let (origin, profile) = (context.origin.clone(), self.rows.profile.clone());
        let dir = context.storage_dir.clone();
        let at_ms = context.clock.stamp().wall_ms;
        let sealed = store.clone();
        let read = store.read(move |tx| {
            let maker = Maker {
                profile: &*profile,
                origin: &origin,
                upstream: &name,
                store: &sealed,
                photos: None,
                at_ms,
                tx,
                dates: std::cell::OnceCell::new(),
            };
            // A record for which the gateway lacks something stays in that database.
            let make = |stored: Stored, cause| {
                let made = maker.row(&stored, cause, true)?;
                Some(made.map(|(seq, made)| match made {
                    RowMade::Row(row) => Some(Parcel { seq, message: row.message, resent: true }),
                    RowMade::LeftOut | RowMade::Lacks(_) => None,
                }))
            };
            let next = ledger::next_to_drain(tx, &dir, &name, EARLIER, make)?;
            let Some((rows, progress)) = next.map(ledger::Drained::split) else {
                return Ok(None);
            };
            let parcels = rows.into_iter().flatten().filter_map(Result::transpose);
            Ok::<_, LinkError>(Some((parcels.collect::<Result<Vec<_>, _>>()?, progress)))
        });
        read.await
    }
}

/// Returns a platform's words, as they are kept and shown: on one line, without control characters.
fn shortened(words: &str) -> String {
    let plain = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(WORDS).collect()
}
