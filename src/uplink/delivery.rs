//! Decides which rows to publish next, which are acknowledged and what is late.
//!
//! In: pages of the outbox, packet ids and acknowledgements, and the time. Out: rows to publish and
//! rows to strike off. Touches nothing.
//!
//! The outbox table owns delivery. A [`Delivery`] holds only what one connection has on its way. It
//! forgets that when the connection ends, and the next connection begins with the oldest row (I3).
//!
//! Rows go in two lanes. Rows that waited when the connection came up are the backlog, oldest
//! first. Rows recorded since then are fresh. Where both lanes have a row, they take turns. So a
//! fresh row waits for at most a window and one row, however long the backlog is, and the backlog
//! never stands still. The last window of a backlog is not overtaken, so that the order is kept
//! after a short outage.
//!
//! With [`Ack::Broker`] a row may be struck off once the broker has acknowledged it. With
//! [`Ack::Platform`] it then waits for the consumer to report up to which seq it has everything.
//! After [`PLATFORM_TIMEOUT`] without progress the unacknowledged rows are sent again: the first
//! time over the same connection, later over a new one. A consumer that acknowledges each row by
//! itself ([`Delivery::of_each`]) gets a row again when that row has waited so long.

mod each;
mod platform;
mod put_off;
mod queue;
mod sent;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use self::each::Each;
pub use self::platform::NeverSent;
use self::put_off::PutOff;
pub use self::put_off::Turn;
use self::queue::Queue;
pub use self::sent::Sent;
use crate::{clock::Monotonic, config::Ack};

/// Maximum number of rows published and not yet acknowledged by the broker.
pub const WINDOW: usize = 64;
/// Maximum number of rows of each lane that the broker has acknowledged and the platform has not.
pub const PLATFORM_WINDOW: usize = 4096;
/// Maximum number of rows read from the outbox at once. The next page is read while fewer rows than
/// this are ready.
pub const PAGE: usize = 512;
/// Timeout after which a connection is given up, because the broker has not acknowledged a message.
/// A window takes half a minute at 20 kbit/s.
pub const BROKER_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout after which rows that the platform has not acknowledged are sent again. It doubles each
/// time without progress. From the second time on, a new connection is used.
pub const PLATFORM_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(30)..=Duration::from_secs(600);
/// Timeout after which a row that the broker refused is offered again.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of refusals in succession. After them, one row is offered each [`SLOW`].
const REFUSALS: u32 = 16;
/// Interval between rows that are offered to a broker that refuses them.
const SLOW: Duration = Duration::from_secs(1);

/// The lane of a row: it waited when the connection came up, or it was recorded since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Backlog,
    Fresh,
}

/// A request to read rows of the outbox: after `after` up to `until`, oldest first, at most
/// [`PAGE`].
#[derive(Clone, Debug)]
pub struct Fetch {
    pub lane: Origin,
    pub after: u64,
    pub until: u64,
    /// The seqs to mark as repeats.
    pub sent: Sent,
    turn: u64,
    commits: u64,
}

/// The rows that were read for a [`Fetch`].
#[derive(Debug)]
pub struct Page<T> {
    pub rows: Vec<(u64, T)>,
    /// Rows that are not for this platform.
    pub left_out: Vec<u64>,
    /// The seq of the last row read, whether it can be sent or not.
    pub upto: u64,
    /// Whether there may be rows after it.
    pub more: bool,
}

/// Why a connection is to be given up. The next one sends the unacknowledged rows again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The broker does not acknowledge messages.
    Broker,
    /// The platform did not acknowledge rows, though they were sent again. Its acknowledgements may
    /// not come over this connection.
    Platform,
}

/// The delivery to one upstream, over one connection after another.
#[derive(Debug)]
pub struct Delivery<T> {
    ack: Ack,
    window: usize,
    sent: Sent,
    /// The last seq when this connection came up, which is the end of the backlog.
    head: u64,
    backlog: Queue<T>,
    fresh: Queue<T>,
    /// Whether the fresh lane has its turn, where both lanes have a row.
    fresh_next: bool,
    /// The lane that was read last. Where both are to be read, the other lane has its turn.
    read_last: Origin,
    /// Number of resets. A page that was requested before the last reset is discarded.
    turn: u64,
    commits: u64,
    /// Messages that the client has and has not numbered yet. `None` is a message that is not a
    /// row.
    unnumbered: VecDeque<(Option<u64>, Monotonic)>,
    in_flight: HashMap<u16, (Option<u64>, Monotonic)>,
    /// The rows in `unnumbered` and `in_flight`.
    busy: BTreeSet<u64>,
    acknowledged: Vec<u64>,
    left_out: Vec<u64>,
    /// The platform has everything up to this seq.
    upto: Option<u64>,
    /// The seq up to which the platform says without a signature that it has everything.
    claimed: Option<u64>,
    platform_since: Option<Monotonic>,
    platform_timeout: Duration,
    /// First and last of the rows that the broker refused, and the time of the first refusal.
    refused: Option<(u64, u64, Monotonic)>,
    refusals: u32,
    refused_at: Monotonic,
    /// The last of the rows that stood aside and are sent again, until the broker has them.
    returned: Option<u64>,
    /// The platform may not know a repeat as one; see [`Delivery::without_repeats`].
    once: bool,
    /// First and last of the rows that are read again.
    rewound: Option<(u64, u64)>,
    /// Rows among them that were on their way then, and are done. The outbox may still have them.
    finished: BTreeSet<u64>,
    /// The consumer acknowledges each row by itself.
    each: Option<Each>,
    /// The rows that go alone, or last.
    put_off: PutOff,
}

impl<T> Delivery<T> {
    /// Returns a delivery without a connection. `sent_before` is the highest seq that an earlier
    /// run may have sent.
    pub fn new(ack: Ack, sent_before: u64) -> Delivery<T> {
        Delivery {
            ack,
            window: WINDOW,
            sent: Sent::upto(sent_before),
            head: 0,
            backlog: Queue::new(0, 0),
            fresh: Queue::new(0, u64::MAX),
            fresh_next: true,
            read_last: Origin::Fresh,
            turn: 0,
            commits: 0,
            unnumbered: VecDeque::new(),
            in_flight: HashMap::new(),
            busy: BTreeSet::new(),
            acknowledged: Vec::new(),
            left_out: Vec::new(),
            upto: None,
            claimed: None,
            platform_since: None,
            platform_timeout: *PLATFORM_TIMEOUT.start(),
            refused: None,
            refusals: 0,
            refused_at: Monotonic::default(),
            returned: None,
            once: false,
            rewound: None,
            finished: BTreeSet::new(),
            each: None,
            put_off: PutOff::default(),
        }
    }

    /// Keeps rows that were on their way while others are read again from going again, once they are
    /// done. Where a stub may stand for a row, they must.
    pub fn without_repeats(self) -> Delivery<T> {
        Delivery { once: true, ..self }
    }

    /// Begins a new connection, which sends all unacknowledged rows (again). `head` is the ledger's
    /// last seq now.
    pub fn connected(&mut self, head: u64) {
        self.remember();
        self.head = head;
        self.backlog = Queue::new(0, head);
        self.fresh = Queue::new(head, u64::MAX);
        self.turn += 1;
        self.unnumbered.clear();
        self.in_flight.clear();
        self.busy.clear();
        self.acknowledged.clear();
        self.left_out.clear();
        self.platform_since = None;
        self.refused = None;
        self.refusals = 0;
        self.rewound = None;
        self.finished.clear();
        self.each = self.each.take().map(|_| Each::default());
        self.put_off = PutOff::default();
    }

    /// Adds the rows that this connection has carried to `sent`.
    fn remember(&mut self) {
        let backlog = &self.backlog;
        let done = backlog.dry && backlog.ready.is_empty();
        let upto = if done { backlog.handed.max(self.head) } else { backlog.handed };
        self.sent.add(0, upto);
        self.sent.add(self.head + 1, self.fresh.handed);
    }

    /// Notes a commit: there may be new rows to read.
    pub fn committed(&mut self) {
        self.commits += 1;
        self.fresh.dry = false;
    }

    fn queue(&mut self, lane: Origin) -> &mut Queue<T> {
        match lane {
            Origin::Backlog => &mut self.backlog,
            Origin::Fresh => &mut self.fresh,
        }
    }

    /// Returns the rows to read next.
    pub fn wants(&self) -> Option<Fetch> {
        let needs = |queue: &Queue<T>| !queue.dry && queue.ready.len() < PAGE;
        let (lane, queue) = match (needs(&self.fresh), needs(&self.backlog)) {
            (true, false) => (Origin::Fresh, &self.fresh),
            (true, true) if self.read_last == Origin::Backlog => (Origin::Fresh, &self.fresh),
            (_, true) => (Origin::Backlog, &self.backlog),
            (false, false) => return None,
        };
        let (after, until, sent) = (queue.cursor, queue.until, self.sent.clone());
        Some(Fetch { lane, after, until, sent, turn: self.turn, commits: self.commits })
    }

    /// Takes in the rows that were read.
    pub fn fetched(&mut self, fetch: &Fetch, page: Page<T>) {
        if fetch.turn != self.turn {
            return;
        }
        // The page may lack rows that were committed while it was read.
        let news = fetch.lane == Origin::Fresh && fetch.commits != self.commits;
        self.read_last = fetch.lane;
        let queue = self.queue(fetch.lane);
        queue.cursor = queue.cursor.max(page.upto);
        queue.dry = !page.more && !news;
        queue.ready.extend(page.rows);
        self.left_out.extend(page.left_out);
    }

    /// Returns the next row to hand to the client.
    pub fn next(&mut self, now: Monotonic) -> Option<(u64, T)> {
        self.next_in_turn(now, |_| Turn::Now)
    }

    /// As [`next`](Self::next). `turn` says when a row goes.
    pub fn next_in_turn(
        &mut self,
        now: Monotonic,
        mut turn: impl FnMut(u64) -> Turn,
    ) -> Option<(u64, T)> {
        loop {
            if self.busy.len() >= self.window || self.is_slowed(now) || self.one_goes_alone() {
                return None;
            }
            let waits =
                |queue: &Queue<T>| !queue.ready.is_empty() && queue.awaited.len() < PLATFORM_WINDOW;
            let backlog = &self.backlog;
            let unread = !backlog.dry && backlog.cursor == 0;
            let nearly_done = backlog.dry && backlog.ready.len() <= WINDOW;
            let lane = match (waits(&self.fresh), waits(backlog)) {
                (true, true) if self.fresh_next && !nearly_done => Origin::Fresh,
                (_, true) => Origin::Backlog,
                (true, false) if !unread => Origin::Fresh,
                _ => return None,
            };
            let upto = self.upto.unwrap_or(0);
            let seq = self.queue(lane).ready.front().map(|(seq, _)| *seq)?;
            // A row that is acknowledged by now, or on its way already, is not sent twice.
            let on_its_way = self.busy.contains(&seq)
                || self.finished.contains(&seq)
                || self.backlog.awaited.contains(&seq)
                || self.fresh.awaited.contains(&seq);
            let is_done = seq <= upto || on_its_way;
            let turn = if is_done { Turn::Aside } else { turn(seq) };
            if turn == Turn::Alone && !self.busy.is_empty() {
                return None;
            }
            self.fresh_next = lane == Origin::Backlog;
            let queue = self.queue(lane);
            let (seq, row) = queue.ready.pop_front()?;
            queue.handed = queue.handed.max(seq);
            if self.put_off.passes_over(seq, turn) {
                continue;
            }
            self.busy.insert(seq);
            self.unnumbered.push_back((Some(seq), now));
            return Some((seq, row));
        }
    }

    fn is_slowed(&self, now: Monotonic) -> bool {
        self.refusals >= REFUSALS && (!self.busy.is_empty() || now.since(self.refused_at) < SLOW)
    }

    /// Notes that a message other than a row was handed to the client.
    pub fn publish_other(&mut self, now: Monotonic) {
        self.unnumbered.push_back((None, now));
    }

    /// Returns whether a message that is no row is not acknowledged yet.
    pub fn has_others(&self) -> bool {
        let mut on_their_way = self.unnumbered.iter().chain(self.in_flight.values());
        on_their_way.any(|(row, _)| row.is_none())
    }

    /// Limits the window to the broker's receive maximum less one, so that packet ids do not
    /// collide.
    pub fn narrow(&mut self, at_once: Option<u16>) {
        self.window = at_once.map_or(WINDOW, |n| usize::from(n).saturating_sub(1).clamp(1, WINDOW));
    }

    /// Notes that the client gave the oldest unnumbered message this packet id and sent it. Returns
    /// true for a row.
    pub fn numbered(&mut self, packet: u16) -> bool {
        let Some(message) = self.unnumbered.pop_front() else { return false };
        self.in_flight.insert(packet, message);
        message.0.is_some()
    }

    /// Returns the row that has this packet id.
    pub fn row_of(&self, packet: u16) -> Option<u64> {
        self.in_flight.get(&packet).and_then(|(row, _)| *row)
    }

    /// Notes that the broker acknowledged a packet. Returns true for a row. A packet that is not on
    /// its way, or was acknowledged before, is ignored.
    pub fn acknowledged(&mut self, packet: u16, now: Monotonic) -> bool {
        let Some((Some(seq), _)) = self.in_flight.remove(&packet) else { return false };
        self.busy.remove(&seq);
        self.refusals = 0;
        self.done(seq);
        let taken_early = self.is_taken_early(seq);
        match self.ack {
            Ack::Broker => self.acknowledged.push(seq),
            Ack::Platform if self.upto.is_some_and(|upto| seq <= upto) => {}
            Ack::Platform if taken_early => self.strike_one(seq),
            Ack::Platform => {
                let lane = if seq > self.head { Origin::Fresh } else { Origin::Backlog };
                self.queue(lane).awaited.insert(seq);
                self.await_each(seq, now);
                self.platform_since.get_or_insert(now);
            }
        }
        self.take_claim(now);
        true
    }

    /// Notes that the platform has taken a message and will judge it later. Its row stays in the
    /// outbox, and makes room for others, until [`Delivery::judged`] or a new connection. Returns its
    /// seq.
    pub fn undecided(&mut self, packet: u16) -> Option<u64> {
        let (seq, _) = self.in_flight.remove(&packet)?;
        let seq = seq?;
        self.busy.remove(&seq);
        self.refusals = 0;
        self.done(seq);
        Some(seq)
    }

    /// Notes that the platform has taken a row that was [undecided](Delivery::undecided).
    pub fn judged(&mut self, seq: u64) {
        self.acknowledged.push(seq);
    }

    /// Notes that the broker refused a packet. Returns true for a row, which stays in the outbox
    /// and is offered again later.
    pub fn refused(&mut self, packet: u16, now: Monotonic) -> bool {
        let Some((Some(seq), _)) = self.in_flight.remove(&packet) else { return false };
        self.busy.remove(&seq);
        let (first, last, since) = self.refused.unwrap_or((seq, seq, now));
        self.refused = Some((first.min(seq), last.max(seq), since));
        self.refusals = self.refusals.saturating_add(1);
        self.refused_at = now;
        true
    }

    /// Returns the number of rows that [`Delivery::strike`] and [`Delivery::strike_left_out`] would
    /// return.
    pub fn to_strike(&self) -> usize {
        self.acknowledged.len() + self.left_out.len()
    }

    /// Returns the rows that the broker has acknowledged, each once.
    pub fn strike(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.acknowledged)
    }

    /// Returns the rows that are not for this platform, each once.
    pub fn strike_left_out(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.left_out)
    }

    /// Whether no row is on its way to the broker.
    pub fn is_idle(&self) -> bool {
        self.busy.is_empty()
    }

    /// Sends rows again that the consumer asks for. They are in the outbox again.
    pub fn again(&mut self, first: u64, last: u64) {
        self.sent.add(first, last);
        self.acknowledged.retain(|seq| !(first..=last).contains(seq));
        self.no_longer_awaited(first, last);
        self.rewind(first, last);
    }

    /// Bounds signed acknowledgements by the broker's until it has the rows up to this one, which
    /// stood aside: stubs went in their place, which the platform counts.
    pub fn returned(&mut self, last: u64) {
        self.returned = self.returned.max(Some(last));
    }

    /// Goes back to rows that this connection has sent.
    fn rewind(&mut self, first: u64, last: u64) {
        self.remember();
        self.turn += 1;
        let backlog = &mut self.backlog;
        let unsent = match backlog.ready.front() {
            Some((seq, _)) => seq - 1,
            None if backlog.dry => u64::MAX,
            None => backlog.cursor,
        };
        backlog.cursor = unsent.min(first.saturating_sub(1));
        // Fresh rows after these were not sent yet and stay in their lane.
        backlog.until = backlog.until.max(last.min(self.fresh.handed));
        backlog.dry = false;
        backlog.ready.clear();
        // Fresh rows may have been read and not sent: they lacked something, or were left out.
        let fresh = &mut self.fresh;
        if last > fresh.handed && fresh.cursor > fresh.handed {
            fresh.cursor = fresh.cursor.min(fresh.handed.max(first.saturating_sub(1)));
            fresh.dry = false;
            fresh.ready.clear();
        }
        self.finished.retain(|seq| !(first..=last).contains(seq));
        self.put_off.offer(first, last);
        let (from, to) = self.rewound.unwrap_or((first, last));
        self.rewound = Some((from.min(first), to.max(last)));
    }

    /// Notes that a row is done on this connection. If it is read again, it does not go again.
    fn done(&mut self, seq: u64) {
        if self.once && self.rewound.is_some_and(|(first, last)| (first..=last).contains(&seq)) {
            self.finished.insert(seq);
        }
    }

    /// Offers the rows that the broker refused at once, because they will go out differently.
    pub fn offer_refused(&mut self) {
        if let Some((first, last, _)) = self.refused.take() {
            self.rewind(first, last);
        }
    }

    /// Returns why the connection is to be given up, if so. To be called regularly: it also goes
    /// back to rows that the broker refused, or that the platform has not acknowledged in time.
    pub fn look(&mut self, now: Monotonic) -> Option<Late> {
        if self.refused.is_some_and(|(.., since)| now.since(since) >= REFUSED_PAUSE) {
            self.offer_refused();
        }
        if self.each.is_some() {
            if let Some(late) = self.look_at_each(now) {
                return Some(late);
            }
        } else if self.platform_since.is_some_and(|at| now.since(at) >= self.platform_timeout) {
            let is_first = self.platform_timeout == *PLATFORM_TIMEOUT.start();
            self.platform_since = None;
            self.platform_timeout = (self.platform_timeout * 2).min(*PLATFORM_TIMEOUT.end());
            if !is_first {
                return Some(Late::Platform);
            }
            let awaited: BTreeSet<u64> =
                self.backlog.awaited.union(&self.fresh.awaited).copied().collect();
            if let (Some(first), Some(last)) = (awaited.first(), awaited.last()) {
                self.no_longer_awaited(*first, *last);
                self.rewind(*first, *last);
            }
        }
        let underway = self.unnumbered.iter().chain(self.in_flight.values());
        let oldest = underway.map(|(_, at)| *at).min();
        oldest.is_some_and(|at| now.since(at) >= BROKER_TIMEOUT).then_some(Late::Broker)
    }
}
