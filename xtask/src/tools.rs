//! Finds the programs that the checks call, and installs those that it may.
//!
//! It installs into the cache folder, never beside the user's own tools; the exceptions are
//! PostgreSQL and skopeo, by apt, and only as root.

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

/// Other people's registry clients, out of Debian packages that are not installed, fetched once.
///
/// # Errors
/// Where there is no Debian archive to ask, or apt's failure.
pub(crate) fn registry_clients() -> Result<PathBuf, Error> {
    const CLIENTS: &[&str] = &["cosign", "crane", "oras"];
    let folder = project::registry_clients();
    if !CLIENTS.iter().all(|client| folder.join(client).is_file()) {
        terminal::progress("fetching oras, crane and cosign once, about a minute");
        bulkhead_toolchain::debian_programs(CLIENTS, &folder, &mut terminal::progress)?;
    }
    Ok(folder)
}

/// `skopeo`, installed by apt where that may be.
///
/// # Errors
/// [`Error::Missing`] with what to do, when this user may not install.
pub(crate) fn skopeo() -> Result<PathBuf, Error> {
    if find("skopeo").is_none() && is_root() {
        install(&["skopeo"])?;
    }
    find("skopeo").ok_or_else(|| Error::Missing {
        what: "`skopeo`",
        remedy: "install it, on Debian with `apt-get install skopeo`".to_owned(),
    })
}

/// A Python with `securesystemslib`, made once.
///
/// # Errors
/// The failure of `python3 -m venv` or of pip.
pub(crate) fn python() -> Result<PathBuf, Error> {
    let folder = project::python();
    let python = folder.join("bin/python");
    if !folder.join("ready").is_file() {
        terminal::progress("fetching Python's securesystemslib once");
        step::run(Command::new("python3").args(["-m", "venv"]).arg(&folder), APT)?;
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "securesystemslib",
            "cryptography",
        ]);
        step::run(&mut pip, APT)?;
        let ready = folder.join("ready");
        fs::write(&ready, "").map_err(Error::file("write", &ready))?;
    }
    Ok(python)
}

/// `wkg`, compiled once where that is wanted.
///
/// # Errors
/// [`Error::Missing`] where it is not there and not wanted, or the failed installation.
pub(crate) fn wkg(may_compile: bool) -> Result<PathBuf, Error> {
    if let Some(found) = find("wkg") {
        return Ok(found);
    }
    if !may_compile {
        let remedy = format!("`cargo xtask interop --wkg` compiles it, or {}", install_line("wkg"));
        return Err(Error::Missing { what: "`wkg`", remedy });
    }
    terminal::progress("compiling wkg once, some minutes");
    let mut install = project::cargo(&["install", "--locked", "--root"]);
    step::run(install.arg(project::tools()).arg("wkg"), INSTALL)?;
    Ok(project::tools().join("bin/wkg"))
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
    install(&["postgresql"])?;
    if has_postgres() {
        return Ok(());
    }
    Err(Error::Missing {
        what: "`initdb`, after the installation of `postgresql`",
        remedy: "look at apt's output".to_owned(),
    })
}

/// As root alone.
fn install(packages: &[&str]) -> Result<(), Error> {
    let install = [&["-q", "install", "-y", "--no-install-recommends"], packages].concat();
    for arguments in [vec!["-q", "update"], install] {
        let mut apt = Command::new("apt-get");
        step::run(apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"), APT)?;
    }
    Ok(())
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
