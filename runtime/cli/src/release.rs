//! An artifact on disk and the signature bundles beside it: `crm-1.2.0.wasm` with
//! `crm-1.2.0.<n>.sigstore.json`. It judges none of them; `bulkhead_trust` does.

use std::fs;
use std::path::{Path, PathBuf};

use bulkhead_trust::bundle::{BUNDLE_BYTES_MAX, BUNDLES_MAX};

use crate::error::Error;
use crate::file::{self, ARTIFACT_BYTES_MAX, Existing, PUBLIC};

/// Entries of a folder that are looked at for bundles.
const ENTRIES_MAX: usize = 100_000;

/// A release as its files say it.
#[derive(Debug)]
pub(crate) struct Release {
    /// The artifact.
    pub(crate) bytes: Vec<u8>,
    /// The bundles, in the order of their numbers.
    pub(crate) bundles: Vec<BundleFile>,
}

/// A bundle on disk.
#[derive(Debug)]
pub(crate) struct BundleFile {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Release {
    /// Reads an artifact and every bundle beside it.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = file::read(path, ARTIFACT_BYTES_MAX)?;
        let mut numbers = numbers_beside(path)?;
        numbers.sort_unstable();
        if numbers.len() > BUNDLES_MAX {
            return Err(Error::Unusable {
                path: path.to_owned(),
                wanted: "a release",
                reason: format!("{} signature bundles are beside it, {BUNDLES_MAX} at most are read", numbers.len()),
                next: "move the bundles that are not needed away".to_owned(),
            });
        }
        let max_bytes = u64::try_from(BUNDLE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = |number| {
            let path = bundle_path(path, number);
            Ok(BundleFile { bytes: file::read(&path, max_bytes)?, path })
        };
        let bundles = numbers.into_iter().map(read).collect::<Result<_, Error>>()?;
        Ok(Self { bytes, bundles })
    }

    /// The bundles' bytes.
    pub(crate) fn bundle_bytes(&self) -> Vec<&[u8]> {
        self.bundles.iter().map(|bundle| bundle.bytes.as_slice()).collect()
    }
}

/// Writes a bundle under the first number that is free beside `artifact`.
pub(crate) fn write_bundle(artifact: &Path, bundle: &str) -> Result<PathBuf, Error> {
    const NEXT: &str = "move the bundles that are not needed away";
    for number in 1..=BUNDLES_MAX {
        let path = bundle_path(artifact, number);
        match file::write(&path, bundle.as_bytes(), PUBLIC, Existing::Keep(NEXT)) {
            Ok(()) => return Ok(path),
            Err(Error::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Exists { path: bundle_path(artifact, BUNDLES_MAX), next: NEXT })
}

fn bundle_path(artifact: &Path, number: usize) -> PathBuf {
    artifact.with_file_name(format!("{}.{number}.sigstore.json", stem(artifact)))
}

/// The artifact's name without `.wasm`.
fn stem(artifact: &Path) -> String {
    let name = artifact.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".wasm").unwrap_or(&name).to_owned()
}

fn numbers_beside(artifact: &Path) -> Result<Vec<usize>, Error> {
    let folder = match artifact.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let prefix = format!("{}.", stem(artifact));
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)?.take(ENTRIES_MAX) {
        let name = entry.map_err(failed)?.file_name();
        numbers.extend(number_in(&name.to_string_lossy(), &prefix));
    }
    Ok(numbers)
}

/// `n` of `<prefix><n>.sigstore.json`, written without leading zeros.
fn number_in(name: &str, prefix: &str) -> Option<usize> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(".sigstore.json")?;
    let number: usize = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_named_after_its_artifact() {
        check("crm-1.2.0.wasm", "crm-1.2.0.3.sigstore.json");
        check("dist/crm-1.2.0.wasm", "dist/crm-1.2.0.3.sigstore.json");
        check("crm", "crm.3.sigstore.json");
    }

    fn check(artifact: &str, bundle: &str) {
        assert_eq!(bundle_path(Path::new(artifact), 3), Path::new(bundle));
    }

    #[test]
    fn a_number_is_read_from_a_bundles_name_alone() {
        assert_eq!(number_in("crm-1.2.0.12.sigstore.json", "crm-1.2.0."), Some(12));
        for other in [
            "crm-1.2.0.sigstore.json",
            "crm-1.2.0.x.sigstore.json",
            "crm-1.2.0.01.sigstore.json",
            "crm-1.2.0.+1.sigstore.json",
            "crm-1.2.0.1.json",
            "crm.1.sigstore.json",
        ] {
            assert_eq!(number_in(other, "crm-1.2.0."), None, "{other}");
        }
    }

    #[test]
    fn bundles_take_the_next_free_number_and_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = folder.path().join("crm-1.0.0.wasm");
        fs::write(&artifact, b"wasm").unwrap();

        for number in 1..=BUNDLES_MAX {
            write_bundle(&artifact, &format!("bundle {number}")).unwrap();
        }
        let full = write_bundle(&artifact, "one too many").unwrap_err();
        let release = Release::read(&artifact).unwrap();

        assert!(matches!(full, Error::Exists { .. }), "{full}");
        assert_eq!(release.bundles.len(), BUNDLES_MAX);
        assert_eq!(release.bundles[9].bytes, b"bundle 10");
    }
}
