//! `/api/v1/audit`: what was done on this host, and the proof that nothing was changed afterwards.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bulkhead_host::view;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, PageQuery, Query};
use super::problem::Problem;
use super::wire::{self, List, Time};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "get",
        "/api/v1/audit",
        Who::Security,
        "List what was done, in order; with `order=desc` the newest first",
        || get(list),
    )
    .query(&["limit", "cursor", "order"])
    .answers::<List<AuditBody>>(200),
    Endpoint::new(
        "get",
        "/api/v1/audit/verify",
        Who::Security,
        "Check that every entry follows from the ones before",
        || get(verify),
    )
    .answers::<ProofBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/audit/export",
        Who::Security,
        "The whole log, one entry a line, to be checked without the host; whole only if it ends in good order",
        || get(export),
    )
    .answers_file(LINES),
];

/// Media type of JSON, one value a line.
const LINES: &str = "application/x-ndjson";

/// An entry of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
struct AuditBody {
    /// Position, from 1, without a gap.
    sequence: u64,
    at: Time,
    actor: String,
    /// For example `plugin.install`.
    action: String,
    plugin: Option<String>,
    tenant: Option<String>,
    detail: wire::Json,
    /// `sha256:<hex>` over this entry and the hash before it.
    hash: String,
}

impl AuditBody {
    fn of(entry: view::AuditEntry) -> Self {
        let named = |text: String| Some(text).filter(|text| !text.is_empty());
        let record = entry.record;
        Self {
            sequence: record.sequence,
            at: Time::of(record.at),
            actor: record.actor,
            action: record.action,
            plugin: named(record.plugin),
            tenant: named(record.tenant),
            detail: wire::Json::of(record.detail),
            hash: entry.hash.to_string(),
        }
    }
}

/// Whether the audit log is whole.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditProof")]
struct ProofBody {
    intact: bool,
    /// Entries that were checked.
    entries: u64,
    /// The first entry that does not follow.
    first_broken: Option<u64>,
    /// Hash of the last whole entry.
    head: String,
}

/// `?limit&cursor&order`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    #[serde(default)]
    order: Order,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Asc,
    Desc,
}

async fn list(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(AuditQuery { limit, cursor, order }): Query<AuditQuery>,
) -> Result<Json<List<AuditBody>>, Problem> {
    let page = PageQuery { limit, cursor }.page()?;
    let entries = match order {
        Order::Asc => app.host.list_audit(&actor, &page).await?,
        Order::Desc => app.host.list_audit_newest(&actor, &page).await?,
    };
    Ok(List::page(entries, AuditBody::of))
}

async fn export(State(app): State<App>, Admin(actor): Admin) -> Result<Response, Problem> {
    let export = app.host.export_audit(&actor).await?;
    // Read as fast as the client takes it.
    let pieces = futures_util::stream::unfold(export, async |mut export| {
        let piece = export.next().await?;
        Some((piece, export))
    });
    Ok(([(CONTENT_TYPE, LINES)], Body::from_stream(pieces)).into_response())
}

async fn verify(State(app): State<App>, Admin(actor): Admin) -> Result<Json<ProofBody>, Problem> {
    let proof = app.host.verify_audit(&actor).await?;
    Ok(Json(ProofBody {
        intact: proof.first_broken.is_none(),
        entries: proof.entries,
        first_broken: proof.first_broken,
        head: proof.head.to_string(),
    }))
}
