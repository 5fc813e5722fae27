//! Names with a `*` at the end.
//! It knows no other wildcard: a pattern is readable at a glance.

use std::fmt;

/// Longest pattern in bytes.
const PATTERN_BYTES_MAX: usize = 256;

/// A name, or a beginning followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern; `*` stands last or not at all.
    pub fn parse(text: &str) -> Option<Self> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        let legal = !text.is_empty()
            && text.len() <= PATTERN_BYTES_MAX
            && stem.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
        legal.then(|| Self(text.to_owned()))
    }

    /// The pattern that matches everything.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        self.0.strip_suffix('*').map_or_else(|| self.0 == name, |stem| name.starts_with(stem))
    }

    /// Whether every name that `other` means is meant.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self.0.strip_suffix('*'), other.0.strip_suffix('*')) {
            (Some(stem), Some(narrower)) => narrower.starts_with(stem),
            (Some(stem), None) => other.0.starts_with(stem),
            (None, _) => self.0 == other.0,
        }
    }

    /// Whether some name is meant by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let stem = |pattern: &Self| pattern.0.trim_end_matches('*').to_owned();
        self.matches(&stem(other)) || other.matches(&stem(self))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
