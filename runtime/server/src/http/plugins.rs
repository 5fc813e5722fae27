//! `/api/v1/plugins`: plugins of the fleet. Registering reads an artifact with its bundles; the rest are short acts.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use bulkhead_host::sources::Source;
use bulkhead_host::{DataChoice, Error, Together, view};
use bulkhead_model::{Code, PluginId, Role, TenantId, TrustLevel, Version};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, PageQuery, Query, TenantQuery};
use super::operations::{Accepted, OperationBody};
use super::problem::Problem;
use super::upload::{SourceBody, Upload};
use super::wire::{self, ErrorBody, HealthBody, List, Time};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/api/v1/plugins", Who::SuperAdmin, "List plugins", || get(list)).query(&["limit", "cursor"]).answers::<List<PluginBody>>(200),
    Endpoint::new("post", "/api/v1/plugins", Who::SuperAdmin, "Register releases: what a `source` names, multipart parts `artifact` and `bundle`, `application/wasm`, or an archive as `application/x-tar`; several are answered as a list, 200 when all are known already", || post(register))
        .takes::<SourceBody>()
        .answers::<RegisteredBody>(201),
    Endpoint::new("post", "/api/v1/plugins/install", Who::SuperAdmin, "Install several registered plugins in the order of their dependencies, all or none", || post(install_together))
        .takes::<TogetherBody>()
        .answers::<OperationBody>(202),
    Endpoint::new("get", "/api/v1/plugins/{id}", Who::SuperAdmin, "Show a plugin", || get(show)).answers::<PluginBody>(200),
    Endpoint::new("delete", "/api/v1/plugins/{id}", Who::SuperAdmin, "Uninstall a plugin; `data` is `keep`, `archive` or `drop`", || delete(uninstall))
        .query(&["data", "force"])
        .answers::<OperationBody>(202),
    Endpoint::new("post", "/api/v1/plugins/{id}/install", Who::SuperAdmin, "Install a registered version", || post(install)).takes::<InstallBody>().answers::<OperationBody>(202),
    Endpoint::new("post", "/api/v1/plugins/{id}/rollback", Who::SuperAdmin, "Install an older version than the one installed last, with a reason", || post(rollback)).takes::<RollbackBody>().answers::<OperationBody>(202),
    Endpoint::new("post", "/api/v1/plugins/{id}/enable", Who::SuperAdmin, "Let tenants use a plugin", || post(enable)).answers::<PluginBody>(200),
    Endpoint::new("post", "/api/v1/plugins/{id}/disable", Who::SuperAdmin, "Stop a plugin for every tenant, keeping its data", || post(disable)).answers::<PluginBody>(200),
    Endpoint::new("get", "/api/v1/plugins/{id}/versions", Who::SuperAdmin, "List the versions of a plugin, newest first", || get(versions)).answers::<List<VersionBody>>(200),
    Endpoint::new("get", "/api/v1/plugins/{id}/health", Who::SuperAdmin, "Health of a plugin in each tenant of this node", || get(health)).query(&["tenant"]).answers::<List<HealthBody>>(200),
    Endpoint::new("get", "/api/v1/plugins/{id}/errors", Who::SuperAdmin, "The last failed calls of a plugin on this node, newest first", || get(errors))
        .query(&["tenant"])
        .answers::<List<ErrorBody>>(200),
];

/// A plugin of the fleet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Plugin")]
struct PluginBody {
    id: PluginId,
    name: String,
    version: String,
    /// `registered`, `installing`, `installed`, `active`, `disabled`, `uninstalling` or `uninstalled`.
    status: &'static str,
    manifest: wire::Json,
    created_at: Time,
    updated_at: Time,
    tenants_enabled: u64,
    /// `healthy`, `unhealthy` or `unknown`.
    health: &'static str,
    /// How far policy trusts it: `core`, `verified`, `community` or `untrusted`; `null` where policy does not allow it.
    trust: Option<&'static str>,
    last_error: Option<String>,
}

impl PluginBody {
    fn of(plugin: view::Plugin) -> Self {
        Self {
            id: plugin.id,
            name: plugin.name,
            version: plugin.version.to_string(),
            status: plugin.status.as_str(),
            manifest: wire::Json::of(plugin.manifest),
            created_at: Time::of(plugin.created_at),
            updated_at: Time::of(plugin.updated_at),
            tenants_enabled: plugin.tenants_enabled,
            health: plugin.health.as_str(),
            trust: plugin.trust.map(TrustLevel::as_str),
            last_error: plugin.last_error,
        }
    }
}

/// A plugin of the fleet, and where this release of it was fetched from.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RegisteredPlugin")]
struct RegisteredBody {
    #[serde(flatten)]
    plugin: PluginBody,
    /// Absent for an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

impl RegisteredBody {
    fn of(plugin: view::Plugin, source: Option<Source>) -> Self {
        Self { plugin: PluginBody::of(plugin), source }
    }
}

/// A known version of a plugin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginVersion")]
struct VersionBody {
    version: String,
    /// `sha256:<hex>` of the artifact.
    digest: String,
    size_bytes: u64,
    registered_by: String,
    created_at: Time,
    /// How far policy trusts it; `null` where policy does not allow it.
    trust: Option<&'static str>,
}

impl VersionBody {
    fn of(version: view::PluginVersion) -> Self {
        Self {
            version: version.version.to_string(),
            digest: version.digest.to_string(),
            size_bytes: version.size_bytes,
            registered_by: version.registered_by,
            created_at: Time::of(version.created_at),
            trust: version.trust.map(TrustLevel::as_str),
        }
    }
}

async fn list(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<PluginBody>>, Problem> {
    Ok(List::page(app.host.list_plugins(&actor, &query.page()?).await?, PluginBody::of))
}

async fn register(State(app): State<App>, Admin(actor): Admin, request: Request) -> Result<Response, Problem> {
    // Before the body: who may not register sends no 32 MiB.
    if !actor.is(Role::SuperAdmin) {
        return Err(Error::RoleRequired(Role::SuperAdmin.as_str()).into());
    }
    let _permit = app
        .uploads
        .try_acquire()
        .map_err(|_| Problem::new(Code::Overloaded, "as many artifacts as may are being received"))?;
    let (registered, source) = match Upload::read(&app, request).await? {
        Upload::Releases(sent) => (app.host.register_all(&actor, sent, None).await?, None),
        Upload::Archive(archive) => (app.host.register_archive(&actor, &archive).await?, None),
        Upload::Source(source) => (Box::pin(app.host.register_from(&actor, &source)).await?, Some(source)),
    };
    let is_new = registered.iter().any(|(_, is_new)| *is_new);
    let bodies = registered.into_iter().map(|(plugin, _)| RegisteredBody::of(plugin, source.clone()));
    let mut bodies: Vec<RegisteredBody> = bodies.collect();
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(match bodies.pop() {
        Some(only) if bodies.is_empty() => (status, Json(only)).into_response(),
        last => {
            bodies.extend(last);
            (status, List::whole(bodies, |body| body)).into_response()
        }
    })
}

async fn show(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
) -> Result<Json<PluginBody>, Problem> {
    Ok(Json(PluginBody::of(app.host.get_plugin(&actor, &id).await?)))
}

/// `?data=&force`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UninstallQuery {
    #[serde(default)]
    data: DataQuery,
    force: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DataQuery {
    #[default]
    Keep,
    Archive,
    Drop,
}

async fn uninstall(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<UninstallQuery>,
) -> Result<Accepted, Problem> {
    let data = match query.data {
        DataQuery::Keep => DataChoice::Keep,
        DataQuery::Archive => DataChoice::Archive,
        DataQuery::Drop => DataChoice::Drop,
    };
    let force = match query.force.as_deref() {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(_) => return Err(Problem::invalid("", "`force` is `true` or `false`")),
    };
    Ok(Accepted(app.host.uninstall(&actor, &id, data, force).await?))
}

/// Which version is installed; the one that was registered last where none is named.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Install")]
struct InstallBody {
    version: Option<Version>,
    /// Whether it is meant that the version is older than the one installed last.
    rollback: bool,
    /// Why one goes back, for the audit log; with `rollback` alone.
    reason: Option<String>,
}

/// To which version one goes back, and why; the older one that was installed last where none is named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rollback")]
struct RollbackBody {
    version: Option<Version>,
    /// For the audit log, 1 to 2,000 bytes.
    reason: String,
}

async fn install(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    body::Json(install): body::Json<InstallBody>,
) -> Result<Accepted, Problem> {
    match (install.rollback, install.reason) {
        (false, None) => Ok(Accepted(app.host.install(&actor, &id, install.version).await?)),
        (true, Some(reason)) => Ok(Accepted(app.host.roll_back(&actor, &id, install.version.as_ref(), &reason).await?)),
        (true, None) => Err(Problem::invalid("/reason", "going back needs a `reason`")),
        (false, Some(_)) => Err(Problem::invalid("/rollback", "a `reason` is for going back, with `rollback`")),
    }
}

async fn rollback(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    body::Json(rollback): body::Json<RollbackBody>,
) -> Result<Accepted, Problem> {
    Ok(Accepted(app.host.roll_back(&actor, &id, rollback.version.as_ref(), &rollback.reason).await?))
}

/// What is installed together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "InstallTogether")]
struct TogetherBody {
    /// The plugins, in any order.
    #[schemars(length(min = 1, max = 32))]
    plugins: Vec<MemberBody>,
}

/// A plugin to install with others; the version that was registered last where none is named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "InstallMember")]
struct MemberBody {
    id: PluginId,
    #[serde(default)]
    version: Option<Version>,
}

async fn install_together(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(together): body::Json<TogetherBody>,
) -> Result<Accepted, Problem> {
    let wanted: Vec<Together> =
        together.plugins.into_iter().map(|member| Together { plugin: member.id, version: member.version }).collect();
    Ok(Accepted(app.host.install_together(&actor, &wanted).await?))
}

async fn enable(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
) -> Result<Json<PluginBody>, Problem> {
    Ok(Json(PluginBody::of(app.host.enable_plugin(&actor, &id).await?)))
}

async fn disable(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
) -> Result<Json<PluginBody>, Problem> {
    Ok(Json(PluginBody::of(app.host.disable_plugin(&actor, &id).await?)))
}

async fn versions(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
) -> Result<Json<List<VersionBody>>, Problem> {
    Ok(List::whole(app.host.list_versions(&actor, &id).await?, VersionBody::of))
}

async fn health(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<List<HealthBody>>, Problem> {
    let mut found: Vec<(TenantId, view::PluginHealth)> = app.host.fleet_health(&actor, &id).await?;
    found.retain(|(tenant, _)| query.tenant.as_ref().is_none_or(|only| only == tenant));
    Ok(List::whole(found, |(tenant, health)| HealthBody::of(id.as_str(), &tenant, &health)))
}

async fn errors(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<List<ErrorBody>>, Problem> {
    Ok(List::whole(app.host.plugin_errors(&actor, &id, query.tenant.as_ref()).await?, ErrorBody::of))
}
