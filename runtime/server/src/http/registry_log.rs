//! `/api/v1/registry/log`: the Merkle log of the registry, its signed state, and proofs that anybody checks without the host.
//! What a proof proves is `trust`'s.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bulkhead_host::{ConsistencyProof, Error, InclusionProof, WantedLeaf, view};
use bulkhead_model::log::tree;
use bulkhead_model::{PluginId, Version};
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, PageQuery, Query};
use super::problem::Problem;
use super::registry::Asking;
use super::wire::{self, List};
use crate::app::App;

/// Media type of a signed note.
const NOTE: &str = "text/plain; charset=utf-8";
/// Media type of a DSSE envelope.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "get",
        "/api/v1/registry/log",
        Who::Registry,
        "List the leaves of the registry's log, the first one first",
        || get(list),
    )
    .query(&["limit", "cursor"])
    .answers::<List<LeafBody>>(200),
    Endpoint::new(
        "get",
        "/api/v1/registry/log/checkpoint",
        Who::Registry,
        "The signed state of the log: a signed note of how many leaves it has, their root, and the end of the audit log",
        || get(checkpoint),
    )
    .answers_file("text/plain"),
    Endpoint::new(
        "get",
        "/api/v1/registry/log/timestamp",
        Who::Registry,
        "How far log, revocations and policy are: a signed statement that expires",
        || get(timestamp),
    )
    .answers_file(ENVELOPE),
    Endpoint::new(
        "get",
        "/api/v1/registry/log/proof",
        Who::Registry,
        "Prove that a leaf is in the log: of the artifact `digest` or at the place `index`, in a tree of `size` leaves or of all",
        || get(prove),
    )
    .query(&["digest", "index", "size"])
    .answers::<InclusionBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/registry/log/consistency",
        Who::Registry,
        "Prove that the first `from` leaves are the beginning of the first `to`, or of all",
        || get(consistency),
    )
    .query(&["from", "to"])
    .answers::<ConsistencyBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/plugins/{id}/versions/{v}/proof",
        Who::SuperAdmin,
        "What proved, when the version was installed last, that the registry's log has its release",
        || get(installed),
    )
    .answers::<InclusionBody>(200),
    Endpoint::new(
        "post",
        "/api/v1/registry/log/accept",
        Who::Security,
        "Take the stored state as it is, on this host, after `registry-log-broken`; it is on record",
        || post(accept),
    )
    .takes::<AcceptBody>()
    .answers::<AcceptedBody>(200),
];

/// A leaf of the registry's log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LogLeaf")]
struct LeafBody {
    /// Its place, from 0.
    index: u64,
    /// What happened.
    entry: wire::Json,
    /// The bytes that are hashed.
    leaf: String,
    /// `sha256:<hex>` of a zero byte and the leaf.
    hash: String,
}

impl LeafBody {
    fn of(leaf: view::LogLeaf) -> Self {
        Self {
            index: leaf.index,
            hash: tree::leaf_hash(leaf.leaf.as_bytes()).to_string(),
            entry: wire::Json::of(leaf.leaf.clone()),
            leaf: leaf.leaf,
        }
    }
}

/// That a leaf is in the log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InclusionProof")]
struct InclusionBody {
    /// Place of the leaf, from 0.
    leaf_index: u64,
    /// Leaves of the tree.
    tree_size: u64,
    /// The bytes that are hashed.
    leaf: String,
    /// `sha256:<hex>` from the leaf upwards.
    hashes: Vec<String>,
    /// The signed note of the tree, where the host has the registry's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

impl InclusionBody {
    fn of(proof: InclusionProof) -> Self {
        Self {
            leaf_index: proof.leaf_index,
            tree_size: proof.tree_size,
            leaf: proof.leaf,
            hashes: proof.hashes.iter().map(ToString::to_string).collect(),
            checkpoint: proof.checkpoint,
        }
    }
}

/// That an older state of the log is the beginning of a newer one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConsistencyProof")]
struct ConsistencyBody {
    /// Leaves of the older tree.
    from: u64,
    /// Leaves of the newer one.
    to: u64,
    /// `sha256:<hex>` in the order of RFC 6962.
    hashes: Vec<String>,
}

impl ConsistencyBody {
    fn of(proof: &ConsistencyProof) -> Self {
        let hashes = proof.hashes.iter().map(ToString::to_string).collect();
        Self { from: proof.from, to: proof.to, hashes }
    }
}

/// Why the stored state is taken as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AcceptLog")]
struct AcceptBody {
    /// What was found out, for the audit log.
    reason: String,
}

/// The state that was taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedLog")]
struct AcceptedBody {
    /// Leaves of the log.
    size: u64,
    /// `sha256:<hex>`, the root over them.
    root: String,
    /// What the alarm was, if one stood.
    alarm: Option<String>,
}

/// `?digest&index&size`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofQuery {
    digest: Option<String>,
    index: Option<u64>,
    size: Option<u64>,
}

/// `?from&to`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsistencyQuery {
    from: u64,
    to: Option<u64>,
}

async fn list(
    State(app): State<App>,
    Asking(who): Asking,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<LeafBody>>, Problem> {
    Ok(List::page(app.host.list_log(&who, &query.page()?).await?, LeafBody::of))
}

async fn checkpoint(State(app): State<App>, Asking(who): Asking) -> Result<Response, Problem> {
    Ok(([(CONTENT_TYPE, NOTE)], app.host.registry_checkpoint(&who).await?).into_response())
}

async fn timestamp(State(app): State<App>, Asking(who): Asking) -> Result<Response, Problem> {
    Ok(([(CONTENT_TYPE, ENVELOPE)], app.host.registry_timestamp(&who).await?).into_response())
}

async fn prove(
    State(app): State<App>,
    Asking(who): Asking,
    Query(query): Query<ProofQuery>,
) -> Result<Json<InclusionBody>, Problem> {
    let wanted = match (query.digest, query.index) {
        (Some(digest), None) => WantedLeaf::Digest(digest),
        (None, Some(index)) => WantedLeaf::Index(index),
        _ => return Err(Error::InvalidName("name a leaf by `digest` or by `index`".to_owned()).into()),
    };
    Ok(Json(InclusionBody::of(app.host.prove_leaf(&who, &wanted, query.size).await?)))
}

async fn consistency(
    State(app): State<App>,
    Asking(who): Asking,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Json<ConsistencyBody>, Problem> {
    Ok(Json(ConsistencyBody::of(&app.host.prove_growth(&who, query.from, query.to).await?)))
}

async fn installed(
    State(app): State<App>,
    Admin(actor): Admin,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<InclusionBody>, Problem> {
    let nothing = |noun: &'static str, name: &str| Error::NotFound { noun, name: name.chars().take(80).collect() };
    let plugin: PluginId = id.parse().map_err(|_| nothing("plugin", &id))?;
    let version: Version = version.parse().map_err(|_| nothing("version", &version))?;
    Ok(Json(InclusionBody::of(app.host.install_proof(&actor, &plugin, &version).await?)))
}

async fn accept(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(body): body::Json<AcceptBody>,
) -> Result<Json<AcceptedBody>, Problem> {
    let accepted = app.host.accept_log(&actor, &body.reason).await?;
    Ok(Json(AcceptedBody { size: accepted.size, root: accepted.root.to_string(), alarm: accepted.alarm }))
}
