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
    let mut before: Option<(Heard, Monotonic)> = None;
    while let Some(Reading { heard, at }) = feed.readings.recv().await {
        let held =
            |(card, then): &(Heard, Monotonic)| *card == heard && at.since(*then) < HELD_EVERY;
        if before.as_ref().is_some_and(held) {
            continue;
        }
        let Some(claim) = desk.claim(&feed, &heard, at) else { continue };
        before = Some((heard, at));
        if feed.lane.send(Presented::Claim(claim)).await.is_err() {
            return;
        }
    }
}

impl Desk {
    fn claim(&self, feed: &ReaderFeed, heard: &Heard, captured: Monotonic) -> Option<Claim> {
        let lookups: Vec<[u8; 32]> = match heard {
            Heard::Card(numbers) => {
                numbers.iter().map(|number| roster::card_lookup(&self.sealer, *number)).collect()
            }
            Heard::IdCard(card) => vec![roster::id_card_lookup(&self.sealer, &card.number)],
            Heard::Present | Heard::Silent(_) | Heard::Unreadable(_) => return None,
        };
        let roster = self.roster.borrow().clone();
        let held = |lookup: &[u8; 32]| Some((*lookup, roster.holder(lookup)?));
        let found = lookups.iter().find_map(held);
        let commitment = found.as_ref().map_or_else(|| lookups.first().copied(), |f| Some(f.0))?;
        let evidence = CardEvidence { reader: feed.name.clone(), commitment };
        let is_id_card = matches!(heard, Heard::IdCard(_));
        let (who, flags) = match found.map(|(_, holder)| holder) {
            // A lost card opens no entry. I15: it denies no exit, and the record says so.
            Some((_, TokenKind::LostCard)) if feed.direction == Direction::Entry => {
                (Err(Reason::CardLost), Vec::new())
            }
            Some((worker, TokenKind::LostCard)) => (Ok(worker.clone()), vec![Flag::CARD_LOST]),
            Some((worker, TokenKind::IdCard)) if is_id_card => (Ok(worker.clone()), Vec::new()),
            Some((worker, TokenKind::Card)) if !is_id_card => (Ok(worker.clone()), Vec::new()),
            _ => (Err(Reason::CardUnknown), Vec::new()),
        };
        Some(Claim {
            direction: feed.direction,
            who,
            evidence: vec![match is_id_card {
                true => Evidence::IdCard(evidence),
                false => Evidence::Card(evidence),
            }],
            flags,
            visit: None,
            captured,
            roster_version: roster.version(),
            today: Day::at(self.clock.stamp(), &self.last_trusted, &self.timezone),
            photo: None,
        })
    }
}

#[cfg(test)]
mod tests;
