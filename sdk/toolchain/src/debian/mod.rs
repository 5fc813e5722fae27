//! Makes the toolchain from Debian packages, without root and without installing one.
//!
//! Debian's `rustc-web` is a current compiler with `wasm-component-ld`, `rust-web-src` is its
//! standard library, and `wasi-libc` is the C part below that. It takes nothing from the
//! network but packages whose signatures apt has checked and the crates the standard library locks.

mod apt;
mod programs;
mod sources;
mod standard_library;
mod sysroot;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lock::{beside, file_error};
use crate::{Error, Request, command, smoke};
use apt::{Packages, View, WASI};
pub(crate) use programs::fetch as fetch_programs;
use sysroot::Sysroot;

/// Bound of unpacking one package.
const UNPACK: Duration = Duration::from_secs(5 * 60);
/// Bound of a question to the compiler or to a checksum tool.
const PROBE: Duration = Duration::from_secs(60);

/// Makes the toolchain in [`Request::cache_dir`], replacing what lies there. The caller holds the
/// lock.
///
/// All work happens beside the folder, and it is renamed into place after it has built a
/// component: whenever this process ends, the folder is whole or not there.
///
/// # Errors
/// The step that failed. The folder keeps what it held before.
pub(crate) fn make(request: &Request, progress: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let work = beside(&request.cache_dir, ".work");
    remove(&work)?;
    create(&work)?;
    let made = make_in(&work, request, progress);
    // Half-made parts take a gigabyte; the error says more than they do.
    remove(&work)?;
    made
}

fn make_in(work: &Path, request: &Request, progress: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let start = Instant::now();
    let mut say = |text: &str| progress(&format!("{:>4} s  {text}", start.elapsed().as_secs()));

    say("Debian package lists");
    let view = View::open(&work.join("apt"), WASI)?;
    let packages = view.packages()?;
    say(&format!("download of {packages}"));
    let debs = view.download(&packages.names(), &work.join("deb"))?;
    say("unpacking");
    let root = work.join("root");
    create(&root)?;
    for deb in &debs {
        unpack(deb, work, &root)?;
    }

    say("layout");
    let sysroot = Sysroot::lay_out(&root, &work.join("toolchain"))?;
    add_linker(&view, &packages, &sysroot, work)?;
    add_libraries(&view, &packages, &sysroot, work)?;
    say("standard library for wasm32-wasip2, about a minute");
    standard_library::build(&sysroot, &root, &work.join("std"), request.jobs)?;
    say("smoke component");
    smoke::build(&sysroot.rustc(), &work.join("smoke"))?;

    write_origin(&sysroot, &debs)?;
    swap(sysroot.folder(), &request.cache_dir)?;
    say(&format!("toolchain ready in {}", request.cache_dir.display()));
    Ok(())
}

/// Links rustup's linkers into the sysroot, or unpacks Debian's where there is no rustup.
fn add_linker(view: &View, packages: &Packages, sysroot: &Sysroot, work: &Path) -> Result<(), Error> {
    if sysroot.link_installed_linkers()? {
        return Ok(());
    }
    let root = work.join("linker");
    create(&root)?;
    for deb in view.download(&packages.linker_names(), &work.join("linker-deb"))? {
        unpack(&deb, work, &root)?;
    }
    sysroot.add_debian_linkers(&root)
}

/// Adds shared libraries that a bare system lacks, out of the packages that LLVM depends on.
fn add_libraries(view: &View, packages: &Packages, sysroot: &Sysroot, work: &Path) -> Result<(), Error> {
    let missing = sysroot.missing_libraries()?;
    if missing.is_empty() {
        return Ok(());
    }
    let root = work.join("libraries");
    create(&root)?;
    for deb in view.download(&view.dependencies(&packages.llvm)?, &work.join("libraries-deb"))? {
        unpack(&deb, work, &root)?;
    }
    sysroot.add_libraries(&root, &missing)?;
    let missing = sysroot.missing_libraries()?;
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingLibraries { names: missing.join(", ") }) }
}

/// Unpacks one package into `root`; of the compiler's source only the standard library.
fn unpack(deb: &Path, work: &Path, root: &Path) -> Result<(), Error> {
    let name = deb.file_name().unwrap_or_default().to_string_lossy();
    if !name.starts_with("rust-web-src_") {
        command::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(root), UNPACK)?;
        return Ok(());
    }
    let tar = work.join("source.tar");
    let file = fs::File::create(&tar).map_err(file_error("create", &tar))?;
    command::run_redirected(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb).stdout(file), UNPACK)?;
    let mut extract = Command::new("tar");
    extract.arg("-xf").arg(&tar).arg("-C").arg(root).args(["--wildcards", "./usr/src/rustc-*/library"]);
    command::run(&mut extract, UNPACK)?;
    fs::remove_file(&tar).map_err(file_error("remove", &tar))
}

/// Writes `MADE-FROM`: the compiler's version and the digest of each package.
fn write_origin(sysroot: &Sysroot, debs: &[PathBuf]) -> Result<(), Error> {
    let version = command::run(Command::new(sysroot.rustc()).arg("-vV"), PROBE)?;
    let mut text = version;
    for deb in debs {
        let name = deb.file_name().unwrap_or_default().to_string_lossy();
        let line = command::run(Command::new("sha256sum").arg(deb), PROBE)?;
        let digest = line.split_whitespace().next().unwrap_or_default();
        text.push_str(&format!("{digest}  {name}\n"));
    }
    let path = sysroot.folder().join("MADE-FROM");
    fs::write(&path, text).map_err(file_error("write", &path))
}

/// Renames `made` to `place`; what lay there is removed last.
fn swap(made: &Path, place: &Path) -> Result<(), Error> {
    let old = beside(place, ".old");
    remove(&old)?;
    if place.exists() {
        fs::rename(place, &old).map_err(file_error("rename", place))?;
    }
    fs::rename(made, place).map_err(file_error("rename", made))?;
    remove(&old)
}

fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(file_error("create", folder))
}

fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(file_error("remove", folder)(source)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_replaces_the_folder_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (made, place) = (folder.path().join("made"), folder.path().join("place"));
        for (path, text) in [(&made, "new"), (&place, "old")] {
            create(path).unwrap();
            fs::write(path.join("file"), text).unwrap();
        }

        swap(&made, &place).unwrap();

        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
