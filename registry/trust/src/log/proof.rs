//! Proofs about a log, as files and as what they prove: that a leaf is in it, that an older tree is the beginning of a newer.
//! Which hashes a proof is made of is [`bulkhead_model::log::tree`]'s; a proof says nothing until a checkpoint holds its root.

use bulkhead_model::Digest;
use bulkhead_model::log::Leaf;
use bulkhead_model::log::tree::{PROOF_HASHES_MAX, empty_root, leaf_hash, node_hash};
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Error, malformed, object};

/// Largest proof as a file, in bytes: a leaf, its hashes and a checkpoint.
pub const PROOF_BYTES_MAX: usize = 64 * 1024;

/// That a leaf is in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// Place of the leaf, from 0.
    pub leaf_index: u64,
    /// Leaves of the tree that it is in.
    pub tree_size: u64,
    /// The leaf, byte for byte.
    pub leaf: String,
    /// The hashes from the leaf upwards.
    pub hashes: Vec<Digest>,
    /// The signed note of that tree, where the registry has a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

impl InclusionProof {
    /// Reads a proof from a file.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "an inclusion proof";
        let proof: Self = read(WHAT, bytes)?;
        if proof.hashes.len() > PROOF_HASHES_MAX {
            return Err(malformed(WHAT, format!("it has more than {PROOF_HASHES_MAX} hashes")));
        }
        Ok(proof)
    }

    /// Writes the proof as a file.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("a proof holds texts and numbers: {error}"))
    }

    /// The leaf that is proven to be in the tree of `checkpoint`.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<Leaf, Error> {
        let failed = |reason| Error::NotIncluded { index: self.leaf_index, size: checkpoint.size, reason };
        if self.tree_size != checkpoint.size {
            return Err(failed("the proof is of a tree of another size"));
        }
        let leaf = Leaf::from_bytes(self.leaf.as_bytes()).map_err(|error| malformed("the leaf", error.to_string()))?;
        match included(self.leaf_index, self.tree_size, leaf_hash(self.leaf.as_bytes()), &self.hashes) {
            None => Err(failed("the proof has too few or too many hashes")),
            Some(root) if root != checkpoint.root => Err(failed("the hashes do not lead to the root")),
            Some(_) => Ok(leaf),
        }
    }
}

/// That an older tree is the beginning of a newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Leaves of the older tree.
    pub from: u64,
    /// Leaves of the newer one.
    pub to: u64,
    /// The hashes.
    pub hashes: Vec<Digest>,
}

impl ConsistencyProof {
    /// Reads a proof from a file.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "a consistency proof";
        let proof: Self = read(WHAT, bytes)?;
        if proof.hashes.len() > PROOF_HASHES_MAX {
            return Err(malformed(WHAT, format!("it has more than {PROOF_HASHES_MAX} hashes")));
        }
        Ok(proof)
    }

    /// Writes the proof as a file.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("a proof holds hashes and numbers: {error}"))
    }

    /// Whether what `old` names is the beginning of what `new` names.
    pub fn check(&self, old: &Checkpoint, new: &Checkpoint) -> Result<(), Error> {
        if old.origin != new.origin {
            return Err(Error::WrongOrigin { found: new.origin.clone(), wanted: old.origin.clone() });
        }
        if new.size < old.size {
            return Err(Error::Rollback { what: "log's size", seen: old.size, found: new.size });
        }
        if (self.from, self.to) != (old.size, new.size) {
            let reason =
                format!("it leads from {} to {}, wanted from {} to {}", self.from, self.to, old.size, new.size);
            return Err(malformed("the consistency proof", reason));
        }
        if consistent(self, &old.root, &new.root) { Ok(()) } else { Err(Error::Fork { from: old.size, to: new.size }) }
    }
}

fn read<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, Error> {
    object(what, bytes, PROOF_BYTES_MAX)
}

/// The root to which `hashes` lead from a leaf; `None` where they are not as many as the way is long.
fn included(index: u64, size: u64, leaf: Digest, hashes: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size.saturating_sub(1), leaf);
    for other in hashes {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(other, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

fn consistent(proof: &ConsistencyProof, old: &Digest, new: &Digest) -> bool {
    let (from, to) = (proof.from, proof.to);
    if from == to {
        return proof.hashes.is_empty() && old == new;
    }
    if from == 0 {
        return proof.hashes.is_empty() && *old == empty_root();
    }
    // Where the old tree is complete, its root is where the way begins and is not repeated.
    let known = from.is_power_of_two().then_some(old);
    let mut hashes = known.into_iter().chain(&proof.hashes);
    let Some(first) = hashes.next() else { return false };
    let (mut at, mut last) = (from.saturating_sub(1), to.saturating_sub(1));
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut older, mut newer) = (*first, *first);
    for other in hashes {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            older = node_hash(other, &older);
            newer = node_hash(other, &newer);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            newer = node_hash(&newer, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && older == *old && newer == *new
}
