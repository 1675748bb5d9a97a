//! Publishes photos of passages after their records.
//!
//! A photo is an accessory (I14): it goes only while no record waits to be sent, one at a time, and
//! within the upstream's amount in a minute. What is to be sent is in the database, so a restart loses
//! nothing. A photo that is refused or no longer kept is left out and counted.

use futures_util::future::BoxFuture;

use super::Session;
use crate::{
    attendance::Record,
    failpoint, ledger,
    uplink::{
        link::LinkError,
        photos::LeftOut,
        profiles::{Message, PhotoNotice},
        terms::{Part, Sort},
    },
};

/// Maximum number of photos that are looked at in one transaction, until one can go.
const LOOKED_AT: usize = 64;
/// Size of a photo's message besides the photo, in bytes.
const AROUND: usize = 1024;

/// The photos of one connection.
#[derive(Default)]
pub(super) struct Photos {
    /// The topic of photos; `None`: this upstream gets none.
    topic: Option<String>,
    /// The photo that the broker has not acknowledged.
    on_its_way: Option<u64>,
    /// None can go until something changes.
    pub(super) rests: bool,
}

/// What was read of the photos that wait.
#[derive(Default)]
pub(super) struct PhotoRead {
    left_out: Vec<(u64, LeftOut)>,
    next: Option<(u64, Message)>,
    waiting: u64,
}

pub(super) type PhotoReading = BoxFuture<'static, Result<PhotoRead, LinkError>>;

impl Photos {
    pub(super) fn new(topic: Option<String>) -> Photos {
        Photos { topic, ..Photos::default() }
    }
}

impl Session<'_> {
    /// Begins to read the next photo, if it may go now.
    pub(super) fn next_photo(&self) -> Option<PhotoReading> {
        let (photos, rows, now) = (&self.photos, &self.rows, self.context.clock.monotonic());
        let topic = photos.topic.clone()?;
        let is_settled = rows.photos_done.is_empty() && rows.striking.is_none();
        if photos.rests
            || photos.on_its_way.is_some()
            || !is_settled
            || !rows.delivery.is_quiet()
            || !self.may_send()
            || !self.pace.is_due(now)
            || !self.terms.takes(&Part::Topic(topic), now)
        {
            return None;
        }
        let (origin, profile) = (self.context.origin.clone(), self.to.profile.clone());
        let (upstream, finder) = (self.to.upstream.clone(), self.context.photos.clone());
        let (store, gives_up) = (self.context.store.clone(), self.pace.gives_up());
        // In base64 a photo has a third more bytes.
        let most = rows.largest.saturating_sub(AROUND) / 4 * 3;
        Some(Box::pin(async move {
            let read = store.read(move |tx| {
                let (due, waiting) = ledger::photos_due(tx, &upstream.name, LOOKED_AT)?;
                let mut read = PhotoRead { waiting, ..PhotoRead::default() };
                for (seq, record) in due {
                    let record =
                        record.and_then(|(entry, cause)| Record::of(&origin, &entry, Some(cause)));
                    let photo = match record {
                        _ if gives_up == Some(seq) => Err(LeftOut::Refused),
                        None => Err(LeftOut::Gone),
                        Some(record) => {
                            let photo = finder.within(tx, &upstream, &record, most);
                            photo.map(|photo| PhotoNotice { record, photo })
                        }
                    };
                    match photo {
                        Ok(notice) => {
                            read.next = profile.photo(&notice)?.map(|message| (seq, message));
                            break;
                        }
                        Err(LeftOut::NotYet) => {}
                        Err(why) => read.left_out.push((seq, why)),
                    }
                }
                Ok::<_, LinkError>(read)
            });
            read.await
        }))
    }

    /// Publishes a photo that was read.
    pub(super) fn publish_photo(&mut self, read: PhotoRead) -> Result<(), LinkError> {
        let PhotoRead { left_out, next, waiting } = read;
        self.photos.rests = next.is_none() && left_out.is_empty();
        self.state.send_if_modified(|s| {
            s.photos_waiting = waiting.saturating_sub(left_out.len() as u64);
            left_out.iter().for_each(|(_, why)| s.photo_left_out(*why, 1));
            false
        });
        self.rows.photos_done.extend(left_out.iter().map(|(seq, _)| *seq));
        let Some((seq, message)) = next else { return Ok(()) };
        let (bytes, topic) = (message.payload.len(), Part::Topic(message.topic.clone()));
        let now = self.context.clock.monotonic();
        tracing::debug!(seq, bytes, "a photo is handed on");
        if self.publish_beside(message, Sort::Photo)? {
            self.pace.sent(bytes, self.to.upstream.photo_kb_per_minute, now);
            self.photos.on_its_way = Some(seq);
            failpoint::at("photo.published");
        } else if self.terms.takes(&topic, now) {
            self.leave_out(seq, LeftOut::TooLarge);
        }
        Ok(())
    }

    /// Takes in that the broker has the photo.
    pub(super) fn photo_taken(&mut self) {
        failpoint::at("photo.acknowledged");
        self.pace.acknowledged();
        let Some(seq) = self.photos.on_its_way.take() else { return };
        self.rows.photos_done.push(seq);
        self.state.send_if_modified(|s| {
            s.photos_sent += 1;
            s.photos_waiting = s.photos_waiting.saturating_sub(1);
            false
        });
    }

    /// Takes in that the broker refused the photo. It waits if its topic is forbidden, because that
    /// may be mended.
    pub(super) fn photo_refused(&mut self, topic_forbidden: bool) {
        let Some(seq) = self.photos.on_its_way.take().filter(|_| !topic_forbidden) else { return };
        self.leave_out(seq, LeftOut::Refused);
    }

    /// Takes in that the connection has ended.
    pub(super) fn photo_lost(&mut self) {
        if let Some(seq) = self.photos.on_its_way {
            self.pace.lost(seq, self.context.clock.monotonic());
        }
    }

    fn leave_out(&mut self, seq: u64, why: LeftOut) {
        self.rows.photos_done.push(seq);
        self.state.send_modify(|s| s.photo_left_out(why, 1));
    }
}
