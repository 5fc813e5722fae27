//! `/api/v1/hooks`: the host application declares hooks, runs values through filters and tells actions.
//! Order and failure policy of a chain are the host's.

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post, put};
use bulkhead_host::{Caller, Error, Failure, view};
use bulkhead_model::manifest::{HookKind, OnFailure};
use bulkhead_model::{HookName, Role};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Calling, Query, TenantQuery};
use super::problem::Problem;
use super::wire::{self, List};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "get",
        "/api/v1/hooks",
        Who::Host,
        "List declared hooks, with a tenant also those of its plugins",
        || get(list),
    )
    .query(&["tenant"])
    .answers::<List<HookBody>>(200),
    Endpoint::new("put", "/api/v1/hooks/{name}", Who::Host, "Declare a hook, or replace its declaration", || {
        put(declare)
    })
    .takes::<DeclareBody>()
    .answers::<HookBody>(200),
    Endpoint::new("delete", "/api/v1/hooks/{name}", Who::Host, "Remove a declaration", || delete(remove)),
    Endpoint::new("post", "/api/v1/hooks/{name}/apply", Who::Host, "Run a value through the filters of a hook", || {
        post(apply)
    })
    .query(&["tenant"])
    .takes::<ApplyBody>()
    .answers::<AppliedBody>(200),
    Endpoint::new("post", "/api/v1/hooks/{name}/dispatch", Who::Host, "Tell the actions of a hook", || post(dispatch))
        .query(&["tenant"])
        .takes::<DispatchBody>()
        .answers::<DispatchedBody>(200),
];

/// A hook that may be dispatched.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Hook")]
struct HookBody {
    name: HookName,
    /// `filter` or `action`.
    kind: &'static str,
    /// JSON Schema of a filter's value or an action's arguments.
    schema: Option<wire::Json>,
    /// `open` or `closed`.
    on_failure: &'static str,
    /// `host`, or the plugin that declares it.
    declared_by: String,
}

impl HookBody {
    fn of(hook: view::Hook) -> Self {
        Self {
            name: hook.name,
            kind: hook.kind.as_str(),
            schema: hook.schema.map(wire::Json::of),
            on_failure: hook.on_failure.as_str(),
            declared_by: hook.declared_by,
        }
    }
}

/// What a hook is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HookDeclaration")]
struct DeclareBody {
    kind: HookKind,
    /// JSON Schema of a filter's value or an action's arguments.
    schema: Option<serde_json::Value>,
    #[serde(default)]
    on_failure: OnFailure,
}

/// A value and what filters may know beside it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Apply")]
struct ApplyBody {
    #[schemars(with = "serde_json::Value")]
    value: Box<RawValue>,
    /// A JSON array; empty where none is given.
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    args: Option<Box<RawValue>>,
}

/// What actions are told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Dispatch")]
struct DispatchBody {
    /// A JSON array; empty where none is given.
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    args: Option<Box<RawValue>>,
}

/// A value after its filters.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Applied")]
struct AppliedBody {
    value: wire::Json,
    /// Filters that failed and were passed over.
    failures: Vec<FailureBody>,
}

/// The actions that failed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Dispatched")]
struct DispatchedBody {
    failures: Vec<FailureBody>,
}

/// A plugin that failed in a chain.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HookFailure")]
struct FailureBody {
    plugin: String,
    hook: String,
    #[schemars(schema_with = "super::openapi::code_schema")]
    code: &'static str,
    detail: String,
    trace_id: String,
}

impl FailureBody {
    fn of(failure: Failure) -> Self {
        Self {
            plugin: failure.plugin.to_string(),
            hook: failure.hook,
            code: failure.code.as_str(),
            detail: failure.detail,
            trace_id: failure.trace_id,
        }
    }
}

async fn list(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<TenantQuery>,
) -> Result<Json<List<HookBody>>, Problem> {
    let tenant = actor.tenant.as_ref().or(query.tenant.as_ref());
    Ok(List::whole(app.host.list_hooks(&actor, tenant).await?, HookBody::of))
}

async fn declare(
    State(app): State<App>,
    Admin(actor): Admin,
    Path(name): Path<String>,
    body::Json(hook): body::Json<DeclareBody>,
) -> Result<Json<HookBody>, Problem> {
    let name: HookName =
        name.parse().map_err(|error: bulkhead_model::id::InvalidName| Error::InvalidName(error.to_string()))?;
    let schema = hook.schema.map(|schema| schema.to_string());
    Ok(Json(HookBody::of(app.host.declare_hook(&actor, &name, hook.kind, schema.as_deref(), hook.on_failure).await?)))
}

async fn remove(State(app): State<App>, Admin(actor): Admin, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let name: HookName = name.parse().map_err(|_| unknown(&name))?;
    app.host.remove_hook(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(name: &str) -> Error {
    Error::UnknownHook { name: name.chars().take(128).collect(), kind: "hook" }
}

async fn apply(
    State(app): State<App>,
    Calling(caller): Calling,
    Path(name): Path<String>,
    body::Json(apply): body::Json<ApplyBody>,
) -> Result<Json<AppliedBody>, Problem> {
    require_host(&caller)?;
    let args = apply.args.as_deref().map_or("[]", RawValue::get);
    let applied = app.host.apply_filter(&caller, &name, apply.value.get().to_owned(), args).await?;
    Ok(Json(AppliedBody {
        value: wire::Json::of(applied.value),
        failures: applied.failures.into_iter().map(FailureBody::of).collect(),
    }))
}

async fn dispatch(
    State(app): State<App>,
    Calling(caller): Calling,
    Path(name): Path<String>,
    body::Json(dispatch): body::Json<DispatchBody>,
) -> Result<Json<DispatchedBody>, Problem> {
    require_host(&caller)?;
    let args = dispatch.args.as_deref().map_or("[]", RawValue::get);
    let failures = app.host.dispatch_action(&caller, &name, args).await?;
    Ok(Json(DispatchedBody { failures: failures.into_iter().map(FailureBody::of).collect() }))
}

/// A hook is dispatched by the host application. As a library it needs no role, so the check stands here, at the edge.
fn require_host(caller: &Caller) -> Result<(), Error> {
    let may = [Role::Host, Role::SuperAdmin].iter().any(|role| caller.actor.is(*role));
    if may { Ok(()) } else { Err(Error::RoleRequired(Role::Host.as_str())) }
}
