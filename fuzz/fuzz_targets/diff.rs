//! The difference in capabilities between two hostile artifacts: of what is read, both ways, and to itself.
//! The input is the length of the first as two bytes, the first, and the second.
#![no_main]

use bulkhead_trust::Capabilities;
use bulkhead_trust::structure::StructuralLimits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let at = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (old, new) = rest.split_at(at);
    let read = |bytes: &[u8]| Capabilities::of(bytes, &StructuralLimits::DEFAULT);
    let (Ok(old), Ok(new)) = (read(old), read(new)) else { return };
    assert!(old.diff(&old).differences.is_empty());
    let (forth, back) = (old.diff(&new), new.diff(&old));
    assert_eq!(forth.differences.len(), back.differences.len());
});
