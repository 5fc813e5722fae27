//! The manifest: what a plugin says about itself and asks for.
//! It grants nothing; a policy rule and a tenant do.

mod capabilities;
pub mod check;
mod entry;
mod links;
mod ui;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use capabilities::{Capabilities, HttpRequest};
pub use check::Issue;
pub use entry::{ExtensionPoint, Guard, Hook, HookKind, Method, OnFailure, PRIORITY_DEFAULT, Route, Websocket};
pub use links::{
    Events, Job, ProvidedService, ProvidedView, PublishedTopic, Services, SubscribedTopic, UsedService, UsedView, Views,
};
pub use ui::{Menu, Page, Ui, Widget};

use crate::id::{PermissionName, PluginId, Version};
use crate::limits::LimitsRequest;

/// Largest manifest in bytes.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;
/// Most entries in any list of a manifest.
pub const LIST_MAX: u32 = 256;
/// Paths below a plugin's prefix that the host serves itself.
pub const HOST_ROUTES: [&str; 4] = ["/health", "/ready", "/openapi.json", "/metrics"];

/// What a plugin says about itself. As JSON in the artifact, as TOML in `plugin.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name, version and compatibility.
    pub plugin: PluginSection,
    /// Where the built component lies; in `plugin.toml` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ComponentSection")]
    pub component: Option<ComponentSection>,
    /// Bounds of a call.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: LimitsRequest,
    /// Plugins that must be installed, with semver ranges.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "check::dependencies_schema")]
    pub dependencies: BTreeMap<PluginId, semver::VersionReq>,
    /// Permissions that users of this plugin may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub permissions: Vec<Permission>,
    /// Suggested roles; a tenant admin applies them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub role_templates: Vec<RoleTemplate>,
    /// HTTP routes under `/api/plugins/{id}/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub routes: Vec<Route>,
    /// Websocket routes under `/api/ws/{id}/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub websockets: Vec<Websocket>,
    /// Hooks that the plugin handles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub hooks: Vec<Hook>,
    /// Authorisation checks that routes may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub guards: Vec<Guard>,
    /// Shared read-only views.
    #[serde(default, skip_serializing_if = "is_default")]
    pub views: Views,
    /// Hooks that this plugin declares for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub extension_points: Vec<ExtensionPoint>,
    /// Topics.
    #[serde(default, skip_serializing_if = "is_default")]
    pub events: Events,
    /// Scheduled work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub jobs: Vec<Job>,
    /// Operations for and of other plugins.
    #[serde(default, skip_serializing_if = "is_default")]
    pub services: Services,
    /// Host interfaces that the plugin asks for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub capabilities: Capabilities,
    /// Health checks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health: Health,
    /// Budgets that are counted and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Performance")]
    pub performance: Option<Performance>,
    /// Logging.
    #[serde(default, skip_serializing_if = "is_default")]
    pub telemetry: Telemetry,
    /// Configuration of a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConfigSection")]
    pub config: Option<ConfigSection>,
    /// SQL migrations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LocalPath")]
    pub migrations: Option<LocalPath>,
    /// Pages and widgets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Ui")]
    pub ui: Option<Ui>,
    /// Texts in other languages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Translations")]
    pub translations: Option<Translations>,
    /// The plugin's own OpenAPI document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LocalPath")]
    pub openapi: Option<LocalPath>,
}

impl Manifest {
    /// Reads the JSON form. Every problem is in the answer, none hidden behind the first.
    pub fn parse_json(bytes: &[u8]) -> Result<Self, Vec<Issue>> {
        check::parse_json(bytes)
    }

    /// Reads the author's TOML form, `plugin.toml`.
    pub fn parse_toml(text: &str) -> Result<Self, Vec<Issue>> {
        check::parse_toml(text)
    }

    /// The JSON form without the keys that only the author's machine understands.
    pub fn for_artifact(&self) -> Self {
        let mut manifest = self.clone();
        manifest.component = None;
        for local in [&mut manifest.migrations, &mut manifest.openapi].into_iter().flatten() {
            local.path = None;
        }
        if let Some(translations) = &mut manifest.translations {
            translations.path = None;
        }
        manifest
    }

    /// Canonical JSON bytes: fields in declared order, maps sorted, no white space.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|error| {
            unreachable!("a manifest holds only strings, numbers, lists and string-keyed maps: {error}")
        })
    }

    /// The JSON Schema of the manifest, draft 2020-12.
    pub fn json_schema() -> serde_json::Value {
        check::schema().clone()
    }
}

/// `[plugin]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginSection {
    /// `namespace.name`.
    pub id: PluginId,
    /// Semantic version without build metadata.
    pub version: Version,
    /// Name for people.
    #[schemars(length(min = 1, max = 80))]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2_000))]
    pub description: String,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 200)))]
    pub authors: Vec<String>,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 200))]
    pub license: String,
    /// Address for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 500))]
    pub homepage: String,
    /// Range of `bulkhead:plugin` that it was built for.
    #[serde(default = "contract_default")]
    #[schemars(with = "String", extend("format" = "version-range"))]
    pub contract: semver::VersionReq,
    /// `core` counts only if policy grants it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub category: Category,
    /// Counts only if policy grants it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub critical: bool,
    /// Order among plugins of one priority; lower first.
    #[serde(default = "load_order_default")]
    #[schemars(range(min = 0, max = 10_000))]
    pub load_order: u32,
}

/// What a plugin is to the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Any plugin.
    #[default]
    Standard,
    /// Survives the global kill switch.
    Core,
}

/// `[component]`, in `plugin.toml` alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentSection {
    /// The built component, relative to `plugin.toml`.
    #[schemars(length(min = 1, max = 1_000))]
    pub path: String,
}

/// A table whose only key is a path of the author's machine, absent in the artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalPath {
    /// File or folder, relative to `plugin.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1_000))]
    pub path: Option<String>,
}

/// `[[permissions]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// Short name; the host puts the plugin id before it.
    pub name: PermissionName,
    /// Name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 200))]
    pub title: String,
    /// What it allows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2_000))]
    pub description: String,
}

/// `[[role_templates]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleTemplate {
    /// Name of the suggested role.
    #[schemars(length(min = 1, max = 80))]
    pub name: String,
    /// Short names of own permissions.
    #[schemars(length(max = 256))]
    pub permissions: Vec<PermissionName>,
}

/// `[health]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Whether the component exports `health`.
    #[serde(default)]
    pub export: bool,
    /// Seconds between two checks.
    #[serde(default = "interval_default")]
    #[schemars(range(min = 1, max = 86_400))]
    pub interval_s: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { export: false, interval_s: interval_default() }
    }
}

/// `[performance]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Performance {
    /// Budget of the start in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub startup_ms: Option<u32>,
    /// Budget of an answer in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub response_ms: Option<u32>,
}

/// `[telemetry]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Lowest level that is kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_level: LogLevel,
}

/// Level of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the level of that name")]
pub enum LogLevel {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// Every level, in order.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The level as JSON writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// `[config]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigSection {
    /// File with the JSON Schema of the tenant's configuration.
    #[schemars(extend("format" = "asset-path"))]
    pub schema: String,
    /// Version of the schema.
    #[serde(default = "config_version_default")]
    #[schemars(range(min = 1, max = 10_000))]
    pub version: u32,
}

/// `[translations]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Translations {
    /// Folder, relative to `plugin.toml`; absent in the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1_000))]
    pub path: Option<String>,
    /// Namespaces of keys.
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub namespaces: Vec<String>,
    /// BCP 47 locales.
    #[schemars(length(min = 1, max = 128), inner(length(min = 2, max = 35)))]
    pub locales: Vec<String>,
    /// Locale to fall back to.
    #[schemars(length(min = 2, max = 35))]
    pub default: String,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn contract_default() -> semver::VersionReq {
    semver::VersionReq {
        comparators: vec![semver::Comparator {
            op: semver::Op::Caret,
            major: 0,
            minor: Some(1),
            patch: None,
            pre: semver::Prerelease::EMPTY,
        }],
    }
}

const fn load_order_default() -> u32 {
    100
}

const fn interval_default() -> u32 {
    30
}

const fn config_version_default() -> u32 {
    1
}
