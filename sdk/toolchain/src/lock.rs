//! One file lock, so that two processes do not make the same toolchain at once.
//!
//! The lock ends with the process that holds it, so a killed build leaves nothing to clear up.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

/// Longest wait for another process: longer than making a toolchain on a slow machine.
const WAIT: Duration = Duration::from_secs(45 * 60);
/// Pause between two tries.
const POLL: Duration = Duration::from_millis(200);

/// Holds the lock that belongs to `cache_dir` until it is dropped.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for another holder at most 45 minutes.
    ///
    /// # Errors
    /// [`Error::Locked`] after the wait, [`Error::File`] when the lock file cannot be made.
    pub(crate) fn take(cache_dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Lock, Error> {
        Self::take_within(cache_dir, WAIT, progress)
    }

    fn take_within(cache_dir: &Path, wait: Duration, progress: &mut dyn FnMut(&str)) -> Result<Lock, Error> {
        let path = beside(cache_dir, ".lock");
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(file_error("create", parent))?;
        }
        let file = File::create(&path).map_err(file_error("create", &path))?;
        let start = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::Error(source)) => return Err(file_error("lock", &path)(source)),
                Err(TryLockError::WouldBlock) if start.elapsed() >= wait => {
                    return Err(Error::Locked { path, seconds: wait.as_secs() });
                }
                Err(TryLockError::WouldBlock) => {}
            }
            if !told {
                progress("waiting for another process that works on the wasm toolchain");
                told = true;
            }
            thread::sleep(POLL);
        }
    }
}

/// The sibling of `cache_dir` whose name has `suffix` added.
pub(crate) fn beside(cache_dir: &Path, suffix: &str) -> PathBuf {
    let mut name = cache_dir.file_name().map_or_else(OsString::new, OsString::from);
    name.push(suffix);
    cache_dir.with_file_name(name)
}

/// Wraps an I/O error of `operation` on `path`.
pub(crate) fn file_error(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_waits_and_then_says_which_file_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let cache_dir = folder.path().join("toolchain");
        let mut lines = Vec::new();
        let first = Lock::take(&cache_dir, &mut |_| {}).unwrap();

        let second = Lock::take_within(&cache_dir, Duration::from_millis(10), &mut |line| lines.push(line.to_owned()));

        assert!(matches!(second, Err(Error::Locked { path, .. }) if path == folder.path().join("toolchain.lock")));
        assert_eq!(lines.len(), 1);

        drop(first);
        assert!(Lock::take_within(&cache_dir, Duration::ZERO, &mut |_| {}).is_ok());
    }
}
