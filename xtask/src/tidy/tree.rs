//! The repository's text in memory, so that a rule can be shown to fail on a tree of three lines.
//!
//! Build output, version control and hidden folders but `.ci` and `.config` are not part of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::source::Source;
use crate::Error;

/// Kinds of files that rules read.
const KINDS: [&str; 13] = ["rs", "toml", "md", "sql", "wit", "wat", "json", "snap", "yml", "ts", "tsx", "py", "txt"];
/// Folders that hold no sources.
const LEFT_OUT: [&str; 4] = ["target", "node_modules", "corpus", "artifacts"];
/// Largest file that is read, in bytes; a larger one is no source.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Files by their path from the root, with `/` between the parts.
pub(super) struct Tree {
    files: BTreeMap<String, String>,
    sources: BTreeMap<String, Source>,
}

/// A package of Cargo's.
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// Path of its `Cargo.toml`.
    pub(super) manifest: String,
    /// Its folder, with a `/` at the end; empty for the root.
    pub(super) folder: String,
    /// The parsed manifest.
    pub(super) table: toml::Table,
}

impl Tree {
    /// Reads the repository at `root`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn read(root: &Path) -> Result<Tree, Error> {
        let mut files = BTreeMap::new();
        collect(root, "", &mut files)?;
        Ok(Tree::new(files))
    }

    fn new(files: BTreeMap<String, String>) -> Tree {
        let rust = files.iter().filter(|(path, _)| path.ends_with(".rs"));
        let sources = rust.map(|(path, text)| (path.clone(), Source::of(text))).collect();
        Tree { files, sources }
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Tree::new(files.collect())
    }

    /// Every file.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Every Rust file, taken apart.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.sources.iter().map(|(path, source)| (path.as_str(), source))
    }

    /// One file's text.
    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Every package, those of the guests' workspace as well.
    pub(super) fn packages(&self) -> Vec<Package> {
        let manifests = self.files().filter(|(path, _)| *path == "Cargo.toml" || path.ends_with("/Cargo.toml"));
        manifests
            .filter_map(|(path, text)| {
                let table: toml::Table = text.parse().ok()?;
                let name = table.get("package")?.get("name")?.as_str()?.to_owned();
                let folder = path.trim_end_matches("Cargo.toml").to_owned();
                Some(Package { name, manifest: path.to_owned(), folder, table })
            })
            .collect()
    }
}

impl Package {
    /// Names in the dependency tables called `kinds`.
    pub(super) fn dependencies(&self, kinds: &[&str]) -> Vec<String> {
        let tables = kinds.iter().filter_map(|kind| self.table.get(*kind)?.as_table());
        tables.flat_map(|table| table.keys().cloned()).collect()
    }
}

/// Line of the dependency called `name` in a manifest, counted from 1.
pub(super) fn line_of_dependency(manifest: &str, name: &str) -> usize {
    let is_it = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']));
    manifest.lines().position(is_it).map_or(0, |index| index + 1)
}

/// Position of `text` as a line number, counted from 1.
pub(super) fn line_of(file: &str, text: &str) -> usize {
    file.lines().position(|line| line.contains(text)).map_or(0, |index| index + 1)
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let entry = entry.map_err(Error::file("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        // A link could lead out of the repository or round in a circle.
        let Ok(data) = fs::symlink_metadata(&path) else {
            continue;
        };
        let hidden = name.starts_with('.') && name != ".ci" && name != ".config";
        if data.is_dir() && !hidden && !LEFT_OUT.contains(&name.as_str()) {
            collect(&path, &format!("{prefix}{name}/"), files)?;
        } else if data.is_file() && data.len() <= FILE_BYTES_MAX && (prefix == ".ci/" || is_source(&path)) {
            let text = fs::read(&path).map_err(Error::file("read", &path))?;
            files.insert(format!("{prefix}{name}"), String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(())
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known))
}
