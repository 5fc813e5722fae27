//! What the host tells the registry about bytes: whether they are an artifact of a plugin, or a signature, and of what.
//! The registry itself reads neither.

use std::fmt;
use std::sync::Arc;

use bulkhead_model::{Digest, PluginId, Version};

use crate::gate::{Judgment, Reason, Submission};

/// What an artifact says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFacts {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: Version,
    /// JSON text for the catalogue.
    pub facts: String,
    /// JSON text by which the host judges the release again without its bytes.
    pub judged_by: String,
}

/// What a signature bundle says of itself. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFacts {
    /// The plugin that it speaks for.
    pub plugin: PluginId,
    /// Digest of the artifact that it speaks for.
    pub digest: Digest,
}

/// The host's judgment of bytes and of releases. The errors are texts for the one who pushed.
#[derive(Clone)]
pub struct Checks {
    /// Whether bytes are an artifact: its structure, its manifest, its imports. It may take long.
    pub artifact: fn(&[u8]) -> Result<ArtifactFacts, String>,
    /// Whether bytes are a signature bundle.
    pub bundle: fn(&[u8]) -> Result<BundleFacts, String>,
    /// What the second takes away that others may use of the first; both are [`ArtifactFacts::judged_by`].
    pub breaking: fn(&str, &str) -> Vec<Reason>,
    /// What the policy in force says of a release.
    pub judge: Arc<dyn Fn(&Submission<'_>) -> Judgment + Send + Sync>,
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").finish_non_exhaustive()
    }
}
