//! `/api/v1/policy`: the signer policy in force, a newer one, and why a release may run or not.
//! Deciding is not done here.

use axum::Json;
use axum::extract::State;
use axum::routing::{get, post, put};
use bulkhead_host::{Refusal, view};
use bulkhead_model::{Interface, PluginId, TenantId, TrustLevel, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonText;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, PageQuery, Query};
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
        "post",
        "/api/v1/policy/simulate",
        Who::Security,
        "What another policy would change, nothing being changed; the body is its JSON or an envelope, signed or not",
        || post(simulate),
    )
    .query(&["all", "limit", "cursor"])
    .takes::<serde_json::Value>()
    .answers::<List<SimulatedBody>>(200),
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
    /// The policy of mode `observe` beside it: what it would deny is recorded, and nothing is denied by it.
    observed: Option<wire::Json>,
    installed_by: Option<String>,
    installed_at: Option<Time>,
}

impl PolicyBody {
    fn of(policy: view::PolicyView) -> Self {
        Self {
            version: policy.version,
            policy: wire::Json::of(policy.json),
            observed: policy.observed.map(wire::Json::of),
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
    /// How far that rule trusts what its signers ship: `core`, `verified`, `community` or `untrusted`.
    trust: Option<&'static str>,
    /// Each rule that names the plugin, in the policy's order, and what of it is not met.
    rules: Vec<RuleBody>,
    /// Principals whose signatures counted.
    signers: Vec<String>,
    /// Interfaces that it may use.
    interfaces: Vec<String>,
    /// Why not, if not.
    refusals: Vec<RefusalBody>,
    /// What would deny it if it were enforced and not only observed.
    observed: Vec<ObservationBody>,
}

/// What an allow rule makes of a release.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RuleWord")]
struct RuleBody {
    id: String,
    trust: &'static str,
    /// Why the rule is there.
    reason: String,
    /// Who wrote it.
    author: String,
    /// Who agreed.
    approved_by: String,
    expires: Option<Time>,
    /// Nothing where it is met.
    refusals: Vec<RefusalBody>,
}

impl RuleBody {
    fn of(rule: view::RuleWord) -> Self {
        Self {
            id: rule.id,
            trust: rule.trust.as_str(),
            reason: rule.reason,
            author: rule.author,
            approved_by: rule.approved_by,
            expires: rule.expires.map(Time::of),
            refusals: rule.refusals.into_iter().map(RefusalBody::of).collect(),
        }
    }
}

/// What would deny a release if it were enforced.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Observation")]
struct ObservationBody {
    /// The allow rule that is not met, `deny`, or `policy version <n>`.
    by: String,
    #[serde(flatten)]
    refusal: RefusalBody,
}

/// What another policy would change for a plugin in a tenant, or for a registered version.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SimulatedDecision")]
struct SimulatedBody {
    plugin_id: String,
    version: String,
    /// The tenant that has it enabled; `null` for a registered version by itself.
    tenant_id: Option<TenantId>,
    /// `stops`, `starts`, `changes` (other grants or limits) or `same`.
    change: &'static str,
    /// Under the policy in force.
    now: SimulatedSideBody,
    /// Under the other one.
    then: SimulatedSideBody,
}

/// A decision of one policy.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SimulatedSide")]
struct SimulatedSideBody {
    allowed: bool,
    rule: Option<String>,
    refusals: Vec<RefusalBody>,
}

impl SimulatedSideBody {
    fn of(rule: Option<String>, refusals: Vec<Refusal>) -> Self {
        Self { allowed: rule.is_some(), rule, refusals: refusals.into_iter().map(RefusalBody::of).collect() }
    }
}

impl SimulatedBody {
    fn of(simulated: view::Simulated) -> Self {
        Self {
            plugin_id: simulated.plugin.to_string(),
            version: simulated.version.to_string(),
            tenant_id: simulated.tenant,
            change: simulated.change.as_str(),
            now: SimulatedSideBody::of(simulated.rule_now, simulated.refusals_now),
            then: SimulatedSideBody::of(simulated.rule_then, simulated.refusals_then),
        }
    }
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

impl RefusalBody {
    fn of(refusal: Refusal) -> Self {
        Self { code: refusal.code.as_str(), detail: refusal.detail, pointer: refusal.pointer }
    }
}

impl ExplanationBody {
    fn of(explanation: view::Explanation) -> Self {
        let observation =
            |one: view::Observation| ObservationBody { by: one.by, refusal: RefusalBody::of(one.refusal) };
        Self {
            allowed: explanation.allowed,
            rule: explanation.rule,
            trust: explanation.trust.map(TrustLevel::as_str),
            rules: explanation.rules.into_iter().map(RuleBody::of).collect(),
            signers: explanation.signers,
            interfaces: explanation.interfaces.into_iter().map(Interface::qualified).collect(),
            refusals: explanation.refusals.into_iter().map(RefusalBody::of).collect(),
            observed: explanation.observed.into_iter().map(observation).collect(),
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

/// `?all&limit&cursor`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SimulateQuery {
    /// Also what would not change.
    #[serde(default)]
    all: bool,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn simulate(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<SimulateQuery>,
    JsonText(policy): JsonText,
) -> Result<Json<List<SimulatedBody>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.page()?;
    let simulated = Box::pin(app.host.simulate_policy(&actor, policy.as_bytes(), query.all, &page)).await?;
    Ok(List::page(simulated, SimulatedBody::of))
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
