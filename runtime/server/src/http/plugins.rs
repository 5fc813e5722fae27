//! `/api/v1/plugins`: plugins of the fleet. Registering reads an artifact with its bundles; the rest are short acts.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use bulkhead_host::{DataChoice, Error, view};
use bulkhead_model::{Code, PluginId, Role, TenantId, TrustLevel, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{self, Unread, media_type};
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, PageQuery, Query, TenantQuery};
use super::operations::{Accepted, OperationBody};
use super::problem::Problem;
use super::wire::{self, Created, ErrorBody, HealthBody, List, Time};
use crate::app::App;

/// Largest artifact in bytes; the policy's rules allow less.
const ARTIFACT_BYTES_MAX: usize = 32 << 20;
/// Largest signature bundle in bytes.
const BUNDLE_BYTES_MAX: usize = 64 << 10;
/// Most signature bundles of an artifact.
const BUNDLES_MAX: usize = 64;
/// Largest upload in bytes: artifact, bundles, and the multipart form around them.
const UPLOAD_BYTES_MAX: usize = ARTIFACT_BYTES_MAX + BUNDLES_MAX * (BUNDLE_BYTES_MAX + 1_024);
/// Time for an upload to arrive.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(120);

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/api/v1/plugins", Who::SuperAdmin, "List plugins", || get(list)).query(&["limit", "cursor"]).answers::<List<PluginBody>>(200),
    Endpoint::new("post", "/api/v1/plugins", Who::SuperAdmin, "Register an artifact: multipart parts `artifact` and repeated `bundle`, or `application/wasm`; 200 when it is known already", || post(register))
        .answers::<PluginBody>(201),
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
    let upload = Upload::read(request).await?;
    let (plugin, is_new) = app.host.register(&actor, upload.artifact, upload.bundles).await?;
    let plugin = PluginBody::of(plugin);
    Ok(if is_new { Created(plugin).into_response() } else { Json(plugin).into_response() })
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

/// An artifact and its signature bundles.
#[derive(Debug)]
struct Upload {
    artifact: Vec<u8>,
    bundles: Vec<Vec<u8>>,
}

impl Upload {
    async fn read(request: Request) -> Result<Self, Problem> {
        match media_type(request.headers()).as_str() {
            "multipart/form-data" => {
                let parts = tokio::time::timeout(UPLOAD_DEADLINE, Box::pin(Self::parts(request))).await;
                parts.unwrap_or_else(|_| Err(Unread::Late.problem(0)))
            }
            "application/wasm" => {
                let (head, body) = request.into_parts();
                let bytes_max = u64::try_from(ARTIFACT_BYTES_MAX).unwrap_or(u64::MAX);
                let artifact = body::read(&head.headers, body, bytes_max, UPLOAD_DEADLINE)
                    .await
                    .map_err(|unread| unread.problem(bytes_max))?;
                Ok(Self { artifact, bundles: Vec::new() })
            }
            _ => Err(Problem::new(
                Code::UnsupportedMediaType,
                "send `multipart/form-data` with the parts `artifact` and `bundle`, or `application/wasm`",
            )),
        }
    }

    async fn parts(request: Request) -> Result<Self, Problem> {
        use axum::RequestExt as _;
        let request = request.map(|body| axum::body::Body::new(http_body_util::Limited::new(body, UPLOAD_BYTES_MAX)));
        // The limits stand in this file; the framework's own would hide them.
        let request = request.with_limited_body();
        let mut form =
            Multipart::from_request(request, &()).await.map_err(|error| Problem::invalid("", error.body_text()))?;
        let (mut artifact, mut bundles) = (None, Vec::new());
        while let Some(part) = form.next_field().await.map_err(|_| malformed())? {
            match part.name() {
                Some("artifact") if artifact.is_none() => artifact = Some(whole(part, ARTIFACT_BYTES_MAX).await?),
                Some("artifact") => {
                    return Err(Problem::invalid("/artifact", "one artifact is registered at a time"));
                }
                Some("bundle") if bundles.len() < BUNDLES_MAX => bundles.push(whole(part, BUNDLE_BYTES_MAX).await?),
                Some("bundle") => {
                    return Err(Problem::invalid("/bundle", format!("an artifact has at most {BUNDLES_MAX} bundles")));
                }
                Some(_) | None => {
                    return Err(Problem::invalid("", "the parts are `artifact` and `bundle`"));
                }
            }
        }
        let artifact = artifact.ok_or_else(|| Problem::invalid("/artifact", "the part `artifact` is missing"))?;
        Ok(Self { artifact, bundles })
    }
}

/// The bytes of a part, which may be too many.
async fn whole(mut part: axum::extract::multipart::Field<'_>, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(|_| malformed())? {
        if bytes.len().saturating_add(chunk.len()) > bytes_max {
            return Err(Unread::TooLarge.problem(u64::try_from(bytes_max).unwrap_or(u64::MAX)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn malformed() -> Problem {
    Problem::invalid("", "the multipart form is malformed, too long, or ended early")
}
