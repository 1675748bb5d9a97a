//! The Merkle tree over the leaf hashes of all entries (RFC 9162, 2.1): pure.
//!
//! In: leaf hashes in order, and the hashes of complete subtrees, which the caller keeps. Out:
//! roots, inclusion proofs and consistency proofs, and the checks of both. A subtree is complete if
//! it has 2^level leaves; its number counts the subtrees of its level from the left.

use sha2::{Digest, Sha256};

/// A SHA-256 hash of a leaf, of an inner node, or of a whole tree.
pub type Hash = [u8; 32];

/// Returns the hash of an inner node: SHA-256(0x01 || left || right).
fn parent(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Returns the root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of a growing tree: the complete subtrees that cover its leaves, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// Returns the frontier of a tree of `size` leaves, or `None` if the number of subtrees is not
    /// that of the size.
    pub fn new(size: u64, subtrees: Vec<Hash>) -> Option<Frontier> {
        let fits = usize::try_from(size.count_ones()) == Ok(subtrees.len());
        fits.then_some(Frontier { size, subtrees })
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the complete subtrees, largest first.
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Adds a leaf. Calls `completed` with the level, the number and the hash of each subtree that
    /// the leaf completes, except the leaf itself.
    pub fn push(&mut self, leaf: Hash, mut completed: impl FnMut(u32, u64, &Hash)) {
        let mut hash = leaf;
        for level in 1..=self.size.trailing_ones() {
            let Some(left) = self.subtrees.pop() else { break };
            hash = parent(&left, &hash);
            completed(level, self.size >> level, &hash);
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// Adds the leaves of a complete subtree. Their number, `2^level`, must divide the present size.
    fn push_subtree(&mut self, level: u32, hash: Hash) {
        let left = (0..(self.size >> level).trailing_ones()).filter_map(|_| self.subtrees.pop());
        let hash = left.fold(hash, |right, left| parent(&left, &right));
        self.subtrees.push(hash);
        self.size += 1 << level;
    }

    /// Returns the tree's root.
    pub fn root(&self) -> Hash {
        let from_right = self.subtrees.iter().rev().copied();
        from_right.reduce(|right, left| parent(&left, &right)).unwrap_or_else(empty_root)
    }
}

/// Makes proofs for a tree of which `subtree` returns the hash of each complete subtree, by level
/// and number. Level 0 is the leaves.
pub struct Prover<F>(pub F);

impl<E, F: FnMut(u32, u64) -> Result<Hash, E>> Prover<F> {
    /// Returns the hash over the leaves from `begin` to `end`, exclusive.
    fn over(&mut self, begin: u64, end: u64) -> Result<Hash, E> {
        let leaves = end - begin;
        if leaves.is_power_of_two() {
            let level = leaves.trailing_zeros();
            return (self.0)(level, begin >> level);
        }
        let middle = begin + left_part(leaves);
        Ok(parent(&self.over(begin, middle)?, &self.over(middle, end)?))
    }

    /// Returns the root of the first `size` leaves.
    pub fn root(&mut self, size: u64) -> Result<Hash, E> {
        if size == 0 { Ok(empty_root()) } else { self.over(0, size) }
    }

    /// Returns the proof that a leaf is in the tree of the first `size` leaves, nearest hash first
    /// (RFC 9162, 2.1.3.1). It is empty if the tree does not have this leaf.
    pub fn inclusion(&mut self, index: u64, size: u64) -> Result<Vec<Hash>, E> {
        let (mut begin, mut end, mut path) = (0, size, Vec::new());
        while index < size && end - begin > 1 {
            let middle = begin + left_part(end - begin);
            if index < middle {
                path.push(self.over(middle, end)?);
                end = middle;
            } else {
                path.push(self.over(begin, middle)?);
                begin = middle;
            }
        }
        path.reverse();
        Ok(path)
    }

    /// Returns the proof that the tree of the first `old` leaves is the beginning of the tree of
    /// the first `new` ones (RFC 9162, 2.1.4.1). It is empty if `old` is 0 or not less than `new`.
    pub fn consistency(&mut self, old: u64, new: u64) -> Result<Vec<Hash>, E> {
        let (mut begin, mut end, mut path) = (0, new, Vec::new());
        while 0 < old && old < end {
            let middle = begin + left_part(end - begin);
            if old <= middle {
                path.push(self.over(middle, end)?);
                end = middle;
            } else {
                path.push(self.over(begin, middle)?);
                begin = middle;
            }
        }
        // The old tree is complete if nothing is left of it. Its root is known then.
        if begin > 0 && old == end {
            path.push(self.over(begin, end)?);
        }
        path.reverse();
        Ok(path)
    }
}

/// Returns the complete subtrees, by level and number, that together have the leaves from `begin` to
/// `end`, exclusive: from the left, and as few as possible.
pub fn covering(mut begin: u64, end: u64) -> impl Iterator<Item = (u32, u64)> {
    std::iter::from_fn(move || {
        let level = begin.trailing_zeros().min(end.saturating_sub(begin).checked_ilog2()?);
        let subtree = (level, begin >> level);
        begin += 1 << level;
        Some(subtree)
    })
}

/// Returns the root of the tree of `size` leaves of which some are known, by rising index. `between`
/// are the hashes of the subtrees that [cover](covering) the gaps before, between and after them.
/// Returns `None` if an index is out of order, or if there are too few or too many hashes.
pub fn root_of_some(
    size: u64,
    known: impl IntoIterator<Item = (u64, Hash)>,
    between: &[Hash],
) -> Option<Hash> {
    let (mut tree, mut between) = (Frontier::default(), between.iter());
    let ends = known.into_iter().map(|(index, leaf)| (index, Some(leaf)));
    for (index, leaf) in ends.chain([(size, None)]) {
        if index < tree.size || index > size {
            return None;
        }
        for (level, _) in covering(tree.size, index) {
            tree.push_subtree(level, *between.next()?);
        }
        if let Some(leaf) = leaf {
            tree.push_subtree(0, leaf);
        }
    }
    (tree.size == size && between.next().is_none()).then(|| tree.root())
}

/// Returns the number of leaves in the left part of a tree: the largest power of two below `leaves`,
/// which is at least 2.
fn left_part(leaves: u64) -> u64 {
    leaves.next_power_of_two() / 2
}

/// Returns whether the proof leads from the leaf to the root (RFC 9162, 2.1.3.2).
pub fn includes(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for next in path {
        if last == 0 {
            return false;
        }
        if is_right(&mut place, &mut last) {
            hash = parent(next, &hash);
        } else {
            hash = parent(&hash, next);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Returns whether the proof shows that the old tree is the beginning of the new one (RFC 9162,
/// 2.1.4.2). Every tree begins with the empty one.
pub fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> bool {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old == 0 || old >= new {
        let same = old == new && old_root == new_root;
        return path.is_empty() && (same || old == 0 && *old_root == empty_root());
    }
    let known = old.is_power_of_two().then_some(old_root);
    let mut path = known.into_iter().chain(path);
    let Some(first) = path.next() else { return false };
    let shift = (old - 1).trailing_ones();
    let (mut place, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut of_old, mut of_new) = (*first, *first);
    for next in path {
        if last == 0 {
            return false;
        }
        if is_right(&mut place, &mut last) {
            (of_old, of_new) = (parent(next, &of_old), parent(next, &of_new));
        } else {
            of_new = parent(&of_new, next);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && of_old == *old_root && of_new == *new_root
}

/// Returns whether the next hash of a proof is the left neighbour. A last node without a right
/// neighbour first moves up to the level where it is a right child.
fn is_right(place: &mut u64, last: &mut u64) -> bool {
    if *place & 1 == 0 && place != last {
        return false;
    }
    let up = place.trailing_zeros();
    (*place, *last) = (*place >> up, *last >> up);
    true
}

#[cfg(test)]
mod tests;
