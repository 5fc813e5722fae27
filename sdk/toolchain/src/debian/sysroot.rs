//! Lays unpacked packages out as the folder that a Rust compiler expects around itself.
//!
//! It changes no file of theirs; the only file written is the launcher that names the library folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::lock::file_error;
use crate::{Error, TARGET, command};

/// Bound of a question to the compiler or the dynamic linker.
const PROBE: Duration = Duration::from_secs(60);

/// The linkers that the target needs, by the names that the compiler calls.
const LINKERS: [&str; 2] = ["rust-lld", "wasm-component-ld"];

/// Debian's compiler lies beside the system's libraries and finds its own there; here the launcher
/// says where they are. `readlink` makes it work through links.
const LAUNCHER: &str = r#"#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
LD_LIBRARY_PATH="$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$root/libexec/PROGRAM" --sysroot "$root" "$@"
"#;

/// A compiler with its libraries, in one folder that may be moved.
pub(super) struct Sysroot {
    folder: PathBuf,
    host: String,
}

impl Sysroot {
    /// Moves the parts of `root`, where the packages were unpacked, into place.
    ///
    /// # Errors
    /// [`Error::Absent`] for a part that the packages do not hold, [`Error::File`].
    pub(super) fn lay_out(root: &Path, folder: &Path) -> Result<Sysroot, Error> {
        for name in ["bin", "lib", "libexec"] {
            create(&folder.join(name))?;
        }
        for program in ["rustc", "rustdoc"] {
            rename(&root.join("usr/bin").join(program), &folder.join("libexec").join(program))?;
            let launcher = folder.join("bin").join(program);
            fs::write(&launcher, LAUNCHER.replace("PROGRAM", program)).map_err(file_error("write", &launcher))?;
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&launcher, executable).map_err(file_error("make executable", &launcher))?;
        }
        for triplet in entries(&root.join("usr/lib"))?.iter().filter(|path| name(path).ends_with("-linux-gnu")) {
            move_matching(triplet, &folder.join("lib"), |name| name.contains(".so"))?;
        }

        let rustlib = entries(&root.join("usr/lib/rustlib"))?;
        let host = rustlib.iter().find(|path| path.join("lib").is_dir() && name(path).contains("-linux-gnu"));
        let host = host.ok_or_else(|| Error::Absent { what: "usr/lib/rustlib/*-linux-gnu/lib".to_owned() })?;
        let sysroot = Sysroot { folder: folder.to_owned(), host: name(host) };
        create(&sysroot.linkers())?;
        rename(&host.join("lib"), &folder.join("lib/rustlib").join(&sysroot.host).join("lib"))?;

        let wasi = sysroot.target_libraries().join("self-contained");
        create(&wasi)?;
        let moved = move_matching(&root.join("usr/lib").join(TARGET), &wasi, |name| {
            Path::new(name).extension().is_some_and(|kind| kind == "a" || kind == "o")
        })?;
        if moved == 0 {
            return Err(Error::Absent { what: format!("usr/lib/{TARGET}/*.a") });
        }
        Ok(sysroot)
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The compiler to call.
    pub(super) fn rustc(&self) -> PathBuf {
        self.folder.join("bin/rustc")
    }

    /// Where the target's own libraries belong.
    pub(super) fn target_libraries(&self) -> PathBuf {
        self.folder.join("lib/rustlib").join(TARGET).join("lib")
    }

    fn linkers(&self) -> PathBuf {
        self.folder.join("lib/rustlib").join(&self.host).join("bin")
    }

    /// Links the linkers of the installed Rust toolchain; `false` when it has none.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn link_installed_linkers(&self) -> Result<bool, Error> {
        let Ok(installed) = command::run(Command::new("rustc").args(["--print", "sysroot"]), PROBE) else {
            return Ok(false);
        };
        let folder = Path::new(installed.trim()).join("lib/rustlib").join(&self.host).join("bin");
        if LINKERS.iter().any(|linker| !folder.join(linker).is_file()) {
            return Ok(false);
        }
        for linker in LINKERS {
            let link = self.linkers().join(linker);
            symlink(folder.join(linker), &link).map_err(file_error("link", &link))?;
        }
        Ok(true)
    }

    /// Moves Debian's linkers, unpacked in `root`, into place.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::File`].
    pub(super) fn add_debian_linkers(&self, root: &Path) -> Result<(), Error> {
        let llvm = entries(&root.join("usr/lib"))?.into_iter().find(|path| name(path).starts_with("llvm-"));
        let llvm = llvm.ok_or_else(|| Error::Absent { what: "usr/lib/llvm-*".to_owned() })?;
        rename(&llvm.join("bin/lld"), &self.linkers().join("rust-lld"))?;
        let component = root.join("usr/lib/rustlib").join(&self.host).join("bin/wasm-component-ld");
        rename(&component, &self.linkers().join("wasm-component-ld"))
    }

    /// Names of the shared libraries that neither this folder nor the system has.
    ///
    /// # Errors
    /// [`Error::Start`] without `ldd`.
    pub(super) fn missing_libraries(&self) -> Result<Vec<String>, Error> {
        let libraries = self.folder.join("lib");
        let mut ldd = Command::new("ldd");
        ldd.env("LD_LIBRARY_PATH", &libraries).arg(self.folder.join("libexec/rustc"));
        ldd.args(entries(&libraries)?.iter().filter(|path| path.is_file()));
        Ok(not_found(&command::run(&mut ldd, PROBE)?))
    }

    /// Copies the libraries called `names` out of packages unpacked in `root`, and what they need.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn add_libraries(&self, root: &Path, names: &[String]) -> Result<(), Error> {
        let places = ["lib", "usr/lib"].iter().filter_map(|place| entries(&root.join(place)).ok()).flatten();
        let folders: Vec<PathBuf> = places.filter(|path| name(path).ends_with("-linux-gnu")).collect();
        let mut wanted = names.to_vec();
        // Each round adds at least one library that the packages hold, or is the last.
        while let Some((source, target)) = wanted.iter().find_map(|wanted| {
            let source = folders.iter().map(|folder| folder.join(wanted)).find(|path| path.is_file())?;
            Some((source, self.folder.join("lib").join(wanted))).filter(|(_, target)| !target.exists())
        }) {
            fs::copy(&source, &target).map_err(file_error("copy", &source))?;
            wanted = self.missing_libraries()?;
        }
        Ok(())
    }
}

fn not_found(ldd: &str) -> Vec<String> {
    let mut names: Vec<String> = ldd
        .lines()
        .filter(|line| line.contains("not found"))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn move_matching(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<usize, Error> {
    let mut moved = 0;
    for path in entries(from)?.iter().filter(|path| wanted(&name(path))) {
        rename(path, &to.join(name(path)))?;
        moved += 1;
    }
    Ok(moved)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = fs::read_dir(folder).map_err(file_error("read", folder))?;
    let mut paths: Vec<PathBuf> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(file_error("create", folder))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(file_error("move", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_libraries_are_named_once() {
        let ldd = "/a/rustc:\n\tlibz3.so.4 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n/a/libLLVM.so:\n\tlibz3.so.4 => not found\n";

        assert_eq!(not_found(ldd), ["libz3.so.4"]);
    }

    #[test]
    fn packages_without_a_compiler_are_refused_by_the_missing_file() {
        let folder = tempfile::tempdir().unwrap();

        let refused = Sysroot::lay_out(&folder.path().join("root"), &folder.path().join("toolchain"));

        assert!(matches!(refused, Err(Error::File { path, .. }) if path.ends_with("usr/bin/rustc")));
    }
}
