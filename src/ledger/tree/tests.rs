//! Tests with the published vectors, and against ct-merkle, an implementation by others.

use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

use super::*;
use crate::ledger::leaf_hash;

/// The leaves of the vectors of certificate-transparency-go, and the roots of the trees of 0 to 8
/// of them.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// A tree as the database has it: complete subtrees by level and number.
#[derive(Default)]
struct Tree {
    frontier: Frontier,
    nodes: std::collections::HashMap<(u32, u64), Hash>,
}

impl Tree {
    fn of(leaves: impl IntoIterator<Item = Hash>) -> Tree {
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.nodes.insert((0, tree.frontier.size()), leaf);
            tree.frontier.push(leaf, |level, number, hash| {
                assert_eq!(tree.nodes.insert((level, number), *hash), None);
            });
        }
        tree
    }

    fn prover(&self) -> Prover<impl FnMut(u32, u64) -> Result<Hash, Infallible>> {
        Prover(|level, number| Ok(self.nodes[&(level, number)]))
    }
}

fn leaves(number: u64) -> impl Iterator<Item = Hash> {
    (0..number).map(|n| leaf_hash(&n.to_be_bytes()))
}

#[test]
fn roots_are_those_of_the_published_vectors() {
    for (size, root) in ROOTS.iter().enumerate() {
        let leaves = LEAVES[..size].iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap()));
        let tree = Tree::of(leaves);
        assert_eq!(hex::encode(tree.frontier.root()), *root, "{size}");
        assert_eq!(hex::encode(tree.prover().root(size as u64).unwrap()), *root, "{size}");
    }
}

#[test]
fn proofs_are_those_of_another_implementation_and_hold() {
    let mut theirs = MemoryBackedTree::<Sha256, [u8; 8]>::new();
    (0..70_u64).for_each(|n| theirs.push(n.to_be_bytes()));
    let ours = Tree::of(leaves(70));
    for size in 1..=70 {
        let mut prover = ours.prover();
        let root = prover.root(size).unwrap();
        let mut theirs = MemoryBackedTree::<Sha256, [u8; 8]>::new();
        (0..size).for_each(|n| theirs.push(n.to_be_bytes()));
        assert_eq!(theirs.root().as_bytes()[..], root[..]);
        for (index, leaf) in (0..size).zip(leaves(size)) {
            let path = prover.inclusion(index, size).unwrap();
            assert_eq!(theirs.prove_inclusion(index as usize).as_bytes(), path.concat());
            assert!(includes(&leaf, index, size, &path, &root), "{index} in {size}");
        }
        for old in 1..size {
            let path = prover.consistency(old, size).unwrap();
            assert_eq!(theirs.prove_consistency((size - old) as usize).as_bytes(), path.concat());
            let old_root = prover.root(old).unwrap();
            assert!(is_consistent((old, &old_root), (size, &root), &path), "{old} to {size}");
        }
    }
}

#[test]
fn every_tree_begins_with_itself_and_with_the_empty_tree() {
    let tree = Tree::of(leaves(6));
    let mut prover = tree.prover();
    let (root, empty) = (prover.root(6).unwrap(), empty_root());
    assert!(prover.consistency(6, 6).unwrap().is_empty());
    assert!(is_consistent((6, &root), (6, &root), &[]));
    assert!(is_consistent((0, &empty), (6, &root), &[]));
    assert!(!is_consistent((6, &empty), (6, &root), &[]));
    assert!(!is_consistent((0, &root), (6, &root), &[]));
    assert!(!is_consistent((7, &root), (6, &root), &[]));
    assert!(!is_consistent((3, &root), (6, &root), &[]));
}

#[test]
fn an_altered_proof_or_another_leaf_place_size_or_root_is_refused() {
    let tree = Tree::of(leaves(21));
    let mut prover = tree.prover();
    let root = prover.root(21).unwrap();
    for (index, leaf) in (0..21).zip(leaves(21)) {
        let path = prover.inclusion(index, 21).unwrap();
        let holds = |leaf: &Hash, index, size, path: &[Hash], root: &Hash| {
            includes(leaf, index, size, path, root)
        };
        assert!(holds(&leaf, index, 21, &path, &root));
        assert!(!holds(&root, index, 21, &path, &root));
        assert!(!holds(&leaf, index, 21, &path, &leaf));
        for other in (0..25).filter(|other| *other != index) {
            assert!(!holds(&leaf, other, 21, &path, &root), "{index} as {other}");
        }
        assert!(!holds(&leaf, index, index, &path, &root));
        assert!(!holds(&leaf, index, 21, &path[1..], &root));
        assert!(!holds(&leaf, index, 21, &[&path[..], &[root]].concat(), &root));
        for at in 0..path.len() {
            let mut altered = path.clone();
            altered[at][0] ^= 1;
            assert!(!holds(&leaf, index, 21, &altered, &root));
        }
    }
    for old in 1..21 {
        let old_root = prover.root(old).unwrap();
        let path = prover.consistency(old, 21).unwrap();
        for at in 0..path.len() {
            let mut altered = path.clone();
            altered[at][31] ^= 1;
            assert!(!is_consistent((old, &old_root), (21, &root), &altered));
        }
        assert!(!is_consistent((old, &root), (21, &root), &path));
        assert!(!is_consistent((old, &old_root), (21, &root), &path[1..]));
        assert!(!is_consistent((old, &old_root), (21, &root), &[&path[..], &[root]].concat()));
    }
}

#[test]
fn a_frontier_continues_from_its_subtrees_and_refuses_another_number_of_them() {
    let all = Tree::of(leaves(13));
    let mut again = Frontier::new(13, all.frontier.subtrees().to_vec()).unwrap();
    let mut other = all.frontier.clone();
    for leaf in leaves(5) {
        again.push(leaf, |_, _, _| {});
        other.push(leaf, |_, _, _| {});
    }
    assert_eq!((again.size(), again.root()), (18, other.root()));
    assert_eq!(Frontier::new(12, all.frontier.subtrees().to_vec()), None);
}

#[test]
fn some_leaves_and_the_subtrees_between_them_have_the_root_of_the_whole_tree() {
    for size in 1..=20_u64 {
        let tree = Tree::of(leaves(size));
        let root = tree.frontier.root();
        let all: Vec<Hash> = leaves(size).collect();
        for chosen in (0..1_u64 << size).step_by(if size > 10 { 97 } else { 1 }) {
            let known: Vec<u64> = (0..size).filter(|index| chosen >> index & 1 == 1).collect();
            let ends = known.iter().copied().chain([size]);
            let begins = [0].into_iter().chain(known.iter().map(|index| index + 1));
            let gaps = begins.zip(ends).flat_map(|(begin, end)| covering(begin, end));
            let between: Vec<Hash> = gaps.map(|subtree| tree.nodes[&subtree]).collect();
            let known: Vec<_> = known.iter().map(|index| (*index, all[*index as usize])).collect();
            let found = |known: &[(u64, Hash)], between: &[Hash]| {
                root_of_some(size, known.iter().copied(), between)
            };
            assert_eq!(found(&known, &between), Some(root), "{size} {chosen:b}");
            // Another leaf, a leaf at another place, and a hash too many or too few do not.
            for at in 0..known.len() {
                let mut other = known.clone();
                other[at].1[0] ^= 1;
                assert_ne!(found(&other, &between), Some(root));
                other.clone_from(&known);
                other[at].0 ^= 1;
                assert_ne!(found(&other, &between), Some(root), "{size} {chosen:b} {at}");
            }
            assert_eq!(found(&known, &[&between[..], &[root]].concat()), None);
            if let Some((_, fewer)) = between.split_last() {
                assert_eq!(found(&known, fewer), None);
            }
        }
    }
    let twice = [(0, [1; 32]), (0, [1; 32])];
    assert_eq!(root_of_some(2, twice, &[]), None);
    assert_eq!(root_of_some(1, [(1, [1; 32])], &[[0; 32]]), None);
    assert_eq!(root_of_some(0, [], &[]), Some(empty_root()));
}

#[test]
fn a_proof_from_the_entries_of_three_years_is_made_and_verified() {
    let (size, mut frontier) = (1_300_000_u64, Frontier::default());
    // The complete subtrees of each level; the leaves are level 0.
    let mut levels = vec![Vec::new(); 21];
    for leaf in (0..size).map(|n| leaf_hash(&n.to_be_bytes())) {
        levels[0].push(leaf);
        frontier.push(leaf, |level, _, hash| levels[level as usize].push(*hash));
    }
    let root = frontier.root();
    let subtree =
        |level: u32, number: u64| Ok::<_, Infallible>(levels[level as usize][number as usize]);
    for index in [0, size / 3, size - 1] {
        let path = Prover(subtree).inclusion(index, size).unwrap();
        assert!(
            path.len() <= 21 && includes(&levels[0][index as usize], index, size, &path, &root)
        );
        assert!(!includes(&levels[0][index as usize ^ 1], index, size, &path, &root));
        let old = Prover(subtree).root(index + 1).unwrap();
        let path = Prover(subtree).consistency(index + 1, size).unwrap();
        assert!(is_consistent((index + 1, &old), (size, &root), &path));
    }
}
