//! What the catalogue shows of a plugin, for programs and, by the pages, for people.
//! Who sees which versions is the host's to decide.

use bulkhead_host::view;
use bulkhead_model::{PluginId, TrustLevel};
use bulkhead_oci::Reason;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::wire::Time;

/// A plugin that the registry offers.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OfferedPlugin")]
pub(in super::super) struct OfferedBody {
    id: PluginId,
    name: String,
    description: String,
    license: String,
    /// Interfaces that it imports and needs a grant for.
    capabilities: Vec<String>,
    /// Its newest version that is released and not withdrawn.
    latest: Option<String>,
    /// Times that any version was fetched.
    downloads: u64,
    /// The newest first.
    versions: Vec<VersionBody>,
}

/// A version that the registry offers, or offered.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OfferedVersion")]
struct VersionBody {
    version: String,
    /// `sha256:<hex>` of the artifact.
    digest: String,
    size_bytes: u64,
    downloads: u64,
    pushed_by: String,
    created_at: Time,
    /// `released`, `yanked`, `pending-signatures`, `pending-review`, `rejected` or `revoked`. What was never released is
    /// shown to those who may push, sign or yank there.
    state: &'static str,
    /// Why it is not released.
    reasons: Vec<ReasonBody>,
    /// When it was withdrawn.
    yanked_at: Option<Time>,
    yank_reason: Option<String>,
    /// Who signed it; in a list, shown for the newest version alone.
    signers: Vec<SignerBody>,
    /// The level that policy gives to what they ship, before its bytes are judged: `core`, `verified`, `community` or `untrusted`;
    /// `null` where no rule names them for it. In a list, told for the newest version alone.
    trust: Option<&'static str>,
}

/// Why a version is not released.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RegistryReason")]
struct ReasonBody {
    /// A code of refusals such as `unsigned`.
    code: String,
    detail: String,
}

/// Who signed a version.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RegistrySigner")]
struct SignerBody {
    /// The principal of the policy whose key verified the signature; `null` where no known key did.
    principal: Option<String>,
    /// `sha256:<hex>` of the key.
    key_id: String,
    /// `author` or `reviewer`.
    role: &'static str,
}

impl OfferedBody {
    pub(in super::super) fn of(offered: view::OfferedPlugin) -> Self {
        let latest = offered.versions.iter().find(|version| version.state == "released");
        Self {
            id: offered.id,
            name: offered.facts.name,
            description: offered.facts.description,
            license: offered.facts.license,
            capabilities: offered.facts.capabilities,
            latest: latest.map(|version| version.version.clone()),
            downloads: offered.versions.iter().map(|version| version.downloads).fold(0, u64::saturating_add),
            versions: offered.versions.into_iter().map(VersionBody::of).collect(),
        }
    }
}

impl VersionBody {
    fn of(version: view::OfferedVersion) -> Self {
        let signer = |signer: view::RegistrySigner| SignerBody {
            principal: signer.principal,
            key_id: signer.key_id,
            role: signer.role,
        };
        let reason = |reason: Reason| ReasonBody { code: reason.code, detail: reason.detail };
        Self {
            version: version.version,
            digest: version.digest,
            size_bytes: version.size_bytes,
            downloads: version.downloads,
            pushed_by: version.pushed_by,
            created_at: Time::of(version.created_at),
            state: version.state,
            reasons: version.reasons.into_iter().map(reason).collect(),
            yanked_at: version.yanked_at.map(Time::of),
            yank_reason: version.yank_reason,
            signers: version.signers.into_iter().map(signer).collect(),
            trust: version.trust.map(TrustLevel::as_str),
        }
    }
}
