//! The rows of one upstream over one connection, for every transport: they are read from the
//! outbox, made messages, and struck off.
//!
//! In: the decisions of [`Delivery`]. Out: [`Row`]s to send; transactions that strike rows off, or
//! note that a platform refused them. Touches: the database.

use std::{
    cell::{Cell, OnceCell},
    collections::BTreeMap,
    sync::Arc,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    attached::attached,
    delivery::{Delivery, Fetch, PAGE, Page},
    link::{Context, LinkError},
    photos::{LeftOut, Photos},
    profiles::{self, Attached, Profile, Talk, profile::Unmade},
    state::UpstreamState,
    terms::Stub,
};
use crate::{
    attendance::{Leaf, Reckoned, Record},
    config::Upstream,
    failpoint,
    ledger::{self, Dates, LedgerError, LedgerId, Refusal, SignedAck, Stored, WithheldFor},
    store::{Priority, Store, set_meta},
};

/// Number of acknowledged rows at which they are struck off in one transaction. Fewer are struck
/// off when no row is on its way, or after a short time.
const STRIKE_ROWS: usize = 1024;

/// Maximum number of rows read at once, and ready to go, of a platform whose records carry photos.
const PHOTO_PAGE: usize = 16;

/// A row as it is sent.
pub struct Row {
    pub message: profiles::Message,
    pub resent: bool,
    /// What a stub in its place tells: the ledger, the seq, and the leaf.
    pub known: (LedgerId, u64, Leaf),
    /// The number under which the platform is asked for its verdict. The row was sent before.
    pub serial: Option<String>,
    /// Whether it carries a photo, or why not. `None`: no record of this platform does.
    pub photo: Option<Result<(), LeftOut>>,
}

/// Returns the size of a publish in MQTT 5, in bytes. In MQTT 3.1.1 it is one byte less.
pub fn packet_bytes(message: &profiles::Message) -> usize {
    // The topic with its length, the packet id, no properties, and the payload.
    let rest = 2 + message.topic.len() + 2 + 1 + message.payload.len();
    let length = match rest {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    };
    1 + length + rest
}

/// What is made of an entry with a seq.
pub enum RowMade {
    Row(Box<Row>),
    /// It is not for this platform.
    LeftOut,
    /// The gateway lacks something that the platform asks for, in words.
    Lacks(String),
}

/// Makes rows of entries.
pub struct Maker<'a> {
    pub profile: &'a dyn Profile,
    pub origin: &'a crate::attendance::Origin,
    pub upstream: &'a str,
    pub store: &'a Store,
    /// The photos that records may carry, and their upstream.
    pub photos: Option<(&'a Photos, &'a Upstream)>,
    /// Time at which the rows are made, by the wall clock.
    pub at_ms: i64,
    pub tx: &'a rusqlite::Transaction<'a>,
    /// The effective times, once they are needed.
    pub dates: OnceCell<Dates>,
}

impl Maker<'_> {
    /// Makes the row of an entry; `None` for an entry that is not sent.
    pub fn row(
        &self,
        stored: &Stored,
        cause: Option<Stored>,
        resent: bool,
    ) -> Option<Result<(u64, RowMade), LinkError>> {
        let seq = stored.entry.seq?;
        let reckoned = match self.reckoned(cause.as_ref().unwrap_or(stored)) {
            Ok(reckoned) => reckoned,
            Err(error) => return Some(Err(error)),
        };
        let needs = (self.upstream, self.profile.needs());
        let made_at = Timestamp::from_millisecond(self.at_ms).unwrap_or_default();
        let carries = Cell::new(None);
        let attach = |record: &_| {
            let photo = self.photo(record);
            carries.set(photo.as_ref().map(|photo| photo.as_ref().map(drop).map_err(|why| *why)));
            let in_words = |why: LeftOut| why.sentence().to_owned();
            Attached {
                reckoned,
                made_at,
                photo: photo.map(|photo| photo.map_err(in_words)),
                ..attached(self.tx, self.store.sealer(), needs, record)
            }
        };
        let made = profiles::message(self.profile, self.origin, stored, cause, resent, attach)?;
        Some(self.made(stored, (seq, resent, carries.get()), made).map(|made| (seq, made)))
    }

    /// Returns the photo that a record carries, or why it carries none.
    fn photo(&self, record: &Record) -> Option<Result<Arc<[u8]>, LeftOut>> {
        let (photos, upstream) = self.photos.filter(|_| self.profile.needs().photo)?;
        let photo = photos.of(self.tx, upstream, record);
        Some(photo.map(|photo| photo.jpeg.into()))
    }

    /// Returns how the time of an entry is known, where its own clock does not say so and the
    /// platform cannot reckon it.
    fn reckoned(&self, stored: &Stored) -> Result<Option<Reckoned>, LinkError> {
        if stored.entry.stamp.synced || !self.profile.needs().time {
            return Ok(None);
        }
        let dates = match self.dates.get() {
            Some(dates) => dates,
            None => {
                let read = Dates::read(self.tx)?;
                self.dates.get_or_init(|| read)
            }
        };
        Ok(Some(self.origin.reckoned(dates.of(&stored.entry))))
    }

    fn made(
        &self,
        stored: &Stored,
        (seq, resent, photo): (u64, bool, Option<Result<(), LeftOut>>),
        made: profiles::Made,
    ) -> Result<RowMade, LinkError> {
        let message = match made {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(RowMade::LeftOut),
            Err(Unmade::Lacks(words)) => return Ok(RowMade::Lacks(words)),
            Err(error) => return Err(error.into()),
        };
        let serial = match self.profile.talk() {
            Talk::Mqtt => None,
            Talk::Https(_) | Talk::Tcp(_) => ledger::serial_of(self.tx, self.upstream, seq)?,
        };
        let known = (stored.entry.ledger, seq, Leaf::from(stored));
        Ok(RowMade::Row(Box::new(Row { message, resent, known, serial, photo })))
    }
}

/// The numbers of rows that were struck off, and of those that stand aside now.
pub struct Struck {
    pub acknowledged: u64,
    left_out: u64,
    withheld: Option<u64>,
    refused: Option<u64>,
    photos_waiting: Option<u64>,
    photos_crowded_out: u64,
}

/// Rows that were read.
pub struct Read {
    fetch: Fetch,
    page: Page<Row>,
    lacking: Vec<Refusal>,
}

pub type PageRead = BoxFuture<'static, Result<Read, LinkError>>;
pub type Striking = BoxFuture<'static, Result<Struck, LinkError>>;

/// The rows of one upstream, over one connection.
pub struct Rows<'a> {
    pub context: &'a Context,
    pub upstream: &'a Upstream,
    pub profile: &'a Arc<dyn Profile>,
    pub state: &'a watch::Sender<UpstreamState>,
    pub delivery: &'a mut Delivery<Row>,
    /// Acknowledged stubs. Their rows are to stand aside.
    pub stubbed: Vec<Stub>,
    /// Rows that the platform refused, which are to stand aside.
    pub refusals: Vec<Refusal>,
    /// The same, of which the broker has a stub.
    pub behind_stubs: Vec<Refusal>,
    /// The rows on their way that carry a photo, or why they carry none.
    pub carried: BTreeMap<u64, Result<(), LeftOut>>,
    /// Photos that the broker has, or that are left out.
    pub photos_done: Vec<u64>,
    /// Whether photos go after their records.
    pub notes_photos: bool,
    /// Maximum size of a message that the broker takes.
    pub largest: usize,
    /// The platform's last acknowledgement for which rows were struck off.
    pub struck_upto: u64,
    /// The newest signed acknowledgement, and whether the database lacks it.
    pub signed: (Option<SignedAck>, bool),
    /// The running transaction that strikes off rows.
    pub striking: Option<Striking>,
}

/// Returns the key in `meta` of the size over which records stand aside, 8 bytes.
pub fn limit_key(upstream: &str) -> String {
    format!("withheld_over/{upstream}")
}

/// Counts the rows that stand aside as refused.
pub async fn recount(
    context: &Context,
    upstream: &str,
    state: &watch::Sender<UpstreamState>,
) -> Result<(), LinkError> {
    let name = upstream.to_owned();
    let count = context.store.read(move |tx| {
        let dismissed = ledger::dismissed(tx, &name)?.len() as u64;
        Ok::<_, LedgerError>((ledger::count_refused(tx, &name)?, dismissed))
    });
    let (refused, dismissed) = count.await?;
    state.send_modify(|s| (s.refused_rows, s.dismissed_rows) = (refused, dismissed));
    Ok(())
}

impl<'a> Rows<'a> {
    pub fn new(
        (upstream, profile): (&'a Upstream, &'a Arc<dyn Profile>),
        context: &'a Context,
        state: &'a watch::Sender<UpstreamState>,
        delivery: &'a mut Delivery<Row>,
    ) -> Rows<'a> {
        Rows {
            context,
            upstream,
            profile,
            state,
            delivery,
            stubbed: Vec::new(),
            refusals: Vec::new(),
            behind_stubs: Vec::new(),
            carried: BTreeMap::new(),
            photos_done: Vec::new(),
            notes_photos: false,
            largest: usize::MAX,
            struck_upto: 0,
            signed: (None, false),
            striking: None,
        }
    }

    /// Begins to read the rows that are wanted next, and to make them messages.
    pub fn next_page(&self) -> Option<PageRead> {
        let with_photos = self.profile.needs().photo;
        let at_once = if with_photos { PHOTO_PAGE } else { PAGE };
        let fetch = self.delivery.wants().filter(|_| self.delivery.ready() < at_once)?;
        let (photos, upstream) = (self.context.photos.clone(), self.upstream.clone());
        let (store, name) = (self.context.store.clone(), self.upstream.name.clone());
        let (origin, profile) = (self.context.origin.clone(), self.profile.clone());
        let at_ms = self.context.clock.stamp().wall_ms;
        Some(Box::pin(async move {
            if with_photos {
                // A record must not go without a photo that is just being written.
                photos.photo_store.written().await;
            }
            let (after, until, sent) = (fetch.after, fetch.until, fetch.sent.clone());
            let sealed = store.clone();
            let read = store.read(move |tx| {
                let maker = Maker {
                    profile: &*profile,
                    origin: &origin,
                    upstream: &name,
                    store: &sealed,
                    photos: Some((&photos, &upstream)),
                    at_ms,
                    tx,
                    dates: OnceCell::new(),
                };
                let make = |stored: Stored, cause| {
                    let resent = sent.contains(stored.entry.seq?);
                    maker.row(&stored, cause, resent)
                };
                let waiting = ledger::waiting(tx, &name, after, until, at_once, make)?;
                let (upto, more) = (waiting.upto, waiting.more);
                let mut page = Page { rows: Vec::new(), left_out: Vec::new(), upto, more };
                let mut lacking = Vec::new();
                for made in waiting.rows.into_iter().flatten() {
                    match made? {
                        (seq, RowMade::Row(row)) => page.rows.push((seq, *row)),
                        (seq, RowMade::LeftOut) => page.left_out.push(seq),
                        (seq, RowMade::Lacks(words)) => {
                            lacking.push(Refusal { seq, words, here: true, at_ms });
                        }
                    }
                }
                Ok::<_, LinkError>((page, lacking))
            });
            let (page, lacking) = read.await?;
            Ok(Read { fetch, page, lacking })
        }))
    }

    /// Takes in rows that were read.
    pub fn fetched(&mut self, mut read: Read) {
        failpoint::at("uplink.read");
        self.refusals.extend(read.lacking);
        self.refusals.extend(self.too_large(&mut read.page));
        self.delivery.fetched(&read.fetch, read.page);
    }

    /// Takes the rows out of a page that the broker does not take for their size, where no stub goes
    /// in their place. They stand aside, because they would end each connection.
    fn too_large(&self, page: &mut Page<Row>) -> Vec<Refusal> {
        if self.profile.stubs_on().is_some() {
            return Vec::new();
        }
        let most = self.largest;
        let is_large = |(_, row): &mut (u64, Row)| packet_bytes(&row.message) > most;
        let refusal = |(seq, row): (u64, Row)| self.too_large_for(seq, packet_bytes(&row.message));
        page.rows.extract_if(.., is_large).map(refusal).collect()
    }

    /// Returns the refusal of a record that the broker does not take for its size.
    pub fn too_large_for(&self, seq: u64, bytes: usize) -> Refusal {
        let (at_ms, most) = (self.context.clock.stamp().wall_ms, self.largest);
        let words = format!(
            "the broker takes messages of up to {most} bytes, and the record has {bytes}: ask its \
             operator for more"
        );
        Refusal { seq, words, here: true, at_ms }
    }

    pub fn has_to_strike(&self) -> bool {
        self.delivery.to_strike() > 0
            || !self.stubbed.is_empty()
            || !self.refusals.is_empty()
            || !self.behind_stubs.is_empty()
            || !self.photos_done.is_empty()
            || self.delivery.upto().unwrap_or(0) > self.struck_upto
            || self.signed.1
    }

    pub fn is_strike_due(&self) -> bool {
        let enough = self.delivery.to_strike() >= STRIKE_ROWS;
        let last = self.has_to_strike() && self.delivery.is_idle();
        self.striking.is_none() && (enough || last)
    }

    /// Notes that a row is handed on.
    pub fn handed(&mut self, seq: u64, row: &Row) {
        self.carried.extend(row.photo.map(|photo| (seq, photo)));
    }

    /// Counts the photos within rows that are struck off.
    fn count_photos(&mut self, rows: &[u64]) {
        let carried = rows.iter().filter_map(|seq| self.carried.remove(seq)).collect::<Vec<_>>();
        self.state.send_if_modified(|s| {
            for photo in carried {
                match photo {
                    Ok(()) => s.photos_sent += 1,
                    Err(why) => s.photo_left_out(why, 1),
                }
            }
            false
        });
    }

    /// Begins to strike off acknowledged rows and rows that are not for this platform.
    pub fn strike(&mut self) {
        let (rows, left_out) = (self.delivery.strike(), self.delivery.strike_left_out());
        let upto = self.delivery.upto().unwrap_or(0);
        let upto = (upto > self.struck_upto).then_some(upto);
        self.struck_upto = upto.unwrap_or(self.struck_upto);
        if let Some(upto) = upto {
            self.state.send_modify(|s| s.acknowledged_upto = Some(upto));
        }
        let stubbed = std::mem::take(&mut self.stubbed);
        let refusals = std::mem::take(&mut self.refusals);
        let behind_stubs = std::mem::take(&mut self.behind_stubs);
        self.count_photos(&rows);
        self.carried.retain(|seq, _| refusals.iter().all(|refusal| refusal.seq != *seq));
        let counts_refused = self.state.borrow().refused_rows > 0;
        let photos_done = std::mem::take(&mut self.photos_done);
        let notes_photos = self.notes_photos;
        let largest = self.largest as u64;
        let signed = self.signed.0.filter(|_| std::mem::take(&mut self.signed.1));
        let (store, name) = (self.context.store.clone(), self.upstream.name.clone());
        self.striking = Some(Box::pin(async move {
            let struck = store.write(Priority::Upkeep, move |tx| {
                let stands_aside = !stubbed.is_empty();
                if stands_aside {
                    ledger::withhold(tx, &name, &stubbed)?;
                    if stubbed.iter().any(|(_, why)| *why == WithheldFor::TooLarge) {
                        set_meta(tx, &limit_key(&name), &largest.to_be_bytes())?;
                    }
                }
                ledger::refuse_behind_stub(tx, &name, &behind_stubs)?;
                ledger::photos_done(tx, &name, &photos_done)?;
                let photos_crowded_out = match notes_photos {
                    true => ledger::note_photos(tx, &name, &rows, upto)?,
                    false => 0,
                };
                let waiting = notes_photos.then(|| ledger::photos_waiting(tx, &name));
                let photos_waiting = waiting.transpose()?;
                let rows = ledger::strike_off(tx, &name, &rows)?;
                let left_out = ledger::strike_off(tx, &name, &left_out)?;
                ledger::refuse(tx, &name, &refusals)?;
                if let Some(signed) = signed {
                    ledger::keep_signed_ack(tx, &name, signed)?;
                }
                let more = upto.map(|upto| ledger::strike_off_upto(tx, &name, upto));
                failpoint::at("uplink.striking");
                let acknowledged = rows + more.transpose()?.unwrap_or(0);
                let withheld = stands_aside.then(|| ledger::withheld(tx, &name)).transpose()?;
                // Refused rows may have been put back meanwhile.
                let any_new = !refusals.is_empty() || !behind_stubs.is_empty();
                let refused = counts_refused || any_new;
                let refused = refused.then(|| ledger::count_refused(tx, &name)).transpose()?;
                Ok::<_, LedgerError>(Struck {
                    acknowledged,
                    left_out,
                    withheld,
                    refused,
                    photos_waiting,
                    photos_crowded_out,
                })
            });
            Ok(struck.await?)
        }));
    }

    pub fn struck(&self, rows: Struck) {
        failpoint::at("uplink.struck");
        self.state.send_modify(|s| {
            s.acknowledged += rows.acknowledged;
            s.left_out += rows.left_out;
            s.withheld = rows.withheld.unwrap_or(s.withheld);
            s.refused_rows = rows.refused.unwrap_or(s.refused_rows);
            s.photos_waiting = rows.photos_waiting.unwrap_or(s.photos_waiting);
            s.photo_left_out(LeftOut::CrowdedOut, rows.photos_crowded_out);
        });
    }

    /// Offers rows again for which the gateway lacked something: the roster has changed.
    pub async fn retry_lacking(&mut self) -> Result<(), LinkError> {
        self.settle().await?;
        if self.state.borrow().refused_rows == 0 {
            return Ok(());
        }
        let name = self.upstream.name.clone();
        let retry = self.context.store.write(Priority::Upkeep, move |tx| {
            let back = ledger::retry_refused(tx, &name, true)?;
            Ok::<_, LedgerError>((back, ledger::count_refused(tx, &name)?))
        });
        let (back, refused) = retry.await?;
        if let Some((first, last)) = back {
            self.delivery.again(first, last);
        }
        self.state.send_modify(|s| s.refused_rows = refused);
        Ok(())
    }

    /// Strikes off all rows that are due, and waits for it.
    pub async fn settle(&mut self) -> Result<(), LinkError> {
        loop {
            match self.striking.take() {
                Some(striking) => {
                    let rows = striking.await?;
                    self.struck(rows);
                }
                None if self.has_to_strike() => self.strike(),
                None => return Ok(()),
            }
        }
    }
}
