//! Takes single programs out of Debian packages without installing any: those that need no library beside the C library's.
//! What they are for is the caller's to know.

use std::fs;
use std::path::Path;

use super::apt::{Newer, View};
use super::{create, remove, swap, unpack};
use crate::Error;
use crate::lock::{Lock, beside, file_error};

/// Where packages come from whose programs are static, and so run on any release.
const SUITE: &str = "sid";

/// Puts the programs of `packages`, each of which brings one of its own name, into `folder`, replacing what lies there.
///
/// # Errors
/// [`Error::NotThere`] on a system without Debian sources, [`Error::Absent`] for a package without its program, or apt's own
/// failure. The folder keeps what it held before.
pub(crate) fn fetch(
    packages: &'static [&'static str],
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let _lock = Lock::take(folder, progress)?;
    let work = beside(folder, ".work");
    remove(&work)?;
    create(&work)?;
    let made = fetch_in(packages, &work, folder);
    remove(&work)?;
    made
}

fn fetch_in(packages: &'static [&'static str], work: &Path, folder: &Path) -> Result<(), Error> {
    let view = View::open(&work.join("apt"), Newer { suite: SUITE, packages })?;
    let names: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
    let (root, programs) = (work.join("root"), work.join("programs"));
    create(&root)?;
    create(&programs)?;
    for deb in view.download(&names, &work.join("deb"))? {
        unpack(&deb, work, &root)?;
    }
    for package in packages {
        let (made, place) = (root.join("usr/bin").join(package), programs.join(package));
        if !made.is_file() {
            return Err(Error::Absent { what: format!("usr/bin/{package} of the package {package}") });
        }
        fs::rename(&made, &place).map_err(file_error("rename", &made))?;
    }
    swap(&programs, folder)
}
