//! What ties a plugin to others: views, topics, jobs, services.
//! It resolves none of the names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{HookName, PluginId, ViewName};

/// `[views]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Views {
    /// Views for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub provides: Vec<ProvidedView>,
    /// Views of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub uses: Vec<UsedView>,
}

/// `[[views.provides]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProvidedView {
    /// Name of the view.
    pub name: ViewName,
    /// Version of its columns. Several versions of one view may be published side by side.
    #[schemars(range(min = 1, max = 10_000))]
    pub version: u32,
    /// File with its one SELECT.
    #[schemars(extend("format" = "asset-path"))]
    pub sql: String,
}

/// `[[views.uses]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsedView {
    /// The plugin that provides it.
    pub plugin: PluginId,
    /// Name of the view.
    pub view: ViewName,
    /// Version that is understood.
    #[schemars(range(min = 1, max = 10_000))]
    pub version: u32,
}

/// `[events]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Topics that the plugin publishes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub publishes: Vec<PublishedTopic>,
    /// Topics that it is told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub subscribes: Vec<SubscribedTopic>,
}

/// `[[events.publishes]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishedTopic {
    /// Name of the topic.
    pub topic: HookName,
    /// File with the JSON Schema of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "asset-path"))]
    pub schema: Option<String>,
}

/// `[[events.subscribes]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribedTopic {
    /// Name of the topic.
    pub topic: HookName,
}

/// `[[jobs]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Name of the job.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Cron expression.
    #[schemars(length(min = 1, max = 128))]
    pub cron: String,
    /// IANA time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
}

/// `[services]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Services {
    /// Operations for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub provides: Vec<ProvidedService>,
    /// Operations of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub uses: Vec<UsedService>,
}

/// `[[services.provides]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProvidedService {
    /// Name of the operation.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Who may call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub visibility: Option<String>,
}

/// `[[services.uses]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsedService {
    /// The plugin that provides it.
    pub plugin: PluginId,
    /// Name of the operation.
    #[schemars(length(min = 1, max = 128))]
    pub service: String,
}
