//! Proves a compiler by building a five-line component with it, once.
//!
//! The proof is a stamp with the compiler's path, size and time; it says nothing about the guests
//! that are built later.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::lock::{Lock, beside, file_error};
use crate::route::libstd;
use crate::{Error, Origin, TARGET, cargo_build, command};

/// Bound of the smoke build.
const BUILD: Duration = Duration::from_secs(5 * 60);

/// The first eight bytes of a component: magic, version 13, layer 1.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// It spawns a thread because an old wasi-libc links until something does.
const SOURCE: &str = r#"fn main() {
    let spawned = std::thread::Builder::new().spawn(|| std::env::args().count());
    println!("{}", spawned.is_ok());
}
"#;

const MANIFEST: &str = r#"[package]
name = "smoke"
version = "0.0.0"
edition = "2024"
rust-version = "1.95"

[workspace]
"#;

/// Makes sure that `rustc` has built a component here, by its stamp or by doing it, and returns what
/// tells its standard library from another build of the same release.
///
/// # Errors
/// [`Error::Failed`] with the compiler's message, [`Error::NotAComponent`], [`Error::File`].
pub(crate) fn prove(
    rustc: &Path,
    origin: Origin,
    cache_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<String, Error> {
    let folder = beside(cache_dir, ".smoke");
    let stamp = folder.join(origin.stamp());
    let proof = proof(rustc)?;
    let stamped = fs::read_to_string(&stamp).unwrap_or_default();
    if let Some(library) = stamped.strip_prefix(&proof).filter(|text| !text.is_empty()) {
        return Ok(library.to_owned());
    }

    let _lock = Lock::take(cache_dir, progress)?;
    progress(&format!("smoke component with {}", rustc.display()));
    build(rustc, &folder)?;
    let library = library(rustc)?;
    fs::write(&stamp, format!("{proof}{library}")).map_err(file_error("write", &stamp))?;
    Ok(library)
}

/// A digest of the standard library: no secret and no proof, only a name for its bytes.
fn library(rustc: &Path) -> Result<String, Error> {
    let path = libstd(rustc)?;
    let mut digest = DefaultHasher::new();
    digest.write(&fs::read(&path).map_err(file_error("read", &path))?);
    Ok(format!("{:016x}", digest.finish()))
}

/// Builds the component from nothing in `folder`, whose earlier content is removed.
///
/// # Errors
/// As [`prove`].
pub(crate) fn build(rustc: &Path, folder: &Path) -> Result<(), Error> {
    let project = folder.join("project");
    if project.exists() {
        fs::remove_dir_all(&project).map_err(file_error("remove", &project))?;
    }
    let sources = project.join("src");
    fs::create_dir_all(&sources).map_err(file_error("create", &sources))?;
    for (path, text) in [(project.join("Cargo.toml"), MANIFEST), (sources.join("main.rs"), SOURCE)] {
        fs::write(&path, text).map_err(file_error("write", &path))?;
    }

    let target = project.join("target");
    let mut cargo = cargo_build(rustc, &project);
    cargo.args(["--quiet", "--offline", "--target-dir"]).arg(&target);
    command::run(&mut cargo, BUILD)?;

    let built = target.join(TARGET).join("release/smoke.wasm");
    let bytes = fs::read(&built).map_err(file_error("read", &built))?;
    fs::remove_dir_all(&project).map_err(file_error("remove", &project))?;
    if bytes.starts_with(COMPONENT) { Ok(()) } else { Err(Error::NotAComponent { rustc: rustc.to_owned() }) }
}

/// What a stamp must hold to speak of this compiler.
fn proof(rustc: &Path) -> Result<String, Error> {
    let data = fs::metadata(rustc).map_err(file_error("read", rustc))?;
    let modified = data.modified().map_err(file_error("read", rustc))?;
    let nanoseconds = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(format!("{}\n{} bytes\n{nanoseconds}\n", rustc.display(), data.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn compiler(folder: &Path, script: &str) -> std::path::PathBuf {
        let rustc = folder.join("rustc");
        fs::write(&rustc, script).unwrap();
        fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).unwrap();
        rustc
    }

    #[test]
    fn a_compiler_that_fails_is_refused_with_its_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let rustc = compiler(folder.path(), "#!/bin/sh\necho broken compiler >&2\nexit 1\n");

        let error = prove(&rustc, Origin::Override, &folder.path().join("cache"), &mut |_| {}).unwrap_err();

        assert!(error.to_string().contains("broken compiler"), "{error}");
        assert!(!folder.path().join("cache.smoke/override").exists());
    }

    #[test]
    fn a_stamp_speaks_only_of_the_compiler_it_was_made_for() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let rustc = compiler(folder.path(), "#!/bin/sh\nexit 1\n");
        fs::create_dir_all(folder.path().join("cache.smoke")).unwrap();
        fs::write(folder.path().join("cache.smoke/override"), proof(&rustc).unwrap() + "abc").unwrap();
        assert_eq!(prove(&rustc, Origin::Override, &cache, &mut |_| {}).unwrap(), "abc");

        let rustc = compiler(folder.path(), "#!/bin/sh\n# another one\nexit 1\n");

        assert!(prove(&rustc, Origin::Override, &cache, &mut |_| {}).is_err());
    }
}
