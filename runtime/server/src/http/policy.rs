//! `/api/v1/policy`: the signer policy in force, a newer one, and why a release may run or not.
//! Deciding is not done here.

use axum::Json;
use axum::extract::State;
use axum::routing::{get, put};
use bulkhead_host::{Refusal, view};
use bulkhead_model::{Interface, PluginId, TenantId, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonText;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Query};
use super::problem::Problem;
use super::wire::{self, List, Time};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/api/v1/policy", Who::Security, "Show the policy in force", || get(show))
        .answers::<PolicyBody>(200),
    Endpoint::new(
        "put",
        "/api/v1/policy",
        Who::Security,
        "Install a newer policy; the body is the envelope that root keys signed",
        || put(install),
    )
    .takes::<serde_json::Value>()
    .answers::<PolicyBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/policy/explain",
        Who::Security,
        "Why a release may run, at all or in a tenant",
        || get(explain),
    )
    .query(&["plugin", "version", "tenant"])
    .answers::<ExplanationBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/signers",
        Who::Security,
        "List the keys that the policy in force knows, and whether their signatures count",
        || get(signers),
    )
    .answers::<List<SignerBody>>(200),
];

/// A key that the policy knows.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Signer")]
struct SignerBody {
    principal: String,
    /// `ed25519:` and the base64 of the public key.
    key: String,
    /// SHA-256 of the key's SPKI form.
    key_id: String,
    valid_from: Option<Time>,
    valid_until: Option<Time>,
    /// `active`, `not-yet`, `expired` or `denied`.
    status: &'static str,
    /// Why it is denied.
    reason: Option<String>,
    /// Allow rules that name its principal.
    rules: Vec<String>,
}

impl SignerBody {
    fn of(signer: view::Signer) -> Self {
        Self {
            principal: signer.principal,
            key: signer.key,
            key_id: signer.key_id.to_string(),
            valid_from: signer.valid_from.map(Time::of),
            valid_until: signer.valid_until.map(Time::of),
            status: signer.status,
            reason: signer.reason,
            rules: signer.rules,
        }
    }
}

/// The policy in force.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Policy")]
struct PolicyBody {
    /// 0 is the built-in policy, which denies all.
    version: u64,
    policy: wire::Json,
    installed_by: Option<String>,
    installed_at: Option<Time>,
}

impl PolicyBody {
    fn of(policy: view::PolicyView) -> Self {
        Self {
            version: policy.version,
            policy: wire::Json::of(policy.json),
            installed_by: policy.installed_by,
            installed_at: policy.installed_at.map(Time::of),
        }
    }
}

/// What the policy says of a release.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Explanation")]
struct ExplanationBody {
    allowed: bool,
    /// The rule that decided.
    rule: Option<String>,
    /// Principals whose signatures counted.
    signers: Vec<String>,
    /// Interfaces that it may use.
    interfaces: Vec<String>,
    /// Why not, if not.
    refusals: Vec<RefusalBody>,
}

/// A reason against a release.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Refusal")]
struct RefusalBody {
    #[schemars(schema_with = "super::openapi::code_schema")]
    code: &'static str,
    detail: String,
    pointer: Option<String>,
}

impl ExplanationBody {
    fn of(explanation: view::Explanation) -> Self {
        let refusal = |refusal: Refusal| RefusalBody {
            code: refusal.code.as_str(),
            detail: refusal.detail,
            pointer: refusal.pointer,
        };
        Self {
            allowed: explanation.allowed,
            rule: explanation.rule,
            signers: explanation.signers,
            interfaces: explanation.interfaces.into_iter().map(Interface::qualified).collect(),
            refusals: explanation.refusals.into_iter().map(refusal).collect(),
        }
    }
}

async fn show(State(app): State<App>, Admin(actor): Admin) -> Result<Json<PolicyBody>, Problem> {
    Ok(Json(PolicyBody::of(app.host.get_policy(&actor).await?)))
}

async fn install(
    State(app): State<App>,
    Admin(actor): Admin,
    JsonText(envelope): JsonText,
) -> Result<Json<PolicyBody>, Problem> {
    Ok(Json(PolicyBody::of(app.host.install_policy(&actor, envelope.as_bytes()).await?)))
}

async fn signers(State(app): State<App>, Admin(actor): Admin) -> Result<Json<List<SignerBody>>, Problem> {
    Ok(List::whole(app.host.list_signers(&actor)?, SignerBody::of))
}

/// `?plugin&version&tenant`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    plugin: PluginId,
    version: Option<Version>,
    tenant: Option<TenantId>,
}

async fn explain(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<ExplanationBody>, Problem> {
    let explanation =
        app.host.explain_policy(&actor, &query.plugin, query.version.as_ref(), query.tenant.as_ref()).await?;
    Ok(Json(ExplanationBody::of(explanation)))
}
