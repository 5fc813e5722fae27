//! Hostile bytes as every document of the registry's log, and as a line of an exported audit log.
//! No signature verifies by chance, and nothing that was read is written differently.
#![no_main]

use bulkhead_model::log::Leaf;
use bulkhead_trust::SigningKey;
use bulkhead_trust::log::{Checkpoint, ConsistencyProof, Exported, InclusionProof, Replay, Seen, Timestamp, note};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "fuzz";

fuzz_target!(|bytes: &[u8]| {
    let key = SigningKey::generate([7; 32]);
    let verifying = key.verifying_key();
    assert!(Checkpoint::verify(bytes, &verifying, None).is_err());
    assert!(Timestamp::verify(bytes, &verifying, jiff::Timestamp::UNIX_EPOCH).is_err());
    // What the key did sign is parsed: any text at all.
    if let Ok(text) = std::str::from_utf8(bytes) {
        let signed = note::sign(&format!("{NAME}\n{text}\n"), NAME, &key);
        if let Ok(checkpoint) = Checkpoint::verify(signed.as_bytes(), &verifying, Some(NAME)) {
            let again = Checkpoint::verify(checkpoint.sign(&key).as_bytes(), &verifying, None);
            assert_eq!(again, Ok(checkpoint));
        }
    }
    if let Ok(leaf) = Leaf::from_bytes(bytes) {
        assert_eq!(leaf.to_bytes().as_deref(), Ok(bytes));
    }
    if let Ok(proof) = InclusionProof::from_json(bytes) {
        assert_eq!(InclusionProof::from_json(proof.to_json().as_bytes()), Ok(proof.clone()));
        let root = bulkhead_model::Digest::of(b"a root that nothing leads to");
        let checkpoint = Checkpoint { origin: NAME.to_owned(), size: proof.tree_size, root, audit: None };
        assert!(proof.check(&checkpoint).is_err());
    }
    if let Ok(proof) = ConsistencyProof::from_json(bytes) {
        let root = |text: &[u8]| bulkhead_model::Digest::of(text);
        let at = |size, root| Checkpoint { origin: NAME.to_owned(), size, root, audit: None };
        assert!(proof.check(&at(proof.from, root(b"one")), &at(proof.to, root(b"two"))).is_err());
    }
    if let Ok(seen) = Seen::from_json(bytes) {
        assert_eq!(Seen::from_json(seen.to_json().as_bytes()), Ok(seen));
    }
    if let Ok(line) = Exported::from_line(bytes) {
        assert_eq!(Exported::from_line(line.to_line().as_bytes()), Ok(line));
    }
    let mut replay = Replay::new(None);
    for line in bytes.split(|byte| *byte == b'\n') {
        if replay.line(line).is_err() {
            break;
        }
    }
});
