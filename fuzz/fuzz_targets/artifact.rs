//! Hostile bytes as an artifact, as the content behind a good header, and as a section of files.
//! It looks for panics, endless work and memory; what is refused and why is the tests' matter.
#![no_main]

use bulkhead_trust::structure::StructuralLimits;
use bulkhead_trust::{Capabilities, Facts, Files, Policy, State, admit, artifact};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(artifact) = artifact::read(bytes, &StructuralLimits::DEFAULT) {
        let facts = Facts::of(&artifact);
        assert_eq!(facts.manifest().expect("a manifest that was read is read again"), artifact.manifest);
        if let Ok(capabilities) = Capabilities::of(bytes, &StructuralLimits::DEFAULT) {
            assert!(capabilities.diff(&capabilities).differences.is_empty());
        }
    }
    let component = [b"\0asm\x0d\0\x01\0", bytes].concat();
    let verdict = admit(
        &component,
        &[],
        &Policy::deny_all(),
        &State::default(),
        jiff::Timestamp::UNIX_EPOCH,
        &StructuralLimits::DEFAULT,
    );
    assert!(!verdict.expect_err("a policy that denies all admits nothing").is_empty());
    if let Ok(files) = Files::decode(bytes) {
        assert_eq!(Files::decode(&files.encode()).expect("files read back"), files);
    }
});
