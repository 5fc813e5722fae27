//! `/api/v1/tenants`: tenants of the host.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use bulkhead_host::view;
use bulkhead_model::TenantId;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, PageQuery, Query};
use super::problem::Problem;
use super::wire::{Created, List, Time};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/api/v1/tenants", Who::SuperAdmin, "List tenants", || get(list))
        .query(&["limit", "cursor"])
        .answers::<List<TenantBody>>(200),
    Endpoint::new("post", "/api/v1/tenants", Who::SuperAdmin, "Create a tenant", || post(create))
        .takes::<CreateBody>()
        .answers::<TenantBody>(201),
    Endpoint::new("get", "/api/v1/tenants/{id}", Who::SuperAdmin, "Show a tenant", || get(show))
        .answers::<TenantBody>(200),
    Endpoint::new(
        "delete",
        "/api/v1/tenants/{id}",
        Who::SuperAdmin,
        "Delete a tenant with all its plugins' data",
        || delete(remove),
    ),
    Endpoint::new(
        "post",
        "/api/v1/tenants/{id}/suspend",
        Who::SuperAdmin,
        "Stop all plugins of a tenant, keeping its data",
        || post(suspend),
    )
    .answers::<TenantBody>(200),
    Endpoint::new("post", "/api/v1/tenants/{id}/resume", Who::SuperAdmin, "End a suspension", || post(resume))
        .answers::<TenantBody>(200),
    Endpoint::new(
        "post",
        "/api/v1/tenants/{id}/export",
        Who::SuperAdmin,
        "Archive what all plugins keep in a tenant; a stream, whole only if it ends in good order",
        || post(export),
    )
    .answers_file(TAR),
];

/// Media type of an archive.
const TAR: &str = "application/x-tar";

/// A tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Tenant")]
struct TenantBody {
    id: TenantId,
    /// `active`, `suspended` or `deleting`.
    status: &'static str,
    created_at: Time,
}

impl TenantBody {
    fn of(tenant: view::Tenant) -> Self {
        Self { id: tenant.id, status: tenant.status, created_at: Time::of(tenant.created_at) }
    }
}

/// The tenant to create.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewTenant")]
struct CreateBody {
    /// 1 to 63 of `a-z`, `0-9`, `-`, not beginning with `-`.
    id: TenantId,
}

async fn list(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<TenantBody>>, Problem> {
    Ok(List::page(app.host.list_tenants(&actor, &query.page()?).await?, TenantBody::of))
}

async fn create(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(tenant): body::Json<CreateBody>,
) -> Result<Created<TenantBody>, Problem> {
    Ok(Created(TenantBody::of(app.host.create_tenant(&actor, &tenant.id).await?)))
}

async fn show(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<TenantId>,
) -> Result<Json<TenantBody>, Problem> {
    Ok(Json(TenantBody::of(app.host.get_tenant(&actor, &id).await?)))
}

async fn remove(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<TenantId>,
) -> Result<StatusCode, Problem> {
    app.host.delete_tenant(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn suspend(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<TenantId>,
) -> Result<Json<TenantBody>, Problem> {
    Ok(Json(TenantBody::of(app.host.suspend_tenant(&actor, &id).await?)))
}

async fn resume(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<TenantId>,
) -> Result<Json<TenantBody>, Problem> {
    Ok(Json(TenantBody::of(app.host.resume_tenant(&actor, &id).await?)))
}

async fn export(State(app): State<App>, Admin(actor): Admin, Named(id): Named<TenantId>) -> Result<Response, Problem> {
    let export = app.host.export_tenant(&actor, &id).await?;
    let disposition = format!("attachment; filename=\"{}\"", export.file_name);
    // Read as fast as the client takes it.
    let pieces = futures_util::stream::unfold(export, async |mut export| {
        let piece = export.next().await?;
        Some((piece, export))
    });
    let headers = [(CONTENT_TYPE, TAR), (CONTENT_DISPOSITION, disposition.as_str())];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
