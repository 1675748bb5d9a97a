use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Compares with a plain set. `Sent` may contain more than was sent, and never less.
    #[test]
    fn sent_seqs_are_contained(ranges in prop::collection::vec((0..500_u64, 0..6_u64), 0..80)) {
        let (mut sent, mut plain) = (Sent::default(), BTreeSet::new());
        for (first, more) in ranges {
            let few = sent.above.len() < RANGES;
            let before: Vec<bool> = (0..520).map(|seq| sent.contains(seq)).collect();
            sent.add(first, first + more);
            plain.extend(first..=first + more);
            prop_assert!(sent.above.len() <= RANGES);
            prop_assert!(plain.iter().all(|seq| sent.contains(*seq)));
            for seq in 1..520 {
                let known = before[seq as usize] || (first..=first + more).contains(&seq);
                prop_assert!(!few || sent.contains(seq) == known, "{}", seq);
            }
        }
    }
}
