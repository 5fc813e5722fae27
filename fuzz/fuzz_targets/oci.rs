//! Hostile bytes as a manifest of the registry, and hostile text as everything that stands in its paths and headers.
//! What is read must read back the same.
#![no_main]

use std::str::FromStr;

use bulkhead_oci::{BlobDigest, ByteRange, Manifest, Reference, RepositoryName, Scope, Tag, Target, media_type};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for media_type in [media_type::IMAGE, media_type::INDEX, media_type::DOCKER_IMAGE, media_type::DOCKER_INDEX] {
        if Manifest::parse(media_type, bytes).is_ok() {
            assert_eq!(bytes.trim_ascii_start().first(), Some(&b'{'), "a manifest is an object");
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    same::<RepositoryName>(text, |name| name.as_str().to_owned());
    same::<BlobDigest>(text, |digest| digest.as_str().to_owned());
    same::<Tag>(text, |tag| tag.as_str().to_owned());
    assert!(Reference::from_str(text).is_err() || text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(Scope::from_str(text).is_err() || text.len() <= 5);
    if let Ok(target) = Target::parse(text) {
        assert!(text.is_ascii() || matches!(target, Target::Upload(..)), "{target:?}");
    }
    for size in [0, 1, 5, u64::MAX] {
        if let Ok(Some(range)) = ByteRange::wanted(text, size) {
            assert!(range.first <= range.last && range.last < size, "{range:?} of {size}");
        }
    }
    if let Ok(range) = ByteRange::sent(text) {
        assert!(range.first <= range.last && range.length() >= 1);
    }
});

fn same<T: FromStr>(text: &str, written: impl Fn(&T) -> String) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(written(&value), text);
    }
}
