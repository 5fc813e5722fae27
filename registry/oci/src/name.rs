//! Names of repositories, tags and references, parsed once.
//! It does not know whether anything has the name.

use std::fmt;
use std::str::FromStr;

use bulkhead_model::PluginId;

use crate::digest::BlobDigest;
use crate::error::{Error, ErrorCode};

/// Longest name of a repository in bytes.
const REPOSITORY_BYTES_MAX: usize = 255;
/// Longest tag in bytes.
const TAG_BYTES_MAX: usize = 128;

/// Name of a repository: parts of `a-z`, `0-9`, joined by `.`, `_`, `__` or hyphens, between slashes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part.
    pub fn namespace(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The plugin whose repository it would be in a namespace of plugins: `acme/crm` is `acme.crm`.
    pub fn plugin(&self) -> Option<PluginId> {
        let (namespace, name) = self.0.split_once('/')?;
        format!("{namespace}.{name}").parse().ok()
    }

    /// The repository of a plugin.
    pub fn of_plugin(plugin: &PluginId) -> Self {
        Self(format!("{}/{}", plugin.namespace(), plugin.name()))
    }
}

impl FromStr for RepositoryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > REPOSITORY_BYTES_MAX || !text.split('/').all(is_part) {
            let message = format!(
                "a repository's name is at most {REPOSITORY_BYTES_MAX} bytes of `a-z`, `0-9`, `.`, `_`, `-` between slashes"
            );
            return Err(Error::refused(ErrorCode::NameInvalid, message));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
pub(crate) fn is_part(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    let ends_plain = part.bytes().next().is_some_and(is_plain) && part.bytes().next_back().is_some_and(is_plain);
    ends_plain
        && separators
            .filter(|separator| !separator.is_empty())
            .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

/// A tag: a letter, digit or `_`, then up to 127 of those, `.` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tag(String);

impl Tag {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag is at most {TAG_BYTES_MAX} letters, digits, `_`, `.`, `-`, and begins with none of the last two")]
pub struct InvalidReference;

impl FromStr for Tag {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins = text.bytes().next().is_some_and(is_word);
        if !begins
            || text.len() > TAG_BYTES_MAX
            || !text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
        {
            return Err(InvalidReference);
        }
        Ok(Self(text.to_owned()))
    }
}

/// What leads to a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The manifest that a tag leads to.
    Tag(Tag),
    /// The very manifest.
    Digest(BlobDigest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag.as_str()),
            Self::Digest(digest) => f.write_str(digest.as_str()),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains(':') {
            return text.parse().map(Self::Digest);
        }
        let tag = text.parse().map_err(|invalid: InvalidReference| {
            // The closed list has no code for tags; a manifest with such a name cannot be.
            Error::refused(ErrorCode::ManifestInvalid, invalid.to_string())
        })?;
        Ok(Self::Tag(tag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_follow_the_protocols_grammar() {
        let check = |text: &str, valid: bool| assert_eq!(text.parse::<RepositoryName>().is_ok(), valid, "{text:?}");

        for good in ["a", "acme/crm", "a.b_c__d---e", "0/1/2/3", "acme/my-crm"] {
            check(good, true);
        }
        for bad in ["", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", "ä", "a b", "a/../b", "."] {
            check(bad, false);
        }
        check(&"a".repeat(255), true);
        check(&"a".repeat(256), false);
    }

    #[test]
    fn a_repository_is_a_plugins_if_its_name_is_an_id() {
        let check = |text: &str, wanted: Option<&str>| {
            let name: RepositoryName = text.parse().unwrap();
            assert_eq!(name.plugin().map(|id| id.to_string()).as_deref(), wanted, "{text}");
        };

        check("acme/crm", Some("acme.crm"));
        check("acme/my-crm", Some("acme.my-crm"));
        check("acme", None);
        check("acme/crm/extra", None);
        check("acme/c.rm", None);
        check("acme/my_crm", None);
        check("0acme/crm", None);
    }

    #[test]
    fn a_reference_is_a_tag_or_a_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        for tag in ["latest", "1.0.0", "_x", "1.0.0-rc.1", &"a".repeat(128)] {
            assert!(matches!(tag.parse(), Ok(Reference::Tag(_))), "{tag}");
        }
        for bad in ["", ".a", "-a", "a+b", "a/b", "a b", "ä", &"a".repeat(129), "sha256:bad"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_a_parser(text in ".{0,64}") {
            let name = text.parse::<RepositoryName>();
            prop_assert!(name.is_err() || text.bytes().all(|byte| byte.is_ascii()));
            prop_assert!(text.parse::<Reference>().is_err() || !text.is_empty());
        }
    }
}
