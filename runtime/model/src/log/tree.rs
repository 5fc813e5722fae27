//! The Merkle tree of RFC 6962 over the log's leaves: its hashes, and which of them a root or a proof is made of. Complete
//! subtrees never change, so that they alone are kept and each answer needs no more of them than the tree is high.
//! It holds no tree: whoever asks has the hashes of the [`Node`]s that are named here.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Most hashes of a proof: a log has fewer than 2^63 leaves.
pub const PROOF_HASHES_MAX: usize = 64;

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    let mut hash = Sha256::new_with_prefix([0]);
    hash.update(leaf);
    Digest::from_bytes(hash.finalize().into())
}

/// The hash of two subtrees beside each other.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hash = Sha256::new_with_prefix([1]);
    hash.update(left.as_bytes());
    hash.update(right.as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// The root of the tree without leaves.
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

/// A complete subtree: the `2^level` leaves from `index * 2^level` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// Its height; a leaf has 0.
    pub level: u32,
    /// Its place among those of its height.
    pub index: u64,
}

/// A subtree that a leaf completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The left half, which is there already.
    pub left: Node,
    /// The subtree.
    pub node: Node,
}

/// The subtrees that the leaf at `index` completes, from the leaf upwards: the right half of each is the one before it, of
/// the first the leaf itself.
pub fn completed_by(index: u64) -> impl Iterator<Item = Completed> {
    (0..index.trailing_ones()).map(move |level| {
        let right = index.checked_shr(level).unwrap_or(0);
        Completed {
            left: Node { level, index: right.saturating_sub(1) },
            node: Node { level: level.saturating_add(1), index: right >> 1 },
        }
    })
}

/// The subtrees that make the root of the first `size` leaves, from left to right; [`join`] joins them.
pub fn root_of(size: u64) -> Vec<Node> {
    subtrees(0, size)
}

/// For each hash of the proof that the leaf at `index` is among the first `size`, the subtrees that [`join`] makes it of.
/// `None` where it is not.
pub fn inclusion_of(index: u64, size: u64) -> Option<Vec<Vec<Node>>> {
    if index >= size {
        return None;
    }
    let (mut start, mut end, mut parts) = (0_u64, size, Vec::new());
    while end.saturating_sub(start) > 1 {
        let middle = start.saturating_add(split(end.saturating_sub(start)));
        if index < middle {
            parts.push(subtrees(middle, end));
            end = middle;
        } else {
            parts.push(subtrees(start, middle));
            start = middle;
        }
    }
    parts.reverse();
    Some(parts)
}

/// For each hash of the proof that the first `from` leaves of the first `to` are what they were, the subtrees that [`join`]
/// makes it of. The proof from nothing is empty, as is the one to the same size. `None` where `to` is smaller.
pub fn consistency_of(from: u64, to: u64) -> Option<Vec<Vec<Node>>> {
    if from > to {
        return None;
    }
    if from == 0 {
        return Some(Vec::new());
    }
    let (mut start, mut end, mut parts) = (0_u64, to, Vec::new());
    while end > from {
        let middle = start.saturating_add(split(end.saturating_sub(start)));
        if from <= middle {
            parts.push(subtrees(middle, end));
            end = middle;
        } else {
            parts.push(subtrees(start, middle));
            start = middle;
        }
    }
    // The whole of the old tree is known to who asks.
    if start > 0 {
        parts.push(subtrees(start, end));
    }
    parts.reverse();
    Some(parts)
}

/// Joins the hashes of adjoining subtrees, from left to right, to the hash of all their leaves. `None` of none.
pub fn join(hashes: &[Digest]) -> Option<Digest> {
    let (last, before) = hashes.split_last()?;
    Some(before.iter().rfold(*last, |right, left| node_hash(left, &right)))
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    let below = count.saturating_sub(1).max(1);
    1_u64 << below.ilog2()
}

/// The complete subtrees that the leaves from `start` up to `end` consist of. `start` is where a subtree at least as large
/// begins, as it does wherever the tree is split.
fn subtrees(mut start: u64, end: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    while start < end {
        let level = start.trailing_zeros().min(end.saturating_sub(start).ilog2());
        nodes.push(Node { level, index: start >> level });
        start = start.saturating_add(1 << level);
    }
    nodes
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// The leaves whose roots are published with the reference implementations of Certificate Transparency.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// The tree as the document defines it.
    fn naive(leaves: &[Vec<u8>]) -> Digest {
        match leaves {
            [] => empty_root(),
            [leaf] => leaf_hash(leaf),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&naive(left), &naive(right))
            }
        }
    }

    fn naive_inclusion(index: usize, leaves: &[Vec<u8>]) -> Vec<Digest> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let middle = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(middle);
        let (mut path, other) = if index < middle {
            (naive_inclusion(index, left), naive(right))
        } else {
            (naive_inclusion(index - middle, right), naive(left))
        };
        path.push(other);
        path
    }

    fn naive_consistency(from: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<Digest> {
        if from == leaves.len() {
            return if whole { Vec::new() } else { vec![naive(leaves)] };
        }
        let middle = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(middle);
        let (mut path, other) = if from <= middle {
            (naive_consistency(from, left, whole), naive(right))
        } else {
            (naive_consistency(from - middle, right, false), naive(left))
        };
        path.push(other);
        path
    }

    /// The hashes of all complete subtrees, as a log that grows keeps them.
    fn grown(leaves: &[Vec<u8>]) -> HashMap<Node, Digest> {
        let mut nodes = HashMap::new();
        for (index, leaf) in (0_u64..).zip(leaves) {
            let mut hash = leaf_hash(leaf);
            nodes.insert(Node { level: 0, index }, hash);
            for Completed { left, node } in completed_by(index) {
                hash = node_hash(&nodes[&left], &hash);
                nodes.insert(node, hash);
            }
        }
        nodes
    }

    fn made(nodes: &HashMap<Node, Digest>, parts: &[Vec<Node>]) -> Vec<Digest> {
        let hash = |part: &Vec<Node>| join(&part.iter().map(|node| nodes[node]).collect::<Vec<_>>()).unwrap();
        parts.iter().map(hash).collect()
    }

    #[test]
    fn the_published_roots_are_ours() {
        let leaves: Vec<Vec<u8>> = LEAVES.iter().map(|leaf| bytes(leaf)).collect();
        let nodes = grown(&leaves);

        for (root, size) in ROOTS.iter().zip(1_u64..) {
            let found = made(&nodes, &[root_of(size)]);
            assert_eq!(found, [Digest::from_bytes(bytes(root).try_into().unwrap())], "{size}");
        }
        assert_eq!(empty_root(), naive(&[]));
    }

    #[test]
    fn roots_and_proofs_are_those_of_the_definition() {
        let leaves: Vec<Vec<u8>> = (0..40_u8).map(|leaf| vec![leaf; usize::from(leaf)]).collect();
        let nodes = grown(&leaves);

        for size in 1..=leaves.len() {
            let to = u64::try_from(size).unwrap();
            assert_eq!(made(&nodes, &[root_of(to)]), [naive(&leaves[..size])]);
            for index in 0..size {
                let parts = inclusion_of(u64::try_from(index).unwrap(), to).unwrap();
                assert_eq!(made(&nodes, &parts), naive_inclusion(index, &leaves[..size]), "{index} of {size}");
            }
            for from in 1..=size {
                let parts = consistency_of(u64::try_from(from).unwrap(), to).unwrap();
                assert_eq!(made(&nodes, &parts), naive_consistency(from, &leaves[..size], true), "{from} to {size}");
            }
        }
    }

    #[test]
    fn what_cannot_be_proven_has_no_proof_and_the_largest_tree_has_a_short_one() {
        assert_eq!(inclusion_of(3, 3), None);
        assert_eq!(inclusion_of(0, 0), None);
        assert_eq!(consistency_of(4, 3), None);
        assert_eq!(consistency_of(0, 3), Some(Vec::new()));
        let largest = u64::MAX >> 1;
        assert!(inclusion_of(largest - 1, largest).unwrap().len() <= PROOF_HASHES_MAX);
        assert!(consistency_of(largest / 3, largest).unwrap().len() <= PROOF_HASHES_MAX);
        assert!(inclusion_of(7, u64::MAX).unwrap().len() <= PROOF_HASHES_MAX);
        assert_eq!(completed_by(u64::MAX >> 1).count(), 63);
    }
}
