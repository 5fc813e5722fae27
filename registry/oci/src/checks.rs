//! What the host tells the registry about bytes: whether they are an artifact of a plugin, or a signature, and of what.
//! The registry itself reads neither.

use bulkhead_model::{Digest, PluginId, Version};

/// What an artifact says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFacts {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: Version,
    /// JSON text for the catalogue.
    pub facts: String,
}

/// What a signature bundle says of itself. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFacts {
    /// The plugin that it speaks for.
    pub plugin: PluginId,
    /// Digest of the artifact that it speaks for.
    pub digest: Digest,
}

/// The host's judgment of bytes. The errors are texts for the one who pushed.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// Whether bytes are an artifact: its structure, its manifest, its imports. It may take long.
    pub artifact: fn(&[u8]) -> Result<ArtifactFacts, String>,
    /// Whether bytes are a signature bundle.
    pub bundle: fn(&[u8]) -> Result<BundleFacts, String>,
}
