//! The plugin registry in this host: what the registry cannot judge by itself, trust judges here.
//! The protocol is `bulkhead-oci`'s; who administers is `usecase/registry`'s.

mod gate;

use std::sync::Arc;

use bulkhead_database::Db;
use bulkhead_model::{Code, Coded as _, Interface};
use bulkhead_oci::{
    ArtifactFacts, BundleFacts, Checks, Config, Error, ErrorCode, PLUGIN_BLOB_BYTES_MAX, Registry, Submission,
};
use bulkhead_trust::{Artifact, Bundle, Facts, Refusal, StructuralLimits};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::config::Mode;
use crate::in_force::InForce;

/// What the catalogue shows of an artifact. It is the artifact's own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CatalogueFacts {
    /// Name for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// SPDX expression.
    pub license: String,
    /// Interfaces of the host that the component imports, each of which needs a grant.
    pub capabilities: Vec<String>,
}

/// The registry, whose gate asks the policy that is in force at each moment.
pub(crate) fn open(db: &Db, open_blob_bytes_max: u64, policy: &Arc<InForce>, mode: Mode) -> Registry {
    let policy = Arc::clone(policy);
    let judge = move |submission: &Submission<'_>| gate::judge(&policy.load(), mode, submission, clock::now());
    let checks = Checks { artifact, bundle, breaking: gate::breaking, judge: Arc::new(judge) };
    Registry::new(db.clone(), Config { open_blob_bytes_max, now: clock::now_micros, checks })
}

/// An artifact by its bytes alone. Who may run it is decided where it is installed.
fn artifact(bytes: &[u8]) -> Result<ArtifactFacts, String> {
    // The registry serves hosts of any policy: script engines are large.
    let limits = StructuralLimits { file_bytes: PLUGIN_BLOB_BYTES_MAX, ..StructuralLimits::DEFAULT };
    let artifact = bulkhead_trust::artifact::read(bytes, &limits).map_err(|refusals| told(&refusals))?;
    let facts = serde_json::to_string(&facts(&artifact)).map_err(|error| error.to_string())?;
    let judged_by = String::from_utf8_lossy(&Facts::of(&artifact).to_json()).into_owned();
    let plugin = artifact.manifest.plugin;
    Ok(ArtifactFacts { plugin: plugin.id, version: plugin.version, facts, judged_by })
}

fn facts(artifact: &Artifact) -> CatalogueFacts {
    let plugin = &artifact.manifest.plugin;
    let interfaces = artifact.imports.names().filter_map(|name| bulkhead_trust::imports::classify(name).ok().flatten());
    let mut capabilities: Vec<String> =
        interfaces.filter(|interface| !interface.is_baseline()).map(Interface::qualified).collect();
    capabilities.sort();
    capabilities.dedup();
    CatalogueFacts {
        name: plugin.name.clone(),
        description: plugin.description.clone(),
        license: plugin.license.clone(),
        capabilities,
    }
}

fn bundle(bytes: &[u8]) -> Result<BundleFacts, String> {
    let statement = Bundle::parse(bytes).and_then(|bundle| bundle.claims()).map_err(|refusal| told(&[refusal]))?;
    Ok(BundleFacts { plugin: statement.plugin, digest: statement.digest })
}

fn told(refusals: &[Refusal]) -> String {
    let texts: Vec<String> = refusals.iter().map(|refusal| format!("{}: {}", refusal.code, refusal.detail)).collect();
    texts.join("; ")
}

/// The code of a failure of the registry, where it is told as a problem.
pub(crate) fn code(error: &Error) -> Code {
    match error {
        Error::Database(error) => error.code(),
        Error::Random(_) | Error::Check(_) => Code::Internal,
        Error::Barred { .. } => Code::PermissionDenied,
        Error::TooLarge { .. } => Code::BodyTooLarge,
        Error::OutOfOrder { .. } | Error::OutOfRange { .. } => Code::InvalidInput,
        Error::Refused { code, .. } => match code {
            ErrorCode::Unauthorized => Code::Unauthenticated,
            ErrorCode::Denied => Code::PermissionDenied,
            ErrorCode::Unsupported => Code::MethodNotAllowed,
            ErrorCode::TooManyRequests => Code::RateLimited,
            ErrorCode::BlobUnknown
            | ErrorCode::BlobUploadUnknown
            | ErrorCode::ManifestBlobUnknown
            | ErrorCode::ManifestUnknown
            | ErrorCode::NameUnknown => Code::NotFound,
            ErrorCode::BlobUploadInvalid
            | ErrorCode::DigestInvalid
            | ErrorCode::ManifestInvalid
            | ErrorCode::NameInvalid
            | ErrorCode::SizeInvalid => Code::InvalidInput,
        },
    }
}
