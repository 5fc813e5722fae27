//! The routes to a toolchain, in the order in which they are tried.
//!
//! A route only points at a compiler; whether it works is decided by the smoke build.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::lock::Lock;
use crate::{Error, RUST_MIN, Request, TARGET, Toolchain, command, debian, smoke};

/// Bound of a question to a compiler.
const PROBE: Duration = Duration::from_secs(60);
/// Bound of a rustup download.
const RUSTUP: Duration = Duration::from_secs(15 * 60);

/// Where a toolchain comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The compiler that the user named.
    Override,
    /// The installed Rust toolchain has the target's standard library.
    Rustup,
    /// Made earlier, in the cache folder.
    Cache,
    /// The target was added by rustup just now.
    RustupDownload,
    /// Made from Debian packages just now.
    Debian,
}

impl Origin {
    /// The routes that `request` allows. A compiler that the user named is the only one: to pass
    /// over it in silence would build with something that was not asked for.
    pub(crate) fn order(request: &Request) -> &'static [Origin] {
        if request.rustc_override.is_some() {
            return &[Origin::Override];
        }
        &[Origin::Rustup, Origin::Cache, Origin::RustupDownload, Origin::Debian]
    }

    /// Name of the file that remembers the proof.
    pub(crate) fn stamp(self) -> &'static str {
        match self {
            Origin::Override => "override",
            Origin::Rustup | Origin::RustupDownload => "rustup",
            Origin::Cache | Origin::Debian => "cache",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Override => "BULKHEAD_WASM_RUSTC",
            Origin::Rustup => "the rustup target",
            Origin::Cache => "the cache folder",
            Origin::RustupDownload => "a rustup download",
            Origin::Debian => "Debian packages",
        })
    }
}

/// Follows one route to a compiler that has built a component.
///
/// # Errors
/// Why this route gives none.
pub(crate) fn attempt(origin: Origin, request: &Request, progress: &mut dyn FnMut(&str)) -> Result<Toolchain, Error> {
    let rustc = match origin {
        Origin::Override => named(request)?,
        Origin::Rustup => installed()?,
        Origin::Cache => cached(&request.cache_dir)?,
        Origin::RustupDownload => downloaded(request, progress)?,
        Origin::Debian => made(request, progress)?,
    };
    let library = smoke::prove(&rustc, origin, &request.cache_dir, progress)?;
    Ok(Toolchain { rustc, origin, library })
}

fn named(request: &Request) -> Result<PathBuf, Error> {
    match &request.rustc_override {
        Some(rustc) if rustc.is_file() => Ok(rustc.clone()),
        Some(rustc) => Err(not_there(format!("`{}` is not a file", rustc.display()))),
        None => Err(not_there("not set")),
    }
}

/// The installed compiler, if the target's `libstd` really lies in its folder: rustup prints that
/// folder and ends well whether or not the target was ever added.
fn installed() -> Result<PathBuf, Error> {
    libstd(Path::new("rustc"))?;
    let version = command::run(Command::new("rustc").arg("--version"), PROBE)?;
    check_version("rustc", version.strip_prefix("rustc ").unwrap_or(&version))?;
    Ok(Path::new(&printed(Path::new("rustc"), "sysroot")?).join("bin/rustc"))
}

/// The target's `libstd` in the folder that `rustc` names.
///
/// # Errors
/// [`Error::NotThere`] with that folder.
pub(crate) fn libstd(rustc: &Path) -> Result<PathBuf, Error> {
    let folder = printed(rustc, "target-libdir")?;
    let mut entries = std::fs::read_dir(&folder).into_iter().flatten();
    let found = entries.find_map(|entry| entry.ok().filter(|entry| is_libstd(&entry.file_name().to_string_lossy())));
    match found {
        Some(entry) => Ok(entry.path()),
        None => Err(not_there(format!("no `libstd-*.rlib` in `{folder}`"))),
    }
}

fn printed(rustc: &Path, what: &str) -> Result<String, Error> {
    let mut question = Command::new(rustc);
    question.args(["--print", what, "--target", TARGET]);
    Ok(command::run(&mut question, PROBE)?.trim().to_owned())
}

fn is_libstd(name: &str) -> bool {
    name.starts_with("libstd-") && Path::new(name).extension().is_some_and(|extension| extension == "rlib")
}

fn cached(cache_dir: &Path) -> Result<PathBuf, Error> {
    let rustc = cache_dir.join("bin/rustc");
    if rustc.is_file() { Ok(rustc) } else { Err(not_there(format!("`{}` does not exist", rustc.display()))) }
}

fn downloaded(request: &Request, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    if !request.allow_rustup_download {
        return Err(not_there("not allowed; --allow-rustup-download allows it"));
    }
    progress("rustup target add wasm32-wasip2");
    command::run(Command::new("rustup").args(["target", "add", TARGET]), RUSTUP)?;
    installed()
}

/// Makes the toolchain, unless another process made it while this one waited for the lock.
fn made(request: &Request, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let before = std::fs::metadata(request.cache_dir.join("bin/rustc")).and_then(|data| data.modified()).ok();
    let _lock = Lock::take(&request.cache_dir, progress)?;
    let after = std::fs::metadata(request.cache_dir.join("bin/rustc")).and_then(|data| data.modified()).ok();
    if after.is_none() || after == before {
        debian::make(request, progress)?;
    }
    cached(&request.cache_dir)
}

/// Refuses a compiler that is older than the SDK needs; `version` begins with `MAJOR.MINOR`.
pub(crate) fn check_version(package: &str, version: &str) -> Result<(), Error> {
    let mut numbers = version.split(['.', '+', '-', ' ']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= RUST_MIN => Ok(()),
        _ => Err(Error::TooOld { package: package.to_owned(), version: version.trim().to_owned() }),
    }
}

fn not_there(reason: impl Into<String>) -> Error {
    Error::NotThere { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_build_the_sdk_pass() {
        for good in ["1.95.0 (f2d3ce0bd 2026-03-21)", "1.96.0+dfsg1-1~deb12u2", "2.0.0"] {
            assert!(check_version("rustc", good).is_ok(), "{good}");
        }
        for bad in ["1.94.1", "1.85.0+dfsg3-1~deb12u3", "0.99", "", "(none)", "nightly"] {
            assert!(check_version("rustc", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_library_folder_counts_only_with_libstd_in_it() {
        assert!(is_libstd("libstd-6721a411eadf2107.rlib"));
        assert!(!is_libstd("libstd_detect-6b2575dc1444cf26.rlib"));
        assert!(!is_libstd("libstd-6721a411eadf2107.so"));
        assert!(!is_libstd("self-contained"));
    }
}
