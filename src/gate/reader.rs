//! The task of one reader: makes claims of the cards that it reads.
//!
//! In: a reader's readings, and the roster's snapshot. Out: claims for the lane.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    claim::{Claim, Presented},
    policy::Reason,
};
use crate::{
    clock::{Clock, LastTrusted, Monotonic},
    config::Direction,
    ledger::{CardEvidence, Evidence, Flag},
    reader::{Heard, Reading},
    roster::{self, Day, Roster, TokenKind},
    store::Sealer,
};

/// Interval between two claims of a card that stays on the reader.
const HELD_EVERY: Duration = Duration::from_millis(500);

/// A reader at one side of a lane.
pub struct ReaderFeed {
    /// The reader's name in the configuration.
    pub name: String,
    /// The direction of the people who use it.
    pub direction: Direction,
    /// The lane's queue.
    pub lane: mpsc::Sender<Presented>,
    /// What the reader reads.
    pub readings: mpsc::Receiver<Reading>,
}

/// What the readers of a gateway share.
#[derive(Clone)]
pub struct Desk {
    /// The roster's snapshot.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// Makes the keyed hash of a number.
    pub sealer: Arc<Sealer>,
    /// Gives the date.
    pub clock: Arc<dyn Clock>,
    /// The last time at which the wall clock was trusted.
    pub last_trusted: Arc<LastTrusted>,
    /// The site's time zone.
    pub timezone: TimeZone,
}

/// Runs until it is cancelled.
pub async fn run(feed: ReaderFeed, desk: Desk, cancel: CancellationToken) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = present(feed, desk) => {}
    }
}

async fn present(mut feed: ReaderFeed, desk: Desk) {
    let mut before: Option<(Shown, Monotonic)> = None;
    while let Some(Reading { heard, at }) = feed.readings.recv().await {
        let Some(shown) = desk.shown(&heard) else { continue };
        let held = |(card, then): (Shown, Monotonic)| card == shown && at.since(then) < HELD_EVERY;
        if before.is_some_and(held) {
            continue;
        }
        before = Some((shown, at));
        let claim = desk.claim(&feed, shown, at);
        if feed.lane.send(Presented::Claim(claim)).await.is_err() {
            return;
        }
    }
}

/// The keyed hash of a card's number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    Card([u8; 32]),
    IdCard([u8; 32]),
}

impl Desk {
    fn shown(&self, heard: &Heard) -> Option<Shown> {
        match heard {
            Heard::Card(number) => Some(Shown::Card(roster::card_lookup(&self.sealer, *number))),
            Heard::IdCard(card) => {
                Some(Shown::IdCard(roster::id_card_lookup(&self.sealer, &card.number)))
            }
            Heard::Present | Heard::Silent(_) | Heard::Unreadable(_) => None,
        }
    }

    fn claim(&self, feed: &ReaderFeed, shown: Shown, captured: Monotonic) -> Claim {
        let roster = self.roster.borrow().clone();
        let (Shown::Card(lookup) | Shown::IdCard(lookup)) = shown;
        let (who, flags) = match roster.holder(&lookup) {
            // A lost card opens no entry. I15: it denies no exit, and the record says so.
            Some((_, TokenKind::LostCard)) if feed.direction == Direction::Entry => {
                (Err(Reason::CardLost), Vec::new())
            }
            Some((worker, TokenKind::LostCard)) => (Ok(worker.clone()), vec![Flag::CARD_LOST]),
            Some((worker, TokenKind::IdCard | TokenKind::Card)) => (Ok(worker.clone()), Vec::new()),
            None => (Err(Reason::CardUnknown), Vec::new()),
        };
        let evidence = CardEvidence { reader: feed.name.clone(), commitment: lookup };
        Claim {
            direction: feed.direction,
            who,
            evidence: vec![match shown {
                Shown::Card(_) => Evidence::Card(evidence),
                Shown::IdCard(_) => Evidence::IdCard(evidence),
            }],
            flags,
            visit: None,
            captured,
            roster_version: roster.version(),
            today: Day::at(self.clock.stamp(), &self.last_trusted, &self.timezone),
            photo: None,
        }
    }
}

#[cfg(test)]
mod tests;
