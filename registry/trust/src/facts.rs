//! What a host keeps beside a release so that it can judge it again without its bytes.
//! It is no verdict; `admit::evaluate` makes one of it.

use bulkhead_model::{Code, Digest, Manifest};
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::exports::Exports;
use crate::imports::Imports;
use crate::refusal::Refusal;
use crate::structure::Structure;

/// Facts of a release, taken from its bytes at admission. Its JSON is stored; its digest is bound into the compiled form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The manifest's JSON text as it stands in the file.
    pub manifest: String,
    /// Names of the imports, sorted by bytes.
    pub imports: Vec<String>,
    /// Names of the exports, sorted by bytes.
    pub exports: Vec<String>,
    /// Digest of the import names.
    pub imports_digest: Digest,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Sizes and counts.
    pub structure: Structure,
}

/// Facts as values again.
pub(crate) struct Parsed {
    pub(crate) manifest: Manifest,
    pub(crate) imports: Imports,
    pub(crate) exports: Exports,
}

impl Facts {
    /// The facts of an artifact.
    pub fn of(artifact: &Artifact) -> Self {
        Self {
            manifest: String::from_utf8_lossy(&artifact.manifest_json).into_owned(),
            imports: artifact.imports.names().map(str::to_owned).collect(),
            exports: artifact.exports.names().map(str::to_owned).collect(),
            imports_digest: artifact.imports_digest,
            size_bytes: artifact.size_bytes,
            structure: artifact.structure,
        }
    }

    /// The JSON that is stored: fields in declared order, no white space.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|error| unreachable!("facts hold only strings and numbers: {error}"))
    }

    /// SHA-256 of [`Facts::to_json`].
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_json())
    }

    /// The manifest as a value.
    pub fn manifest(&self) -> Result<Manifest, Vec<Refusal>> {
        Manifest::parse_json(self.manifest.as_bytes())
            .map_err(|issues| issues.into_iter().map(Refusal::of_issue).collect())
    }

    /// Reads everything again: what a host served yesterday it may not serve today.
    pub(crate) fn parse(&self) -> Result<Parsed, Vec<Refusal>> {
        let (imports, mut refusals) = Imports::of(self.imports.iter().map(String::as_str));
        let (exports, found) = Exports::of(self.exports.iter().map(String::as_str));
        refusals.extend(found);
        if refusals.is_empty() && imports.digest() != self.imports_digest {
            refusals.push(Refusal::new(Code::ManifestMismatch, "the stored imports and their digest do not agree"));
        }
        match self.manifest() {
            Ok(manifest) if refusals.is_empty() => Ok(Parsed { manifest, imports, exports }),
            manifest => {
                refusals.extend(manifest.err().unwrap_or_default());
                Err(refusals)
            }
        }
    }
}
