//! Exports of records with their proofs, for the sheet of another gateway.
//!
//! In: a range of days. Out: the lines of the file, page by page. Records that are added meanwhile
//! are left out, and the head is signed after the last record was read.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{AttendanceQuery, Failure, Listing, Services};
use crate::{
    attendance::{
        export::Heading,
        proven::{Base64, HASHES, Line, Proved, Signing},
    },
    ledger::{self, LedgerError, SignedHead, growth, tree::covering},
};

/// Maximum number of entries of a ledger of which an export proves some. A site has some 1.3 million
/// entries in three years.
const ENTRIES: u64 = 1 << 28;

/// A request for an export of all records of these days.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ExportQuery {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
}

/// An export under way.
pub struct ExportRun<'a> {
    services: &'a Services,
    /// The records, and the extent of those that were read.
    pub listing: Listing<'a>,
    signing: Signing,
    listed: Indices,
    next: Next,
}

/// What comes next in the file.
enum Next {
    Heading(Vec<u8>),
    Records,
    Head,
    /// The entries from this index on are not covered yet.
    Hashes(SignedHead, u64),
    Ending,
    Nothing,
}

/// A set of indices of entries, of one bit each.
#[derive(Debug, Default)]
struct Indices(Vec<u64>);

impl Indices {
    /// Adds an index. One beyond [`ENTRIES`] is left out, so that the proofs do not hold.
    fn insert(&mut self, index: u64) {
        if index >= ENTRIES {
            return;
        }
        let (word, bit) = ((index / 64) as usize, index % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    fn contains(&self, index: u64) -> bool {
        self.0.get((index / 64) as usize).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Returns the end of the run of indices from `begin` on that are all in the set, or all not.
    fn run(&self, begin: u64, end: u64) -> u64 {
        let is_in = self.contains(begin);
        (begin..end).find(|index| self.contains(*index) != is_in).unwrap_or(end)
    }
}

impl Services {
    /// Begins an export.
    pub async fn export(
        &self,
        ExportQuery { from, to }: ExportQuery,
    ) -> Result<ExportRun<'_>, Failure> {
        let (from_day, to_day) = (Some(from), Some(to));
        let query = AttendanceQuery { from: from_day, to: to_day, ..AttendanceQuery::default() };
        let listing = self.attendance(query).await?;
        let zone = self.origin.timezone.iana_name();
        let at = self.origin.time(listing.extent.at);
        let heading = Heading::new(&listing.extent, (from, to), at, zone);
        let (signing, line) = Signing::begin(&heading).map_err(Failure::internal)?;
        let (listed, next) = (Indices::default(), Next::Heading(line));
        Ok(ExportRun { services: self, listing, signing, listed, next })
    }
}

impl ExportRun<'_> {
    /// Returns the next lines; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Heading(line) => {
                self.next = Next::Records;
                Ok(Some(line))
            }
            Next::Records => self.records().await,
            Next::Head => match self.services.sign_head().await {
                Ok(head) => {
                    let line = self.line(&Line::head(&head))?;
                    self.next = Next::Hashes(head, 0);
                    Ok(Some(line))
                }
                // A ledger that cannot be signed must not cost the records.
                Err(error) => {
                    tracing::error!(%error, "an export has no proofs: the ledger cannot be signed");
                    self.next = Next::Ending;
                    Ok(Some(Vec::new()))
                }
            },
            Next::Hashes(head, from) => self.hashes(head, from).await.map(Some),
            Next::Ending => {
                let mut lines = self.line(&Line::Ending(self.listing.extent.ending()))?;
                let end = self.signing.end(&self.services.signing_key);
                lines.extend(end.map_err(Failure::internal)?);
                Ok(Some(lines))
            }
            Next::Nothing => Ok(None),
        }
    }

    fn line(&mut self, line: &Line) -> Result<Vec<u8>, Failure> {
        self.signing.line(line).map_err(Failure::internal)
    }

    async fn records(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = |tx: &rusqlite::Transaction<'_>, attended: &ledger::Attended| {
            let of = |stored: &ledger::Stored| ledger::bytes(tx, stored.entry.index);
            Ok((of(&attended.entry)?, attended.cause.as_ref().map(of).transpose()?))
        };
        let Some(page) = self.listing.page(bytes).await? else {
            self.next = Next::Head;
            return Ok(Some(Vec::new()));
        };
        let mut lines = Vec::new();
        for (record, attended, bytes) in page {
            // Entries of a database that was set aside stand in another tree.
            let all = [Some(&attended.entry), attended.cause.as_ref()].into_iter().flatten();
            let present = all.filter(|stored| stored.entry.ledger == self.services.ledger.id);
            present.for_each(|stored| self.listed.insert(stored.entry.index));
            let proved = Proved::of(&self.services.origin, &record, &attended, bytes);
            lines.extend(self.line(&Line::Record(proved.map_err(Failure::internal)?))?);
        }
        self.next = Next::Records;
        Ok(Some(lines))
    }

    /// Returns a line with the next hashes.
    async fn hashes(&mut self, head: SignedHead, mut from: u64) -> Result<Vec<u8>, Failure> {
        let (size, mut wanted) = (head.head.size, Vec::new());
        while from < size && wanted.len() < HASHES {
            let end = self.listed.run(from, size);
            if !self.listed.contains(from) {
                wanted.extend(covering(from, end));
            }
            from = end;
        }
        self.next = if from < size { Next::Hashes(head, from) } else { Next::Ending };
        let hashes = self.services.store.read(move |tx| {
            let mut prover = growth::prover(tx);
            let hashes = wanted.into_iter().map(|(level, number)| (prover.0)(level, number));
            hashes.collect::<Result<Vec<_>, LedgerError>>()
        });
        let hashes = hashes.await?;
        self.line(&Line::Hashes(Base64(hashes.into_flattened())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_between_the_listed_ones_are_covered() {
        let mut listed = Indices::default();
        [0, 63, 64, 200, u64::MAX].into_iter().for_each(|index| listed.insert(index));
        assert!(listed.contains(63) && !listed.contains(62) && !listed.contains(1000));
        let (mut from, mut runs) = (0, Vec::new());
        while from < 300 {
            from = listed.run(from, 300);
            runs.push(from);
        }
        assert_eq!(runs, [1, 63, 65, 200, 201, 300]);
    }
}
