//! Which rows to publish next, what is acknowledged and what is late; touches nothing.
//!
//! The outbox table owns delivery; this holds no more than what one connection has on its way. A
//! connection's end forgets that, and the next one begins again with the oldest row (I3).
//!
//! Rows go in two lanes. What waited when the connection came up is the backlog, oldest first; what
//! is recorded since is fresh. Where both have a row, they take turns: a fresh row waits for a window
//! and a row, however long the backlog is, and the backlog never stands still. The last window of a
//! backlog is not overtaken, so that after a short outage all is in order.
//!
//! With [`Ack::Broker`] a row may be struck off once the broker has acknowledged it. With
//! [`Ack::Platform`] it then waits for the consumer, who says up to which seq it has everything; where
//! the consumer says nothing new for too long, what it has not acknowledged is sent again, and then over
//! a new connection.

mod sent;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

pub use self::sent::Sent;
use crate::{clock::Monotonic, config::Ack};

/// Rows published and not yet acknowledged by the broker, at most.
pub const WINDOW: usize = 64;
/// Rows of each lane that the broker has and the platform has not acknowledged, at most.
pub const PLATFORM_WINDOW: usize = 4096;
/// Rows read from the outbox at once; while fewer are ready, the next ones are read.
pub const PAGE: usize = 512;
/// A broker that owes an acknowledgement for so long is given up. A window takes half a minute at
/// 20 kbit/s.
pub const BROKER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the platform may say nothing new before it is sent again what it lacks: doubling, as
/// long as nothing comes of it, and from the second time on over a new connection.
pub const PLATFORM_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(30)..=Duration::from_secs(600);
/// After so long a row that the broker did not take is offered again.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// After so many refusals without a row taken, one row a second is offered.
const REFUSALS: u32 = 16;
const SLOW: Duration = Duration::from_secs(1);

/// What waited when the connection came up, or what came since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Backlog,
    Fresh,
}

/// Rows that the shell is to read: those of the outbox after `after` up to `until`, oldest first, at
/// most [`PAGE`].
#[derive(Clone, Debug)]
pub struct Fetch {
    pub lane: Origin,
    pub after: u64,
    pub until: u64,
    /// Marks a row as a repeat.
    pub sent: Sent,
    turn: u64,
    commits: u64,
}

/// What was read.
#[derive(Debug)]
pub struct Page<T> {
    pub rows: Vec<(u64, T)>,
    /// Rows that are not for this platform.
    pub left_out: Vec<u64>,
    /// The last seq looked at, of a row that can be sent or not.
    pub upto: u64,
    /// There may be more after it.
    pub more: bool,
}

/// Why a connection is to be given up: the next one sends again what was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It does not acknowledge what it is sent.
    Broker,
    /// Nothing comes of what was sent, though it was sent again already: this connection may not
    /// bring the platform's acknowledgements.
    Platform,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing after {sent} was ever sent, and {upto} is acknowledged")]
pub struct NeverSent {
    pub upto: u64,
    pub sent: u64,
}

#[derive(Debug)]
struct Queue<T> {
    /// Rows up to here were read.
    cursor: u64,
    /// Up to here they were handed to the client, on this connection.
    handed: u64,
    until: u64,
    /// Nothing is left to be read for now.
    dry: bool,
    ready: VecDeque<(u64, T)>,
    /// With the broker, not with the platform.
    awaited: BTreeSet<u64>,
}

impl<T> Queue<T> {
    fn new(after: u64, until: u64) -> Queue<T> {
        let (ready, awaited) = (VecDeque::new(), BTreeSet::new());
        Queue { cursor: after, handed: after, until, dry: false, ready, awaited }
    }
}

#[derive(Debug)]
pub struct Delivery<T> {
    ack: Ack,
    window: usize,
    sent: Sent,
    /// The last seq there was when this connection came up: the backlog's end.
    head: u64,
    backlog: Queue<T>,
    fresh: Queue<T>,
    /// Whose turn it is where both lanes have a row.
    fresh_next: bool,
    /// Which lane was read last; where both are to be read, it is the other one's turn.
    read_last: Origin,
    /// A page that was asked for before this is of no use.
    turn: u64,
    commits: u64,
    /// Handed to the client and not yet numbered by it; `None` is a message of ours that is no row.
    unnumbered: VecDeque<(Option<u64>, Monotonic)>,
    in_flight: HashMap<u16, (Option<u64>, Monotonic)>,
    /// The rows among those.
    busy: BTreeSet<u64>,
    acknowledged: Vec<u64>,
    left_out: Vec<u64>,
    /// The platform has everything up to here.
    upto: Option<u64>,
    platform_since: Option<Monotonic>,
    platform_patience: Duration,
    /// First and last of the rows that the broker did not take, and when it began with that.
    refused: Option<(u64, u64, Monotonic)>,
    refusals: u32,
    refused_at: Monotonic,
}

impl<T> Delivery<T> {
    /// `sent_before`: the highest seq that an earlier run may have sent.
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
            platform_since: None,
            platform_patience: *PLATFORM_TIMEOUT.start(),
            refused: None,
            refusals: 0,
            refused_at: Monotonic::default(),
        }
    }

    /// A fresh connection: everything unacknowledged is to be sent (again). `head`: the ledger's last
    /// seq now.
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
    }

    /// What this connection has carried so far.
    fn remember(&mut self) {
        let backlog = &self.backlog;
        let done = backlog.dry && backlog.ready.is_empty();
        let upto = if done { backlog.handed.max(self.head) } else { backlog.handed };
        self.sent.add(0, upto);
        self.sent.add(self.head + 1, self.fresh.handed);
    }

    /// Something may have been recorded.
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

    /// What is to be read next.
    pub fn wants(&self) -> Option<Fetch> {
        let hungry = |queue: &Queue<T>| !queue.dry && queue.ready.len() < PAGE;
        let (lane, queue) = match (hungry(&self.fresh), hungry(&self.backlog)) {
            (true, false) => (Origin::Fresh, &self.fresh),
            (true, true) if self.read_last == Origin::Backlog => (Origin::Fresh, &self.fresh),
            (_, true) => (Origin::Backlog, &self.backlog),
            (false, false) => return None,
        };
        let (after, until, sent) = (queue.cursor, queue.until, self.sent.clone());
        Some(Fetch { lane, after, until, sent, turn: self.turn, commits: self.commits })
    }

    /// What was read.
    pub fn fetched(&mut self, fetch: &Fetch, page: Page<T>) {
        if fetch.turn != self.turn {
            return;
        }
        // What was committed while it was read may have come too late for it.
        let news = fetch.lane == Origin::Fresh && fetch.commits != self.commits;
        self.read_last = fetch.lane;
        let queue = self.queue(fetch.lane);
        queue.cursor = queue.cursor.max(page.upto);
        queue.dry = !page.more && !news;
        queue.ready.extend(page.rows);
        self.left_out.extend(page.left_out);
    }

    /// The next row to hand to the client.
    pub fn next(&mut self, now: Monotonic) -> Option<(u64, T)> {
        loop {
            if self.busy.len() >= self.window || self.is_slowed(now) {
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
            self.fresh_next = lane == Origin::Backlog;
            let upto = self.upto.unwrap_or(0);
            let queue = self.queue(lane);
            let (seq, row) = queue.ready.pop_front()?;
            queue.handed = queue.handed.max(seq);
            // Acknowledged meanwhile, or on its way already: nothing is gained by sending it twice.
            let on_its_way = self.busy.contains(&seq)
                || self.backlog.awaited.contains(&seq)
                || self.fresh.awaited.contains(&seq);
            if seq <= upto || on_its_way {
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

    /// A message that is no row is handed to the client.
    pub fn publish_other(&mut self, now: Monotonic) {
        self.unnumbered.push_back((None, now));
    }

    /// This broker takes no more at once; one less, so that its packet ids do not collide.
    pub fn narrow(&mut self, at_once: Option<u16>) {
        self.window = at_once.map_or(WINDOW, |n| usize::from(n).saturating_sub(1).clamp(1, WINDOW));
    }

    /// The client gave the oldest unnumbered message this packet id and sent it; true where it was a
    /// row.
    pub fn numbered(&mut self, packet: u16) -> bool {
        let Some(message) = self.unnumbered.pop_front() else { return false };
        self.in_flight.insert(packet, message);
        message.0.is_some()
    }

    /// The broker acknowledged a packet; true where it was a row. One that is not on its way, or was
    /// acknowledged before, is nothing.
    pub fn acknowledged(&mut self, packet: u16, now: Monotonic) -> bool {
        let Some((Some(seq), _)) = self.in_flight.remove(&packet) else { return false };
        self.busy.remove(&seq);
        self.refusals = 0;
        match self.ack {
            Ack::Broker => self.acknowledged.push(seq),
            Ack::Platform if self.upto.is_some_and(|upto| seq <= upto) => {}
            Ack::Platform => {
                let lane = if seq > self.head { Origin::Fresh } else { Origin::Backlog };
                self.queue(lane).awaited.insert(seq);
                self.platform_since.get_or_insert(now);
            }
        }
        true
    }

    /// The broker did not take this packet. The row stays, and is offered again later; true where it
    /// was one.
    pub fn refused(&mut self, packet: u16, now: Monotonic) -> bool {
        let Some((Some(seq), _)) = self.in_flight.remove(&packet) else { return false };
        self.busy.remove(&seq);
        let (first, last, since) = self.refused.unwrap_or((seq, seq, now));
        self.refused = Some((first.min(seq), last.max(seq), since));
        self.refusals = self.refusals.saturating_add(1);
        self.refused_at = now;
        true
    }

    /// The consumer has everything up to a seq. An older acknowledgement than the last one is nothing.
    pub fn platform_acknowledged(&mut self, upto: u64, now: Monotonic) -> Result<(), NeverSent> {
        self.remember();
        let sent = self.sent.all_upto();
        if upto > sent {
            return Err(NeverSent { upto, sent });
        }
        if self.upto.is_some_and(|before| upto <= before) {
            return Ok(());
        }
        self.upto = Some(upto);
        self.platform_patience = *PLATFORM_TIMEOUT.start();
        for queue in [&mut self.backlog, &mut self.fresh] {
            queue.awaited = queue.awaited.split_off(&(upto + 1));
        }
        self.platform_since = self.awaits_platform().then_some(now);
        Ok(())
    }

    fn awaits_platform(&self) -> bool {
        !self.backlog.awaited.is_empty() || !self.fresh.awaited.is_empty()
    }

    /// Up to which seq the consumer has said that it has everything.
    pub fn upto(&self) -> Option<u64> {
        self.upto
    }

    /// How many rows [`Delivery::strike`] and [`Delivery::strike_left_out`] would give.
    pub fn to_strike(&self) -> usize {
        self.acknowledged.len() + self.left_out.len()
    }

    /// Rows that the broker has acknowledged, once.
    pub fn strike(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.acknowledged)
    }

    /// Rows that are not for this platform, once.
    pub fn strike_left_out(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.left_out)
    }

    /// Nothing is on its way to the broker.
    pub fn is_idle(&self) -> bool {
        self.busy.is_empty()
    }

    /// Rows with these seqs are in the outbox again: the consumer asks for them.
    pub fn again(&mut self, first: u64, last: u64) {
        self.sent.add(first, last);
        self.acknowledged.retain(|seq| !(first..=last).contains(seq));
        self.no_longer_awaited(first, last);
        self.rewind(first, last);
    }

    /// What was said to have arrived has not.
    fn no_longer_awaited(&mut self, first: u64, last: u64) {
        for queue in [&mut self.backlog, &mut self.fresh] {
            queue.awaited.retain(|seq| !(first..=last).contains(seq));
        }
        self.platform_since = self.platform_since.filter(|_| self.awaits_platform());
        // An acknowledgement of before says nothing of these.
        self.upto = self.upto.map(|upto| upto.min(first.saturating_sub(1)));
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
        // Fresh rows beyond have not gone yet, and go their way.
        backlog.until = backlog.until.max(last.min(self.fresh.handed));
        backlog.dry = false;
        backlog.ready.clear();
    }

    /// Called now and then: why the connection is to be given up, if it is. What a platform that says
    /// nothing new, or a broker that refused it, is to get again is read again after this.
    pub fn look(&mut self, now: Monotonic) -> Option<Late> {
        if let Some((first, last, since)) = self.refused
            && now.since(since) >= REFUSED_PAUSE
        {
            self.refused = None;
            self.rewind(first, last);
        }
        if self.platform_since.is_some_and(|at| now.since(at) >= self.platform_patience) {
            let is_first = self.platform_patience == *PLATFORM_TIMEOUT.start();
            self.platform_since = None;
            self.platform_patience = (self.platform_patience * 2).min(*PLATFORM_TIMEOUT.end());
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
