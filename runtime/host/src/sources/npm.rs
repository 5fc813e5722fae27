//! A release in a package of an npm registry: the tarball's integrity is checked before a byte of it is unpacked, and it is
//! unpacked in memory, within bounds.

use std::collections::BTreeMap;
use std::io::Read as _;

use bulkhead_model::Code;
use bulkhead_oci::tar;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};

use super::fetcher::{Fetcher, parse};
use super::{ARTIFACT_BYTES_MAX, BUNDLE_BYTES_MAX, BUNDLES_MAX, Sent, archived, invalid, is_bundle_of, refused};
use crate::error::Error;
use crate::fetch::Url;

/// The registry where none is named.
pub(super) const PUBLIC_REGISTRY: &str = "https://registry.npmjs.org";
/// Documents without what only people read.
const ACCEPT: &str = "application/vnd.npm.install-v1+json, application/json;q=0.8";
/// Largest tarball in bytes.
const TARBALL_BYTES_MAX: usize = ARTIFACT_BYTES_MAX;
/// Most bytes that a tarball unpacks to.
const UNPACKED_BYTES_MAX: usize = 2 * ARTIFACT_BYTES_MAX;
/// Most bytes that a byte of a tarball unpacks to, beyond the first mebibyte.
const RATIO_MAX: usize = 100;
/// Longest name of a package in bytes.
const PACKAGE_BYTES_MAX: usize = 214;

/// What is wanted of which registry.
pub(super) struct Wanted<'a> {
    pub(super) package: &'a str,
    pub(super) version: &'a str,
    pub(super) registry: &'a str,
    pub(super) file: Option<&'a str>,
}

#[derive(Deserialize)]
struct Package {
    #[serde(default, rename = "dist-tags")]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    versions: BTreeMap<String, Version>,
}

#[derive(Deserialize)]
struct Version {
    dist: Dist,
}

#[derive(Deserialize)]
struct Dist {
    tarball: String,
    #[serde(default)]
    integrity: String,
}

pub(super) async fn fetch(fetcher: &Fetcher<'_>, wanted: &Wanted<'_>) -> Result<Sent, Error> {
    let url = package_url(wanted.registry, wanted.package)?;
    let package: Package = fetcher.json(url, ACCEPT).await?;
    let version = package.tags.get(wanted.version).map_or(wanted.version, String::as_str);
    let known = package.versions.get(version).ok_or_else(|| {
        Error::not_found("version of the package", &format!("{}@{}", wanted.package, shown(wanted.version)))
    })?;
    let tarball = fetcher.bytes(&known.dist.tarball, TARBALL_BYTES_MAX).await?;
    check_integrity(&tarball, &known.dist.integrity)?;
    let unpacked = unpack(&tarball)?;
    release(&tar::read(&unpacked).map_err(|error| archived(&error))?, wanted.file)
}

/// `<registry>/<package>`, in which a scope's slash is escaped.
fn package_url(registry: &str, package: &str) -> Result<Url, Error> {
    let is_part = |part: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_letter)
    };
    let is_name = match package.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
        Some(Some((scope, name))) => is_part(scope) && is_part(name),
        Some(None) => false,
        None => is_part(package),
    };
    if !is_name || package.len() > PACKAGE_BYTES_MAX {
        return Err(invalid("/source/package", "a package is a name such as `crm` or `@acme/crm`"));
    }
    parse(&format!("{}/{}", registry.trim_end_matches('/'), package.replace('/', "%2f")))
}

/// One of the `sha512-<base64>` of an integrity is that of the bytes. Weaker hashes count for nothing.
fn check_integrity(bytes: &[u8], integrity: &str) -> Result<(), Error> {
    let found = format!("sha512-{}", data_encoding::BASE64.encode(&Sha512::digest(bytes)));
    let mut wanted = integrity.split_ascii_whitespace().filter(|hash| hash.starts_with("sha512-")).peekable();
    if wanted.peek().is_none() {
        return Err(refused(Code::Malformed, "the registry tells no sha512 integrity of the package"));
    }
    if wanted.any(|hash| hash == found) {
        return Ok(());
    }
    Err(refused(Code::DigestMismatch, "the package has another sha512 than the registry says"))
}

/// What a gzip stream holds, as long as that is in proportion.
fn unpack(tarball: &[u8]) -> Result<Vec<u8>, Error> {
    let most = tarball.len().saturating_mul(RATIO_MAX).saturating_add(1 << 20).min(UNPACKED_BYTES_MAX);
    let mut unpacked = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = flate2::read::GzDecoder::new(tarball).take(limit).read_to_end(&mut unpacked);
    read.map_err(|error| refused(Code::Malformed, format!("the package is no gzip: {error}")))?;
    if unpacked.len() > most {
        return Err(refused(Code::TooLarge, format!("the package unpacks to more than {most} bytes")));
    }
    Ok(unpacked)
}

/// The artifact and the bundles beside it. Every path has the folder `package/`, or another one, before it.
fn release(entries: &[tar::Entry<'_>], file: Option<&str>) -> Result<Sent, Error> {
    let inner = |path: &str| path.split_once('/').map_or(path.to_owned(), |(_, inner)| inner.to_owned());
    let files: Vec<(String, &[u8])> = entries.iter().map(|entry| (inner(&entry.path), entry.bytes)).collect();
    let found: Vec<_> = match file {
        Some(file) => files.iter().filter(|(path, _)| path == file).collect(),
        None => files.iter().filter(|(path, _)| path.ends_with(".wasm")).collect(),
    };
    let (path, artifact) = match found.as_slice() {
        [(path, artifact)] => (path, artifact),
        [] => return Err(refused(Code::Malformed, "the package does not hold the file that is wanted, or no `.wasm`")),
        _ => return Err(refused(Code::Malformed, "the package holds several `.wasm`: name one as `file`")),
    };
    let bundles: Vec<Vec<u8>> =
        files.iter().filter(|(beside, _)| is_bundle_of(beside, path)).map(|(_, bytes)| bytes.to_vec()).collect();
    if artifact.len() > ARTIFACT_BYTES_MAX || bundles.len() > BUNDLES_MAX {
        return Err(refused(Code::TooLarge, format!("{ARTIFACT_BYTES_MAX} bytes and {BUNDLES_MAX} bundles are taken")));
    }
    if bundles.iter().any(|bundle| bundle.len() > BUNDLE_BYTES_MAX) {
        return Err(refused(Code::TooLarge, format!("a bundle has at most {BUNDLE_BYTES_MAX} bytes")));
    }
    Ok(Sent { artifact: artifact.to_vec(), bundles })
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bulkhead_model::Coded as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_given_up_before_it_unfolds() {
        assert_eq!(unpack(&gzip(&vec![0; 64 << 20])).unwrap_err().code(), Code::TooLarge);
        assert_eq!(unpack(&gzip(b"hello")).unwrap(), b"hello");
        assert_eq!(unpack(b"no gzip").unwrap_err().code(), Code::Malformed);
        let whole = gzip(b"hello, hello, hello");
        assert_eq!(unpack(&whole[..whole.len() - 9]).unwrap_err().code(), Code::Malformed);
        let mut broken = whole.clone();
        let last = broken.len() - 5;
        broken[last] ^= 1;
        assert_eq!(unpack(&broken).unwrap_err().code(), Code::Malformed);
    }

    #[test]
    fn only_a_sha512_vouches_for_a_package() {
        let good = format!("sha512-{}", data_encoding::BASE64.encode(&Sha512::digest(b"x")));
        let check = |integrity: &str, wanted: Option<Code>| {
            assert_eq!(check_integrity(b"x", integrity).err().map(|error| error.code()), wanted, "{integrity}");
        };

        check(&good, None);
        check(&format!("sha1-abc {good}"), None);
        check("sha512-AAAA", Some(Code::DigestMismatch));
        check("sha1-abc", Some(Code::Malformed));
        check("", Some(Code::Malformed));
    }

    #[test]
    fn a_package_has_a_name_that_leads_to_no_other_place() {
        let url = |package: &str| package_url("https://r.example/npm/", package).map(|url| url.to_string()).ok();

        assert_eq!(url("crm").as_deref(), Some("https://r.example/npm/crm"));
        assert_eq!(url("@acme/crm").as_deref(), Some("https://r.example/npm/@acme%2fcrm"));
        for wrong in ["", "a/b", "../x", "@acme", "@/x", "@acme/../x", "a?b", "a#b", ".hidden", &"x".repeat(215)] {
            assert_eq!(url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_artifact_is_the_only_wasm_or_the_one_that_is_named() {
        let entry = |path: &str| tar::Entry { path: path.to_owned(), bytes: b"x" };
        let check = |paths: &[&str], file: Option<&str>, bundles: Option<usize>| {
            let entries: Vec<_> = paths.iter().map(|path| entry(path)).collect();
            assert_eq!(release(&entries, file).ok().map(|sent| sent.bundles.len()), bundles, "{paths:?}");
        };

        check(&["package/package.json", "package/crm.wasm", "package/crm.1.sigstore.json"], None, Some(1));
        check(&["package/a.wasm", "package/b.wasm"], None, None);
        check(&["package/a.wasm", "package/b.wasm"], Some("b.wasm"), Some(0));
        check(&["package/a.wasm"], Some("c.wasm"), None);
        check(&["package/package.json"], None, None);
        check(&["package/dist/crm.wasm", "package/crm.1.sigstore.json"], None, Some(0));
    }
}
