//! The task of one reader: makes claims of the cards that it reads.
//!
//! In: a reader's readings, the roster's snapshot, and the codes that were used. Out: claims for the
//! lane.

use std::{pin::pin, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    claim::{Claim, FaceBefore, FaceBeside, Presented},
    codes::Codes,
    policy::{Likeness, Reason},
    vision_pool::UNLIKE,
};
use crate::{
    clock::{Clock, LastTrusted, Monotonic},
    config::Direction,
    ledger::{CardEvidence, Evidence, FaceEvidence, Flag, Score},
    reader::{Code, Given, Heard, Reading, WithFace},
    roster::{self, Day, Purpose, Roster, TokenKind, UsedCode, Worker},
    store::{Store, StoreError},
};

/// Maximum age of a look at the face beside a card.
const FACE_WITHIN: Duration = Duration::from_secs(3);
/// Timeout for a look that a card needs. It is shorter than a decision's life.
const FACE_WAITS: Duration = Duration::from_secs(2);
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
    /// What the face at the lane's camera counts.
    pub with_face: WithFace,
    /// The camera on the reader's side.
    pub camera: Option<CameraBeside>,
}

/// A camera on the side of a reader.
pub struct CameraBeside {
    /// The latest good look.
    pub face: watch::Receiver<Option<FaceBefore>>,
    /// The embedder's name.
    pub model: String,
    /// The kind of the camera.
    pub kind: &'static str,
}

/// What the readers of a gateway share.
#[derive(Clone)]
pub struct Desk {
    /// The roster's snapshot.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// Makes the keyed hash of a number, and knows the codes that were used.
    pub store: Store,
    /// Says which codes count.
    pub codes: Arc<Codes>,
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
        let mut claim = desk.claim(&feed, &heard, shown, at).await;
        let worker = claim.who.as_ref().ok().cloned();
        if let Some(worker) = worker.filter(|_| feed.with_face != WithFace::Off) {
            claim.face = desk.beside(&mut feed, &worker, at).await;
        }
        if feed.lane.send(Presented::Claim(claim)).await.is_err() {
            return;
        }
    }
}

/// What was presented: the keyed hash of a card's number, or the hash of a code.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shown {
    given: Given,
    hash: [u8; 32],
}

/// The worker or the reason why there is none, the flags, and the code that the grant uses up.
type Holder = (Result<Arc<Worker>, Reason>, Vec<Flag>, Option<UsedCode>);

impl Desk {
    fn shown(&self, heard: &Heard) -> Option<Shown> {
        let sealer = self.store.sealer();
        let hash = match heard {
            Heard::Card(number) | Heard::QrNumber(number) => roster::card_lookup(sealer, *number),
            Heard::Code(code) => code.id(),
            Heard::IdCard(card) => roster::id_card_lookup(sealer, &card.number),
            Heard::Present | Heard::Silent(_) | Heard::Unreadable(_) => return None,
        };
        Some(Shown { given: Given::of(heard)?, hash })
    }

    async fn claim(
        &self,
        feed: &ReaderFeed,
        heard: &Heard,
        shown: Shown,
        captured: Monotonic,
    ) -> Claim {
        let roster = self.roster.borrow().clone();
        let (who, flags, code) = match heard {
            Heard::Code(code) => self.coded(&roster, code, feed.direction).await,
            _ => held(&roster, &shown.hash, feed.direction),
        };
        let evidence = CardEvidence { reader: feed.name.clone(), commitment: shown.hash };
        Claim {
            direction: feed.direction,
            who,
            evidence: vec![match shown.given {
                Given::Card => Evidence::Card(evidence),
                Given::Qr | Given::QrStatic => Evidence::Qr(evidence),
                Given::IdCard => Evidence::IdCard(evidence),
            }],
            flags,
            visit: None,
            captured,
            roster_version: roster.version(),
            today: Day::at(self.clock.stamp(), &self.last_trusted, &self.timezone),
            photo: None,
            code,
            face: None,
        }
    }

    /// Compares the face at the camera with a worker. Where an entry needs it, waits for a look that
    /// agrees. `None`: the worker has no template, or no camera is there.
    async fn beside(
        &self,
        feed: &mut ReaderFeed,
        worker: &Worker,
        at: Monotonic,
    ) -> Option<FaceBeside> {
        let rule = feed.with_face;
        let camera = feed.camera.as_mut()?;
        let roster = self.roster.borrow().clone();
        let withdrawn = worker.consent(&Purpose::Face).is_some_and(|face| !face.is_in_force());
        if withdrawn || !roster.is_matched(&worker.person.id) {
            return None;
        }
        let needs = rule == WithFace::Require && feed.direction == Direction::Entry;
        let waits = FACE_WAITS.saturating_sub(self.clock.monotonic().since(at));
        let mut over = pin!(tokio::time::sleep(if needs { waits } else { Duration::ZERO }));
        loop {
            let before = camera.face.borrow_and_update().clone();
            let seen = before.and_then(|face| {
                let lately = self.clock.monotonic().since(face.at) <= FACE_WITHIN;
                let likeness = roster.likeness(&worker.person.id, &face.template);
                let compared = likeness.map(|likeness| compared(likeness, &face, camera));
                compared.filter(|_| lately)
            });
            let agrees = matches!(&seen, Some((_, Likeness::Like)));
            if agrees || !needs {
                return Some(FaceBeside { rule, seen });
            }
            tokio::select! {
                () = &mut over => return Some(FaceBeside { rule, seen }),
                Ok(()) = camera.face.changed() => {}
            }
        }
    }

    /// Finds the worker of a code.
    async fn coded(&self, roster: &Roster, code: &Code, direction: Direction) -> Holder {
        let (worker, flags) = match self.codes.judge(code, direction, self.clock.stamp()) {
            Ok(counts) => counts,
            Err(reason) => return (Err(reason), Vec::new(), None),
        };
        let id = code.id();
        let used = self.store.read(move |tx| Ok::<_, StoreError>(roster::was_used(tx, &id)?)).await;
        match used {
            Ok(true) => return (Err(Reason::CodeUsed), Vec::new(), None),
            Ok(false) => {}
            // The grant's own commit looks again.
            Err(error) => tracing::warn!(%error, "it is not known yet whether a code was used"),
        }
        match roster.worker(&worker) {
            Some(worker) => {
                let used = UsedCode { id, expires: code.says().expires };
                (Ok(worker.clone()), flags, Some(used))
            }
            None => (Err(Reason::CodeUnknown), Vec::new(), None),
        }
    }
}

/// Returns the evidence of a face beside a card, and how much it is like the worker.
fn compared(likeness: f32, face: &FaceBefore, camera: &CameraBeside) -> (FaceEvidence, Likeness) {
    let threshold = face.threshold.cosine();
    let evidence = FaceEvidence {
        score: Score::of(likeness),
        threshold: Score::of(threshold),
        margin: None,
        model: camera.model.clone(),
        frames: 1,
        camera: camera.kind.to_owned(),
        presentation: None,
    };
    let likeness = match likeness {
        likeness if likeness >= threshold => Likeness::Like,
        likeness if likeness < UNLIKE => Likeness::Unlike,
        _ => Likeness::Unclear,
    };
    (evidence, likeness)
}

/// Finds the worker of a card.
fn held(roster: &Roster, lookup: &[u8; 32], direction: Direction) -> Holder {
    let (who, flags) = match roster.holder(lookup) {
        // A lost card opens no entry. I15: it denies no exit, and the record says so.
        Some((_, TokenKind::LostCard)) if direction == Direction::Entry => {
            (Err(Reason::CardLost), Vec::new())
        }
        Some((worker, TokenKind::LostCard)) => (Ok(worker.clone()), vec![Flag::CARD_LOST]),
        Some((worker, TokenKind::IdCard | TokenKind::Card)) => (Ok(worker.clone()), Vec::new()),
        None => (Err(Reason::CardUnknown), Vec::new()),
    };
    (who, flags, None)
}

#[cfg(test)]
mod tests;
