//! Reads and writes files with a bound on each, and leaves nothing half written.
//! It knows no format.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bulkhead_trust::StructuralLimits;

use crate::error::Error;

/// Largest artifact that any command reads: the most that a policy rule can allow.
pub(crate) const ARTIFACT_BYTES_MAX: u64 = StructuralLimits::MAX.file_bytes;
/// Largest text or JSON document that any command reads: manifest, policy, bundle, configuration.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 1024 * 1024;
/// Largest key file.
pub(crate) const KEY_BYTES_MAX: u64 = 16 * 1024;

/// Mode of files that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;
/// Mode of keys and tokens.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of keys that no program rewrites.
pub(crate) const SEALED: u32 = 0o400;

/// Reads a regular file of at most `max_bytes`.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if metadata.len() > max_bytes {
        return Err(Error::FileTooLarge { path: path.to_owned(), max_bytes });
    }
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max_bytes) {
        return Err(Error::FileTooLarge { path: path.to_owned(), max_bytes });
    }
    Ok(bytes)
}

/// Reads a text document.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read(path, DOCUMENT_BYTES_MAX)?).map_err(|_| Error::Unusable {
        path: path.to_owned(),
        wanted: "a text",
        reason: "it is not UTF-8".to_owned(),
        next: "check that it is the right file, and save it as UTF-8".to_owned(),
    })
}

/// Whether a new file replaces what stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// The new file takes its place at once and completely.
    Replace,
    /// It stays, and the command fails with this advice.
    Keep(&'static str),
}

/// Writes a file with this mode: completely, or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), Error> {
    let mut file = Partial::create(path, mode)?;
    file.write(bytes)?;
    file.finish(existing)
}

/// A file that is being written beside its place and takes it when it is whole. Dropped before, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Partial {
    /// Begins a file for the place `path`.
    pub(crate) fn create(path: &Path, mode: u32) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Write { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let partial = partial_name(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial).map_err(failed)?;
        Ok(Self { path: path.to_owned(), partial, file })
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Takes the place, completely on disk.
    pub(crate) fn finish(self, existing: Existing) -> Result<(), Error> {
        let placed = self.file.sync_all().and_then(|()| match existing {
            Existing::Replace => fs::rename(&self.partial, &self.path),
            // A link, unlike a rename, fails where something stands.
            Existing::Keep(_) => fs::hard_link(&self.partial, &self.path),
        });
        placed.map_err(|source| match existing {
            Existing::Keep(next) if source.kind() == io::ErrorKind::AlreadyExists => {
                Error::Exists { path: self.path.clone(), next }
            }
            Existing::Keep(_) | Existing::Replace => Error::Write { path: self.path.clone(), source },
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        remove(&self.partial);
    }
}

/// A name beside `path` that no other run of any command uses.
fn partial_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.partial", std::process::id()))
}

/// Removes a file of this run, if it is there.
pub(crate) fn remove(path: &Path) {
    fs::remove_file(path).unwrap_or_default();
}

/// Makes a folder that only its owner enters, and those above it.
pub(crate) fn create_private_folder(path: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Makes a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Puts `fresh` in the place of `old`, which goes.
pub(crate) fn exchange_folder(fresh: &Path, old: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: old.to_owned(), source };
    let aside = partial_name(old);
    fs::rename(old, &aside).map_err(failed)?;
    fs::rename(fresh, old).map_err(failed)?;
    clear_folder(&aside, true);
    Ok(())
}

/// Removes a folder that nothing is in.
pub(crate) fn remove_empty_folder(path: &Path) {
    fs::remove_dir(path).unwrap_or_default();
}

/// Removes what is in a folder, and the folder itself if this run made it.
pub(crate) fn clear_folder(path: &Path, is_new: bool) {
    if is_new {
        return fs::remove_dir_all(path).unwrap_or_default();
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_completely_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");

        write(&path, b"one", PUBLIC, Existing::Replace).unwrap();
        write(&path, b"two", PUBLIC, Existing::Replace).unwrap();
        let kept = write(&path, b"three", PUBLIC, Existing::Keep("use another")).unwrap_err();

        assert!(matches!(kept, Error::Exists { .. }), "{kept}");
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_beyond_its_limit_and_a_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, b"12345").unwrap();

        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(matches!(read(&path, 4).unwrap_err(), Error::FileTooLarge { max_bytes: 4, .. }));
        assert!(matches!(read(folder.path(), 4).unwrap_err(), Error::Read { .. }));
        assert!(matches!(write(folder.path(), b"", PUBLIC, Existing::Replace).unwrap_err(), Error::Write { .. }));
    }
}
