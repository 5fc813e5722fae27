//! The kill switch: stop a plugin, in one tenant or all, or every plugin but core ones; and its end.
//! How fast calls in flight end is the engine's.

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use bulkhead_model::{PluginId, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, Query, TenantQuery};
use super::problem::Problem;
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "post",
        "/api/v1/plugins/{id}/kill",
        Who::SuperAdmin,
        "Stop a plugin at once, in all tenants or one",
        || post(kill),
    )
    .query(&["tenant"])
    .takes::<KillBody>()
    .answers::<KilledBody>(200),
    Endpoint::new("post", "/api/v1/plugins/{id}/revive", Who::SuperAdmin, "End the stop of a plugin", || post(revive))
        .query(&["tenant"])
        .takes::<KillBody>()
        .answers::<KilledBody>(200),
    Endpoint::new("post", "/api/v1/kill", Who::SuperAdmin, "Stop every plugin but core ones at once", || {
        post(kill_all)
    })
    .takes::<ReasonBody>()
    .answers::<KilledBody>(200),
    Endpoint::new(
        "post",
        "/api/v1/revive",
        Who::SuperAdmin,
        "End the stop of every plugin; stops of single plugins stay",
        || post(revive_all),
    )
    .takes::<ReasonBody>()
    .answers::<KilledBody>(200),
];

/// Where and why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Kill")]
struct KillBody {
    /// In this tenant alone.
    tenant: Option<TenantId>,
    /// For the audit log.
    reason: String,
}

/// Why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "KillAll")]
struct ReasonBody {
    /// For the audit log.
    reason: String,
}

/// Whether it is stopped.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Killed")]
struct KilledBody {
    /// `null` stands for every plugin but core ones.
    plugin_id: Option<PluginId>,
    /// `null` stands for every tenant.
    tenant_id: Option<TenantId>,
    killed: bool,
}

async fn kill(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
    body::Json(body): body::Json<KillBody>,
) -> Result<Json<KilledBody>, Problem> {
    let tenant = body.tenant.or(query.tenant);
    app.host.kill_plugin(&actor, &id, tenant.as_ref(), &body.reason).await?;
    Ok(Json(KilledBody { plugin_id: Some(id), tenant_id: tenant, killed: true }))
}

async fn revive(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
    body::Json(body): body::Json<KillBody>,
) -> Result<Json<KilledBody>, Problem> {
    let tenant = body.tenant.or(query.tenant);
    app.host.revive_plugin(&actor, &id, tenant.as_ref()).await?;
    Ok(Json(KilledBody { plugin_id: Some(id), tenant_id: tenant, killed: false }))
}

async fn kill_all(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(body): body::Json<ReasonBody>,
) -> Result<Json<KilledBody>, Problem> {
    app.host.kill_all(&actor, &body.reason).await?;
    Ok(Json(KilledBody { plugin_id: None, tenant_id: None, killed: true }))
}

async fn revive_all(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(_): body::Json<ReasonBody>,
) -> Result<Json<KilledBody>, Problem> {
    app.host.revive_all(&actor).await?;
    Ok(Json(KilledBody { plugin_id: None, tenant_id: None, killed: false }))
}
