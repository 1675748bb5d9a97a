//! The controllers at the far end: what each makes of a frame, and how it shows who walks.
//!
//! Codecs of their own, so that the drivers and the devices that they are tested against do not
//! share their mistakes. Entry is coil and input 0, the left side; exit is 1, the right.

use std::collections::VecDeque;

use super::slave::{self, Slave};
use crate::config::Direction;

/// What a line speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Modbus,
    /// `7E/7F`.
    Counting,
    /// `EB`.
    OneWay,
}

impl Protocol {
    /// The length of the whole frame that these bytes begin with.
    pub(super) fn whole(self, heard: &[u8]) -> Option<usize> {
        let fixed = |len: usize, right: fn(&[u8]) -> bool| {
            heard.get(..len).is_some_and(right).then_some(len)
        };
        match self {
            Protocol::Modbus => fixed(8, |frame| slave::unframed(frame).is_some())
                .or_else(|| slave::unframed(heard).map(|_| heard.len())),
            Protocol::Counting => {
                fixed(8, |frame| frame.first() == Some(&0x7E) && total(frame) == 0xFF)
            }
            Protocol::OneWay => fixed(5, |frame| match frame {
                [0xEB, address, command, 0, check] => 0xEB ^ address ^ command == *check,
                _ => false,
            }),
        }
    }

    /// A device's answer as another one would give it, with the right sum.
    pub(super) fn readdressed(self, mut answer: Vec<u8>, address: u8) -> Vec<u8> {
        match self {
            Protocol::Modbus => {
                answer.truncate(answer.len().saturating_sub(2));
                answer.iter_mut().take(1).for_each(|byte| *byte = address);
                slave::framed(answer)
            }
            Protocol::Counting => {
                answer.pop();
                answer.iter_mut().skip(2).take(1).for_each(|byte| *byte = address);
                summed(answer)
            }
            Protocol::OneWay => answer,
        }
    }
}

fn total(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn summed(mut body: Vec<u8>) -> Vec<u8> {
    body.push(!total(&body));
    body
}

fn at(direction: Direction) -> usize {
    usize::from(direction == Direction::Exit)
}

/// One controller.
#[derive(Clone, Debug)]
pub(super) enum Board {
    Relays(Slave),
    Counter(Counter),
    Tripod(Arm),
}

/// What an arm was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Arm {
    address: u8,
    /// People who may pass, in each direction.
    passes: [u32; 2],
    open: [bool; 2],
    /// The newest commands, and how many may be kept.
    commands: VecDeque<u8>,
}

const COMMANDS: usize = 256;

#[derive(Clone, Debug, Default)]
pub(super) struct Counter {
    arm: Arm,
    /// 24 bits, left and right.
    counted: [u32; 2],
    pub fault: u8,
    pub alarm: u8,
}

/// What became of a frame.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub answer: Option<Vec<u8>>,
    /// Directions that this frame released.
    pub released: Vec<Direction>,
    /// It asked for what shows a passage.
    pub looked: bool,
}

impl Arm {
    fn order(&mut self, command: u8, told: Order) -> Vec<Direction> {
        if self.commands.len() == COMMANDS {
            self.commands.pop_front();
        }
        self.commands.push_back(command);
        match told {
            Order::Release(direction, passes) => {
                self.passes[at(direction)] += u32::from(passes);
                return vec![direction];
            }
            Order::Open(directions) => directions.iter().for_each(|d| self.open[at(*d)] = true),
            Order::Close => (self.passes, self.open) = ([0; 2], [false; 2]),
            Order::Nothing => {}
        }
        Vec::new()
    }
}

enum Order {
    Release(Direction, u8),
    Open(&'static [Direction]),
    Close,
    Nothing,
}

impl Board {
    pub fn new(protocol: Protocol, address: u8) -> Self {
        let arm = Arm { address, ..Arm::default() };
        match protocol {
            Protocol::Modbus => Board::Relays(Slave::new(address)),
            Protocol::Counting => Board::Counter(Counter { arm, ..Counter::default() }),
            Protocol::OneWay => Board::Tripod(arm),
        }
    }

    pub fn hear(&mut self, frame: &[u8]) -> Heard {
        match self {
            Board::Relays(slave) => {
                let before = slave.coils;
                let answer = slave.answer(frame);
                let on = |d: &Direction| slave.coils[at(*d)] && !before[at(*d)];
                let released = Direction::BOTH.into_iter().filter(on).collect();
                let looked = answer.as_ref().is_some_and(|a| a.get(1) == Some(&2));
                Heard { answer, released, looked }
            }
            Board::Counter(counter) => match *frame {
                [0x7E, 0, machine, command, passes, _, _, _] if machine == counter.arm.address => {
                    let told = match command {
                        0x80 => Order::Release(Direction::Entry, passes),
                        0x82 => Order::Release(Direction::Exit, passes),
                        0x81 => Order::Open(&[Direction::Entry]),
                        0x83 => Order::Open(&[Direction::Exit]),
                        0x84 => Order::Close,
                        _ => Order::Nothing,
                    };
                    let released = counter.arm.order(command, told);
                    Heard { answer: Some(counter.state()), released, looked: true }
                }
                _ => Heard::default(),
            },
            Board::Tripod(arm) => match *frame {
                [0xEB, address, command, _, _] if address == arm.address => {
                    let told = match command {
                        0x40 => Order::Release(Direction::Entry, 1),
                        0x41 => Order::Release(Direction::Exit, 1),
                        0x42 => Order::Open(&Direction::BOTH),
                        0x43 => Order::Close,
                        _ => Order::Nothing,
                    };
                    Heard { released: arm.order(command, told), ..Heard::default() }
                }
                _ => Heard::default(),
            },
        }
    }

    /// Somebody is in the way, and was counted; or has left it.
    pub fn step(&mut self, direction: Direction, inside: bool) {
        let at = at(direction);
        match self {
            Board::Relays(slave) => slave.inputs[at] = inside,
            Board::Counter(counter) if inside => {
                counter.counted[at] = (counter.counted[at] + 1) & 0xFF_FFFF;
                counter.arm.passes[at] = counter.arm.passes[at].saturating_sub(1);
            }
            Board::Tripod(arm) if inside => arm.passes[at] = arm.passes[at].saturating_sub(1),
            Board::Counter(_) | Board::Tripod(_) => {}
        }
    }

    pub fn is_open(&self, direction: Direction) -> bool {
        let at = at(direction);
        match self {
            Board::Relays(slave) => slave.coils[at],
            Board::Counter(Counter { arm, .. }) | Board::Tripod(arm) => {
                arm.open[at] || arm.passes[at] > 0
            }
        }
    }

    pub fn set_open(&mut self, direction: Direction, open: bool) {
        let at = at(direction);
        match self {
            Board::Relays(slave) => slave.coils[at] = open,
            Board::Counter(Counter { arm, .. }) | Board::Tripod(arm) => arm.open[at] = open,
        }
    }

    pub fn set_input(&mut self, number: u16, on: bool) {
        if let Board::Relays(slave) = self
            && let Some(input) = slave.inputs.get_mut(usize::from(number))
        {
            *input = on;
        }
    }

    pub fn set_counted(&mut self, direction: Direction, passages: u32) {
        if let Board::Counter(counter) = self {
            counter.counted[at(direction)] = passages & 0xFF_FFFF;
        }
    }

    pub fn commands(&self) -> Vec<u8> {
        match self {
            Board::Relays(_) => Vec::new(),
            Board::Counter(Counter { arm, .. }) | Board::Tripod(arm) => {
                arm.commands.iter().copied().collect()
            }
        }
    }
}

impl Counter {
    fn state(&self) -> Vec<u8> {
        let [left, right] = self.counted.map(u32::to_be_bytes);
        let head = [0x7F, 1, self.arm.address, self.fault, 0, self.alarm];
        summed([&head[..], &left[1..], &right[1..], &[0, 0, 12, 0, 0]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counters_state_is_frozen() {
        let mut board = Board::new(Protocol::Counting, 1);
        board.set_counted(Direction::Entry, 0x101);
        board.set_counted(Direction::Exit, 3);
        board.step(Direction::Entry, true);
        let status = hex::decode("7E00011000000070").unwrap();
        let answer = board.hear(&status).answer.unwrap();
        assert_eq!(hex::encode_upper(answer), "7F010100000000010200000300000C00006C");
        let left = hex::decode("7E000180010000FF").unwrap();
        assert_eq!(board.hear(&left).released, [Direction::Entry]);
        assert!(board.is_open(Direction::Entry) && !board.is_open(Direction::Exit));
    }

    #[test]
    fn a_tripod_answers_nothing_and_hears_its_own_address() {
        let mut board = Board::new(Protocol::OneWay, 1);
        let right = hex::decode("EB014100AB").unwrap();
        assert_eq!(Protocol::OneWay.whole(&right), Some(5));
        let heard = board.hear(&right);
        assert_eq!((heard.answer, heard.released), (None, vec![Direction::Exit]));
        assert!(board.hear(&hex::decode("EB024000A9").unwrap()).released.is_empty());
        // As the manual has it, against its own rule.
        assert_eq!(Protocol::OneWay.whole(&hex::decode("EB014200AB").unwrap()), None);
    }
}
