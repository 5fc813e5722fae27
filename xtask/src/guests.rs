//! Builds the wasm plugins and puts their components where tests and the demo find them.
//!
//! Guests have their own workspace, lock file and target folder, because another compiler builds
//! them. Signing and packing are the product's work, not this file's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bulkhead_toolchain::{TARGET, find_or_make};

use crate::arguments::{self, Arguments};
use crate::step::{self, Stopwatch};
use crate::{Error, project, terminal};

const HELP: &str = "\
Builds the plugins in plugins/ for wasm32-wasip2 into target/guests/<name>.wasm.

Usage: cargo xtask guests [--allow-rustup-download] [--force]

The compiler is the first of these that builds a small component:
  1. the rustc that BULKHEAD_WASM_RUSTC names (then no other is tried)
  2. the installed Rust toolchain, if it has the target's standard library
  3. the one in ~/.cache/bulkhead/wasm32-wasip2
  4. with --allow-rustup-download, the target added by `rustup target add`
  5. one made there from Debian packages: about two minutes, 140 MB, no root

Nothing is built while no source is newer than the components; --force builds anyway.
";

/// Bound of compiling all guests.
const BUILD: Duration = Duration::from_secs(20 * 60);
/// What guests are made of, beside their own folders.
const SHARED_SOURCES: [&str; 5] = ["plugins/Cargo.toml", "plugins/Cargo.lock", "sdk/rust", "sdk/macros", "wit"];

/// `cargo xtask guests`.
///
/// # Errors
/// [`Error::Toolchain`], or the failed build.
pub(crate) fn run(mut arguments: Arguments) -> Result<(), Error> {
    if arguments.wants_help() {
        return arguments::show(HELP);
    }
    let allow_rustup_download = arguments.take("--allow-rustup-download");
    let force = arguments.take("--force");
    arguments.nothing_left()?;
    if force {
        for guest in members()? {
            drop(fs::remove_file(guest.component()));
        }
    }
    build(allow_rustup_download)
}

/// Builds every guest that is older than its sources.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(allow_rustup_download: bool) -> Result<(), Error> {
    let watch = Stopwatch::start();
    let guests = members()?;
    if is_fresh(&guests) {
        terminal::progress(&format!("{} guests are fresh", guests.len()));
        return Ok(());
    }

    #[expect(clippy::disallowed_methods, reason = "compared with the times of files")]
    let started = SystemTime::now();
    let request = project::toolchain_request(allow_rustup_download);
    let toolchain = find_or_make(&request, &mut terminal::progress)?;
    let plugins = project::root().join("plugins");
    let target = plugins.join("target");
    let mut cargo = toolchain.build_command(&plugins, &target);
    step::run(cargo.arg("--workspace"), BUILD)?;

    fs::create_dir_all(project::guests()).map_err(Error::file("create", project::guests()))?;
    for guest in &guests {
        place(&target.join(TARGET).join("release").join(&guest.file), &guest.component(), started)?;
    }
    terminal::progress(&format!("{} guests built in {watch}", guests.len()));
    Ok(())
}

/// One plugin of the guests' workspace.
struct Guest {
    folder: PathBuf,
    name: String,
    /// Name of the file that Cargo writes.
    file: String,
}

impl Guest {
    fn component(&self) -> PathBuf {
        project::guests().join(format!("{}.wasm", self.name))
    }
}

fn members() -> Result<Vec<Guest>, Error> {
    let plugins = project::root().join("plugins");
    let workspace = manifest(&plugins)?;
    let members = workspace.get("workspace").and_then(|table| table.get("members")?.as_array());
    let names = members.into_iter().flatten().filter_map(|member| member.as_str());
    names
        .map(|name| {
            let folder = plugins.join(name);
            let manifest = manifest(&folder)?;
            let library = manifest.get("lib").and_then(|table| table.get("name")?.as_str());
            let package = manifest.get("package").and_then(|table| table.get("name")?.as_str());
            let file = format!("{}.wasm", library.or(package).unwrap_or(name).replace('-', "_"));
            Ok(Guest { folder, name: name.to_owned(), file })
        })
        .collect()
}

fn manifest(folder: &Path) -> Result<toml::Table, Error> {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    text.parse().map_err(|error: toml::de::Error| Error::Malformed { path, reason: error.message().to_owned() })
}

/// Whether every component is there and no source is newer. A folder's own time counts, so that a
/// removed file is seen.
fn is_fresh(guests: &[Guest]) -> bool {
    let built = guests.iter().map(|guest| modified(&guest.component())).min().flatten();
    let shared = SHARED_SOURCES.iter().map(|path| project::root().join(path));
    let sources = shared.chain(guests.iter().map(|guest| guest.folder.clone()));
    built.is_some_and(|built| sources.filter_map(|path| newest(&path)).all(|source| source <= built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// The latest time in a tree, build output left out.
fn newest(path: &Path) -> Option<SystemTime> {
    let below = fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let below = below.filter(|path| !path.ends_with("target")).filter_map(|path| newest(&path));
    below.chain(modified(path)).max()
}

/// Copies a component into place in one step, for tests that read it meanwhile. Its time is that of
/// the build's start: a source saved during the build is newer.
fn place(built: &Path, component: &Path, started: SystemTime) -> Result<(), Error> {
    let partial = component.with_extension("partial");
    fs::copy(built, &partial).map_err(Error::file("copy", built))?;
    let file = fs::File::options().write(true).open(&partial).map_err(Error::file("open", &partial))?;
    file.set_modified(started).map_err(Error::file("date", &partial))?;
    fs::rename(&partial, component).map_err(Error::file("place", component))
}
