//! What use cases answer: plain values, times in microseconds since 1970 UTC.
//! They are not wire types; the server writes their JSON.

mod decisions;
mod log;
mod reach;

use bulkhead_model::audit::AuditRecord;
use bulkhead_model::manifest::{HookKind, OnFailure};
use bulkhead_model::{
    Code, Digest, HookName, Interface, PluginId, PluginStatus, TenantId, TenantPluginStatus, TrustLevel, Version,
};

pub use decisions::{Change, Observation, Review, Revocation, RootsView, RuleWord, Simulated};
pub use log::{AcceptedLog, LogLeaf};
pub use reach::{ReachEntry, ReachReport};

use crate::month::Month;

/// A piece of a list and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, at most as many as asked.
    pub items: Vec<T>,
    /// Opaque; `None` at the end.
    pub next_cursor: Option<String>,
}

/// Which piece of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Items, 1 to [`PAGE_LIMIT_MAX`].
    pub limit: u32,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Most items of a page.
pub const PAGE_LIMIT_MAX: u32 = 200;
/// Items of a page where the request names none.
pub const PAGE_LIMIT_DEFAULT: u32 = 50;

/// A plugin in the fleet.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Its id.
    pub id: PluginId,
    /// Name for people.
    pub name: String,
    /// Version that is installed, or was registered last.
    pub version: Version,
    /// State in the fleet.
    pub status: PluginStatus,
    /// The manifest as JSON text.
    pub manifest: String,
    /// First registered.
    pub created_at: i64,
    /// Last changed.
    pub updated_at: i64,
    /// Tenants that have it enabled.
    pub tenants_enabled: u64,
    /// Health over the tenants of this node.
    pub health: Health,
    /// How far policy trusts it; `None` where policy does not allow it.
    pub trust: Option<TrustLevel>,
    /// Why the last step failed.
    pub last_error: Option<String>,
}

/// A known version of a plugin.
#[derive(Clone, Debug)]
pub struct PluginVersion {
    /// The version.
    pub version: Version,
    /// Digest of the artifact.
    pub digest: Digest,
    /// Size of the artifact in bytes.
    pub size_bytes: u64,
    /// Who registered it.
    pub registered_by: String,
    /// When.
    pub created_at: i64,
    /// How far policy trusts it; `None` where policy does not allow it.
    pub trust: Option<TrustLevel>,
}

/// How a plugin fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Answers, and says so where it exports a check.
    Healthy,
    /// Fails its check, rests, or was stopped.
    Unhealthy,
    /// Nobody uses it on this node.
    Unknown,
}

impl Health {
    /// The health as JSON writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }
}

/// A plugin in a tenant.
#[derive(Clone, Debug)]
pub struct TenantPlugin {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The plugin.
    pub plugin_id: PluginId,
    /// Whether the tenant wants it.
    pub enabled: bool,
    /// The tenant's configuration, JSON text, defaults applied.
    pub configuration: String,
    /// Version that the tenant should have.
    pub desired_version: Option<Version>,
    /// Version that it has.
    pub current_version: Option<Version>,
    /// State in the tenant.
    pub status: TenantPluginStatus,
    /// Why the last step failed.
    pub last_error: Option<String>,
    /// When it was last found healthy.
    pub last_health_at: Option<i64>,
    /// Interfaces that the tenant consented to.
    pub granted: Vec<Interface>,
    /// Interfaces that the release asks for.
    pub requested: Vec<Interface>,
    /// How far policy trusts it in this tenant; `None` where policy does not allow it here.
    pub trust: Option<TrustLevel>,
}

/// A tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// `active`, `suspended` or `deleting`.
    pub status: &'static str,
    /// When it was created.
    pub created_at: i64,
}

/// What a plugin used in a tenant.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The plugin.
    pub plugin_id: PluginId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The calendar month (UTC) of calls and fuel.
    pub month: Month,
    /// Calls that ran in the month.
    pub calls: u64,
    /// Fuel units that they burnt.
    pub fuel_units: u64,
    /// Most that they may burn in a month; `None` where the plugin is not served on this node.
    pub fuel_per_month: Option<u64>,
    /// Bytes that it holds by now: tables, indexes, keys, blobs.
    pub storage_bytes: u64,
    /// Most that it may hold; `None` where the plugin is not served on this node.
    pub storage_bytes_max: Option<u64>,
    /// Calls and fuel by the way in which it was entered.
    pub entries: Vec<EntryUsage>,
}

/// Calls and fuel of one entry.
#[derive(Clone, Debug)]
pub struct EntryUsage {
    /// `route`, `filter`, `action`, `init`, `ready`, `shutdown` or `health`.
    pub entry: String,
    /// Calls that ran.
    pub calls: u64,
    /// Fuel units that they burnt.
    pub fuel_units: u64,
}

/// A tenant's configuration of a plugin.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Version of the schema that `data` satisfies.
    pub version: u32,
    /// JSON text.
    pub data: String,
    /// When it was written or migrated.
    pub migrated_at: Option<i64>,
    /// Version of the schema that it was first written for.
    pub original_version: u32,
}

/// A past configuration.
#[derive(Clone, Debug)]
pub struct ConfigurationChange {
    /// Position, from 1.
    pub revision: u64,
    /// What it was.
    pub configuration: Configuration,
    /// Who wrote it.
    pub changed_by: String,
    /// When.
    pub changed_at: i64,
}

/// Long work.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// For example `install`.
    pub kind: String,
    /// The plugin that it concerns.
    pub plugin: PluginId,
    /// The version that it concerns.
    pub version: Version,
    /// Where it is.
    pub status: OperationStatus,
    /// Steps so far, in order.
    pub steps: Vec<OperationStep>,
    /// Why it failed.
    pub error: Option<OperationError>,
    /// When it began.
    pub created_at: i64,
    /// When it last moved.
    pub updated_at: i64,
}

/// Where long work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationStatus {
    /// Goes on.
    Running,
    /// Done.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Waits for a reviewer.
    PendingReview,
}

impl OperationStatus {
    /// The status as JSON writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::PendingReview => "pending-review",
        }
    }
}

/// A step of long work.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OperationStep {
    /// For example `verify`.
    pub name: String,
    /// Steps of this kind that are done.
    pub done: u64,
    /// Steps of this kind in all.
    pub total: u64,
}

/// How long work over many tenants went in one of them.
#[derive(Clone, Debug)]
pub struct OperationResult {
    /// The tenant.
    pub tenant_id: TenantId,
    /// `done` or `failed`.
    pub outcome: String,
    /// What was done, or why it failed, JSON text.
    pub detail: String,
    /// When.
    pub at: i64,
}

/// Where a tenant is with a plugin's migrations, each by the name of its file.
#[derive(Clone, Debug)]
pub struct TenantMigrations {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Those that ran, in order.
    pub applied: Vec<String>,
    /// Those that did not, in order.
    pub pending: Vec<String>,
    /// The one that failed last, and why, if it has not run since.
    pub failed: Option<(String, String)>,
}

/// Why long work failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationError {
    /// The code.
    pub code: Code,
    /// What of it may be shown.
    pub detail: String,
}

/// A hook that may be dispatched.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its name.
    pub name: HookName,
    /// Filter or action.
    pub kind: HookKind,
    /// JSON Schema of its payload, JSON text.
    pub schema: Option<String>,
    /// What a failure does to the chain.
    pub on_failure: OnFailure,
    /// `host`, or the plugin that declares it.
    pub declared_by: String,
}

/// The policy in force.
#[derive(Clone, Debug)]
pub struct PolicyView {
    /// Its version; 0 is the built-in policy that denies all.
    pub version: u64,
    /// JSON text.
    pub json: String,
    /// The policy that is only observed beside it, JSON text.
    pub observed: Option<String>,
    /// Who installed it.
    pub installed_by: Option<String>,
    /// When.
    pub installed_at: Option<i64>,
}

/// A key whose signatures the policy in force knows.
#[derive(Clone, Debug)]
pub struct Signer {
    /// Whose key it is.
    pub principal: String,
    /// `ed25519:` and the base64 of the public key.
    pub key: String,
    /// SHA-256 of the key's SPKI form.
    pub key_id: Digest,
    /// From when its signatures count.
    pub valid_from: Option<i64>,
    /// Until when, exclusive.
    pub valid_until: Option<i64>,
    /// `active`, `not-yet`, `expired` or `denied`.
    pub status: &'static str,
    /// Why it is denied.
    pub reason: Option<String>,
    /// Allow rules that name its principal.
    pub rules: Vec<String>,
}

/// What the policy says of a release in a tenant.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Whether it may run.
    pub allowed: bool,
    /// The rule that decided.
    pub rule: Option<String>,
    /// How far that rule trusts what its signers ship.
    pub trust: Option<TrustLevel>,
    /// Each rule that names the plugin, in the policy's order.
    pub rules: Vec<RuleWord>,
    /// Principals whose signatures counted.
    pub signers: Vec<String>,
    /// Interfaces that it may use.
    pub interfaces: Vec<Interface>,
    /// Why not, if not.
    pub refusals: Vec<bulkhead_trust::Refusal>,
    /// What would deny it if it were enforced.
    pub observed: Vec<Observation>,
}

/// An entry of the audit log.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// What was done.
    pub record: AuditRecord,
    /// Its hash.
    pub hash: Digest,
}

/// Whether the audit log is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditProof {
    /// Entries that were checked.
    pub entries: u64,
    /// The first broken entry.
    pub first_broken: Option<u64>,
    /// Hash of the last whole entry.
    pub head: Digest,
}

/// State of a plugin in the caller's tenant.
#[derive(Clone, Debug)]
pub struct PluginHealth {
    /// Whether it is healthy.
    pub healthy: bool,
    /// Whether it takes calls.
    pub ready: bool,
    /// What it says about itself.
    pub details: Vec<(String, String)>,
    /// When this was found.
    pub checked_at: Option<i64>,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct ErrorSnapshot {
    /// The tenant.
    pub tenant_id: TenantId,
    /// When.
    pub at: i64,
    /// How the guest was entered.
    pub entry: String,
    /// The code.
    pub code: Code,
    /// What happened, with the guest's own text.
    pub message: String,
    /// Guest functions, innermost first.
    pub frames: Vec<String>,
    /// The last log lines of the plugin in this tenant.
    pub log: Vec<String>,
    /// Fuel units that the call used.
    pub fuel_units: u64,
    /// Trace id, 32 hex digits.
    pub trace_id: String,
}

/// A plugin that the registry offers.
#[derive(Clone, Debug)]
pub struct OfferedPlugin {
    /// Its id.
    pub id: PluginId,
    /// What its newest version says of itself.
    pub facts: crate::registry::CatalogueFacts,
    /// Its versions, the newest first.
    pub versions: Vec<OfferedVersion>,
}

/// A version that the registry offers, or offered.
#[derive(Clone, Debug)]
pub struct OfferedVersion {
    /// The version.
    pub version: String,
    /// Digest of the artifact.
    pub digest: String,
    /// Bytes of the artifact.
    pub size_bytes: u64,
    /// Times that it was fetched.
    pub downloads: u64,
    /// Who pushed it.
    pub pushed_by: String,
    /// When.
    pub created_at: i64,
    /// `released`, `yanked`, or what it waits for or was stopped by.
    pub state: &'static str,
    /// Why it is not released.
    pub reasons: Vec<bulkhead_oci::Reason>,
    /// When it was withdrawn.
    pub yanked_at: Option<i64>,
    /// Why.
    pub yank_reason: Option<String>,
    /// Who signed it.
    pub signers: Vec<RegistrySigner>,
    /// The level that policy gives to what these signers ship; `None` where no rule names them for it.
    pub trust: Option<TrustLevel>,
}

/// Who signed a version in the registry.
#[derive(Clone, Debug)]
pub struct RegistrySigner {
    /// The principal of the policy in force whose key verified it; `None` where no known key did.
    pub principal: Option<String>,
    /// `sha256:<hex>` of the key; without a principal it is the bundle's own word.
    pub key_id: String,
    /// `author` or `reviewer`.
    pub role: &'static str,
}
