//! `/api/v1/tenant/plugins`: plugins of one tenant, for its admin; a platform admin names the tenant with `?tenant=`.

use axum::Json;
use axum::extract::State;
use axum::routing::{get, post, put};
use bulkhead_host::{Error, view};
use bulkhead_model::{Interface, PluginId, TenantId, TrustLevel};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{self, JsonText};
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, Query, TenantQuery};
use super::problem::Problem;
use super::wire::{self, ErrorBody, HealthBody, List, Time};
use crate::app::App;

/// Most interfaces that one consent names.
const INTERFACES_MAX: usize = 64;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/api/v1/tenant/plugins", Who::TenantAdmin, "List the tenant's plugins", || get(list))
        .query(&["tenant"])
        .answers::<List<TenantPluginBody>>(200),
    Endpoint::new(
        "post",
        "/api/v1/tenant/plugins/{id}/enable",
        Who::TenantAdmin,
        "Enable a plugin: its migrations run, then it starts",
        || post(enable),
    )
    .query(&["tenant"])
    .answers::<TenantPluginBody>(200),
    Endpoint::new(
        "post",
        "/api/v1/tenant/plugins/{id}/disable",
        Who::TenantAdmin,
        "Disable a plugin, keeping its data",
        || post(disable),
    )
    .query(&["tenant"])
    .answers::<TenantPluginBody>(200),
    Endpoint::new(
        "post",
        "/api/v1/tenant/plugins/{id}/consent",
        Who::TenantAdmin,
        "Say which interfaces a plugin may use here; without a list: all that it asks for",
        || post(consent),
    )
    .query(&["tenant"])
    .takes::<ConsentBody>()
    .answers::<TenantPluginBody>(200),
    Endpoint::new("get", "/api/v1/tenant/plugins/{id}/config", Who::TenantAdmin, "Show the configuration", || {
        get(config)
    })
    .query(&["tenant"])
    .answers::<ConfigurationBody>(200),
    Endpoint::new(
        "put",
        "/api/v1/tenant/plugins/{id}/config",
        Who::TenantAdmin,
        "Replace the configuration; the body is the configuration itself",
        || put(configure),
    )
    .query(&["tenant"])
    .takes::<serde_json::Value>()
    .answers::<ConfigurationBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/tenant/plugins/{id}/config/history",
        Who::TenantAdmin,
        "List past configurations, newest first",
        || get(history),
    )
    .query(&["tenant"])
    .answers::<List<ConfigurationChangeBody>>(200),
    Endpoint::new(
        "get",
        "/api/v1/tenant/plugins/{id}/health",
        Who::TenantAdmin,
        "Health of a plugin in the tenant",
        || get(health),
    )
    .query(&["tenant"])
    .answers::<HealthBody>(200),
    Endpoint::new(
        "get",
        "/api/v1/tenant/plugins/{id}/errors",
        Who::TenantAdmin,
        "The last failed calls of a plugin in the tenant, newest first",
        || get(errors),
    )
    .query(&["tenant"])
    .answers::<List<ErrorBody>>(200),
];

/// A plugin in a tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TenantPlugin")]
struct TenantPluginBody {
    tenant_id: TenantId,
    plugin_id: PluginId,
    enabled: bool,
    configuration: wire::Json,
    desired_version: Option<String>,
    current_version: Option<String>,
    /// `ready`, `installing`, `upgrading`, `failed`, `disabled`, `quarantined` or `incompatible`.
    status: &'static str,
    last_error: Option<String>,
    last_health_at: Option<Time>,
    /// Interfaces that the tenant consented to.
    granted: Vec<String>,
    /// Interfaces that the plugin asks for.
    requested: Vec<String>,
    /// Those of them that wait for the tenant's consent: a version that asks for more gets no more by itself.
    pending_consent: Vec<String>,
    /// How far policy trusts it in this tenant: `core`, `verified`, `community` or `untrusted`; `null` where it is not allowed here.
    trust: Option<&'static str>,
}

impl TenantPluginBody {
    fn of(plugin: view::TenantPlugin) -> Self {
        let names = |interfaces: Vec<Interface>| interfaces.into_iter().map(Interface::qualified).collect();
        let pending =
            plugin.requested.iter().copied().filter(|interface| !plugin.granted.contains(interface)).collect();
        Self {
            pending_consent: names(pending),
            trust: plugin.trust.map(TrustLevel::as_str),
            tenant_id: plugin.tenant_id,
            plugin_id: plugin.plugin_id,
            enabled: plugin.enabled,
            configuration: wire::Json::of(plugin.configuration),
            desired_version: plugin.desired_version.map(|version| version.to_string()),
            current_version: plugin.current_version.map(|version| version.to_string()),
            status: plugin.status.as_str(),
            last_error: plugin.last_error,
            last_health_at: plugin.last_health_at.map(Time::of),
            granted: names(plugin.granted),
            requested: names(plugin.requested),
        }
    }
}

/// A tenant's configuration of a plugin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Configuration")]
struct ConfigurationBody {
    /// Version of the schema that `data` satisfies.
    version: u32,
    data: wire::Json,
    migrated_at: Option<Time>,
    /// Version of the schema that it was first written for.
    original_version: u32,
}

impl ConfigurationBody {
    fn of(configuration: view::Configuration) -> Self {
        Self {
            version: configuration.version,
            data: wire::Json::of(configuration.data),
            migrated_at: configuration.migrated_at.map(Time::of),
            original_version: configuration.original_version,
        }
    }
}

/// A past configuration.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConfigurationChange")]
struct ConfigurationChangeBody {
    /// Position, from 1.
    revision: u64,
    #[serde(flatten)]
    configuration: ConfigurationBody,
    changed_by: String,
    changed_at: Time,
}

impl ConfigurationChangeBody {
    fn of(change: view::ConfigurationChange) -> Self {
        Self {
            revision: change.revision,
            configuration: ConfigurationBody::of(change.configuration),
            changed_by: change.changed_by,
            changed_at: Time::of(change.changed_at),
        }
    }
}

async fn list(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<TenantQuery>,
) -> Result<Json<List<TenantPluginBody>>, Problem> {
    Ok(List::whole(app.host.list_tenant_plugins(&actor, query.tenant.as_ref()).await?, TenantPluginBody::of))
}

async fn enable(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<TenantPluginBody>, Problem> {
    Ok(Json(TenantPluginBody::of(app.host.enable_in_tenant(&actor, query.tenant.as_ref(), &id).await?)))
}

async fn disable(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<TenantPluginBody>, Problem> {
    Ok(Json(TenantPluginBody::of(app.host.disable_in_tenant(&actor, query.tenant.as_ref(), &id).await?)))
}

/// What a plugin may use in the tenant.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Consent")]
struct ConsentBody {
    /// Names such as `bulkhead:plugin/sql`.
    interfaces: Option<Vec<String>>,
}

async fn consent(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
    body::Json(consent): body::Json<ConsentBody>,
) -> Result<Json<TenantPluginBody>, Problem> {
    let interfaces = match consent.interfaces {
        Some(names) => interfaces(&names)?,
        None => {
            let plugins = app.host.list_tenant_plugins(&actor, query.tenant.as_ref()).await?;
            let asked = plugins.into_iter().find(|plugin| plugin.plugin_id == id).map(|plugin| plugin.requested);
            asked.ok_or_else(|| Error::NotFound { noun: "plugin", name: id.to_string() })?
        }
    };
    Ok(Json(TenantPluginBody::of(app.host.consent(&actor, query.tenant.as_ref(), &id, &interfaces).await?)))
}

/// The interfaces of these names, with or without the package.
fn interfaces(names: &[String]) -> Result<Vec<Interface>, Problem> {
    if names.len() > INTERFACES_MAX {
        return Err(Problem::invalid("/interfaces", format!("at most {INTERFACES_MAX} interfaces")));
    }
    let parse = |(index, name): (usize, &String)| {
        let short = name
            .strip_prefix(bulkhead_model::capability::PACKAGE)
            .map_or(name.as_str(), |rest| rest.trim_start_matches('/'));
        short.parse().map_err(|_| Problem::invalid(&format!("/interfaces/{index}"), "no such interface"))
    };
    names.iter().enumerate().map(parse).collect()
}

async fn config(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<ConfigurationBody>, Problem> {
    Ok(Json(ConfigurationBody::of(app.host.get_configuration(&actor, query.tenant.as_ref(), &id).await?)))
}

async fn configure(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
    JsonText(data): JsonText,
) -> Result<Json<ConfigurationBody>, Problem> {
    Ok(Json(ConfigurationBody::of(app.host.set_configuration(&actor, query.tenant.as_ref(), &id, &data).await?)))
}

async fn history(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<List<ConfigurationChangeBody>>, Problem> {
    Ok(List::whole(
        app.host.configuration_history(&actor, query.tenant.as_ref(), &id).await?,
        ConfigurationChangeBody::of,
    ))
}

async fn health(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<HealthBody>, Problem> {
    let health = app.host.tenant_health(&actor, query.tenant.as_ref(), &id).await?;
    let tenant = query.tenant.as_ref().or(actor.tenant.as_ref()).ok_or(Error::TenantRequired)?;
    Ok(Json(HealthBody::of(id.as_str(), tenant, &health)))
}

async fn errors(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(id): Named<PluginId>,
    Query(query): Query<TenantQuery>,
) -> Result<Json<List<ErrorBody>>, Problem> {
    Ok(List::whole(app.host.tenant_errors(&actor, query.tenant.as_ref(), &id).await?, ErrorBody::of))
}
