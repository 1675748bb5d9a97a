use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Against a plain set; it may say so of more than was sent, never of less.
    #[test]
    fn what_was_sent_is_known(ranges in prop::collection::vec((0..500_u64, 0..6_u64), 0..80)) {
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
