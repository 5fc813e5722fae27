//! What a writer sends: the text of a note, and what is wrong with it.
//! It touches no storage.

use bulkhead_sdk::PluginError;
use serde::Deserialize;

/// Most characters of a title.
const TITLE_CHARS_MAX: usize = 200;
/// Most characters of a body.
const BODY_CHARS_MAX: usize = 20_000;
/// Most tags of a note.
const TAGS_MAX: usize = 10;
/// Most bytes of a tag.
const TAG_BYTES_MAX: usize = 32;

/// A note as its writer sends it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
}

/// A change of the note that its writer has read: `revision` is the one that was read.
#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    pub(crate) revision: i64,
    #[serde(flatten)]
    pub(crate) draft: Draft,
}

impl Draft {
    /// The draft with its title trimmed and its tags in lower case, in order, each once.
    pub(crate) fn checked(mut self) -> Result<Self, PluginError> {
        self.title = self.title.trim().to_owned();
        require(!self.title.is_empty(), "title: must not be empty")?;
        require(self.title.chars().count() <= TITLE_CHARS_MAX, "title: at most 200 characters")?;
        require(self.body.chars().count() <= BODY_CHARS_MAX, "body: at most 20,000 characters")?;

        self.tags.iter_mut().for_each(|tag| tag.make_ascii_lowercase());
        self.tags.sort();
        self.tags.dedup();
        require(self.tags.len() <= TAGS_MAX, "tags: at most 10")?;
        require(self.tags.iter().all(|tag| is_tag(tag)), "tags: each has 1 to 32 letters, digits and hyphens")?;
        Ok(self)
    }
}

pub(crate) fn is_tag(tag: &str) -> bool {
    (1..=TAG_BYTES_MAX).contains(&tag.len())
        && tag.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn require(is_met: bool, otherwise: &str) -> Result<(), PluginError> {
    if is_met { Ok(()) } else { Err(PluginError::invalid_input(otherwise)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(title: &str, body: &str, tags: &[&str]) -> Draft {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Draft { title: title.to_owned(), body: body.to_owned(), tags }
    }

    #[test]
    fn a_draft_is_put_in_order() {
        let given = draft("  Plan ", "", &["b", "A", "b"]);

        assert_eq!(given.checked(), Ok(draft("Plan", "", &["a", "b"])));
    }

    #[test]
    fn a_draft_beyond_a_bound_is_refused_with_the_fields_name() {
        check(&draft(" ", "", &[]), "title: must not be empty");
        check(&draft(&"é".repeat(201), "", &[]), "title: at most 200 characters");
        check(&draft("t", &"é".repeat(20_001), &[]), "body: at most 20,000 characters");
        let many: Vec<_> = (0..11).map(|number| number.to_string()).collect();
        check(&draft("t", "", &many.iter().map(String::as_str).collect::<Vec<_>>()), "tags: at most 10");
        for tag in ["", "a b", "é", &"a".repeat(33)] {
            check(&draft("t", "", &[tag]), "tags: each has 1 to 32 letters, digits and hyphens");
        }
    }

    fn check(given: &Draft, expected: &str) {
        assert_eq!(given.clone().checked(), Err(PluginError::invalid_input(expected)), "{given:?}");
    }

    #[test]
    fn a_draft_at_its_bounds_is_accepted() {
        let tags: Vec<_> = (0..10).map(|number| format!("{number}{}", "a".repeat(31))).collect();
        let tags: Vec<_> = tags.iter().map(String::as_str).collect();
        let given = draft(&"é".repeat(200), &"é".repeat(20_000), &tags);

        assert_eq!(given.clone().checked(), Ok(given));
    }
}
