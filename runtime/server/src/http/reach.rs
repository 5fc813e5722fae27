//! `/api/v1/reach`: which signer's code can reach what in which tenant, at a time, or what changed between two.
//! What counts is not decided here.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use bulkhead_host::{ReachRequest, view};
use bulkhead_model::{PluginId, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, PageQuery, Query};
use super::problem::Problem;
use super::wire::Time;
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint::new(
    "get",
    "/api/v1/reach",
    Who::Security,
    "Which signer's code can reach which data, host, secret and event of which tenant, now or `at` a time; with `from` and `to` what was added and removed between",
    || get(reach),
)
.query(&["tenant", "signer", "plugin", "at", "from", "to", "limit", "cursor"])
.answers::<ReachBody>(200)];

/// `?tenant&signer&plugin&at&from&to&limit&cursor`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReachQuery {
    tenant: Option<TenantId>,
    signer: Option<String>,
    plugin: Option<PluginId>,
    at: Option<Time>,
    from: Option<Time>,
    to: Option<Time>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// A page of the report at one time, or of the difference between two. A page may be short, and still name a next one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reach")]
#[serde(untagged)]
enum ReachBody {
    /// At one time.
    At {
        at: Time,
        items: Vec<EntryBody>,
        /// Goes into `?cursor=` for the next page, beside the same parameters; `null` at the end.
        next_cursor: Option<String>,
    },
    /// Between two times.
    Between {
        from: Time,
        to: Time,
        /// Reached at the later time and not at the earlier one.
        added: Vec<EntryBody>,
        /// Reached at the earlier time and not at the later one.
        removed: Vec<EntryBody>,
        /// Goes into `?cursor=` for the next page, beside the same parameters; `null` at the end.
        next_cursor: Option<String>,
    },
}

/// One signer's code reaches one thing in one tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReachEntry")]
struct EntryBody {
    /// The principal whose signature counted; `null` for an unsigned release in dev mode.
    signer: Option<String>,
    /// Its key, `sha256:<hex>`.
    key_id: Option<String>,
    /// `author` or `reviewer`.
    role: Option<String>,
    plugin_id: PluginId,
    version: String,
    /// The release, `sha256:<hex>`.
    digest: String,
    /// The rule of the policy that allows it.
    rule: String,
    /// How far that rule trusts the signers.
    trust: &'static str,
    /// Version of the policy under which the release, the rule or the grant last changed.
    policy_version: u64,
    tenant_id: TenantId,
    #[schemars(extend("enum" = ["data", "host", "secret", "event", "hook", "service", "interface"]))]
    kind: &'static str,
    /// `sql`, `kv`, `blob`, `plugin/view@version`, a host, a secret, a topic, a hook, `plugin/service`, or an interface.
    name: String,
    /// `own` or `view` for data, `publishes` or `subscribes` for a topic, `filter` or `action` for a hook.
    access: Option<String>,
    /// Methods of requests to a host.
    methods: Vec<String>,
    /// Ports of a host.
    ports: Vec<u16>,
    /// Since when without a break, over releases, rules and policies.
    since: Time,
    /// Until when; `null` while it lasts.
    until: Option<Time>,
}

impl EntryBody {
    fn of(entry: view::ReachEntry) -> Self {
        Self {
            signer: entry.signer,
            key_id: entry.key_id,
            role: entry.role,
            plugin_id: entry.plugin,
            version: entry.version.to_string(),
            digest: entry.digest,
            rule: entry.rule,
            trust: entry.trust.as_str(),
            policy_version: entry.policy_version,
            tenant_id: entry.tenant,
            kind: entry.kind,
            name: entry.name,
            access: entry.access,
            methods: entry.methods,
            ports: entry.ports,
            since: Time::of(entry.since),
            until: entry.until.map(Time::of),
        }
    }
}

impl ReachBody {
    fn of(report: view::ReachReport) -> Self {
        let bodies = |entries: Vec<view::ReachEntry>| entries.into_iter().map(EntryBody::of).collect();
        let (at, next_cursor) = (Time::of(report.at), report.next_cursor);
        match report.from {
            None => Self::At { at, items: bodies(report.items), next_cursor },
            Some(from) => Self::Between {
                from: Time::of(from),
                to: at,
                added: bodies(report.items),
                removed: bodies(report.removed),
                next_cursor,
            },
        }
    }
}

async fn reach(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<ReachQuery>,
) -> Result<Json<ReachBody>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.page()?;
    let at = match (&query.at, &query.from, &query.to) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return Err(Problem::invalid("", "`at` is for one time, `from` and `to` for two"));
        }
        (None, None, Some(_)) => return Err(Problem::invalid("", "`to` needs `from`")),
        (at, _, to) => at.as_ref().or(to.as_ref()).map(Time::micros),
    };
    let from = query.from.as_ref().map(Time::micros);
    let request = ReachRequest { tenant: query.tenant, plugin: query.plugin, signer: query.signer, at, from };
    Ok(Json(ReachBody::of(Box::pin(app.host.reach(&actor, &request, &page)).await?)))
}
