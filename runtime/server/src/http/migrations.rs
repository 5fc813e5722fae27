//! `/api/v1/migrations` and `/api/v1/plugins/{id}/migrations`: a plugin's migrations over its tenants.
//! How a run went in each tenant stands below its operation.

use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use bulkhead_host::{BATCH_SIZE_DEFAULT, MigrationRequest, Run, view};
use bulkhead_model::{PluginId, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, PageQuery, Query};
use super::operations::{Accepted, OperationBody};
use super::problem::Problem;
use super::wire::{List, Time};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "post",
        "/api/v1/migrations",
        Who::SuperAdmin,
        "Run a plugin's migrations in its tenants, or try them and keep nothing; results by tenant are below the operation",
        || post(run),
    )
    .takes::<MigrationsBody>()
    .answers::<OperationBody>(202),
    Endpoint::new(
        "post",
        "/api/v1/migrations/down",
        Who::SuperAdmin,
        "Undo a plugin's migrations in one tenant by their down files, for a catastrophe: it deletes what they made; needs `force`",
        || post(down),
    )
    .takes::<DownBody>()
    .answers::<TenantMigrationsBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/plugins/{id}/migrations",
        Who::SuperAdmin,
        "Show where each tenant is with a plugin's migrations",
        || get(list),
    )
    .query(&["limit", "cursor"])
    .answers::<List<TenantMigrationsBody>>(200),
];

/// Which tenants, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MigrationRequest")]
struct MigrationsBody {
    plugin: PluginId,
    /// These alone; none means every tenant that has the plugin enabled.
    #[serde(default)]
    tenants: Vec<TenantId>,
    /// Only tenants from this one on, by id.
    from: Option<TenantId>,
    /// Only tenants that got the plugin at or after this time, RFC 3339.
    since: Option<Time>,
    /// Tenants at once, 1 to 64; 4 where nothing is said.
    batch_size: Option<u32>,
    /// Runs everything and undoes it.
    #[serde(default)]
    dry_run: bool,
}

/// What to undo.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MigrationDownRequest")]
struct DownBody {
    plugin: PluginId,
    tenant: TenantId,
    /// The migrations behind this number are undone; 0 undoes all.
    to: u32,
    #[serde(default)]
    force: bool,
}

/// Where a tenant is, each migration by the name of its file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TenantMigrations")]
struct TenantMigrationsBody {
    tenant_id: TenantId,
    /// Those that ran, in order.
    applied: Vec<String>,
    /// Those that did not, in order.
    pending: Vec<String>,
    /// The one that failed last, if it has not run since.
    failed: Option<FailedBody>,
}

/// A migration that failed and was undone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FailedMigration")]
struct FailedBody {
    migration: String,
    detail: String,
}

impl TenantMigrationsBody {
    fn of(tenant: view::TenantMigrations) -> Self {
        Self {
            tenant_id: tenant.tenant_id,
            applied: tenant.applied,
            pending: tenant.pending,
            failed: tenant.failed.map(|(migration, detail)| FailedBody { migration, detail }),
        }
    }
}

async fn run(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(body): body::Json<MigrationsBody>,
) -> Result<Accepted, Problem> {
    let request = MigrationRequest {
        tenants: body.tenants,
        from: body.from,
        since: body.since.as_ref().map(Time::micros),
        batch_size: body.batch_size.unwrap_or(BATCH_SIZE_DEFAULT),
    };
    let run = if body.dry_run { Run::DryRun } else { Run::Apply };
    Ok(Accepted(app.host.migrate(&actor, &body.plugin, &request, run).await?))
}

async fn down(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(body): body::Json<DownBody>,
) -> Result<Json<TenantMigrationsBody>, Problem> {
    let now = app.host.migrate_down(&actor, &body.plugin, &body.tenant, body.to, body.force).await?;
    Ok(Json(TenantMigrationsBody::of(now)))
}

async fn list(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(plugin): Named<PluginId>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<TenantMigrationsBody>>, Problem> {
    let page = app.host.list_migrations(&actor, &plugin, &page.page()?).await?;
    Ok(List::page(page, TenantMigrationsBody::of))
}
