//! `/api/v1/reviews`: versions that may do more than the one before, and the decisions about them.
//! Comparing and deciding are not done here.

use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use bulkhead_host::view;
use bulkhead_model::TrustLevel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, PageQuery, Query, RecordId};
use super::problem::Problem;
use super::wire::{self, List, Time};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "get",
        "/api/v1/reviews",
        Who::Security,
        "List versions that wait or waited for a review, oldest first; `status` is `pending`, `approved` or `rejected`",
        || get(list),
    )
    .query(&["status", "limit", "cursor"])
    .answers::<List<ReviewBody>>(200),
    Endpoint::new(
        "post",
        "/api/v1/reviews/{id}",
        Who::Security,
        "Decide about a version that waits; its installation goes on or fails",
        || post(decide),
    )
    .takes::<DecisionBody>()
    .answers::<ReviewBody>(200),
];

/// A version that may do more than the one installed before.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Review")]
struct ReviewBody {
    id: String,
    plugin_id: String,
    version: String,
    digest: String,
    /// How far policy trusts it; `null` where policy does not allow it.
    trust: Option<&'static str>,
    /// The version that was installed before.
    base_version: String,
    base_digest: String,
    /// `sha256:<hex>` of the difference; the whole of it is at `.../versions/{v}/capabilities?against={base_version}`.
    diff_digest: String,
    /// What was added, a hundred at most: `area`, `name`, `before`, `after`.
    wider: wire::Json,
    registered_by: String,
    installed_by: String,
    /// The operation that waits.
    operation_id: String,
    /// `pending`, `approved` or `rejected`.
    status: String,
    created_at: Time,
    decided_by: Option<String>,
    decided_at: Option<Time>,
    reason: Option<String>,
}

impl ReviewBody {
    fn of(review: view::Review) -> Self {
        Self {
            id: review.id,
            plugin_id: review.plugin.to_string(),
            version: review.version.to_string(),
            digest: review.digest.to_string(),
            trust: review.trust.map(TrustLevel::as_str),
            base_version: review.base_version.to_string(),
            base_digest: review.base_digest.to_string(),
            diff_digest: review.diff_digest.to_string(),
            wider: wire::Json::of(review.wider),
            registered_by: review.registered_by,
            installed_by: review.installed_by,
            operation_id: review.operation_id,
            status: review.status,
            created_at: Time::of(review.created_at),
            decided_by: review.decided_by,
            decided_at: review.decided_at.map(Time::of),
            reason: review.reason,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ReviewChoice")]
enum Choice {
    Approve,
    Reject,
}

/// A decision and its reason.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReviewDecision")]
struct DecisionBody {
    decision: Choice,
    /// For the audit log, 1 to 2,000 bytes.
    reason: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pending,
    Approved,
    Rejected,
}

/// `?status&limit&cursor`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReviewsQuery {
    status: Option<Status>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<ReviewsQuery>,
) -> Result<Json<List<ReviewBody>>, Problem> {
    let status = match query.status {
        None => "",
        Some(Status::Pending) => "pending",
        Some(Status::Approved) => "approved",
        Some(Status::Rejected) => "rejected",
    };
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.page()?;
    Ok(List::page(app.host.list_reviews(&actor, status, &page).await?, ReviewBody::of))
}

async fn decide(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(RecordId(id)): Named<RecordId>,
    body::Json(decision): body::Json<DecisionBody>,
) -> Result<Json<ReviewBody>, Problem> {
    let is_approved = matches!(decision.decision, Choice::Approve);
    let review = app.host.decide_review(&actor, &id, is_approved, &decision.reason).await?;
    Ok(Json(ReviewBody::of(review)))
}
