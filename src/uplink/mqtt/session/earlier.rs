//! Publishes the waiting records of databases that were set aside, under their own ledger ids.
//!
//! They go out a few at a time, as other messages beside the rows, and each is marked as a possible
//! repeat. The broker's acknowledgement ends a record's way, also with `ack = "platform"`: the record
//! stays in the database that was set aside.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::Session;
use crate::{
    ledger::{Progress, Refusal},
    uplink::{
        link::LinkError,
        rows::packet_bytes,
        set_aside::{self, Page, PageRead},
        suspects::{Course, Key},
    },
};

/// Maximum number of these records on their way.
const AT_ONCE: usize = 4;
/// Number of times that records are offered to a broker that refuses one of them. After them it
/// stands aside.
const OFFERS: u32 = 3;

/// The records of databases that were set aside, over one connection.
#[derive(Default)]
pub(super) struct Earlier {
    /// For each message without a row that the client has not numbered: the seq of one of these.
    unnumbered: VecDeque<Option<u64>>,
    on_their_way: HashMap<u16, u64>,
    /// The records handed to the client that the broker has not answered.
    unanswered: BTreeSet<u64>,
    /// Connections ended over one of these records, so one at a time goes, and no row beside it.
    pub(super) goes_alone: bool,
    /// The record that goes last and is offered next.
    last: Option<Key>,
    /// What is noted when all of them are answered.
    progress: Option<Progress>,
    /// Records for which the gateway lacks something.
    lacking: Vec<Refusal>,
    /// Records of these that the broker refused.
    refused: Vec<Refusal>,
    /// Number of times in succession that the broker refused one.
    refusals: u32,
    /// Nothing more goes out for now: none is left, or one was refused.
    pub(super) rests: bool,
}

impl Earlier {
    pub(super) fn published_other(&mut self) {
        self.unnumbered.push_back(None);
    }

    /// Notes the packet id of the oldest message without a row.
    pub(super) fn numbered(&mut self, packet: u16) {
        if let Some(Some(seq)) = self.unnumbered.pop_front() {
            self.on_their_way.insert(packet, seq);
        }
    }

    /// Takes in that the broker answered a message. Returns the record, if it is one of these.
    fn answered(&mut self, packet: u16) -> Option<u64> {
        let seq = self.on_their_way.remove(&packet)?;
        self.unanswered.remove(&seq);
        self.goes_alone &= !self.unanswered.is_empty();
        Some(seq)
    }

    /// Takes in whether the broker took a row. A record that goes last is then tried again.
    pub(super) fn another_was_taken(&mut self, taken: bool) {
        self.rests &= !(taken && self.last.is_some());
    }

    fn key(&self, seq: u64) -> Key {
        let place = self.progress.as_ref().map(Progress::place).unwrap_or_default();
        (place.to_owned(), seq)
    }

    /// Returns the records that the broker has not answered.
    pub(super) fn on_their_way(&self) -> impl Iterator<Item = Key> {
        self.unanswered.iter().map(|seq| self.key(*seq))
    }

    pub(super) fn refused(&mut self, packet: u16, reason: &str, at_ms: i64) {
        if let Some(seq) = self.answered(packet) {
            let words = format!("the broker refused the record ({reason}): ask its operator why");
            self.refused.push(Refusal { seq, words, here: false, at_ms });
        }
    }

    /// Returns what is to be noted now. Records that include a refused one are offered again after a
    /// pause. At last the refused one stands aside.
    fn taken(&mut self) -> Option<(Progress, Vec<Refusal>)> {
        let progress = self.progress.take_if(|_| self.unanswered.is_empty())?;
        let mut aside = std::mem::take(&mut self.lacking);
        let refused = std::mem::take(&mut self.refused);
        self.refusals = if refused.is_empty() { 0 } else { self.refusals + 1 };
        if (1..OFFERS).contains(&self.refusals) {
            self.rests = true;
            return None;
        }
        self.refusals = 0;
        aside.extend(refused);
        Some((progress, aside))
    }
}

impl Session<'_> {
    /// Begins to read the next records, if none is on its way. It first notes that the upstream has
    /// the records before them.
    pub(super) fn next_earlier(&mut self) -> Option<PageRead> {
        let taken = self.earlier.taken();
        // Without an acknowledgement nothing shows that the upstream has them, so they wait.
        if self.qos_0
            || self.earlier.rests && taken.is_none()
            || !self.earlier.unanswered.is_empty()
        {
            return None;
        }
        let one_by_one = self.suspects.has_earlier();
        if one_by_one && taken.is_none() && !self.rows.delivery.is_idle() {
            return None;
        }
        self.earlier.goes_alone = one_by_one;
        let at_once = if one_by_one { 1 } else { AT_ONCE };
        let (context, name) = (self.context.clone(), self.to.upstream.name.clone());
        let state = self.state.clone();
        let read = set_aside::next_page(&self.rows, at_once);
        Some(Box::pin(async move {
            if let Some((progress, aside)) = taken {
                let refused = set_aside::note(&context, &name, progress, aside).await?;
                state.send_if_modified(|s| {
                    std::mem::replace(&mut s.refused_rows, refused) != refused
                });
            }
            read.await
        }))
    }

    /// Publishes records that were read.
    pub(super) fn publish_earlier(&mut self, read: Option<Page>) -> Result<(), LinkError> {
        let Some(page) = read else {
            self.earlier.rests = true;
            self.earlier.goes_alone = false;
            return Ok(());
        };
        if self.earlier.goes_alone && !self.rows.delivery.is_idle() {
            // It is read again when the rows on their way are acknowledged.
            self.earlier.goes_alone = false;
            return Ok(());
        }
        self.earlier.progress = Some(page.progress);
        self.earlier.lacking = page.lacking;
        for (seq, row) in page.rows {
            let key = self.earlier.key(seq);
            let mut stands_aside = false;
            match self.suspects.course(&key) {
                Course::Aside(words) => {
                    self.suspects.forget(&key);
                    let refusal = self.refusal(seq, words);
                    self.earlier.lacking.push(refusal);
                    if self.stubs_on.is_none() {
                        continue;
                    }
                    stands_aside = true;
                }
                Course::Last if self.earlier.last.as_ref() != Some(&key) => {
                    self.earlier.last = Some(key);
                    (self.earlier.rests, self.earlier.progress) = (true, None);
                    break;
                }
                Course::Last | Course::Now => {}
            }
            let bytes = packet_bytes(&row.message);
            if self.stubs_on.is_none() && bytes > self.rows.largest {
                let refusal = self.rows.too_large_for(seq, bytes);
                self.earlier.lacking.push(refusal);
                continue;
            }
            // A record in place of which a stub goes stays in the database that was set aside.
            let (message, _) = self.fitting(row, stands_aside)?;
            self.handed_row(&message, None);
            self.rows.delivery.publish_other(self.context.clock.monotonic());
            self.earlier.unnumbered.push_back(Some(seq));
            self.earlier.unanswered.insert(seq);
            self.others += 1;
            self.publish(message)?;
        }
        self.earlier.goes_alone &= !self.earlier.unanswered.is_empty();
        Ok(())
    }

    /// Takes in that the broker has one of these records, or a message that is none.
    pub(super) fn earlier_taken(&mut self, packet: u16) {
        if let Some(seq) = self.earlier.answered(packet) {
            self.suspects.taken(self.earlier.key(seq));
        }
    }
}
