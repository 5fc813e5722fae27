//! Builds the standard library for the target and puts it into the sysroot.
//!
//! This is the one place that sets `RUSTC_BOOTSTRAP`: on the host's own build it would change every
//! crate's fingerprint.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sysroot::Sysroot;
use crate::lock::file_error;
use crate::{Error, TARGET, cargo_build, command};

/// Bound of the build: about a minute on two cores.
const BUILD: Duration = Duration::from_secs(30 * 60);

const MANIFEST: &str = r#"[package]
name = "carrier"
version = "0.0.0"
edition = "2024"

[workspace]
"#;

/// Builds `std` with both panic runtimes from the source in `root`, in the empty folder `work`.
///
/// # Errors
/// [`Error::Absent`] without the source, [`Error::Failed`] with the compiler's message.
pub(super) fn build(sysroot: &Sysroot, root: &Path, work: &Path, jobs: NonZeroUsize) -> Result<(), Error> {
    let source = source(root)?;
    let code = work.join("src");
    fs::create_dir_all(&code).map_err(file_error("create", &code))?;
    for (path, text) in [(work.join("Cargo.toml"), MANIFEST), (code.join("lib.rs"), "#![no_std]\n")] {
        fs::write(&path, text).map_err(file_error("write", &path))?;
    }

    let target = work.join("target");
    let mut cargo = cargo_build(&sysroot.rustc(), work);
    cargo.arg("--target-dir").arg(&target);
    cargo.args(["--quiet", "-Zbuild-std=std,panic_abort,panic_unwind", &format!("--jobs={jobs}")]);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("__CARGO_TESTS_ONLY_SRC_ROOT", &source);
    // Bitcode lets a guest's link-time optimisation reach into std; the remapped path keeps the
    // folder of this build out of panic messages and out of digests.
    cargo.env("RUSTFLAGS", format!("-Cembed-bitcode=yes --remap-path-prefix={}=/rustc/library", source.display()));
    command::run(&mut cargo, BUILD)?;

    let built = target.join(TARGET).join("release/deps");
    let mut found = 0;
    for entry in fs::read_dir(&built).map_err(file_error("read", &built))? {
        let path = entry.map_err(file_error("read", &built))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|kind| kind == "rlib") && !name.starts_with("libcarrier-") {
            fs::rename(&path, sysroot.target_libraries().join(name)).map_err(file_error("move", &path))?;
            found += 1;
        }
    }
    if found == 0 { Err(Error::Absent { what: "std's own libraries".to_owned() }) } else { Ok(()) }
}

/// The `library` folder of the compiler's source.
fn source(root: &Path) -> Result<PathBuf, Error> {
    let sources = root.join("usr/src");
    let entries = fs::read_dir(&sources).map_err(file_error("read", &sources))?;
    let mut libraries = entries.filter_map(|entry| Some(entry.ok()?.path().join("library")));
    libraries.find(|path| path.is_dir()).ok_or_else(|| Error::Absent { what: "usr/src/rustc-*/library".to_owned() })
}
