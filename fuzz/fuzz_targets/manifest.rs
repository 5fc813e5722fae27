//! Hostile bytes as a manifest, in both forms.
//! What is read must read back the same.
#![no_main]

use bulkhead_model::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse_json(bytes) {
        assert_eq!(Manifest::parse_json(&manifest.to_json()).expect("a manifest reads back"), manifest);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(manifest) = Manifest::parse_toml(text)
    {
        let packed = manifest.for_artifact();
        assert_eq!(Manifest::parse_json(&packed.to_json()).expect("its packed form reads back"), packed);
    }
});
