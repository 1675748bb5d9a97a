//! Compares [`Delivery`] with a plain model: an outbox that is a set, a wire, a broker that may
//! lose acknowledged messages, and a consumer.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::uplink::suspects::{Key, Suspects, present};

#[derive(Clone, Debug)]
enum Step {
    Commit(u64),
    /// The page requested before comes in, and the next one is requested.
    Read,
    Hand(usize),
    Number(usize),
    Acknowledge(usize),
    Refuse(usize),
    Strike,
    Consume(usize),
    PlatformSays,
    /// A platform that acknowledges each row has one of those that it got, perhaps for the second
    /// time.
    PlatformHas(usize),
    /// The platform acknowledges a seq that was never sent.
    PlatformLies,
    /// The consumer asks for rows again.
    Again {
        back: u64,
        rows: u64,
    },
    Reconnect {
        broker_forgets: bool,
    },
    /// The broker loses all messages, also acknowledged ones.
    BrokerForgets,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..40_u64).prop_map(Step::Commit),
        10 => Just(Step::Read),
        10 => (1..100_usize).prop_map(Step::Hand),
        10 => (1..100_usize).prop_map(Step::Number),
        20 => any::<usize>().prop_map(Step::Acknowledge),
        1 => any::<usize>().prop_map(Step::Refuse),
        6 => Just(Step::Strike),
        8 => (1..100_usize).prop_map(Step::Consume),
        6 => Just(Step::PlatformSays),
        6 => any::<usize>().prop_map(Step::PlatformHas),
        1 => Just(Step::PlatformLies),
        1 => (0..60_u64, 1..60_u64).prop_map(|(back, rows)| Step::Again { back, rows }),
        1 => any::<bool>().prop_map(|broker_forgets| Step::Reconnect { broker_forgets }),
        1 => Just(Step::BrokerForgets),
        2 => (1..40_u64).prop_map(Step::Wait),
    ]
}

struct World {
    ack: Ack,
    /// The platform acknowledges each row by itself.
    each: bool,
    delivery: Delivery<bool>,
    now: Monotonic,
    last: u64,
    outbox: BTreeSet<u64>,
    asked: Option<(Fetch, Page<bool>)>,
    /// The rows in the client, on the wire with their packet ids, and with the broker.
    client: VecDeque<u64>,
    wire: Vec<(u16, u64)>,
    broker: VecDeque<u64>,
    consumer: BTreeSet<u64>,
    packet: u16,
    handed: BTreeSet<u64>,
    handed_now: BTreeSet<u64>,
    /// Rows that may be handed twice over one connection, or be marked before they were handed.
    asked_again: BTreeSet<u64>,
    pending: Vec<u64>,
    /// Whether delivery went back on this connection. Rows that were acknowledged and not struck
    /// off by then may be sent again.
    rewound: bool,
    acknowledged: BTreeSet<u64>,
    late: Vec<(Late, Monotonic)>,
    /// The broker ends each connection over these rows.
    poison: BTreeSet<u64>,
    suspects: Suspects,
    last_one: Option<u64>,
    /// Rows that stand aside.
    aside: BTreeSet<u64>,
}

impl World {
    fn new(ack: Ack) -> World {
        World {
            ack,
            each: false,
            delivery: Delivery::new(ack, 0),
            now: Monotonic::default(),
            last: 0,
            outbox: BTreeSet::new(),
            asked: None,
            client: VecDeque::new(),
            wire: Vec::new(),
            broker: VecDeque::new(),
            consumer: BTreeSet::new(),
            packet: 0,
            handed: BTreeSet::new(),
            handed_now: BTreeSet::new(),
            asked_again: BTreeSet::new(),
            pending: Vec::new(),
            rewound: false,
            acknowledged: BTreeSet::new(),
            late: Vec::new(),
            poison: BTreeSet::new(),
            suspects: Suspects::default(),
            last_one: None,
            aside: BTreeSet::new(),
        }
    }

    fn of_each() -> World {
        let delivery = Delivery::new(Ack::Platform, 0).of_each();
        World { each: true, delivery, ..World::new(Ack::Platform) }
    }

    fn has_all_upto(&self) -> u64 {
        (1..)
            .take_while(|seq| self.consumer.contains(seq) || self.aside.contains(seq))
            .last()
            .unwrap_or(0)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Commit(rows) => {
                self.outbox.extend(self.last + 1..=self.last + rows);
                self.last += rows;
                self.delivery.committed();
            }
            Step::Read => {
                if let Some((fetch, page)) = self.asked.take() {
                    self.delivery.fetched(&fetch, page);
                }
                self.asked = self.delivery.wants().map(|fetch| {
                    let wanted =
                        self.outbox.range(fetch.after + 1..=fetch.until.max(fetch.after + 1));
                    let rows: Vec<_> =
                        wanted.filter(|seq| **seq <= fetch.until).take(PAGE).collect();
                    let more = rows.len() == PAGE;
                    let upto = rows.last().map_or(fetch.after, |seq| **seq);
                    let rows = rows.into_iter().map(|s| (*s, fetch.sent.contains(*s))).collect();
                    (fetch, Page { rows, left_out: Vec::new(), upto, more })
                });
            }
            Step::Hand(rows) => (0..rows).for_each(|_| self.hand()),
            Step::Number(messages) => {
                for seq in self.client.drain(..messages.min(self.client.len())) {
                    self.packet = self.packet % 4096 + 1;
                    self.delivery.numbered(self.packet);
                    self.wire.push((self.packet, seq));
                }
                if self.wire.iter().any(|(_, seq)| self.poison.contains(seq)) {
                    let rows: Vec<Key> = self.delivery.on_their_way().map(present).collect();
                    self.suspects.ended_over(rows, "it hung up");
                    self.reconnect(false);
                }
            }
            Step::Acknowledge(which) => {
                let Some(which) = which.checked_rem(self.wire.len()) else { return };
                let (packet, seq) = self.wire.remove(which);
                self.broker.push_back(seq);
                self.acknowledged.insert(seq);
                self.suspects.taken(present(seq));
                let before = self.delivery.to_strike();
                self.delivery.acknowledged(packet, self.now);
                let after = self.delivery.to_strike();
                match self.each {
                    true => assert!(after - before <= 1),
                    false => assert_eq!(after - before, usize::from(self.ack == Ack::Broker)),
                }
                self.delivery.acknowledged(packet, self.now);
                assert_eq!(self.delivery.to_strike(), after, "a repeated PUBACK is ignored");
            }
            Step::Refuse(which) => {
                let Some(which) = which.checked_rem(self.wire.len()) else { return };
                let (packet, seq) = self.wire.remove(which);
                assert!(self.delivery.refused(packet, self.now));
                assert!(!self.delivery.refused(packet, self.now));
                self.asked_again.insert(seq);
                self.rewound = true;
            }
            Step::Strike => {
                self.pending.extend(self.delivery.strike());
                for seq in self.pending.drain(..) {
                    let broker_has = !self.each && self.broker.contains(&seq);
                    assert!(broker_has || self.consumer.contains(&seq), "{seq} is lost");
                    self.outbox.remove(&seq);
                }
            }
            Step::Consume(messages) => {
                // A consumer that does not acknowledge takes all messages at once.
                let taken = match self.ack {
                    Ack::Broker => self.broker.len(),
                    Ack::Platform => messages.min(self.broker.len()),
                };
                self.consumer.extend(self.broker.drain(..taken));
            }
            Step::PlatformSays if self.each => {
                for seq in self.consumer.clone() {
                    self.delivery.platform_has(seq, self.now).unwrap();
                }
            }
            Step::PlatformHas(which) if self.each && !self.consumer.is_empty() => {
                let which = which % self.consumer.len();
                let seq = *self.consumer.iter().nth(which).unwrap();
                self.delivery.platform_has(seq, self.now).unwrap();
            }
            Step::PlatformHas(_) => {}
            Step::PlatformSays if self.ack == Ack::Platform => {
                let upto = self.has_all_upto();
                self.delivery.platform_acknowledged(upto, true, self.now).unwrap();
                if let Some(upto) = self.delivery.upto() {
                    self.outbox = self.outbox.split_off(&(upto + 1));
                }
            }
            Step::PlatformLies => {
                let never = (1..).find(|seq| !self.handed.contains(seq)).unwrap();
                if self.each {
                    let before = self.delivery.to_strike();
                    // Ranges of sent rows may be joined, so it may go unnoticed, and has no effect.
                    let _ = self.delivery.platform_has(never, self.now);
                    assert_eq!(self.delivery.to_strike(), before);
                    return;
                }
                let lie = self.delivery.platform_acknowledged(never, true, self.now);
                assert!(lie.is_err() || self.asked_again.contains(&never));
                lie.unwrap_err();
            }
            Step::PlatformSays => {}
            Step::Again { back, rows } => {
                let first = self.last.saturating_sub(back).max(1);
                let last = (first + rows - 1).min(self.last);
                if first > last || !(first..=last).all(|seq| self.handed.contains(&seq)) {
                    return;
                }
                self.outbox.extend(first..=last);
                self.asked_again.extend(first..=self.last);
                self.rewound = true;
                self.delivery.again(first, last);
            }
            Step::Reconnect { broker_forgets } => self.reconnect(broker_forgets),
            Step::BrokerForgets if self.ack == Ack::Platform => self.broker.clear(),
            Step::BrokerForgets => {}
            Step::Wait(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                let turn = self.delivery.turn;
                if let Some(late) = self.delivery.look(self.now) {
                    self.late.push((late, self.now));
                    self.reconnect(false);
                } else if self.delivery.turn > turn && self.ack == Ack::Platform {
                    self.asked_again.extend(1..=self.last);
                }
            }
        }
        let under_way = self.client.len() + self.wire.len();
        assert!(under_way <= WINDOW);
        let awaited = [&self.delivery.backlog.awaited, &self.delivery.fresh.awaited];
        assert!(awaited.iter().all(|a| a.len() <= PLATFORM_WINDOW + WINDOW));
    }

    fn hand(&mut self) {
        let (suspects, last_one, mut aside) = (&self.suspects, self.last_one, Vec::new());
        let next = self.delivery.next_in_turn(self.now, |seq| {
            let turn = suspects.turn(&present(seq), last_one == Some(seq));
            aside.extend((turn == Turn::Aside).then_some(seq));
            turn
        });
        for seq in aside {
            self.suspects.forget(&present(seq));
            self.outbox.remove(&seq);
            self.aside.insert(seq);
        }
        let waiting: Vec<Key> = self.delivery.last_ones().map(present).collect();
        if let Some((_, seq)) = self.suspects.first(waiting.iter()) {
            self.delivery.again(*seq, *seq);
            self.last_one = Some(*seq);
            self.rewound = true;
        }
        let Some((seq, marked)) = next else { return };
        let alone = self.suspects.goes_alone(&present(seq));
        assert!(!alone || self.client.is_empty() && self.wire.is_empty(), "{seq} has company");
        assert!((1..=self.last).contains(&seq));
        let may_be = self.handed.contains(&seq);
        assert!(marked || !may_be, "{seq} is repeated without the mark");
        assert!(!marked || may_be, "{seq} is marked and was never sent");
        let strikes = self.each || self.ack == Ack::Broker;
        let unstruck = self.rewound && strikes && self.acknowledged.contains(&seq);
        assert!(
            self.handed_now.insert(seq) || self.asked_again.contains(&seq) || unstruck,
            "{seq} is sent twice over one connection"
        );
        self.handed.insert(seq);
        self.client.push_back(seq);
    }

    fn reconnect(&mut self, broker_forgets: bool) {
        if broker_forgets && self.ack == Ack::Platform {
            self.broker.clear();
        }
        self.client.clear();
        self.wire.clear();
        self.pending.clear();
        self.packet = 0;
        self.handed_now.clear();
        self.acknowledged.clear();
        self.rewound = false;
        self.last_one = None;
        self.asked = None;
        self.delivery.connected(self.last);
    }
}

fn walk(mut world: World, steps: Vec<Step>) {
    world.reconnect(false);
    steps.into_iter().for_each(|step| world.step(step));
    to_the_end(&mut world);
}

/// In the end the link stays up, and the consumer takes everything.
fn to_the_end(world: &mut World) {
    let mut rounds = 0;
    while !world.outbox.is_empty() || world.has_all_upto() < world.last {
        for step in [Step::Read, Step::Read, Step::Hand(WINDOW), Step::Number(WINDOW)] {
            world.step(step);
        }
        (0..WINDOW).for_each(|_| world.step(Step::Acknowledge(0)));
        for step in [Step::Strike, Step::Consume(WINDOW), Step::PlatformSays, Step::Wait(1)] {
            world.step(step);
        }
        // While a site works, new rows come now and then.
        let is_stuck = !world.outbox.is_empty() && world.outbox.is_subset(&world.poison);
        if rounds % 8 == 0 && is_stuck {
            world.step(Step::Commit(1));
        }
        rounds += 1;
        assert!(rounds < 5_000, "delivery makes no progress");
    }
}

proptest! {
    #[test]
    fn i3_every_row_arrives_if_the_broker_acknowledges(
        steps in prop::collection::vec(step(), 0..300),
    ) {
        walk(World::new(Ack::Broker), steps);
    }

    #[test]
    fn i3_every_row_arrives_if_the_platform_acknowledges_and_brokers_forget(
        steps in prop::collection::vec(step(), 0..300),
    ) {
        walk(World::new(Ack::Platform), steps);
    }

    #[test]
    fn i3_every_row_arrives_if_the_platform_acknowledges_each_and_brokers_forget(
        steps in prop::collection::vec(step(), 0..300),
    ) {
        walk(World::of_each(), steps);
    }

    #[test]
    fn i3_rows_over_which_each_connection_ends_stand_aside_and_every_other_arrives(
        steps in prop::collection::vec(step(), 0..200),
        poison in prop::collection::btree_set(1..80_u64, 1..4),
        each in any::<bool>(),
    ) {
        let mut world = if each { World::of_each() } else { World::new(Ack::Broker) };
        world.poison = poison;
        world.reconnect(false);
        let lies = |step: &Step| matches!(step, Step::PlatformLies | Step::Again { .. });
        steps.into_iter().filter(|step| !lies(step)).for_each(|step| world.step(step));
        to_the_end(&mut world);
        assert!(world.aside.is_subset(&world.poison), "{:?} stand aside", world.aside);
        let sent = world.poison.iter().filter(|seq| **seq <= world.last);
        assert!(sent.clone().all(|seq| world.aside.contains(seq)), "{:?}", world.aside);
        // The broker is mended, and a person offers them again.
        world.poison.clear();
        let aside = std::mem::take(&mut world.aside);
        if let (Some(first), Some(last)) = (aside.first(), aside.last()) {
            world.suspects.forget_between(*first, *last);
            world.outbox.extend(&aside);
            world.asked_again.extend(*first..=world.last);
            world.rewound = true;
            world.delivery.again(*first, *last);
        }
        to_the_end(&mut world);
        assert!(aside.iter().all(|seq| world.consumer.contains(seq)));
    }
}

#[test]
fn i3_a_row_is_sent_again_while_the_platform_acknowledges_other_rows() {
    let mut world = World::of_each();
    world.reconnect(false);
    let mut handed = Vec::new();
    // A row a second comes, and all but the first are acknowledged at once.
    for second in 1..=70_u64 {
        for step in [Step::Commit(1), Step::Read, Step::Read, Step::Hand(8), Step::Number(8)] {
            world.step(step);
        }
        handed.extend(world.wire.iter().filter(|(_, seq)| *seq == 1).map(|_| second));
        (0..8).for_each(|_| world.step(Step::Acknowledge(0)));
        world.step(Step::Consume(8));
        world.consumer.remove(&1);
        for step in [Step::PlatformSays, Step::Strike, Step::Wait(1)] {
            world.step(step);
        }
    }
    let [first, second, third] = handed[..] else { panic!("{handed:?}") };
    assert!((30..=33).contains(&(second - first)), "{handed:?}");
    assert!((30..=33).contains(&(third - second)), "{handed:?}");
    assert!(world.outbox.len() <= 3 && world.outbox.contains(&1), "{:?}", world.outbox);
    assert!(world.late.is_empty(), "{:?}", world.late);
}

#[test]
fn i13_the_acknowledgement_of_one_row_counts_once_the_broker_has_the_row() {
    let mut world = World::of_each();
    world.step(Step::Commit(10));
    world.reconnect(false);
    for step in [Step::Read, Step::Read, Step::Hand(4), Step::Number(4)] {
        world.step(step);
    }
    let now = world.now;
    world.delivery.platform_has(2, now).unwrap();
    world.delivery.platform_has(5, now).unwrap_err();
    assert!(world.delivery.strike().is_empty());
    world.step(Step::Acknowledge(0));
    assert!(world.delivery.strike().is_empty());
    world.step(Step::Acknowledge(0));
    assert_eq!(world.delivery.strike(), [2]);
    // A row that is asked for again is not struck off by an earlier acknowledgement.
    world.delivery.platform_has(3, now).unwrap();
    world.delivery.again(1, 4);
    world.step(Step::Acknowledge(0));
    assert!(world.delivery.strike().is_empty());
    world.delivery.platform_has(3, now).unwrap();
    assert_eq!(world.delivery.strike(), [3]);
}

/// Returns a world with this many rows of backlog, read as far as the delivery wants.
fn with_backlog(ack: Ack, rows: u64) -> World {
    let mut world = World::new(ack);
    world.step(Step::Commit(rows));
    world.reconnect(false);
    (0..8).for_each(|_| world.step(Step::Read));
    world
}

#[test]
fn a_fresh_row_overtakes_the_backlog() {
    let mut world = with_backlog(Ack::Broker, 100_000);
    world.step(Step::Hand(WINDOW));
    world.step(Step::Commit(3));
    (0..3).for_each(|_| world.step(Step::Read));
    world.step(Step::Number(WINDOW));
    (0..WINDOW).for_each(|_| world.step(Step::Acknowledge(0)));
    world.step(Step::Hand(8));
    let handed: Vec<u64> = world.client.iter().copied().collect();
    // The lanes take turns, the backlog in its order.
    let expected = [100_001, 65, 100_002, 66, 100_003, 67, 68, 69];
    assert_eq!(handed, expected);
}

#[test]
fn a_short_backlog_is_not_overtaken() {
    let mut world = World::new(Ack::Broker);
    world.step(Step::Commit(WINDOW as u64));
    world.reconnect(false);
    world.step(Step::Commit(3));
    // The order holds whichever lane is read first.
    for _ in 0..4 {
        world.step(Step::Hand(WINDOW));
        world.step(Step::Read);
    }
    world.step(Step::Number(1));
    world.step(Step::Acknowledge(0));
    world.step(Step::Hand(1));
    assert!(world.client.iter().copied().eq(2..=WINDOW as u64 + 1), "{:?}", world.client);
}

#[test]
fn a_broker_that_never_acknowledges_is_late_and_gets_one_window() {
    let mut world = with_backlog(Ack::Broker, 1_000);
    world.step(Step::Hand(1_000));
    assert_eq!(world.client.len(), WINDOW);
    assert_eq!(world.delivery.look(world.now + (BROKER_TIMEOUT - Duration::from_millis(1))), None);
    // The timeout counts whether the client has sent the rows or not.
    assert_eq!(world.delivery.look(world.now + BROKER_TIMEOUT), Some(Late::Broker));
    world.step(Step::Number(WINDOW));
    assert_eq!(world.delivery.look(world.now + BROKER_TIMEOUT), Some(Late::Broker));
    // A broker that acknowledges all but the first row is late too.
    (0..WINDOW - 1).for_each(|_| world.step(Step::Acknowledge(1)));
    assert_eq!(world.delivery.look(world.now + BROKER_TIMEOUT), Some(Late::Broker));
    world.step(Step::Acknowledge(0));
    assert_eq!(world.delivery.look(world.now + BROKER_TIMEOUT), None);
}

#[test]
fn rows_go_again_at_doubling_intervals_to_a_platform_that_does_not_acknowledge() {
    let mut world = with_backlog(Ack::Platform, 10);
    let mut times = Vec::new();
    let mut handed = 10;
    for second in 1..=700 {
        for step in [Step::Read, Step::Read, Step::Hand(64), Step::Number(64)] {
            world.step(step);
        }
        handed += world.wire.len();
        (0..WINDOW).for_each(|_| world.step(Step::Acknowledge(0)));
        world.step(Step::Wait(1));
        if handed > 10 * (times.len() + 1) {
            times.push(second);
        }
    }
    // After 30 s, then twice as long each time, plus the second that a round of this test takes.
    assert_eq!(times, [1, 31, 92, 213, 454]);
    assert_eq!(world.outbox.len(), 10);
    // First over the same connection, then over new ones.
    let late: Vec<_> = world.late.iter().map(|(late, _)| *late).collect();
    assert_eq!(late, [Late::Platform; 3]);
}

#[test]
fn rows_after_a_range_asked_for_again_are_still_awaited() {
    let mut world = with_backlog(Ack::Platform, 100);
    for step in [Step::Hand(64), Step::Number(64)] {
        world.step(step);
    }
    (0..WINDOW).for_each(|_| world.step(Step::Acknowledge(0)));
    // The consumer never sees rows after 49. It asks for 20 alone, and then has all up to 49.
    world.asked_again.insert(20);
    world.delivery.again(20, 20);
    for step in [Step::Read, Step::Read, Step::Hand(1), Step::Number(1), Step::Acknowledge(0)] {
        world.step(step);
    }
    world.delivery.platform_acknowledged(49, true, world.now).unwrap();
    world.outbox = world.outbox.split_off(&50);
    let handed = world.handed_now.len();
    world.asked_again.extend(50..=100);
    for step in [Step::Wait(30), Step::Read, Step::Read, Step::Hand(64)] {
        world.step(step);
    }
    assert_eq!(world.client.front(), Some(&50), "{handed} were sent before");
}

#[test]
fn a_refused_row_is_offered_again_while_others_are_still_refused() {
    let mut world = with_backlog(Ack::Broker, 200);
    let mut offered = 0;
    for _ in 0..70 {
        for step in [Step::Hand(2), Step::Number(2), Step::Acknowledge(1), Step::Refuse(0)] {
            world.step(step);
        }
        offered += usize::from(world.delivery.refused.is_some_and(|(first, ..)| first == 1));
        for step in [Step::Wait(1), Step::Read] {
            world.step(step);
        }
    }
    assert!(offered >= 61, "{offered}: the first row goes again after a minute of refusals");
}

#[test]
fn a_broker_that_takes_nothing_is_offered_a_row_a_second() {
    let mut world = with_backlog(Ack::Broker, 1_000);
    let mut offered = 0;
    for _ in 0..100 {
        world.step(Step::Read);
        world.step(Step::Hand(WINDOW));
        world.step(Step::Number(WINDOW));
        offered += world.wire.len();
        (0..WINDOW).for_each(|_| world.step(Step::Refuse(0)));
        world.step(Step::Wait(1));
    }
    // After a minute delivery goes back to the rows that were refused first, and reads them again.
    assert!((WINDOW + 98..=WINDOW + 99).contains(&offered), "{offered}");
    assert_eq!(world.outbox.len(), 1_000);
    // One acknowledged row restores the window.
    world.step(Step::Hand(WINDOW));
    world.step(Step::Number(1));
    world.step(Step::Acknowledge(0));
    world.step(Step::Hand(WINDOW));
    assert_eq!(world.client.len(), WINDOW);
}

#[test]
fn a_row_that_is_not_for_the_platform_is_struck_off_unsent() {
    for ack in [Ack::Broker, Ack::Platform] {
        let mut delivery = Delivery::new(ack, 0);
        delivery.connected(3);
        let fetch = delivery.wants().unwrap();
        let (rows, left_out) = (vec![(2, ())], vec![1, 3]);
        delivery.fetched(&fetch, Page { rows, left_out, upto: 3, more: false });
        assert_eq!(delivery.next(Monotonic::default()), Some((2, ())));
        assert_eq!(delivery.next(Monotonic::default()), None);
        assert_eq!((delivery.to_strike(), delivery.strike()), (2, Vec::new()));
        assert_eq!(delivery.strike_left_out(), [1, 3]);
        assert_eq!(delivery.to_strike(), 0);
        // The platform never gets row 3, and may acknowledge up to 2.
        assert!(
            ack == Ack::Broker
                || delivery.platform_acknowledged(2, true, Monotonic::default()).is_ok()
        );
    }
}

#[test]
fn i13_an_unsigned_acknowledgement_counts_up_to_what_the_broker_has_acknowledged() {
    let mut world = with_backlog(Ack::Platform, 100);
    for step in [Step::Read, Step::Hand(10), Step::Number(10)] {
        world.step(step);
    }
    // The broker has acknowledged 1 to 4 and 6.
    (0..4).for_each(|_| world.step(Step::Acknowledge(0)));
    world.step(Step::Acknowledge(1));
    let now = world.now;
    world.delivery.platform_acknowledged(8, false, now).unwrap();
    assert_eq!(world.delivery.upto(), Some(4));
    world.delivery.platform_acknowledged(11, false, now).unwrap_err();
    // The rest of the claim counts when the broker has the rows, and no more than that.
    world.step(Step::Acknowledge(0));
    assert_eq!(world.delivery.upto(), Some(6));
    (0..4).for_each(|_| world.step(Step::Acknowledge(0)));
    assert_eq!(world.delivery.upto(), Some(8));
    // Rows that are asked for again are not struck off by the old claim.
    world.delivery.again(3, 8);
    assert_eq!(world.delivery.upto(), Some(2));
    // A signed one counts at once.
    world.delivery.platform_acknowledged(10, true, now).unwrap();
    assert_eq!(world.delivery.upto(), Some(10));
}

#[test]
fn i3_rows_that_stood_aside_are_not_struck_off_by_a_signed_acknowledgement_of_their_stubs() {
    let mut world = with_backlog(Ack::Platform, 100);
    for step in [Step::Read, Step::Hand(10), Step::Number(10)] {
        world.step(step);
    }
    let now = world.now;
    // Stubs of rows 1 to 8 have gone before, and the platform counts them.
    world.delivery.again(1, 8);
    world.delivery.returned(8);
    world.delivery.platform_acknowledged(10, true, now).unwrap();
    assert_eq!(world.delivery.upto().unwrap_or(0), 0);
    // The broker takes the rows, and the platform acknowledges again.
    for _ in 0..10 {
        for step in [Step::Read, Step::Hand(20), Step::Number(20)] {
            world.step(step);
        }
        (0..20).for_each(|_| world.step(Step::Acknowledge(0)));
    }
    let now = world.now;
    world.delivery.platform_acknowledged(10, true, now).unwrap();
    assert_eq!(world.delivery.upto(), Some(10));
}

/// Reads the rows that are wanted. Those of `lacking` cannot be made.
fn read(delivery: &mut Delivery<bool>, outbox: &[u64], lacking: &[u64]) {
    while let Some(fetch) = delivery.wants() {
        let rows = outbox.iter().copied();
        let rows: Vec<u64> = rows.filter(|s| (fetch.after + 1..=fetch.until).contains(s)).collect();
        let upto = rows.last().copied().unwrap_or(fetch.after);
        let rows = rows.into_iter().filter(|seq| !lacking.contains(seq));
        let rows = rows.map(|seq| (seq, fetch.sent.contains(seq))).collect();
        delivery.fetched(&fetch, Page { rows, left_out: Vec::new(), upto, more: false });
    }
}

#[test]
fn a_row_that_lacked_something_goes_when_it_is_offered_again_as_the_newest_one() {
    let now = Monotonic::default();
    let mut delivery = Delivery::new(Ack::Broker, 0).without_repeats();
    delivery.connected(0);
    delivery.committed();
    read(&mut delivery, &[1, 2, 3], &[3]);
    for seq in [1, 2] {
        assert_eq!(delivery.next(now), Some((seq, false)));
        delivery.numbered(seq as u16);
        delivery.acknowledged(seq as u16, now);
    }
    assert_eq!((delivery.next(now), delivery.strike()), (None, vec![1, 2]));
    delivery.again(3, 3);
    delivery.committed();
    read(&mut delivery, &[3, 4], &[]);
    assert_eq!(delivery.next(now), Some((3, true)));
    assert_eq!(delivery.next(now), Some((4, false)));
    assert_eq!(delivery.next(now), None);
}

#[test]
fn a_row_that_is_taken_while_others_are_read_again_does_not_go_twice() {
    let now = Monotonic::default();
    let mut delivery = Delivery::new(Ack::Broker, 0).without_repeats();
    delivery.connected(3);
    read(&mut delivery, &[1, 2, 3], &[1, 3]);
    assert_eq!(delivery.next(now), Some((2, false)));
    delivery.numbered(2);
    // While row 2 is on its way, the others are offered again. Its outbox row is still there.
    delivery.again(1, 3);
    read(&mut delivery, &[1, 2, 3], &[]);
    delivery.acknowledged(2, now);
    assert_eq!(delivery.next(now).map(|(seq, _)| seq), Some(1));
    assert_eq!(delivery.next(now).map(|(seq, _)| seq), Some(3));
    assert_eq!((delivery.next(now), delivery.strike()), (None, vec![2]));
    // When it is asked for later, it goes.
    delivery.again(2, 2);
    read(&mut delivery, &[2], &[]);
    assert_eq!(delivery.next(now), Some((2, true)));
}
