//! Where the programs of the workspace lie: the compile worker and the `bulkhead` binary.
//! It starts none of them.
//!
//! A package's own binaries are built with its integration tests and lie one folder above them, so the compile worker
//! of tests is a binary of the end-to-end package: always there, always as fresh as the tests. The `bulkhead` binary
//! belongs to another package and is built on demand, once per change, under a file lock.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Name of the compile worker that tests bring along.
const WORKER: &str = "bulkhead-e2e";
/// Where it is looked for after that: the engine's own worker program, or the whole binary.
const OTHER_WORKERS: [&str; 2] = ["bulkhead-compile-worker", "bulkhead"];
/// What the binary is made of, beyond what this test is made of.
const BINARY_SOURCES: &str = "runtime/cli";

/// The program that compiles for test hosts.
pub fn compile_worker() -> PathBuf {
    let folder = folder();
    let names = [WORKER].into_iter().chain(OTHER_WORKERS);
    names.map(|name| folder.join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("there is no compile worker in `{}`: cargo build --package bulkhead-e2e --bins", folder.display())
    })
}

/// The `bulkhead` binary, built if it is missing or older than this test or its own sources.
pub fn bulkhead() -> PathBuf {
    let folder = folder();
    let (program, stamp) = (folder.join("bulkhead"), folder.join("bulkhead.for-tests"));
    let lock = File::create(folder.join("bulkhead.for-tests.lock")).expect("the target folder can be written");
    lock.lock().expect("a file lock");
    let built = modified(&stamp).filter(|_| program.is_file());
    let needed = modified(&executable()).into_iter().chain(newest(&root().join(BINARY_SOURCES))).max();
    if built.is_none() || built < needed {
        let began = File::create(folder.join("bulkhead.for-tests.began")).and_then(|file| file.metadata()?.modified());
        build(folder.ends_with("release"));
        let stamped = File::create(&stamp).and_then(|file| file.set_modified(began?));
        stamped.expect("the target folder can be written");
    }
    program
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's folder")
}

/// The workspace's target folder.
pub fn target() -> PathBuf {
    folder().parent().expect("a profile's folder lies in the target folder").to_owned()
}

fn build(is_release: bool) {
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo.current_dir(root()).args(["build", "--quiet", "--package", "bulkhead-cli", "--bin", "bulkhead"]);
    if is_release {
        cargo.arg("--release");
    }
    // What Cargo says of the test's own package: build scripts that look at it would run again, and with them half of the tree.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "OUT_DIR" {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "the `bulkhead` binary does not build: cargo build --package bulkhead-cli");
}

/// The profile's folder: that of this test's executable, or the one above where Cargo keeps `deps`.
fn folder() -> PathBuf {
    let executable = executable();
    let folder = executable.parent().expect("a program lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.to_owned()
}

fn executable() -> PathBuf {
    std::env::current_exe().expect("the test's own executable")
}

fn newest(path: &Path) -> Option<SystemTime> {
    let below = std::fs::read_dir(path).into_iter().flatten().filter_map(|entry| newest(&entry.ok()?.path()));
    below.chain(modified(path)).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
