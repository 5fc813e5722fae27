//! The registry's log: what its leaves are, byte for byte, and in [`tree`] how they are hashed.
//! It neither stores nor signs; the database keeps leaves and hashes, the trust crate says what a proof proves.

pub mod tree;

use serde::{Deserialize, Serialize};

/// Longest leaf in bytes.
pub const LEAF_BYTES_MAX: usize = 8 * 1024;

/// An entry of the log. Its bytes are JSON without spaces, fields in the order in which they stand here, a field without a
/// value left out. Who acted, and why, is the audit log's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// When, in microseconds since 1970, UTC.
    pub at: i64,
    /// What happened.
    pub event: Event,
}

/// What happened in the registry: `{"release.publish":{"repository":...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// A release was registered for use on the hosts of this database.
    #[serde(rename = "release.register")]
    ReleaseRegister {
        /// The plugin.
        plugin: String,
        /// The version.
        version: String,
        /// Digest of the artifact.
        digest: String,
    },
    /// A release was pushed to the registry.
    #[serde(rename = "release.publish")]
    ReleasePublish {
        /// The plugin's repository.
        repository: String,
        /// The version.
        version: String,
        /// Digest of the artifact.
        digest: String,
    },
    /// A release is no longer offered.
    #[serde(rename = "release.yank")]
    ReleaseYank {
        /// The plugin's repository.
        repository: String,
        /// The version.
        version: String,
        /// Digest of the artifact.
        digest: String,
    },
    /// A release is offered again.
    #[serde(rename = "release.unyank")]
    ReleaseUnyank {
        /// The plugin's repository.
        repository: String,
        /// The version.
        version: String,
        /// Digest of the artifact.
        digest: String,
    },
    /// A signature bundle came to an artifact.
    #[serde(rename = "bundle.add")]
    BundleAdd {
        /// Digest of the artifact.
        digest: String,
        /// Digest of the bundle.
        bundle: String,
    },
    /// Something was revoked.
    #[serde(rename = "revocation.add")]
    RevocationAdd {
        /// Its place among the revocations.
        epoch: u64,
        /// The key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The release.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// The plugins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plugin: Option<String>,
        /// The range of versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// From when it holds, in microseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_at: Option<i64>,
    },
    /// A namespace was granted.
    #[serde(rename = "namespace.grant")]
    NamespaceGrant {
        /// The namespace.
        namespace: String,
        /// `open` or `plugin`.
        kind: String,
        /// For whom.
        owner: String,
        /// Whether everybody may pull.
        public: bool,
    },
    /// A signer policy was installed.
    #[serde(rename = "policy.install")]
    PolicyInstall {
        /// Its version.
        version: u64,
        /// Digest of its signed envelope.
        digest: String,
        /// Whether it is only observed.
        observed: bool,
    },
    /// Root keys took the place of others.
    #[serde(rename = "roots.install")]
    RootsInstall {
        /// Their version.
        version: u64,
        /// Digest of their signed envelope.
        digest: String,
    },
}

/// Bytes that are no leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a leaf of the registry's log in its one form")]
pub struct InvalidLeaf;

impl Leaf {
    /// The bytes that are hashed; a leaf that would be longer than [`LEAF_BYTES_MAX`] is none.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidLeaf> {
        serde_json::to_vec(self).ok().filter(|bytes| bytes.len() <= LEAF_BYTES_MAX).ok_or(InvalidLeaf)
    }

    /// Reads a leaf: only the one form of it is taken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidLeaf> {
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(InvalidLeaf);
        }
        let leaf: Self = serde_json::from_slice(bytes).map_err(|_| InvalidLeaf)?;
        if leaf.to_bytes()? == bytes { Ok(leaf) } else { Err(InvalidLeaf) }
    }
}

impl Event {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ReleaseRegister { .. } => "release.register",
            Self::ReleasePublish { .. } => "release.publish",
            Self::ReleaseYank { .. } => "release.yank",
            Self::ReleaseUnyank { .. } => "release.unyank",
            Self::BundleAdd { .. } => "bundle.add",
            Self::RevocationAdd { .. } => "revocation.add",
            Self::NamespaceGrant { .. } => "namespace.grant",
            Self::PolicyInstall { .. } => "policy.install",
            Self::RootsInstall { .. } => "roots.install",
        }
    }

    /// The digest of the artifact that came with it, for those events that bring a release.
    pub fn release_digest(&self) -> Option<&str> {
        match self {
            Self::ReleaseRegister { digest, .. } | Self::ReleasePublish { digest, .. } => Some(digest),
            Self::ReleaseYank { .. }
            | Self::ReleaseUnyank { .. }
            | Self::BundleAdd { .. }
            | Self::RevocationAdd { .. }
            | Self::NamespaceGrant { .. }
            | Self::PolicyInstall { .. }
            | Self::RootsInstall { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_has_one_form_and_no_other_is_read() {
        let leaf = Leaf {
            at: 1_700_000_000_000_000,
            event: Event::ReleasePublish {
                repository: "acme/crm".into(),
                version: "1.2.0".into(),
                digest: "sha256:00".into(),
            },
        };
        let text = r#"{"at":1700000000000000,"event":{"release.publish":{"repository":"acme/crm","version":"1.2.0","digest":"sha256:00"}}}"#;

        assert_eq!(leaf.to_bytes().unwrap(), text.as_bytes());
        assert_eq!(Leaf::from_bytes(text.as_bytes()), Ok(leaf));
        let check = |from: &str, to: &str| {
            assert_eq!(Leaf::from_bytes(text.replace(from, to).as_bytes()), Err(InvalidLeaf), "{to}");
        };
        check("{\"at\"", "{ \"at\"");
        check("acme/crm", "acme\\/crm");
        check("}}}", "}},\"more\":1}");
        check("}}}", ",\"more\":1}}}");
        check("1700000000000000", "1.7e15");
        check("release.publish", "release.erase");
        check("\"sha256:00\"", "\"sha256:00\",\"digest\":\"sha256:01\"");
        check("acme/crm", &"a".repeat(LEAF_BYTES_MAX));
    }
}
