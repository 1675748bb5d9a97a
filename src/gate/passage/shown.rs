//! Cards that were shown a moment ago: a card that stays on a reader is one claim, and many cards
//! within a moment are an event.

use std::{collections::VecDeque, time::Duration};

use crate::{clock::Monotonic, config::Direction, gate::claim::Claim, ledger::Evidence};

/// Interval within which equal readings are one.
pub(super) const EQUAL_WITHIN: Duration = Duration::from_secs(3);
/// Interval within which [`LENT`] different cards are an event.
const LENT_WITHIN: Duration = Duration::from_secs(10);
/// Number of different cards within [`LENT_WITHIN`] that are an event.
const LENT: usize = 3;
/// Interval between two of these events at one side of a lane.
const LENT_AGAIN: Duration = Duration::from_secs(60);
/// Maximum number of cards that are remembered; the oldest is dropped.
pub(super) const MOST: usize = 16;

#[derive(Debug)]
struct Card {
    direction: Direction,
    evidence: Vec<Evidence>,
    first: Monotonic,
    last: Monotonic,
    granted: bool,
}

#[derive(Debug, Default)]
pub(super) struct Shown {
    cards: VecDeque<Card>,
    lent: [Option<Monotonic>; 2],
}

impl Shown {
    /// Remembers a card. Returns whether it was granted and is still there, and whether it is
    /// the last of several cards that are an event.
    pub(super) fn shows(&mut self, claim: &Claim) -> (bool, bool) {
        let (direction, at) = (claim.direction, claim.captured);
        let keep = EQUAL_WITHIN.max(LENT_WITHIN);
        self.cards.retain(|card| at.since(card.last) <= keep);
        if let Some(card) = self.card(claim) {
            let stays = at.since(card.last) <= EQUAL_WITHIN;
            card.last = card.last.max(at);
            if !stays {
                (card.first, card.granted) = (at, false);
            }
            return (card.granted, false);
        }
        if self.cards.len() >= MOST {
            self.cards.pop_front();
        }
        let evidence = claim.evidence.clone();
        self.cards.push_back(Card { direction, evidence, first: at, last: at, granted: false });
        (false, self.are_lent(direction, at))
    }

    /// The lane granted this claim.
    pub(super) fn granted(&mut self, claim: &Claim) {
        if let Some(card) = self.card(claim) {
            card.granted = true;
        }
    }

    /// A grant on this side led to no passage: the card that stays there is a new claim, and the
    /// cool-down rules.
    pub(super) fn not_through(&mut self, direction: Direction) {
        let here = self.cards.iter_mut().filter(|card| card.direction == direction);
        here.for_each(|card| card.granted = false);
    }

    fn card(&mut self, claim: &Claim) -> Option<&mut Card> {
        let mut cards = self.cards.iter_mut();
        cards.find(|c| c.direction == claim.direction && c.evidence == claim.evidence)
    }

    fn are_lent(&mut self, direction: Direction, at: Monotonic) -> bool {
        let recent =
            |card: &&Card| card.direction == direction && at.since(card.first) <= LENT_WITHIN;
        let before = self.lent[direction as usize];
        let several = self.cards.iter().filter(recent).count() >= LENT;
        let is = several && before.is_none_or(|before| at.since(before) > LENT_AGAIN);
        if is {
            self.lent[direction as usize] = Some(at);
        }
        is
    }
}
