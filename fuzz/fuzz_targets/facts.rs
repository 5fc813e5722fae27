//! Hostile bytes as the facts that a host keeps of a release, as somebody with its database could write them.
//! A policy that denies all admits none of them.
#![no_main]

use bulkhead_model::Digest;
use bulkhead_trust::admit::evaluate_unsigned_dev;
use bulkhead_trust::{Facts, Policy, State, evaluate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(facts) = serde_json::from_slice::<Facts>(bytes) else { return };
    let (digest, policy, now) = (Digest::of(bytes), Policy::deny_all(), jiff::Timestamp::UNIX_EPOCH);
    assert!(evaluate(&facts, &digest, &[], &policy, &State::default(), now).is_err());
    if let Ok(verdict) = evaluate_unsigned_dev(&facts, &digest, &policy, now) {
        assert_eq!(facts.manifest().expect("judged, so readable").plugin.id, verdict.plugin);
    }
    assert_eq!(serde_json::from_slice::<Facts>(&facts.to_json()).expect("facts read back"), facts);
});
