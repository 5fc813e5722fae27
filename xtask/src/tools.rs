//! Finds the programs that the checks call, and installs those that it may.
//!
//! It installs into the cache folder, never beside the user's own tools; the one exception is
//! PostgreSQL, by apt, and only as root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Error, project, step, terminal};

/// Bound of compiling one tool.
const INSTALL: Duration = Duration::from_secs(30 * 60);
/// Bound of one apt command.
const APT: Duration = Duration::from_secs(15 * 60);

/// Path of `program`, in the cache folder of tools or on `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    project::search_path().into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The command that would install a crate's program where [`find`] looks.
pub(crate) fn install_line(package: &str) -> String {
    format!("cargo install --locked --root {} {package}", project::tools().display())
}

/// The test runner, compiled once where it is not installed.
///
/// # Errors
/// The failed installation.
pub(crate) fn nextest() -> Result<PathBuf, Error> {
    if let Some(found) = find("cargo-nextest") {
        return Ok(found);
    }
    terminal::progress("cargo-nextest is not installed: compiling it once, some minutes");
    let mut install = project::cargo(&["install", "--locked", "--root"]);
    step::run(install.arg(project::tools()).arg("cargo-nextest"), INSTALL)?;
    Ok(project::tools().join("bin/cargo-nextest"))
}

/// Makes sure that PostgreSQL's server programs are here; tests and the demo start clusters of their own.
///
/// # Errors
/// [`Error::Missing`] with what to do, when this user may not install.
pub(crate) fn postgres() -> Result<(), Error> {
    if has_postgres() {
        return Ok(());
    }
    if !is_root() {
        return Err(Error::Missing {
            what: "PostgreSQL's server programs (`initdb`, `pg_ctl`, `postgres`)",
            remedy: "install them, on Debian with `apt-get install postgresql`; no cluster has to run".to_owned(),
        });
    }
    terminal::progress("PostgreSQL is not installed: apt-get install postgresql");
    for arguments in [vec!["-q", "update"], vec!["-q", "install", "-y", "--no-install-recommends", "postgresql"]] {
        let mut apt = Command::new("apt-get");
        step::run(apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"), APT)?;
    }
    if has_postgres() {
        return Ok(());
    }
    Err(Error::Missing {
        what: "`initdb`, after the installation of `postgresql`",
        remedy: "look at apt's output".to_owned(),
    })
}

fn has_postgres() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut installed = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin/initdb")));
    find("initdb").is_some() || installed.any(|path| path.is_file())
}

fn is_root() -> bool {
    // The owner of the process's own folder in /proc is its effective user.
    use std::os::unix::fs::MetadataExt;
    fs::metadata(Path::new("/proc/self")).is_ok_and(|data| data.uid() == 0)
}
