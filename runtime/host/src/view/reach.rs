//! What signed code may reach, as security reads it: one entry for each signature and each thing that is reached.

use bulkhead_model::{PluginId, TenantId, TrustLevel, Version};

/// One signer's code reaches one thing in one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachEntry {
    /// The principal whose signature counted; `None` for an unsigned release in dev mode.
    pub signer: Option<String>,
    /// Its key, `sha256:<hex>`.
    pub key_id: Option<String>,
    /// `author` or `reviewer`.
    pub role: Option<String>,
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: Version,
    /// Its release, `sha256:<hex>`.
    pub digest: String,
    /// The rule that allows it.
    pub rule: String,
    /// How far that rule trusts the signers.
    pub trust: TrustLevel,
    /// Version of the policy under which the release, the rule or the grant last changed.
    pub policy_version: u64,
    /// The tenant.
    pub tenant: TenantId,
    /// `data`, `host`, `secret`, `event`, `hook`, `service` or `interface`.
    pub kind: &'static str,
    /// What is reached.
    pub name: String,
    /// `own` or `view` for data, `publishes` or `subscribes` for a topic, `filter` or `action` for a hook.
    pub access: Option<String>,
    /// Methods of requests to a host.
    pub methods: Vec<String>,
    /// Ports of a host.
    pub ports: Vec<u16>,
    /// Since when without a break, over releases, rules and policies.
    pub since: i64,
    /// Until when; `None` while it lasts.
    pub until: Option<i64>,
}

/// A page of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachReport {
    /// What is reached at the later time: all of it, or where two times are compared what was not reached at the earlier.
    pub items: Vec<ReachEntry>,
    /// What was reached at the earlier time and no longer is.
    pub removed: Vec<ReachEntry>,
    /// The earlier time, where two are compared.
    pub from: Option<i64>,
    /// The time that the report is of.
    pub at: i64,
    /// Opaque; `None` at the end.
    pub next_cursor: Option<String>,
}
