//! Finds rows over which the broker ends each connection, and lets them stand aside.
//!
//! Such a row would hold up all others. Where the profile knows stubs, a stub goes in its place, so
//! that the platform sees no gap.

use super::Session;
use crate::{
    clock::Monotonic,
    config::Ack,
    ledger::Refusal,
    uplink::{
        client::Cause,
        delivery::Turn,
        rows::Row,
        suspects::{Course, Key, present},
    },
};

impl Session<'_> {
    /// Returns the next row to hand to the client.
    pub(super) fn next_row(&mut self, now: Monotonic) -> Option<(u64, Row)> {
        let (suspects, knows_stubs, last) = (&*self.suspects, self.stubs_on.is_some(), self.last);
        let mut aside = Vec::new();
        let next = self.rows.delivery.next_in_turn(now, |seq| {
            let key = present(seq);
            match suspects.course(&key) {
                Course::Aside(_) if knows_stubs => return Turn::Now,
                Course::Aside(words) => aside.push((seq, words)),
                Course::Last | Course::Now => {}
            }
            suspects.turn(&key, last == Some(seq))
        });
        for (seq, words) in aside {
            self.suspects.forget(&present(seq));
            let refusal = self.refusal(seq, words);
            self.rows.refusals.push(refusal);
        }
        next
    }

    /// Offers a row that goes last, if no other row waits.
    pub(super) fn offer_last(&mut self) {
        let waiting: Vec<Key> = self.rows.delivery.last_ones().map(present).collect();
        if let Some((_, seq)) = self.suspects.first(waiting.iter()) {
            self.rows.delivery.again(*seq, *seq);
            self.last = Some(*seq);
        }
    }

    /// Takes in that the broker answered a message: a row, a stub of one, or no row. `taken`: it has a
    /// record.
    pub(super) fn answered(&mut self, row: Option<u64>, taken: bool) {
        self.suspects.begins(row.map(present));
        self.suspects.answered(taken);
        self.earlier.another_was_taken(taken);
    }

    /// Takes in that the broker has the stub of a row over which connections end.
    pub(super) fn stub_taken(&mut self, seq: u64) {
        let Course::Aside(words) = self.suspects.course(&present(seq)) else { return };
        let refusal = self.refusal(seq, words);
        self.rows.behind_stubs.push(refusal);
        // A platform that acknowledges itself may get the stub again over the next connection.
        if self.to.upstream.ack == Ack::Broker {
            self.suspects.forget(&present(seq));
        }
    }

    /// Takes in that the connection ended. Only its rows can be the reason if the broker has taken
    /// each other kind of message.
    pub(super) fn suspect_rows(&mut self, problem: &str, cause: Cause) {
        let only_rows = self.proofs.unproven().iter().all(|kind| kind.essential);
        if !cause.may_be_a_message() || !only_rows {
            return;
        }
        let suspects = &mut *self.suspects;
        let goes_itself = |key: &Key| !matches!(suspects.course(key), Course::Aside(_));
        let rows = self.rows.delivery.on_their_way().map(present).filter(goes_itself);
        let rows: Vec<Key> = rows.chain(self.earlier.on_their_way()).collect();
        let words = format!("the broker ended each connection over it: {problem}");
        suspects.ended_over(rows, &words);
    }

    pub(super) fn refusal(&self, seq: u64, words: String) -> Refusal {
        let name = &self.to.upstream.name;
        tracing::warn!(upstream = %name, seq, words, "a record stands aside");
        let (now, at_ms) = (self.context.clock.monotonic(), self.context.clock.stamp().wall_ms);
        let what =
            format!("record {seq} stands aside ({words}): see `gatehouse upstream refused {name}`");
        self.state.send_modify(|s| s.trouble(now, what));
        Refusal { seq, words, here: false, at_ms }
    }
}
