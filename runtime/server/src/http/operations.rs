//! `/api/v1/operations/{id}` and its `/events`: long work as it goes on.
//! It starts none.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bulkhead_host::view::{self, OperationStatus};
use bulkhead_model::{Actor, Code, TenantId};
use futures_util::stream::{self, Stream};
use http::StatusCode;
use http::header::LOCATION;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, PageQuery, Query, RecordId};
use super::problem::Problem;
use super::wire::{self, List, Time};
use crate::app::App;

/// Time between two looks at an operation that is followed.
const LOOK: Duration = Duration::from_millis(200);
/// Longest time that one request follows an operation.
const FOLLOW_MAX: Duration = Duration::from_secs(600);

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/api/v1/operations/{id}", Who::SuperAdmin, "Show long work", || get(show))
        .answers::<OperationBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/operations/{id}/events",
        Who::SuperAdmin,
        "Follow long work to its end: server-sent events `step` and `end`, each with the operation",
        || get(events),
    )
    .answers::<OperationBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/operations/{id}/results",
        Who::SuperAdmin,
        "Show how long work over many tenants went in each",
        || get(results),
    )
    .query(&["limit", "cursor"])
    .answers::<List<ResultBody>>(200),
];

/// How long work went in a tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OperationResult")]
struct ResultBody {
    tenant_id: TenantId,
    /// `done` or `failed`.
    outcome: String,
    /// What was done, or the code and detail of the failure.
    detail: wire::Json,
    at: Time,
}

impl ResultBody {
    fn of(result: view::OperationResult) -> Self {
        Self {
            tenant_id: result.tenant_id,
            outcome: result.outcome,
            detail: wire::Json::of(result.detail),
            at: Time::of(result.at),
        }
    }
}

/// Long work.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Operation")]
pub(super) struct OperationBody {
    id: String,
    /// For example `install`.
    kind: String,
    plugin_id: String,
    version: String,
    /// `running`, `pending-review`, `succeeded` or `failed`.
    status: &'static str,
    /// The step that it is in, or was in at its end.
    step: Option<String>,
    /// Steps so far, in order.
    steps: Vec<StepBody>,
    error: Option<OperationErrorBody>,
    created_at: Time,
    updated_at: Time,
}

/// A step of long work.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OperationStep")]
struct StepBody {
    name: String,
    done: u64,
    total: u64,
}

/// Why long work failed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OperationError")]
struct OperationErrorBody {
    #[schemars(schema_with = "super::openapi::code_schema")]
    code: &'static str,
    title: &'static str,
    detail: String,
}

impl OperationBody {
    pub(super) fn of(operation: view::Operation) -> Self {
        Self {
            id: operation.id,
            kind: operation.kind,
            plugin_id: operation.plugin.to_string(),
            version: operation.version.to_string(),
            status: operation.status.as_str(),
            step: operation.steps.last().map(|step| step.name.clone()),
            steps: operation
                .steps
                .into_iter()
                .map(|step| StepBody { name: step.name, done: step.done, total: step.total })
                .collect(),
            error: operation.error.map(|error| OperationErrorBody {
                code: error.code.as_str(),
                title: error.code.title(),
                detail: error.detail,
            }),
            created_at: Time::of(operation.created_at),
            updated_at: Time::of(operation.updated_at),
        }
    }
}

/// Long work was begun: 202, and where to look.
pub(super) struct Accepted(pub(super) view::Operation);

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let location = format!("/api/v1/operations/{}", self.0.id);
        (StatusCode::ACCEPTED, [(LOCATION, location)], Json(OperationBody::of(self.0))).into_response()
    }
}

async fn show(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(RecordId(id)): Named<RecordId>,
) -> Result<Json<OperationBody>, Problem> {
    Ok(Json(OperationBody::of(app.host.get_operation(&actor, &id).await?)))
}

async fn results(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(RecordId(id)): Named<RecordId>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<ResultBody>>, Problem> {
    let page = app.host.list_operation_results(&actor, &id, &page.page()?).await?;
    Ok(List::page(page, ResultBody::of))
}

async fn events(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(RecordId(id)): Named<RecordId>,
) -> Result<impl IntoResponse, Problem> {
    app.host.get_operation(&actor, &id).await?;
    let permit = Arc::clone(&app.streams).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::new(Code::Overloaded, "too many operations are followed at once"))?;
    let follow = Follow { app, actor, id, told_at: None, until: Instant::now() + FOLLOW_MAX, _permit: permit };
    Ok(Sse::new(follow.events()).keep_alive(KeepAlive::default()))
}

struct Follow {
    app: App,
    actor: Arc<Actor>,
    id: String,
    told_at: Option<i64>,
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Follow {
    /// Each change, then the end. Ends early when the host stops or the time is up: whoever follows asks again.
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(Some(self), async |follow| {
            let mut follow = follow?;
            let operation = follow.change().await?;
            let is_running = operation.status == OperationStatus::Running;
            let event = Event::default().event(if is_running { "step" } else { "end" });
            let event = event.json_data(OperationBody::of(operation)).unwrap_or_default();
            Some((Ok(event), is_running.then_some(follow)))
        })
    }

    /// The operation, as soon as it differs from what was told last.
    async fn change(&mut self) -> Option<view::Operation> {
        while Instant::now() < self.until {
            let operation = self.app.host.get_operation(&self.actor, &self.id).await.ok()?;
            if self.told_at != Some(operation.updated_at) || operation.status != OperationStatus::Running {
                self.told_at = Some(operation.updated_at);
                return Some(operation);
            }
            tokio::select! {
                () = self.app.stopping.cancelled() => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        None
    }
}
