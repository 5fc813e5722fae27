//! The plugin registry: the OCI distribution protocol 1.1 and the catalogue, as functions from a parsed request to a typed
//! answer. It knows no HTTP and runs no plugin; what an artifact or a signature is, the host tells it.

mod access;
mod blobs;
mod catalogue;
mod checks;
mod digest;
mod error;
mod gate;
pub mod layout;
mod lookalike;
mod manifest;
mod manifests;
pub mod media_type;
mod name;
mod namespaces;
mod publish;
mod range;
mod referrers;
mod registry;
pub mod remote;
pub mod tar;
mod target;
mod tokens;
mod uploads;

pub use access::{Caller, InvalidScope, Scope, Token};
pub use blobs::{Blob, Reader};
pub use bulkhead_database::registry::{Collected, NamespaceRow, ReleaseRow};
pub use catalogue::{CataloguePage, CatalogueQuery, Offered, Version};
pub use checks::{ArtifactFacts, BundleFacts, Checks};
pub use digest::{Algorithm, BlobDigest};
pub use error::{Error, ErrorCode};
pub use gate::{Judgment, Reason, State, Submission};
pub use manifest::{ALLOW_BREAKING, MANIFEST_BYTES_MAX, Manifest};
pub use manifests::{Pushed, StoredManifest};
pub use name::{InvalidReference, Reference, RepositoryName, Tag};
pub use namespaces::{Kind, NewNamespace};
pub use range::ByteRange;
pub use referrers::{Referrers, Tags};
pub use registry::{Config, PLUGIN_BLOB_BYTES_MAX, Registry};
pub use target::Target;
pub use tokens::{IssuedToken, ListedToken, NewToken, TOKEN_PREFIX};
pub use uploads::{Arriving, Start, Upload};
