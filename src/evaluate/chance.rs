//! Numbers that look random and are the same in each run.

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(super) struct Chance(u64);

impl Chance {
    /// Returns the sequence of one purpose.
    pub(super) fn of(purpose: u64) -> Chance {
        Chance(purpose)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`; 0 if the bound is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // The product's upper half is below the bound.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Puts the values into another order.
    pub(super) fn shuffle<T>(&mut self, values: &mut [T]) {
        for at in (1..values.len()).rev() {
            values.swap(at, self.below(at + 1));
        }
    }

    /// Returns how often each person is chosen, if as many people are chosen with repetition.
    pub(super) fn weights(&mut self, people: usize) -> Vec<f64> {
        let mut weights = vec![0.0; people];
        for _ in 0..people {
            if let Some(weight) = weights.get_mut(self.below(people)) {
                *weight += 1.0;
            }
        }
        weights
    }
}
