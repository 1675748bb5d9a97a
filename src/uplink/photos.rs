//! Photos of passages for platforms: which may go, and when the next one may.
//!
//! In: a record, its upstream, and the worker's consents as they are now. Out: a photo, small
//! enough, or the reason why none goes. [`Pace`] is pure. [`Photos`] reads the database and the files
//! of the photo store inside a read transaction, which is off the async threads.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use rusqlite::Transaction;

use crate::{
    attendance::Record,
    clock::{Clock, LastTrusted, Monotonic},
    config::{PhotoCrop, Upstream},
    roster::{self, Consent, Day, Purpose},
    store::photo_store::{Part, PhotoStore},
    vision,
    words::words,
};

/// Time in which an upstream may have its `photo_kb_per_minute`.
const MINUTE: Duration = Duration::from_secs(60);
/// Pause after a connection that ended before a photo was acknowledged. It doubles each time in
/// succession, up to the maximum.
const LOST_PAUSES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(3600);
/// Number of connections in succession that end over one photo before it is left out.
const LOST: u32 = 3;

words! {
    /// Why a photo does not go to a platform.
    #[derive(PartialOrd, Ord)]
    pub enum LeftOut {
        /// The upstream gets no photos.
        Off = "off",
        /// The record has no photo: of a card, or of a release by hand.
        None = "none",
        /// The photo was just taken, and is not kept yet. It can be asked for again in a moment.
        NotYet = "not_yet",
        /// The worker does not consent, or has withdrawn the consent.
        NoConsent = "no_consent",
        /// The clock is not trusted, so nothing shows that the consent holds today.
        Clock = "clock",
        /// The photo is no longer kept: its days are over, it was erased, or the room was short.
        Gone = "gone",
        /// The photo cannot be made small enough.
        TooLarge = "too_large",
        /// The broker does not take it.
        Refused = "refused",
        /// Too many photos waited.
        CrowdedOut = "crowded_out",
    }
}

impl LeftOut {
    /// Returns the reason in words, for a person.
    pub fn sentence(self) -> &'static str {
        match self {
            LeftOut::Off => "this upstream gets no photos (photos = \"off\")",
            LeftOut::None => "no photo was taken of this passage",
            LeftOut::NotYet => "the photo is not written yet",
            LeftOut::NoConsent => "the worker does not consent to photos for this platform",
            LeftOut::Clock => "the clock is not synchronised, so the consent cannot be checked",
            LeftOut::Gone => "the photo is no longer kept",
            LeftOut::TooLarge => "the photo cannot be made small enough",
            LeftOut::Refused => "the broker does not take the photo",
            LeftOut::CrowdedOut => "too many photos waited",
        }
    }
}

/// A photo that may go to a platform now.
#[derive(Clone, Debug)]
pub struct Photo {
    /// The photo, a JPEG within the upstream's limit.
    pub jpeg: Vec<u8>,
    /// What it shows: the face alone if no scene was kept.
    pub crop: PhotoCrop,
}

/// Finds the photos that may go to platforms.
#[derive(Clone)]
pub struct Photos {
    pub photo_store: PhotoStore,
    pub clock: Arc<dyn Clock>,
    pub last_trusted: Arc<LastTrusted>,
    pub timezone: TimeZone,
}

impl Photos {
    /// Returns the photos of a photo store, on a box that never trusted its clock.
    pub fn new(photo_store: PhotoStore, clock: Arc<dyn Clock>, timezone: TimeZone) -> Photos {
        Photos { photo_store, clock, last_trusted: Arc::new(LastTrusted::new(None)), timezone }
    }

    /// Returns the photos of a photo store, with the last trusted time.
    pub fn dated(
        photo_store: &PhotoStore,
        clock: &Arc<dyn Clock>,
        last_trusted: &Arc<LastTrusted>,
        timezone: &TimeZone,
    ) -> Photos {
        let photos = Photos::new(photo_store.clone(), clock.clone(), timezone.clone());
        Photos { last_trusted: last_trusted.clone(), ..photos }
    }

    /// Returns the photo of a record for an upstream, or why none goes. The worker's consent counts
    /// as it is in this transaction, and as of the photo's day. A record without a photo still goes.
    pub fn of(
        &self,
        tx: &Transaction<'_>,
        upstream: &Upstream,
        record: &Record,
    ) -> Result<Photo, LeftOut> {
        self.within(tx, upstream, record, usize::MAX)
    }

    /// As [`of`](Self::of), with at most this number of bytes.
    pub fn within(
        &self,
        tx: &Transaction<'_>,
        upstream: &Upstream,
        record: &Record,
        most: usize,
    ) -> Result<Photo, LeftOut> {
        if !upstream.photos.are_sent() {
            return Err(LeftOut::Off);
        }
        if record.photo.is_none() {
            return Err(LeftOut::None);
        }
        let mut passage = [0; 16];
        hex::decode_to_slice(&record.passage, &mut passage).map_err(|_| LeftOut::Gone)?;
        let worker = record.worker.parse().ok().and_then(|id| roster::find(tx, &id).ok().flatten());
        let today = Day::at(self.clock.stamp(), &self.last_trusted, &self.timezone);
        let consents = |on| worker.as_ref().is_some_and(|w| w.photo_may_go_to(&upstream.name, on));
        if !consents(today) {
            let consents = worker.as_ref().is_some_and(|w| {
                w.consent(&Purpose::Photo(upstream.name.clone())).is_some_and(Consent::is_in_force)
            });
            let unknown = consents && matches!(today, Day::NotBefore(_));
            return Err(if unknown { LeftOut::Clock } else { LeftOut::NoConsent });
        }
        if self.photo_store.is_coming(&passage) {
            return Err(LeftOut::NotYet);
        }
        let read = |part| match self.photo_store.read(tx, &passage, part) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(seq = record.seq, %error, "a photo of a passage cannot be read");
                None
            }
        };
        let scene = || Some((read(Part::Scene)?, PhotoCrop::Scene));
        let scene = Some(())
            .filter(|()| upstream.photos.are_scenes(upstream.photo_crop))
            .and_then(|()| scene());
        let face = || Some((read(Part::Face)?, PhotoCrop::Face));
        let (kept, crop) = scene.or_else(face).ok_or(LeftOut::Gone)?;
        if kept.day.is_some_and(|day| !consents(Day::Today(day))) {
            return Err(LeftOut::NoConsent);
        }
        let most = most.min(usize::from(upstream.photo_kb) << 10);
        let jpeg = vision::fitting(kept.jpeg, most).ok_or(LeftOut::TooLarge)?;
        Ok(Photo { jpeg, crop })
    }
}

/// When the next photo may go to an upstream, over all connections.
#[derive(Debug, Default)]
pub struct Pace {
    from: Monotonic,
    /// The photo over which the last connections ended, and their number.
    lost: Option<(u64, u32)>,
    /// Number of connections in succession that ended over photos.
    ended: u32,
}

impl Pace {
    /// Returns whether a photo may go now.
    pub fn is_due(&self, now: Monotonic) -> bool {
        now >= self.from
    }

    /// Notes that a message of this size was handed to the client.
    pub fn sent(&mut self, bytes: usize, kb_per_minute: u16, now: Monotonic) {
        let share = bytes as f64 / (f64::from(kb_per_minute) * 1024.0);
        self.from = now + MINUTE.mul_f64(share);
    }

    /// Notes that the broker acknowledged a photo.
    pub fn acknowledged(&mut self) {
        (self.lost, self.ended) = (None, 0);
    }

    /// Notes that a connection ended before it had acknowledged this photo. A line that is too slow
    /// for a photo must not cost the records another connection soon.
    pub fn lost(&mut self, seq: u64, now: Monotonic) {
        let times = self.lost.filter(|(lost, _)| *lost == seq).map_or(0, |(_, times)| times);
        self.lost = Some((seq, times + 1));
        let pause = LOST_PAUSES.start().saturating_mul(1 << self.ended.min(6));
        self.ended += 1;
        self.from = now + pause.min(*LOST_PAUSES.end());
    }

    /// Returns the photo to leave out, because connections end over it.
    pub fn gives_up(&self) -> Option<u64> {
        self.lost.filter(|(_, times)| *times >= LOST).map(|(seq, _)| seq)
    }
}

#[cfg(test)]
mod tests;
