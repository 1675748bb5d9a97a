//! The seqs that the platform may have already.

/// Maximum number of separate ranges in a [`Sent`].
const RANGES: usize = 32;

/// The seqs that an earlier connection or run may have carried. Beyond [`RANGES`] ranges it joins
/// two of them and so contains more seqs than were sent. A needless mark does no harm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    upto: u64,
    /// First and last of each range, ascending, with gaps between them.
    above: Vec<(u64, u64)>,
}

impl Sent {
    pub fn upto(seq: u64) -> Sent {
        Sent { upto: seq, above: Vec::new() }
    }

    /// Returns the seq up to which all were sent.
    pub fn all_upto(&self) -> u64 {
        self.upto
    }

    pub fn contains(&self, seq: u64) -> bool {
        seq <= self.upto || self.above.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    pub fn add(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        self.above.push((first, last));
        self.above.sort_unstable();
        let mut apart: Vec<(u64, u64)> = Vec::with_capacity(self.above.len());
        for (first, last) in self.above.drain(..) {
            if first <= self.upto + 1 {
                self.upto = self.upto.max(last);
                continue;
            }
            match apart.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => apart.push((first, last)),
            }
        }
        if apart.len() > RANGES {
            let (_, last) = apart.remove(1);
            apart[0].1 = last;
        }
        self.above = apart;
    }
}

#[cfg(test)]
mod tests;
