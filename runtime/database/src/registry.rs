//! The plugin registry's tables: who may push where, what was pushed, and the bytes of it, in one file per table.
//! Names, digests and media types are texts here: `registry/oci` parses them and says what they mean.

mod blobs;
mod collect;
mod gate;
mod log;
mod manifests;
mod namespaces;
mod releases;
mod tokens;
mod uploads;

pub use blobs::{BlobRow, CHUNK_BYTES_MAX};
pub use collect::Collected;
pub use gate::JudgedRow;
pub use log::{LeafRow, LogState};
pub use manifests::{ManifestRow, NewManifest};
pub use namespaces::{NamespaceRow, NewNamespace};
pub use releases::{NewVersion, ReleaseRow};
pub use tokens::{NewToken, TokenRow};
pub use uploads::{OpenUploads, UploadRow};
