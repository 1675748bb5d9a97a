//! The expected state, in plain vectors and sets, independent of the implementation.

use std::collections::BTreeSet;

use crate::{
    ledger::{Body, Closing, Grant, Outcome, Stored},
    turnstile::PassageId,
};

/// The ledger and its upstreams, as the confirmed commits require them.
#[derive(Default)]
pub struct Model {
    pub entries: Vec<Stored>,
    /// Grants without an outcome, oldest first, by index.
    pub open: Vec<(PassageId, usize)>,
    pub links: [Link; 2],
}

#[derive(Default)]
pub struct Link {
    pub configured: bool,
    pub outbox: BTreeSet<u64>,
    /// Rows that reached the broker.
    pub received: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    /// Rows handed to the client on this connection.
    handed: BTreeSet<u64>,
    /// Rows handed to the client on earlier connections.
    handed_before: BTreeSet<u64>,
    /// The last seq when the last run with this upstream ended.
    of_earlier_runs: u64,
    /// The last seq when this connection came up.
    head: u64,
    /// The highest seq that this connection delivered for the first time: of the backlog, and of
    /// fresh rows.
    highest: [u64; 2],
}

impl Model {
    pub fn last_seq(&self) -> u64 {
        self.entries.iter().filter_map(|e| e.entry.seq).max().unwrap_or(0)
    }

    /// Notes that the store has confirmed the commit of an entry.
    pub fn committed(&mut self, stored: Stored) {
        let (entry, index) = (&stored.entry, self.entries.len());
        assert_eq!(entry.index, index as u64, "indexes have no gap");
        let goes_upstream = !matches!(entry.body, Body::Grant(_));
        assert_eq!(entry.seq, goes_upstream.then_some(self.last_seq() + 1), "seqs have no gap");
        match &entry.body {
            Body::Grant(Grant { passage, .. }) => self.open.push((*passage, index)),
            Body::Closing(Closing { passage, cause, .. }) => {
                let (leaf, cause) = (cause.hash, cause.index as usize);
                let open = self.open.iter().position(|o| *o == (*passage, cause));
                let (_, cause) = self.open.remove(open.expect("a grant has one outcome"));
                assert_eq!(leaf, self.entries[cause].leaf);
            }
            _ => {}
        }
        for link in self.links.iter_mut().filter(|link| link.configured) {
            link.outbox.extend(entry.seq);
        }
        self.entries.push(stored);
    }

    /// Ends a run and begins the next one with these upstreams. A new upstream gets all rows. An
    /// upstream that was not configured for a while gets the rows recorded since.
    pub fn restarted(&mut self, configured: [bool; 2]) {
        let last_seq = self.last_seq();
        for (link, configured) in self.links.iter_mut().zip(configured) {
            if link.configured {
                link.of_earlier_runs = last_seq;
            } else if configured {
                link.outbox.extend(link.of_earlier_runs + 1..=last_seq);
            }
            link.configured = configured;
            link.reconnected(last_seq);
        }
    }

    /// Notes that the start has closed the open grants, oldest first. `found` are the entries that
    /// came in since.
    pub fn interrupted(&mut self, found: Vec<Stored>) {
        let open: Vec<_> = self.open.iter().map(|(passage, _)| *passage).collect();
        let unconfirmed = found.iter().map(|stored| match stored.entry.body {
            Body::Closing(Closing { passage, outcome: Outcome::Unconfirmed, .. }) => passage,
            ref other => panic!("{other:?} was not open"),
        });
        assert_eq!(unconfirmed.collect::<Vec<_>>(), open, "what was open is unconfirmed");
        found.into_iter().for_each(|stored| self.committed(stored));
    }
}

impl Link {
    pub fn reconnected(&mut self, head: u64) {
        self.handed_before.append(&mut self.handed);
        (self.head, self.highest) = (head, [0, 0]);
    }

    /// Notes that a row is handed to the client. It must be marked exactly if it may have been sent
    /// before.
    pub fn handed(&mut self, seq: u64, resent: bool) {
        assert!(self.outbox.contains(&seq), "{seq} was struck off and is sent again");
        let maybe = seq <= self.of_earlier_runs || self.handed_before.contains(&seq);
        assert_eq!(resent, maybe, "{seq} is marked exactly if it may have been sent before");
        assert!(self.handed.insert(seq), "{seq} is sent twice over one connection");
    }

    /// Notes that a row reached the broker.
    pub fn delivered(&mut self, seq: u64, resent: bool) {
        let highest = &mut self.highest[usize::from(seq > self.head)];
        if self.received.insert(seq) {
            assert!(seq > *highest, "{seq} arrives for the first time after {highest}");
            *highest = seq;
        } else {
            assert!(resent, "{seq} is repeated without the mark");
        }
    }

    pub fn acknowledged(&mut self, seq: u64) {
        assert!(self.received.contains(&seq));
        self.acknowledged.insert(seq);
    }

    /// Notes that the store has confirmed the removal of these rows.
    pub fn struck_off(&mut self, seqs: &[u64]) {
        for seq in seqs {
            assert!(self.acknowledged.contains(seq), "{seq} was never acknowledged");
            assert!(self.outbox.remove(seq), "{seq} is struck off twice");
        }
    }
}
