//! Hostile bytes as a bundle and as the statement inside one.
//! No signature verifies by chance: a bundle that does is a finding.
#![no_main]

use bulkhead_trust::{Bundle, ReleaseStatement, SigningKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::parse(bytes) {
        assert!(bundle.verify(&[SigningKey::generate([7; 32]).verifying_key()]).is_err());
        assert!(bundle.claims().is_ok() || bundle.claims().is_err());
    }
    if let Ok(statement) = ReleaseStatement::from_json(bytes) {
        assert_eq!(ReleaseStatement::from_json(&statement.to_json()).expect("a statement reads back"), statement);
    }
});
