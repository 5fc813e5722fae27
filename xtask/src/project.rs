//! Where things lie: the repository, its target folder, the user's cache.
//!
//! The only file of the automation that reads the environment.

use std::env;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use bulkhead_toolchain::{Request, cache_dir_below};

/// Root of the repository.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo's target folder of the workspace.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path))
}

/// Where guests are put: `hello.wasm` and so on.
pub(crate) fn guests() -> PathBuf {
    root().join("target/guests")
}

/// Folder of tools that were compiled for these checks.
pub(crate) fn tools() -> PathBuf {
    user_cache().join("bulkhead/tools")
}

/// Folder of other people's registry clients.
pub(crate) fn registry_clients() -> PathBuf {
    user_cache().join("bulkhead/registry-clients")
}

/// Folder of a Python with what the checks import.
pub(crate) fn python() -> PathBuf {
    user_cache().join("bulkhead/python")
}

/// Folders in which programs are looked up.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let mut folders = vec![tools().join("bin")];
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders
}

/// Where a wasm toolchain may come from, by the user's environment.
pub(crate) fn toolchain_request(allow_rustup_download: bool) -> Request {
    Request {
        rustc_override: env::var_os("BULKHEAD_WASM_RUSTC").filter(|path| !path.is_empty()).map(PathBuf::from),
        cache_dir: cache_dir_below(&user_cache()),
        allow_rustup_download,
        jobs: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    }
}

/// A Cargo command at the root, free of what would change the host's build.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root()).args(arguments).env_remove("RUSTC_BOOTSTRAP");
    // What Cargo says of this very package: build scripts that look at it would run again, and with them half of the tree.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "OUT_DIR" {
            command.env_remove(&name);
        }
    }
    command
}

fn user_cache() -> PathBuf {
    let named = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| env::home_dir().map(|home| home.join(".cache"))).unwrap_or_else(env::temp_dir)
}
