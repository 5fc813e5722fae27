//! Forms that several resources write the same way: times, JSON inside JSON, lists, health.
//! A shape of one resource stands in that resource's file.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use bulkhead_host::view::{self, Page};
use bulkhead_model::TenantId;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Media type of metrics.
pub(super) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A time, RFC 3339 UTC.
#[derive(Debug)]
pub(super) struct Time(Timestamp);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| serde::de::Error::custom("wanted a time such as 2026-11-21T00:00:00Z"))
    }
}

impl Time {
    /// Microseconds after 1970.
    pub(super) fn micros(&self) -> i64 {
        self.0.as_microsecond()
    }

    /// The time so many microseconds after 1970.
    pub(super) fn of(micros: i64) -> Self {
        Self(Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// JSON text as it is stored. It was checked when it was written; what is not JSON after all is shown as `null`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Json(#[schemars(with = "serde_json::Value")] Option<Box<RawValue>>);

impl Json {
    pub(super) fn of(text: String) -> Self {
        Self(RawValue::from_string(text).ok())
    }
}

/// A list, or a piece of one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(super) struct List<T> {
    /// The items.
    items: Vec<T>,
    /// Goes into `?cursor=` for the next piece; `null` at the end.
    next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A whole list.
    pub(super) fn whole<V>(items: Vec<V>, body: impl Fn(V) -> T) -> axum::Json<Self> {
        axum::Json(Self { items: items.into_iter().map(body).collect(), next_cursor: None })
    }

    /// A piece of a list.
    pub(super) fn page<V>(page: Page<V>, body: impl Fn(V) -> T) -> axum::Json<Self> {
        axum::Json(Self { items: page.items.into_iter().map(body).collect(), next_cursor: page.next_cursor })
    }
}

/// Something was made: 201.
#[derive(Debug)]
pub(super) struct Created<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, axum::Json(self.0)).into_response()
    }
}

/// How a plugin fares in a tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginHealth")]
pub(super) struct HealthBody {
    plugin_id: String,
    tenant_id: TenantId,
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// Whether it takes calls.
    ready: bool,
    /// What it says about itself.
    details: BTreeMap<String, String>,
    /// When this was found.
    checked_at: Option<Time>,
}

impl HealthBody {
    pub(super) fn of(plugin: &str, tenant: &TenantId, health: &view::PluginHealth) -> Self {
        Self {
            plugin_id: plugin.to_owned(),
            tenant_id: tenant.clone(),
            status: if health.healthy { "healthy" } else { "unhealthy" },
            ready: health.ready,
            details: health.details.iter().cloned().collect(),
            checked_at: health.checked_at.map(Time::of),
        }
    }
}

/// A call that failed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginErrorSnapshot")]
pub(super) struct ErrorBody {
    tenant_id: TenantId,
    at: Time,
    /// How the plugin was entered.
    entry: String,
    #[schemars(schema_with = "super::openapi::code_schema")]
    code: &'static str,
    message: String,
    /// Functions of the plugin, innermost first.
    frames: Vec<String>,
    /// The last lines of the plugin's log in this tenant.
    log: Vec<String>,
    fuel_units: u64,
    trace_id: String,
}

impl ErrorBody {
    pub(super) fn of(error: view::ErrorSnapshot) -> Self {
        Self {
            tenant_id: error.tenant_id,
            at: Time::of(error.at),
            entry: error.entry,
            code: error.code.as_str(),
            message: error.message,
            frames: error.frames,
            log: error.log,
            fuel_units: error.fuel_units,
            trace_id: error.trace_id,
        }
    }
}
