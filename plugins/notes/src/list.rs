//! What a reader asks of the list: words to look for, a tag, and where the last page ended.
//! It touches no storage.

use std::fmt;
use std::str::FromStr;

use bulkhead_sdk::{PluginError, Request};
use serde::{Serialize, Serializer};

use crate::draft;
use crate::store::Note;

/// Most notes on a page.
const LIMIT_MAX: u32 = 50;
/// Most characters of the words to look for.
const WORDS_CHARS_MAX: usize = 100;

/// Which notes, and how many.
#[derive(Debug, PartialEq)]
pub(crate) struct Search {
    /// Pattern for `LIKE .. ESCAPE '!'` on lower case, or empty for any note.
    pub(crate) pattern: String,
    /// A tag, or empty for any note.
    pub(crate) tag: String,
    pub(crate) after: Cursor,
    pub(crate) limit: u32,
}

/// The last note of a page; the next page begins behind it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cursor {
    pub(crate) updated_at: i64,
    pub(crate) id: String,
}

impl Search {
    /// Reads `q`, `tag`, `cursor` and `limit` of a query string.
    pub(crate) fn of(request: &Request, page_size: u32) -> Result<Self, PluginError> {
        let words = request.query_value("q").unwrap_or_default();
        if words.chars().count() > WORDS_CHARS_MAX {
            return Err(PluginError::invalid_input("q: at most 100 characters"));
        }
        let tag = request.query_value("tag").unwrap_or_default().to_ascii_lowercase();
        if !tag.is_empty() && !draft::is_tag(&tag) {
            return Err(PluginError::invalid_input("tag: 1 to 32 letters, digits and hyphens"));
        }
        let limit = request.query_as("limit")?.unwrap_or(page_size);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(PluginError::invalid_input("limit: 1 to 50"));
        }
        let after = request.query_as("cursor")?.unwrap_or_else(Cursor::start);
        Ok(Self { pattern: pattern(&words), tag, after, limit })
    }
}

/// The words anywhere, taken literally.
fn pattern(words: &str) -> String {
    let words = words.trim().to_lowercase();
    if words.is_empty() {
        return words;
    }
    let literal = words.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{literal}%")
}

impl Cursor {
    /// Behind this note.
    pub(crate) fn after(note: &Note) -> Self {
        Self { updated_at: note.updated_at, id: note.id.clone() }
    }

    /// Before every note.
    fn start() -> Self {
        Self { updated_at: i64::MAX, id: String::new() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.updated_at, self.id)
    }
}

impl FromStr for Cursor {
    type Err = PluginError;

    fn from_str(text: &str) -> Result<Self, PluginError> {
        let parts = text.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id)));
        let (updated_at, id) = parts.ok_or_else(|| PluginError::invalid_input("cursor: not of this list"))?;
        Ok(Self { updated_at, id: id.to_owned() })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(query: &str) -> Result<Search, PluginError> {
        Search::of(&Request::get("/notes").with_query(query), 20)
    }

    #[test]
    fn a_request_without_a_query_is_the_first_page_of_all_notes() {
        let (pattern, tag) = (String::new(), String::new());

        assert_eq!(search(""), Ok(Search { pattern, tag, after: Cursor::start(), limit: 20 }));
    }

    #[test]
    fn words_are_looked_for_literally() {
        check_pattern("Plan", "%plan%");
        check_pattern("100%25 _off_!", "%100!% !_off!_!!%");
        check_pattern("+", "");
    }

    fn check_pattern(words: &str, expected: &str) {
        assert_eq!(search(&format!("q={words}")).unwrap().pattern, expected, "{words}");
    }

    #[test]
    fn a_query_beyond_a_bound_is_refused_with_its_name() {
        check_refused("limit=0", "limit: 1 to 50");
        check_refused("limit=51", "limit: 1 to 50");
        check_refused("limit=-1", "`limit` cannot be `-1`");
        check_refused("tag=a_b", "tag: 1 to 32 letters, digits and hyphens");
        check_refused("cursor=x", "`cursor` cannot be `x`");
        check_refused(&format!("q={}", "a".repeat(101)), "q: at most 100 characters");
    }

    fn check_refused(query: &str, expected: &str) {
        assert_eq!(search(query), Err(PluginError::invalid_input(expected)), "{query}");
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        let cursor = Cursor { updated_at: 7, id: "n-1".to_owned() };

        assert_eq!(search(&format!("cursor={cursor}")).unwrap().after, cursor);
    }
}
