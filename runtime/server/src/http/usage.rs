//! `.../usage`: what a plugin used of fuel and storage, for the fleet and for one tenant.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use bulkhead_host::{Month, view};
use bulkhead_model::{PluginId, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, PageQuery, Query};
use super::problem::Problem;
use super::wire::List;
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "get",
        "/api/v1/plugins/{id}/usage",
        Who::SuperAdmin,
        "Fuel and storage of a plugin in each tenant that called it in a month (`YYYY-MM`, UTC; the running one by default)",
        || get(of_fleet),
    )
    .query(&["tenant", "month", "limit", "cursor"])
    .answers::<List<UsageBody>>(200),
    Endpoint::new(
        "get",
        "/api/v1/tenant/plugins/{id}/usage",
        Who::TenantAdmin,
        "Fuel and storage of a plugin in the tenant in a month (`YYYY-MM`, UTC; the running one by default)",
        || get(of_tenant),
    )
    .query(&["tenant", "month"])
    .answers::<UsageBody>(200),
];

/// What a plugin used in a tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginUsage")]
struct UsageBody {
    plugin_id: PluginId,
    tenant_id: TenantId,
    /// The calendar month (UTC) of calls and fuel, `YYYY-MM`.
    month: String,
    /// Calls that ran in the month, whether they ended well or not.
    calls: u64,
    /// Fuel units that they burnt.
    fuel_units: u64,
    /// Most that they may burn in a month; `null` where the plugin does not serve.
    fuel_per_month: Option<u64>,
    /// Bytes that the plugin holds by now: tables, indexes, keys, blobs.
    storage_bytes: u64,
    /// Most that it may hold; `null` where the plugin does not serve.
    storage_bytes_max: Option<u64>,
    /// Calls and fuel by the way in which the plugin was entered.
    entries: Vec<EntryBody>,
}

/// Calls and fuel of one entry.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EntryUsage")]
struct EntryBody {
    /// `route`, `filter`, `action`, `init`, `ready`, `shutdown` or `health`.
    entry: String,
    calls: u64,
    fuel_units: u64,
}

impl UsageBody {
    fn of(usage: view::Usage) -> Self {
        let entry = |entry: view::EntryUsage| EntryBody {
            entry: entry.entry,
            calls: entry.calls,
            fuel_units: entry.fuel_units,
        };
        Self {
            plugin_id: usage.plugin_id,
            tenant_id: usage.tenant_id,
            month: usage.month.to_string(),
            calls: usage.calls,
            fuel_units: usage.fuel_units,
            fuel_per_month: usage.fuel_per_month,
            storage_bytes: usage.storage_bytes,
            storage_bytes_max: usage.storage_bytes_max,
            entries: usage.entries.into_iter().map(entry).collect(),
        }
    }
}

/// `?tenant&month&limit&cursor`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FleetQuery {
    tenant: Option<TenantId>,
    month: Option<Month>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn of_fleet(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<FleetQuery>,
) -> Result<Json<List<UsageBody>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.page()?;
    let usage = app.host.plugin_usage(&actor, &id, query.tenant.as_ref(), query.month, &page).await?;
    Ok(List::page(usage, UsageBody::of))
}

/// `?tenant&month`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantQuery {
    tenant: Option<TenantId>,
    month: Option<Month>,
}

async fn of_tenant(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<UsageBody>, Problem> {
    Ok(Json(UsageBody::of(app.host.tenant_usage(&actor, query.tenant.as_ref(), &id, query.month).await?)))
}
