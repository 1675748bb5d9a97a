//! Chooses the rows of the next call.

use std::collections::{BTreeSet, VecDeque};

use super::{INQUIRIES, Session, Waiting};
use crate::{
    clock::Monotonic,
    uplink::{
        delivery::WINDOW,
        exchange::UNDECIDED,
        profiles::Parcel,
        rows::Row,
        suspects::{Course, present},
    },
};

/// Maximum size of the rows of a call, if it has several.
const CALL_BYTES: usize = 512 << 10;

impl Session<'_> {
    /// Returns the rows of the next call: the oldest one, and those that have their topic in common
    /// with it.
    pub(super) fn gather(&mut self, at_once: usize, now: Monotonic) -> Vec<((u16, u64), Parcel)> {
        let undecided: usize = self.waiting.values().map(|waiting| waiting.seqs.len()).sum();
        let room = UNDECIDED.saturating_sub(undecided);
        // Rows of several topics come mixed, so a call of many rows looks ahead.
        let ahead = if at_once > 1 { WINDOW } else { 1 };
        while self.next.len() < ahead.min(room)
            && self.pauses.has_room()
            && let Some((packet, seq, row)) = self.numbered(now)
        {
            let key = present(seq);
            let is_last = self.last.as_ref() == Some(&key);
            match self.suspects.course(&key) {
                Course::Aside(words) => {
                    self.rows.delivery.undecided(packet);
                    self.suspects.forget(&key);
                    self.refused(seq, words);
                    continue;
                }
                Course::Last if row.serial.is_none() && !is_last => {
                    self.rows.delivery.undecided(packet);
                    self.put_off.insert(key);
                    continue;
                }
                Course::Last | Course::Now => {}
            }
            match row.serial {
                // Connections ended over the question for a verdict on it and others.
                Some(_) if self.suspects.is_to_go_alone(&key) => {
                    self.next.push_back((packet, seq, Row { serial: None, ..row }));
                }
                Some(serial) => {
                    self.rows.delivery.undecided(packet);
                    self.wait_for(serial, [seq], now);
                }
                None if self.pauses.holds(&row.message.topic) => {
                    self.rows.delivery.undecided(packet);
                    self.pauses.put(&row.message.topic, seq, now);
                }
                None => self.next.push_back((packet, seq, row)),
            }
        }
        if room == 0 {
            return Vec::new();
        }
        let mut rows: Vec<((u16, u64), Parcel)> = Vec::new();
        let (mut published, mut repeated, mut bytes) = (0, 0, 0);
        let mut others = VecDeque::new();
        let mut is_full = false;
        for (packet, seq, row) in self.next.drain(..) {
            if self.pauses.holds(&row.message.topic) {
                self.rows.delivery.undecided(packet);
                self.pauses.put(&row.message.topic, seq, now);
                continue;
            }
            let size = row.message.payload.len();
            let goes_alone = self.alone.contains(&seq) || self.suspects.goes_alone(&present(seq));
            let fits = rows.first().is_none_or(|(_, first)| {
                first.message.topic == row.message.topic
                    && !goes_alone
                    && bytes + size <= CALL_BYTES
            });
            if is_full || !fits {
                others.push_back((packet, seq, row));
                continue;
            }
            tracing::trace!(seq, resent = row.resent, "a row is handed on");
            published += 1;
            repeated += u64::from(row.resent);
            bytes += size;
            let Row { message, resent, .. } = row;
            rows.push(((packet, seq), Parcel { seq, message, resent }));
            is_full = goes_alone || rows.len() >= at_once.min(room);
        }
        self.next = others;
        if published > 0 {
            self.rows.state.send_if_modified(|s| {
                s.published += published;
                s.repeated += repeated;
                false
            });
        }
        rows
    }

    /// Offers a row that goes last, if no other row waits.
    pub(super) fn offer_last(&mut self) {
        let delivery = &mut self.rows.delivery;
        let others = !delivery.is_quiet() || delivery.wants().is_some() || !self.next.is_empty();
        if others {
            return;
        }
        if let Some(key) = self.suspects.first(self.put_off.iter()).cloned() {
            self.put_off.remove(&key);
            delivery.again(key.1, key.1);
            self.last = Some(key);
        }
    }

    /// Returns the next row of the delivery with a number of its own.
    fn numbered(&mut self, now: Monotonic) -> Option<(u16, u64, Row)> {
        let (seq, row) = self.rows.delivery.next(now)?;
        self.packet = self.packet.wrapping_add(1);
        self.rows.delivery.numbered(self.packet);
        self.rows.handed(seq, &row);
        Some((self.packet, seq, row))
    }

    pub(super) fn wait_for(
        &mut self,
        serial: String,
        seqs: impl IntoIterator<Item = u64>,
        now: Monotonic,
    ) {
        let pause = *INQUIRIES.start();
        let fresh = || Waiting { seqs: BTreeSet::new(), at: now + pause, pause };
        self.waiting.entry(serial).or_insert_with(fresh).seqs.extend(seqs);
        self.tell_undecided();
    }

    pub(super) fn tell_undecided(&self) {
        let undecided = self.waiting.values().map(|waiting| waiting.seqs.len() as u64).sum();
        self.rows.state.send_modify(|s| s.undecided = undecided);
    }
}
