//! No document of root keys that is not signed by the keys before it puts any in force; the reader never panics, and what it
//! reads is the same when it is written and read again.
#![no_main]

use bulkhead_trust::policy::roots;
use bulkhead_trust::{Roots, SigningKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let anchor = Roots::anchor(vec![SigningKey::generate([7; 32]).verifying_key()], 1);
    assert!(anchor.successor(bytes).is_err());
    let text = String::from_utf8_lossy(bytes);
    for read in [Roots::from_json(bytes), Roots::from_toml(&text), roots::unverified(bytes)].into_iter().flatten() {
        assert!(read.version > 0 && (1..=read.keys.len()).contains(&read.threshold));
        assert_eq!(Roots::from_json(&read.to_json()).ok(), Some(read));
    }
});
