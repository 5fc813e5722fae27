//! What security decides on: versions that wait for a review, revocations, and what another policy would change.

use bulkhead_model::{Digest, PluginId, TenantId, TrustLevel, Version};
use bulkhead_trust::Refusal;

/// Something that is not enforced and would have denied.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The allow rule that is not met, `deny` for a deny entry, or the version of the policy.
    pub by: String,
    /// Why.
    pub refusal: Refusal,
}

/// The root keys in force.
#[derive(Clone, Debug)]
pub struct RootsView {
    /// 0 are the configured ones.
    pub version: u64,
    /// `ed25519:` and the base64 of each key, and the SHA-256 of its SPKI form.
    pub keys: Vec<(String, Digest)>,
    /// How many of them sign a policy.
    pub threshold: u64,
    /// From when they install nothing but their successors; configured ones have no end.
    pub expires: Option<i64>,
    /// What tells the configured keys, with which the chain begins, from others.
    pub anchor: Digest,
    /// Why none of them counts, if none does.
    pub broken: Option<String>,
    /// Who installed them.
    pub installed_by: Option<String>,
    /// When.
    pub installed_at: Option<i64>,
}

/// What an allow rule makes of a release.
#[derive(Clone, Debug)]
pub struct RuleWord {
    /// The rule.
    pub id: String,
    /// How far it trusts what its signers ship.
    pub trust: TrustLevel,
    /// Why it is there.
    pub reason: String,
    /// Who wrote it.
    pub author: String,
    /// Who agreed.
    pub approved_by: String,
    /// Until when it counts.
    pub expires: Option<i64>,
    /// What of it is not met; nothing where it is met.
    pub refusals: Vec<Refusal>,
}

/// A version that may do more than the one before, and what was decided about it.
#[derive(Clone, Debug)]
pub struct Review {
    /// Its id.
    pub id: String,
    /// The plugin.
    pub plugin: PluginId,
    /// The version that waits.
    pub version: Version,
    /// Its release.
    pub digest: Digest,
    /// How far policy trusts it; `None` where policy does not allow it.
    pub trust: Option<TrustLevel>,
    /// The version that was installed before.
    pub base_version: Version,
    /// The release of that one.
    pub base_digest: Digest,
    /// Digest of the difference.
    pub diff_digest: Digest,
    /// What was added, JSON text.
    pub wider: String,
    /// Who registered the version.
    pub registered_by: String,
    /// Who began to install it.
    pub installed_by: String,
    /// The operation that waits.
    pub operation_id: String,
    /// `pending`, `approved` or `rejected`.
    pub status: String,
    /// Since when it waits.
    pub created_at: i64,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}

/// A revocation.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Its place; rises with each.
    pub epoch: u64,
    /// Everything that this key signed.
    pub key: Option<String>,
    /// One release.
    pub digest: Option<Digest>,
    /// Plugins.
    pub plugin: Option<String>,
    /// Range of versions.
    pub version: Option<String>,
    /// From when it holds; `None` is at once.
    pub from_at: Option<i64>,
    /// Why.
    pub reason: String,
    /// Who.
    pub revoked_by: String,
    /// When.
    pub revoked_at: i64,
}

/// What another policy would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Is allowed, would not be.
    Stops,
    /// Is not allowed, would be.
    Starts,
    /// Is and would be allowed, with other grants or limits.
    Changes,
    /// Nothing.
    Same,
}

impl Change {
    /// The change as JSON writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stops => "stops",
            Self::Starts => "starts",
            Self::Changes => "changes",
            Self::Same => "same",
        }
    }
}

/// A plugin in a tenant, or a registered version, under the policy in force and under another one.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: Version,
    /// The tenant that has it enabled; `None` for a registered version by itself.
    pub tenant: Option<TenantId>,
    /// What would change.
    pub change: Change,
    /// The rule that allows it; `None` where it is not allowed.
    pub rule_now: Option<String>,
    /// The rule that would.
    pub rule_then: Option<String>,
    /// Why it is not allowed, if not.
    pub refusals_now: Vec<Refusal>,
    /// Why it would not be.
    pub refusals_then: Vec<Refusal>,
}
