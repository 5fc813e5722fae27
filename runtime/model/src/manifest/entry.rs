//! Ways into a plugin: routes, websockets, hooks, guards, and the hooks that it offers to others.
//! It matches no request; `route` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::id::{HookName, PermissionName};

/// Hook priority where the manifest names none; lower runs first.
pub const PRIORITY_DEFAULT: i32 = 10;

/// HTTP method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "each variant is the method of that name")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The method as HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// `[[routes]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// HTTP method.
    pub method: Method,
    /// Template below the plugin's prefix, such as `/deals/{id}`.
    #[schemars(extend("format" = "route-template"))]
    pub path: String,
    /// Short name of the permission that the user needs; absent: any valid token of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<PermissionName>,
    /// Guards to pass, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub guards: Vec<String>,
    /// Requests per minute of a tenant on this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate_per_minute: Option<u32>,
}

/// `[[websockets]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Websocket {
    /// Template below the plugin's prefix.
    #[schemars(extend("format" = "route-template"))]
    pub path: String,
    /// Short name of the permission that the user needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<PermissionName>,
}

/// Whether a hook changes a value or is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// May change the value.
    Filter,
    /// Is told.
    Action,
}

impl HookKind {
    /// The kind as JSON and SQL write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Action => "action",
        }
    }
}

/// What a failing hook does to the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The previous value goes on.
    #[default]
    Open,
    /// The chain fails.
    Closed,
}

impl OnFailure {
    /// The policy as JSON and SQL write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// `[[hooks]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Name of the hook.
    pub name: HookName,
    /// Filter or action.
    pub kind: HookKind,
    /// Lower runs first.
    #[serde(default = "priority_default")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: i32,
    /// What a failure does to the chain.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// Wall time of one run in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5_000))]
    pub deadline_ms: Option<u32>,
}

/// `[[guards]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Name that routes use.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Whether other plugins may name it.
    #[serde(default)]
    pub exported: bool,
    /// Guards that run before it.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub requires: Vec<String>,
}

/// `[[extension_points]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionPoint {
    /// Name of the hook.
    pub name: HookName,
    /// Filter or action.
    pub kind: HookKind,
    /// File with the JSON Schema of the value (filter) or the arguments (action).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "asset-path"))]
    pub schema: Option<String>,
}

const fn priority_default() -> i32 {
    PRIORITY_DEFAULT
}
