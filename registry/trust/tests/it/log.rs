//! The registry's log as an outsider checks it: what is true verifies, and each way to lie is told by its name.
//! Storage and HTTP are tested where they stand.

mod hostile;

use std::collections::HashMap;

use bulkhead_model::Digest;
use bulkhead_model::audit::{AuditRecord, GENESIS, chain};
use bulkhead_model::log::tree::{
    Completed, Node, completed_by, consistency_of, inclusion_of, join, leaf_hash, node_hash, root_of,
};
use bulkhead_model::log::{Event, Leaf};
use bulkhead_trust::log::{
    AuditHead, Checkpoint, ConsistencyProof, Error, Exported, InclusionProof, Replay, Replayed, Timestamp, note,
};
use bulkhead_trust::{SigningKey, VerifyingKey};
use proptest::prelude::*;

const ORIGIN: &str = "registry.example/log";
const NOW: &str = "2026-11-21T12:00:00Z";

fn key() -> SigningKey {
    SigningKey::generate([21; 32])
}

fn other_key() -> SigningKey {
    SigningKey::generate([22; 32])
}

fn verifying() -> VerifyingKey {
    key().verifying_key()
}

fn now() -> jiff::Timestamp {
    NOW.parse().unwrap()
}

/// A log as a registry keeps it.
#[derive(Clone, Default)]
struct Log {
    leaves: Vec<String>,
    nodes: HashMap<Node, Digest>,
}

impl Log {
    fn of(size: u64) -> Self {
        let mut log = Self::default();
        (0..size).for_each(|number| log.append(&format!("1.0.{number}")));
        log
    }

    fn append(&mut self, version: &str) {
        let digest = Digest::of(version.as_bytes()).to_string();
        let event = Event::ReleasePublish { repository: "acme/crm".into(), version: version.into(), digest };
        let leaf = Leaf { at: 1, event }.to_bytes().unwrap();
        let index = self.size();
        let mut hash = leaf_hash(&leaf);
        self.leaves.push(String::from_utf8(leaf).unwrap());
        self.nodes.insert(Node { level: 0, index }, hash);
        for Completed { left, node } in completed_by(index) {
            hash = node_hash(&self.nodes[&left], &hash);
            self.nodes.insert(node, hash);
        }
    }

    fn size(&self) -> u64 {
        u64::try_from(self.leaves.len()).unwrap()
    }

    fn join(&self, nodes: &[Node]) -> Digest {
        join(&nodes.iter().map(|node| self.nodes[node]).collect::<Vec<_>>()).unwrap()
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        Checkpoint { origin: ORIGIN.into(), size, root: self.join(&root_of(size)), audit: None }
    }

    fn inclusion(&self, index: u64, size: u64) -> InclusionProof {
        InclusionProof {
            leaf_index: index,
            tree_size: size,
            leaf: self.leaves[usize::try_from(index).unwrap()].clone(),
            hashes: inclusion_of(index, size).unwrap().iter().map(|part| self.join(part)).collect(),
            checkpoint: None,
        }
    }

    fn consistency(&self, from: u64, to: u64) -> ConsistencyProof {
        let hashes = consistency_of(from, to).unwrap().iter().map(|part| self.join(part)).collect();
        ConsistencyProof { from, to, hashes }
    }
}

fn timestamp() -> Timestamp {
    Timestamp {
        checkpoint: Log::of(3).checkpoint(3).sign(&key()),
        revocation_epoch: 4,
        policy_version: 7,
        issued_at: "2026-11-21T06:00:00Z".parse().unwrap(),
        expires: "2026-11-22T06:00:00Z".parse().unwrap(),
    }
}

/// An exported audit log of `count` entries.
fn exported(count: u64) -> Vec<Exported> {
    let mut previous = GENESIS;
    let entry = |sequence| {
        let record = AuditRecord {
            sequence,
            at: 1_000,
            actor: "anna".into(),
            action: "plugin.install".into(),
            plugin: "acme.crm".into(),
            tenant: String::new(),
            detail: r#"{"reason":"\u0000 \" 'x'"}"#.into(),
        };
        previous = chain(&previous, &record);
        Exported::of(record, previous)
    };
    (1..=count).map(entry).collect()
}

fn replay(lines: &[String], anchor: Option<AuditHead>) -> Result<Replayed, Error> {
    let mut replay = Replay::new(anchor);
    for line in lines {
        replay.line(line.as_bytes())?;
    }
    replay.end()
}

fn lines(count: u64) -> Vec<String> {
    exported(count).iter().map(Exported::to_line).collect()
}

#[test]
fn a_checkpoint_reads_back_and_holds_the_end_of_the_audit_log() {
    let head = AuditHead { sequence: 12, hash: Digest::of(b"head") };
    let signed = Checkpoint { audit: Some(head), ..Log::of(5).checkpoint(5) };

    let note = signed.sign(&key());

    assert_eq!(Checkpoint::verify(note.as_bytes(), &verifying(), Some(ORIGIN)), Ok(signed.clone()));
    assert_eq!(Checkpoint::verify(note.as_bytes(), &verifying(), None), Ok(signed));
    assert!(note::verifier(ORIGIN, &verifying()).starts_with("registry.example/log+"));
}

#[test]
fn signatures_by_others_and_lines_of_later_versions_do_not_hinder() {
    let checkpoint = Log::of(2).checkpoint(2);
    let note = checkpoint.sign(&key());
    let (text, signature) = note.split_once("\n\n").unwrap();
    let extended = format!("{text}\nsomething else\n");
    let witness = "\u{2014} witness.example AAAAAAQ=\n";

    let cosigned = format!("{text}\n\n{witness}{signature}");
    let later = note::sign(&extended, ORIGIN, &key());

    assert_eq!(Checkpoint::verify(cosigned.as_bytes(), &verifying(), None), Ok(checkpoint.clone()));
    assert_eq!(Checkpoint::verify(later.as_bytes(), &verifying(), None), Ok(checkpoint));
}

#[test]
fn a_timestamp_says_how_far_everything_is_until_it_expires() {
    let signed = timestamp().sign(&key());

    let (read, checkpoint) = Timestamp::verify(signed.as_bytes(), &verifying(), now()).unwrap();

    assert_eq!((read, checkpoint.size), (timestamp(), 3));
    let late = "2026-11-22T06:00:00Z".parse().unwrap();
    let frozen = Timestamp::verify(signed.as_bytes(), &verifying(), late).unwrap_err();
    assert_eq!(frozen, Error::Frozen { expires: "2026-11-22T06:00:00Z".into() });
    let early = "2026-11-21T05:00:00Z".parse().unwrap();
    let future = Timestamp::verify(signed.as_bytes(), &verifying(), early).unwrap_err();
    assert!(future.to_string().contains("future"), "{future}");
}

#[test]
fn an_exported_audit_log_replays_and_meets_its_checkpoint() {
    let whole = replay(&lines(4), None).unwrap();
    let anchor = AuditHead { sequence: 4, hash: whole.head };

    assert_eq!(whole.entries, 4);
    assert_eq!(replay(&lines(6), Some(anchor.clone())).unwrap().entries, 6);
    assert_eq!(replay(&[], Some(AuditHead { sequence: 0, hash: GENESIS })).unwrap().entries, 0);
    let cut = replay(&lines(3), Some(anchor)).unwrap_err();
    assert!(matches!(cut, Error::AuditBroken { sequence: 4, .. }), "{cut}");
    let rewritten = AuditHead { sequence: 2, hash: Digest::of(b"as it was") };
    let rewritten = replay(&lines(4), Some(rewritten)).unwrap_err();
    assert!(rewritten.to_string().contains("written anew"), "{rewritten}");
}

proptest! {
    #[test]
    fn every_leaf_and_every_beginning_of_a_log_is_proven(size in 1_u64..200, index in 0_u64..200, from in 0_u64..200) {
        let (log, index, from) = (Log::of(size), index % size, from % (size + 1));
        let newer = log.checkpoint(size);
        prop_assert!(log.inclusion(index, size).check(&newer).is_ok());
        if from > 0 {
            prop_assert_eq!(log.consistency(from, size).check(&log.checkpoint(from), &newer), Ok(()));
        }
    }

    #[test]
    fn no_other_leaf_and_no_other_beginning_is(size in 2_u64..100, index in 0_u64..100, bit in 0_usize..256, at in 0_usize..8) {
        let (log, index) = (Log::of(size), index % size);
        let checkpoint = log.checkpoint(size);
        let flip = |hashes: &mut Vec<Digest>| {
            let place = at % hashes.len();
            let mut bytes = *hashes[place].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            hashes[place] = Digest::from_bytes(bytes);
        };
        let mut inclusion = log.inclusion(index, size);
        flip(&mut inclusion.hashes);
        let is_told = matches!(inclusion.check(&checkpoint), Err(Error::NotIncluded { .. }));
        prop_assert!(is_told);
        let moved = InclusionProof { leaf_index: (index + 1) % size, ..log.inclusion(index, size) };
        prop_assert!(moved.check(&checkpoint).is_err());
        let from = index.max(1).min(size - 1);
        let mut consistency = log.consistency(from, size);
        flip(&mut consistency.hashes);
        let forked = consistency.check(&log.checkpoint(from), &checkpoint);
        prop_assert_eq!(forked, Err(Error::Fork { from, to: size }));
    }

    #[test]
    fn no_changed_byte_of_a_signed_document_goes_unseen(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let checkpoint = Log::of(9).checkpoint(9);
        let flip = |text: String| {
            let mut bytes = text.into_bytes();
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            bytes
        };
        prop_assert!(Checkpoint::verify(&flip(checkpoint.sign(&key())), &verifying(), Some(ORIGIN)).is_err());
        let changed = flip(timestamp().sign(&key()));
        if let Ok((read, _)) = Timestamp::verify(&changed, &verifying(), now()) {
            // Base64 has two alphabets, and either stands for the same signed bytes.
            prop_assert_eq!(read, timestamp());
        }
        let mut all = lines(3);
        let line = String::from_utf8(flip(all[1].clone()));
        if let Ok(line) = line {
            all[1] = line;
            prop_assert!(replay(&all, None).is_err());
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Checkpoint::verify(&bytes, &verifying(), None).is_err());
        prop_assert!(Timestamp::verify(&bytes, &verifying(), now()).is_err());
        prop_assert!(InclusionProof::from_json(&bytes).is_err());
        prop_assert!(ConsistencyProof::from_json(&bytes).is_err());
        prop_assert!(Replay::new(None).line(&bytes).is_err());
    }
}
