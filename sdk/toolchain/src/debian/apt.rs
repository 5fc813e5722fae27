//! A private view of the Debian archive: own lists, own cache, own preferences.
//!
//! The machine's lists are not used, because on a fresh machine they are absent or name a compiler
//! that is too old; and they are not touched.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::sources::{self, Source};
use crate::lock::file_error;
use crate::route::check_version;
use crate::{Error, command};

/// The suite whose wasi-libc serves wasip2; older ones link until a program touches threads.
pub(super) const WASI: Newer = Newer { suite: "forky", packages: &["wasi-libc"] };
/// Bound of reading the package lists.
const UPDATE: Duration = Duration::from_secs(10 * 60);
/// Bound of one download of packages.
const DOWNLOAD: Duration = Duration::from_secs(30 * 60);
/// Bound of a question to the lists.
const QUERY: Duration = Duration::from_secs(60);
/// Libraries of every Debian system, which a second copy would break.
const SYSTEM_LIBRARIES: [&str; 3] = ["libc6", "libgcc-s1", "libstdc++6"];

/// Packages that come from a newer suite than the machine's; nothing else there is taken, since it is linked against a newer C
/// library.
#[derive(Clone, Copy)]
pub(super) struct Newer {
    pub(super) suite: &'static str,
    pub(super) packages: &'static [&'static str],
}

/// The view, its lists up to date.
pub(super) struct View {
    config: PathBuf,
}

/// The packages of one compiler release, each as `name=version` where they must agree.
#[derive(Debug)]
pub(super) struct Packages {
    version: String,
    library: String,
    /// Name of the LLVM library that the compiler links.
    pub(super) llvm: String,
}

impl Packages {
    /// What to download: compiler, its libraries, the source of `std`, and the C library.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = ["rustc-web", "libstd-rust-web-dev", &self.library, "rust-web-src"]
            .iter()
            .map(|name| format!("{name}={}", self.version))
            .collect();
        names.extend([self.llvm.clone(), "wasi-libc".to_owned()]);
        names
    }

    /// What to download where rustup's linkers are not at hand.
    pub(super) fn linker_names(&self) -> Vec<String> {
        let release = self.llvm.trim_start_matches("libllvm");
        vec![format!("rust-web-llvm={}", self.version), format!("lld-{release}")]
    }
}

impl fmt::Display for Packages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustc-web {} with {} and wasi-libc", self.version, self.llvm)
    }
}

impl View {
    /// Sets the view up in `folder` and reads the lists.
    ///
    /// # Errors
    /// [`Error::NotThere`] on a system without Debian sources, or apt's own failure.
    pub(super) fn open(folder: &Path, newer: Newer) -> Result<View, Error> {
        let sources = machine_sources()?;
        for path in ["lists/partial", "cache/archives/partial", "empty"] {
            let path = folder.join(path);
            fs::create_dir_all(&path).map_err(file_error("create", &path))?;
        }
        let config = folder.join("apt.conf");
        let files = [
            (folder.join("sources.list"), with_suite(&sources, newer.suite)),
            (folder.join("preferences"), preferences(newer)),
            (config.clone(), configuration(folder)),
        ];
        for (path, text) in files {
            fs::write(&path, text).map_err(file_error("write", &path))?;
        }
        let view = View { config };
        command::run(view.apt("apt-get").args(["-q", "update"]), UPDATE)?;
        Ok(view)
    }

    /// The newest compiler on offer and the names of the packages that belong to it.
    ///
    /// # Errors
    /// [`Error::TooOld`], or [`Error::Absent`] for a package that no source has.
    pub(super) fn packages(&self) -> Result<Packages, Error> {
        let policy = command::run(self.apt("apt-cache").args(["policy", "rustc-web"]), QUERY)?;
        let version = policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "))
            .ok_or_else(|| Error::Absent { what: "rustc-web".to_owned() })?
            .to_owned();
        check_version("rustc-web", &version)?;
        let library = self.depends("libstd-rust-web-dev", &version, "libstd-rust-web-")?;
        let llvm = self.depends(&library, &version, "libllvm")?;
        Ok(Packages { version, library, llvm })
    }

    /// Names of the packages that `package` depends on, but for the C and C++ libraries.
    ///
    /// # Errors
    /// apt's own failure.
    pub(super) fn dependencies(&self, package: &str) -> Result<Vec<String>, Error> {
        let mut query = self.apt("apt-cache");
        query.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-enhances"]);
        query.args(["--no-conflicts", "--no-breaks", "--no-replaces", package]);
        let text = command::run(&mut query, QUERY)?;
        let mut names: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("lib") || line.starts_with("zlib"))
            .map(str::to_owned)
            .filter(|name| name != package && !SYSTEM_LIBRARIES.contains(&name.as_str()))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Downloads packages, signatures and digests checked by apt, and returns their files.
    ///
    /// # Errors
    /// apt's own failure.
    pub(super) fn download(&self, packages: &[String], folder: &Path) -> Result<Vec<PathBuf>, Error> {
        fs::create_dir_all(folder).map_err(file_error("create", folder))?;
        let mut download = self.apt("apt-get");
        download.current_dir(folder).args(["-q", "download"]).args(packages);
        command::run(&mut download, DOWNLOAD)?;
        let entries = fs::read_dir(folder).map_err(file_error("read", folder))?;
        let mut debs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        debs.sort();
        Ok(debs)
    }

    /// The first dependency of `package` whose name begins with `prefix`.
    fn depends(&self, package: &str, version: &str, prefix: &str) -> Result<String, Error> {
        let text = command::run(self.apt("apt-cache").args(["show", &format!("{package}={version}")]), QUERY)?;
        first_dependency(&text, prefix).ok_or_else(|| Error::Absent { what: format!("{package} with {prefix}*") })
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).env("LC_ALL", "C");
        command
    }
}

fn first_dependency(text: &str, prefix: &str) -> Option<String> {
    let depends = text.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    let names = depends.split(',').filter_map(|entry| entry.split_whitespace().next());
    names.into_iter().find(|name| name.starts_with(prefix)).map(str::to_owned)
}

/// Debian's sources of this machine, out of every file that apt reads.
fn machine_sources() -> Result<Vec<Source>, Error> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".list") || name.ends_with(".sources") {
            found.extend(sources::parse(&name, &fs::read_to_string(&file).unwrap_or_default()));
        }
    }
    if found.is_empty() {
        return Err(Error::NotThere {
            reason: "no Debian source in `/etc/apt`; this route needs a Debian system".to_owned(),
        });
    }
    Ok(found)
}

/// The machine's sources and another suite at the same archive.
fn with_suite(sources: &[Source], suite: &str) -> String {
    let mut text: String = sources.iter().map(Source::line).collect();
    if let Some(archive) = sources.iter().find(|source| source.is_main_archive()) {
        text.push_str(&Source { suite: suite.to_owned(), ..archive.clone() }.line());
    }
    text
}

fn preferences(newer: Newer) -> String {
    let (suite, packages) = (newer.suite, newer.packages.join(" "));
    format!(
        "Package: {packages}\nPin: release n={suite}\nPin-Priority: 990\n\n\
         Package: *\nPin: release n={suite}\nPin-Priority: 100\n"
    )
}

/// Read by apt after the machine's own configuration, whose proxies stay and whose hooks go.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear APT::Default-Release;\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::http::Timeout \"60\";\n\
         Acquire::https::Timeout \"60\";\n\
         Dir::Etc::SourceList \"{folder}/sources.list\";\n\
         Dir::Etc::SourceParts \"{folder}/empty\";\n\
         Dir::Etc::Preferences \"{folder}/preferences\";\n\
         Dir::Etc::PreferencesParts \"{folder}/empty\";\n\
         Dir::State::Lists \"{folder}/lists\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Cache::Archives \"{folder}/cache/archives\";\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suite: &str) -> Source {
        Source { uri: uri.to_owned(), suite: suite.to_owned(), signed_by: None }
    }

    #[test]
    fn the_wasi_suite_is_asked_of_the_machines_own_archive() {
        let security = source("http://deb.debian.org/debian-security", "bookworm-security");
        let main = source("http://mirror.example/debian", "bookworm");

        let text = with_suite(&[security, main], WASI.suite);

        assert_eq!(text.lines().last(), Some("deb [target=Packages] http://mirror.example/debian forky main"));
    }

    #[test]
    fn dependencies_are_found_by_their_prefix() {
        let text = "Package: a\nDepends: libc6 (>= 2.34), libllvm22, libstdc++6 (>= 11)\n";

        assert_eq!(first_dependency(text, "libllvm"), Some("libllvm22".to_owned()));
        assert_eq!(first_dependency(text, "libssl"), None);
        assert_eq!(first_dependency("", "libllvm"), None);
    }
}
