//! What a path below `/v2/` names. Names of repositories have slashes in them, so a path is read from its end.
//! It knows no method and no permission.

use crate::digest::BlobDigest;
use crate::error::{Error, ErrorCode};
use crate::name::{Reference, RepositoryName};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The registry itself.
    Base,
    /// The uploads of a repository.
    Uploads(RepositoryName),
    /// One upload.
    Upload(RepositoryName, String),
    /// A blob.
    Blob(RepositoryName, BlobDigest),
    /// A manifest.
    Manifest(RepositoryName, Reference),
    /// The tags of a repository.
    Tags(RepositoryName),
    /// The manifests that refer to one.
    Referrers(RepositoryName, BlobDigest),
}

impl Target {
    /// What `path` names, the part behind `/v2/`.
    pub fn parse(path: &str) -> Result<Self, Error> {
        if path.is_empty() {
            return Ok(Self::Base);
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name.parse()?));
        }
        if let Some(name) = path.trim_end_matches('/').strip_suffix("/blobs/uploads") {
            return Ok(Self::Uploads(name.parse()?));
        }
        let (rest, last) = path.rsplit_once('/').ok_or_else(unknown)?;
        if let Some(name) = rest.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(name.parse()?, last.to_owned()));
        }
        let (name, kind) = rest.rsplit_once('/').ok_or_else(unknown)?;
        match kind {
            "blobs" => Ok(Self::Blob(name.parse()?, last.parse()?)),
            "manifests" => Ok(Self::Manifest(name.parse()?, last.parse()?)),
            "referrers" => Ok(Self::Referrers(name.parse()?, last.parse()?)),
            _ => Err(unknown()),
        }
    }
}

fn unknown() -> Error {
    Error::refused(ErrorCode::NameUnknown, "the protocol has nothing at this path")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_path_breaks_the_reader(path in "[a-z./:%A-Z0-9_-]{0,80}(/blobs/|/manifests/|/referrers/|/tags/list|/blobs/uploads/)?.{0,12}") {
            prop_assert!(Target::parse(&path).is_err() || path.is_ascii() || path.contains("/uploads/"));
        }
    }

    #[test]
    fn a_path_is_read_from_its_end() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let check = |path: &str, wanted: &str| {
            let found = match Target::parse(path) {
                Ok(target) => format!("{target:?}"),
                Err(error) => error.code().unwrap().as_str().to_owned(),
            };
            assert!(found.starts_with(wanted), "{path}: {found}");
        };

        check("", "Base");
        check("a/b/tags/list", "Tags(a/b)");
        check("a/b/blobs/uploads/", "Uploads(a/b)");
        check("a/b/blobs/uploads", "Uploads(a/b)");
        check("a/b/blobs/uploads/x1", "Upload(a/b, \"x1\")");
        check("blobs/uploads/blobs/uploads/", "Uploads(blobs/uploads)");
        check(&format!("a/blobs/{digest}"), "Blob(a, sha256:aa");
        check("a/manifests/latest", "Manifest(a, Tag(");
        check(&format!("a/manifests/{digest}"), "Manifest(a, Digest(");
        check(&format!("a/b/c/referrers/{digest}"), "Referrers(a/b/c, sha256:");
        check("a/blobs/sha256:baddigeststring", "DIGEST_INVALID");
        check("a/referrers/sha256:baddigeststring", "DIGEST_INVALID");
        check("a/manifests/sha256:baddigeststring", "DIGEST_INVALID");
        check("A/manifests/latest", "NAME_INVALID");
        check("manifests/latest", "NAME_UNKNOWN");
        check("a/else/b", "NAME_UNKNOWN");
        check("_catalog", "NAME_UNKNOWN");
    }
}
