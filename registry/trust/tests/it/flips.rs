//! One flipped bit anywhere in an artifact or its bundle is refused with a reason, and hostile bytes never panic.
//! The positions are random with a fixed seed: a failure comes again.

use bulkhead_model::Manifest;
use bulkhead_trust::policy::roots;
use bulkhead_trust::structure::StructuralLimits;
use bulkhead_trust::{
    Bundle, Capabilities, Facts, Files, Policy, ReleaseStatement, Roots, State, admit, artifact, evaluate, policy,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::fixtures::{
    AUTHOR, POLICY, artifact as good_artifact, key, now, policy as policy_of, read, signed, statement,
};

const FLIPS: u32 = 400;

/// Runs `check` on [`FLIPS`] copies of `bytes`, each with one bit flipped.
fn flip(bytes: &[u8], check: impl Fn(&[u8]) -> bool) {
    let config = Config { cases: FLIPS, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let result = runner.run(&(0..bytes.len(), 0_u8..8), |(at, bit)| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << bit;
        prop_assert!(check(&flipped), "bit {bit} of byte {at} slipped through");
        Ok(())
    });
    result.unwrap();
}

#[test]
fn a_flipped_bit_in_an_artifact_is_refused() {
    let (bytes, policy) = (good_artifact(), policy_of(POLICY));
    let bundle = signed(&bytes, AUTHOR);
    let refused = |bytes: &[u8]| {
        let verdict = admit(bytes, &[bundle.as_bytes()], &policy, &State::default(), now(), &StructuralLimits::DEFAULT);
        verdict.is_err_and(|refusals| !refusals.is_empty())
    };
    assert!(!refused(&bytes));

    flip(&bytes, refused);
}

#[test]
fn a_flipped_bit_in_a_bundle_is_refused() {
    let (bytes, policy) = (good_artifact(), policy_of(POLICY));
    let bundle = signed(&bytes, AUTHOR);
    let refused = |bundle: &[u8]| {
        let verdict = admit(&bytes, &[bundle], &policy, &State::default(), now(), &StructuralLimits::DEFAULT);
        verdict.is_err_and(|refusals| !refusals.is_empty())
    };
    assert!(!refused(bundle.as_bytes()));

    flip(bundle.as_bytes(), refused);
}

#[test]
fn every_single_bit_of_a_bundle_matters() {
    let (bytes, keys) = (good_artifact(), [key(AUTHOR).verifying_key()]);
    let bundle = signed(&bytes, AUTHOR);
    let statement = Bundle::parse(bundle.as_bytes()).unwrap().verify(&keys).unwrap().statement;

    for at in 0..bundle.len() {
        for bit in 0..8 {
            let mut flipped = bundle.clone().into_bytes();
            flipped[at] ^= 1 << bit;
            let verified = Bundle::parse(&flipped).and_then(|bundle| bundle.verify(&keys));
            assert!(verified.is_err(), "bit {bit} of byte {at}: {statement:?}");
        }
    }
}

#[test]
fn a_flipped_bit_in_a_signed_policy_is_refused() {
    let roots = [key(AUTHOR).verifying_key()];
    let envelope = policy::sign(&policy_of(POLICY), &key(AUTHOR));
    let refused = |envelope: &[u8]| policy::verify(envelope, &roots, 1).is_err();
    assert!(!refused(envelope.as_bytes()));

    flip(envelope.as_bytes(), refused);
}

#[test]
fn a_flipped_bit_in_signed_roots_is_refused() {
    let anchor = Roots::anchor(vec![key(AUTHOR).verifying_key()], 1);
    let next = Roots { version: 1, ..anchor.clone() };
    let envelope = roots::sign(&next, &key(AUTHOR));
    let refused = |envelope: &[u8]| anchor.successor(envelope).is_err();
    assert!(!refused(envelope.as_bytes()));

    flip(envelope.as_bytes(), refused);
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0_usize..5_000) {
        // Bytes alone rarely pass a header, so they also replace a part of something good.
        let mut spliced = good_artifact();
        let at = at % spliced.len();
        let end = (at + bytes.len()).min(spliced.len());
        spliced.splice(at..end, bytes.iter().copied());
        let spliced = artifact::read(&spliced, &StructuralLimits::DEFAULT);
        prop_assert!(spliced.is_ok() || spliced.is_err_and(|refusals| !refusals.is_empty()));
        prop_assert!(artifact::read(&bytes, &StructuralLimits::DEFAULT).is_err());
        prop_assert!(artifact::read(&[b"\0asm\x0d\0\x01\0", &bytes[..]].concat(), &StructuralLimits::DEFAULT).is_err());
        prop_assert!(Bundle::parse(&bytes).is_err());
        prop_assert!(Manifest::parse_json(&bytes).is_err());
        prop_assert!(Policy::from_json(&bytes).is_err());
        prop_assert!(policy::verify(&bytes, &[], 1).is_err());
        prop_assert!(Policy::from_toml(&String::from_utf8_lossy(&bytes)).is_err());
        prop_assert!(Roots::from_json(&bytes).is_err());
        prop_assert!(Roots::from_toml(&String::from_utf8_lossy(&bytes)).is_err());
        prop_assert!(Roots::anchor(Vec::new(), 1).successor(&bytes).is_err());
        prop_assert!(Files::decode(&bytes).is_err());
    }

    #[test]
    fn hostile_bytes_in_kept_facts_statements_and_differences_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        at in 0_usize..20_000,
    ) {
        let good = good_artifact();
        let spliced = |whole: &[u8]| {
            let mut spliced = whole.to_vec();
            let at = at % spliced.len();
            let end = (at + bytes.len()).min(spliced.len());
            spliced.splice(at..end, bytes.iter().copied());
            spliced
        };
        let kept = Facts::of(&read(&good).unwrap());

        if let Ok(facts) = serde_json::from_slice::<Facts>(&spliced(&kept.to_json())) {
            let verdict = evaluate(&facts, &kept.digest(), &[], &Policy::deny_all(), &State::default(), now());
            prop_assert!(verdict.is_err_and(|refusals| !refusals.is_empty()));
        }
        let json = statement(&good).to_json();
        if let Ok(read) = ReleaseStatement::from_json(&spliced(&json)) {
            prop_assert_eq!(ReleaseStatement::from_json(&read.to_json()), Ok(read));
        }
        let (old, new) = (Capabilities::of(&good, &StructuralLimits::DEFAULT), Capabilities::of(&spliced(&good), &StructuralLimits::DEFAULT));
        if let (Ok(old), Ok(new)) = (old, new) {
            prop_assert_eq!(old.diff(&new).differences.len(), new.diff(&old).differences.len());
        }
    }

    #[test]
    fn files_read_back_whatever_they_hold(contents in proptest::collection::btree_map("[a-z][a-z0-9]{0,8}(/[a-z][a-z0-9.]{0,8}){0,3}", proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut files = Files::new();
        for (path, bytes) in &contents {
            files.insert(path, bulkhead_trust::File { media_type: "text/plain".to_owned(), bytes: bytes.clone() }).unwrap();
        }
        // A name that is a file and a folder cannot be read back, and is refused instead.
        let folder = contents.keys().any(|path| contents.keys().any(|other| other.starts_with(&format!("{path}/"))));
        match Files::decode(&files.encode()) {
            Ok(read) => prop_assert!(read == files && !folder),
            Err(_) => prop_assert!(folder),
        }
    }
}
