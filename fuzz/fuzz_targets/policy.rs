//! Hostile bytes as a policy, in both forms and in its envelope.
//! What is read must read back the same, and no envelope verifies by chance.
#![no_main]

use bulkhead_trust::{Policy, SigningKey, policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = [Policy::from_json(bytes), Policy::from_toml(&String::from_utf8_lossy(bytes))];
    for policy in read.into_iter().flatten() {
        policy.check(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(Policy::from_json(&policy.to_json()).expect("a policy reads back"), policy);
    }
    assert!(policy::verify(bytes, &[SigningKey::generate([7; 32]).verifying_key()], 1).is_err());
});
