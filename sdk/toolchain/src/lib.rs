//! Finds a Rust toolchain that builds wasm32-wasip2 components, or makes one in a cache folder.
//!
//! It reads no environment variable and installs nothing on the system: what a caller wants is in
//! its [`Request`], what it makes lies in [`Request::cache_dir`] and beside it.

mod command;
mod debian;
mod error;
mod lock;
mod route;
mod smoke;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use error::{Attempt, Error};
pub use route::Origin;

/// The target of every guest.
pub const TARGET: &str = "wasm32-wasip2";

/// The oldest Rust release, as (major, minor), that builds the SDK.
pub const RUST_MIN: (u32, u32) = (1, 95);

/// What the caller wants and allows.
#[derive(Clone, Debug)]
pub struct Request {
    /// A `rustc` that the user named (`BULKHEAD_WASM_RUSTC`). When set, no other route is tried.
    pub rustc_override: Option<PathBuf>,
    /// Folder of the toolchain that is made when none is found; see [`cache_dir_below`]. Its
    /// siblings with the suffixes `.lock`, `.work`, `.old` and `.smoke` belong to this crate too.
    pub cache_dir: PathBuf,
    /// Whether `rustup target add` may download.
    pub allow_rustup_download: bool,
    /// Compiler processes at once while the standard library is built.
    pub jobs: NonZeroUsize,
}

/// The usual [`Request::cache_dir`] inside a user's cache folder, such as `~/.cache`.
pub fn cache_dir_below(user_cache: &Path) -> PathBuf {
    user_cache.join("bulkhead").join(TARGET)
}

/// A compiler that has built a component on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Absolute path of the compiler, to be given to Cargo as `RUSTC`.
    pub rustc: PathBuf,
    /// Where it was found.
    pub origin: Origin,
    /// Tells its standard library from another build of the same release.
    library: String,
}

/// Finds a toolchain or makes one, and proves it by building a component.
///
/// The proof is remembered beside the cache folder, so that a second call takes milliseconds and
/// no network. A toolchain that has to be made takes about two minutes and 140 MB of downloads;
/// `progress` gets a line for each step.
///
/// # Errors
/// [`Error::NoToolchain`] with every route tried and why it failed.
pub fn find_or_make(request: &Request, progress: &mut dyn FnMut(&str)) -> Result<Toolchain, Error> {
    let mut tried = Vec::new();
    for origin in Origin::order(request) {
        match route::attempt(*origin, request, progress) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => tried.push(Attempt { origin: *origin, error }),
        }
    }
    Err(Error::NoToolchain { tried })
}

/// Puts the programs of Debian packages, each of which brings one of its own name, into `folder`, without installing any. It
/// takes a minute and needs no root; the siblings of the folder with the suffixes `.lock`, `.work` and `.old` are this crate's.
///
/// # Errors
/// [`Error::NotThere`] on a system without Debian sources, [`Error::Absent`] for a package without its program, or what apt
/// failed at.
pub fn debian_programs(
    packages: &'static [&'static str],
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    debian::fetch_programs(packages, folder, progress)
}

impl Toolchain {
    /// A `cargo build --release` of the package or workspace at `manifest_dir` into `target_dir`.
    ///
    /// Variables that would change what this compiler is or does are removed; the caller adds
    /// arguments and runs it.
    pub fn build_command(&self, manifest_dir: &Path, target_dir: &Path) -> Command {
        let mut command = cargo_build(&self.rustc, manifest_dir);
        command.arg("--target-dir").arg(target_dir);
        // Cargo knows a compiler by its version alone and would link crates that another build of
        // the same release has left in the folder, which fails with "can't find crate".
        let flags = format!("target.{TARGET}.rustflags=[\"--cfg=bulkhead_std_{}\"]", self.library);
        command.arg("--config").arg(flags);
        command
    }
}

/// The build that guests, the smoke component and the standard library share.
fn cargo_build(rustc: &Path, manifest_dir: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(manifest_dir);
    for name in ["RUSTC_BOOTSTRAP", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        command.env_remove(name);
    }
    command.env("RUSTC", rustc);
    command.args(["build", "--release", "--target", TARGET]);
    command
}
