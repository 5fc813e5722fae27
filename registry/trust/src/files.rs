//! Files inside an artifact: an index and the bytes after it, no archive format.
//! It writes nothing to disk and gives no meaning to a path.

use std::collections::BTreeMap;

use bulkhead_model::Digest;
use bulkhead_model::manifest::check::is_asset_path;
use bulkhead_model::object::Object;
use serde::{Deserialize, Serialize};

use crate::refusal::{Refusal, shown};

/// Most files of one section.
pub const FILES_MAX: usize = 2_000;
/// Longest media type in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 100;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// For example `text/html; charset=utf-8`.
    pub media_type: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Files by path. A path is `[A-Za-z0-9][A-Za-z0-9._-]*` joined by `/`, at most 8 parts and 200 bytes; no two differ
/// by case alone, and none is the folder of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, File>);

impl Files {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; says why it may not be.
    pub fn insert(&mut self, path: &str, file: File) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(Refusal::malformed(format!("file `{}`: {why}", shown(path))));
        if !is_asset_path(path) {
            return refuse("a path is parts of letters, digits and `._-` joined by `/`, at most 8 parts and 200 bytes");
        }
        if !is_media_type(&file.media_type) {
            return refuse("its media type is not of the form `type/subtype`, with `; charset=utf-8` at most");
        }
        if self.0.len() >= FILES_MAX {
            return refuse("there are more than 2000 files");
        }
        if self.0.contains_key(path) {
            return refuse("it is there twice");
        }
        self.0.insert(path.to_owned(), file);
        Ok(())
    }

    /// The file at `path`.
    pub fn find(&self, path: &str) -> Option<&File> {
        self.0.get(path)
    }

    /// The files in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &File)> {
        self.0.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The content of a section: length of the index as `u32` little endian, the index, the bytes.
    pub fn encode(&self) -> Vec<u8> {
        let index: Vec<Entry> = self
            .0
            .iter()
            .map(|(path, file)| Entry {
                path: path.clone(),
                media_type: file.media_type.clone(),
                length: u64::try_from(file.bytes.len()).unwrap_or(u64::MAX),
                sha256: Digest::of(&file.bytes).hex(),
            })
            .collect();
        let index = serde_json::to_vec(&index)
            .unwrap_or_else(|error| unreachable!("an index holds only strings and numbers: {error}"));
        let mut bytes = u32::try_from(index.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        bytes.extend_from_slice(&index);
        for file in self.0.values() {
            bytes.extend_from_slice(&file.bytes);
        }
        bytes
    }

    /// Reads the content of a section. Each byte is either index or in exactly one file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Vec<Refusal>> {
        let short = || vec![Refusal::malformed("the section ends before its index does")];
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short())?;
        let (index, mut rest) = rest.split_at_checked(length).ok_or_else(short)?;
        let index: Vec<Object<Entry>> = serde_json::from_slice(index)
            .map_err(|error| vec![Refusal::malformed(format!("the index is not readable: {error}"))])?;

        let (mut files, mut refusals) = (Self::new(), Vec::new());
        for Object(entry) in index {
            let taken = usize::try_from(entry.length).ok().and_then(|length| rest.split_at_checked(length));
            let Some((content, after)) = taken else {
                refusals.push(Refusal::malformed(format!(
                    "file `{}`: the section ends before it does",
                    shown(&entry.path)
                )));
                return Err(refusals);
            };
            rest = after;
            if Digest::of(content).hex() != entry.sha256 {
                refusals.push(Refusal::malformed(format!("file `{}`: its SHA-256 is another", shown(&entry.path))));
            }
            let file = File { media_type: entry.media_type, bytes: content.to_vec() };
            refusals.extend(files.insert(&entry.path, file).err());
        }
        if !rest.is_empty() {
            refusals.push(Refusal::malformed(format!("{} bytes after the last file", rest.len())));
        }
        refusals.extend(files.collisions());
        if refusals.is_empty() { Ok(files) } else { Err(refusals) }
    }

    /// Paths that one file system could not hold side by side.
    pub(crate) fn collisions(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut folded = BTreeMap::new();
        for path in self.0.keys() {
            if let Some(other) = folded.insert(path.to_ascii_lowercase(), path) {
                refusals.push(Refusal::malformed(format!("`{other}` and `{path}` differ by case alone")));
            }
        }
        for path in folded.keys() {
            let folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
            for folder in folders.filter(|folder| folded.contains_key(*folder)) {
                refusals.push(Refusal::malformed(format!("`{folder}` is a file and a folder")));
            }
        }
        refusals
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    media_type: String,
    length: u64,
    sha256: String,
}

/// `type/subtype` in lower case, with `; charset=utf-8` or nothing after it: it becomes an HTTP header.
fn is_media_type(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".+-".contains(&b);
    let part = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase()) && part.bytes().all(legal);
    let plain = text.strip_suffix("; charset=utf-8").unwrap_or(text);
    text.len() <= MEDIA_TYPE_BYTES_MAX
        && plain.split_once('/').is_some_and(|(kind, subtype)| part(kind) && part(subtype))
}
