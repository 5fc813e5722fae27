//! The media types that the registry takes or answers.
//! What may stand in a blob is nobody's business here.

/// An image manifest.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// An index of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A config that says nothing.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// An image manifest in Docker's spelling.
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// An index in Docker's spelling.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The config of a wasm artifact.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// A component.
pub const WASM: &str = "application/wasm";
/// A signature bundle, as artifact and as layer.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
