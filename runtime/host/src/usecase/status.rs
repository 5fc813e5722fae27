//! How a plugin fares in a tenant: health, readiness, errors, its own metrics and OpenAPI. All of it is of one tenant;
//! a platform admin asks for each.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bulkhead_model::{Actor, PluginId, TenantId};
use serde_json::{Value, json};

use crate::auth::{require_super_admin, require_tenant_admin};
use crate::calls::Caller;
use crate::clock;
use crate::error::{Error, Located, call_detail};
use crate::host::Host;
use crate::release;
use crate::snapshot::Enabled;
use crate::view;

/// Age up to which a health check's answer is given again: any user of the tenant may ask, and no rate counts it.
const HEALTH_AGE_MAX: Duration = Duration::from_secs(1);
/// Errors that one answer lists.
const ERRORS_MAX: usize = 200;

impl Host {
    /// Health of a plugin in the caller's tenant, at most a second old: its own check where it exports one, otherwise what
    /// its calls say.
    pub async fn plugin_health(&self, caller: &Caller, plugin: &str) -> Result<view::PluginHealth, Located> {
        let enabled = self.enabled(caller, plugin)?;
        Ok(check(&enabled, caller).await)
    }

    /// The plugin's OpenAPI document: its own where the artifact has one, otherwise its declared routes.
    pub async fn plugin_openapi(&self, caller: &Caller, plugin: &str) -> Result<Value, Located> {
        let enabled = self.enabled(caller, plugin)?;
        let release = &enabled.release;
        if release.manifest.openapi.is_some() {
            let (_, artifact) = self.artifact(&release.digest).await?;
            if artifact.assets.find("openapi.json").is_some() {
                return Ok(release::asset_json(&artifact, "openapi.json")?);
            }
        }
        Ok(openapi_of(&enabled))
    }

    /// The plugin's series in the caller's tenant, Prometheus text format.
    pub fn plugin_metrics(&self, caller: &Caller, plugin: &str) -> Result<String, Located> {
        let enabled = self.enabled(caller, plugin)?;
        Ok(metrics_of(&enabled, &caller.tenant))
    }

    /// The last failed calls of a plugin on this node, in all tenants or one, newest first.
    pub async fn plugin_errors(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        tenant: Option<&TenantId>,
    ) -> Result<Vec<view::ErrorSnapshot>, Error> {
        require_super_admin(actor)?;
        self.inner.db.get_plugin(plugin).await?;
        Ok(self.errors_of(plugin, tenant))
    }

    /// The last failed calls of a plugin in the tenant on this node, newest first.
    pub async fn tenant_errors(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
    ) -> Result<Vec<view::ErrorSnapshot>, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        self.tenant_plugin_row(&tenant, plugin).await?;
        Ok(self.errors_of(plugin, Some(&tenant)))
    }

    /// Health of a plugin in each tenant of this node.
    pub async fn fleet_health(
        &self,
        actor: &Actor,
        plugin: &PluginId,
    ) -> Result<Vec<(TenantId, view::PluginHealth)>, Error> {
        require_super_admin(actor)?;
        self.inner.db.get_plugin(plugin).await?;
        let snapshot = self.snapshot();
        let mut found = Vec::new();
        for (tenant, view) in &snapshot.tenants {
            if let Some(enabled) = view.plugin(plugin.as_str()) {
                found.push((tenant.clone(), check(enabled, &Caller::system(tenant.clone())).await));
            }
        }
        found.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(found)
    }

    /// Health of a plugin in the tenant.
    pub async fn tenant_health(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
    ) -> Result<view::PluginHealth, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        self.tenant_plugin_row(&tenant, plugin).await?;
        let caller = Caller::system(tenant);
        match self.enabled(&caller, plugin.as_str()) {
            Ok(enabled) => Ok(check(&enabled, &caller).await),
            Err(_) => Ok(view::PluginHealth { healthy: false, ready: false, details: Vec::new(), checked_at: None }),
        }
    }

    fn errors_of(&self, plugin: &PluginId, only: Option<&TenantId>) -> Vec<view::ErrorSnapshot> {
        let snapshot = self.snapshot();
        let tenants = snapshot.tenants.iter().filter(|(tenant, _)| only.is_none_or(|only| only == *tenant));
        let mut errors: Vec<view::ErrorSnapshot> = tenants
            .filter_map(|(tenant, view)| Some((tenant, view.plugin(plugin.as_str())?)))
            .flat_map(|(tenant, enabled)| enabled.cell.errors().into_iter().map(|error| view_error(tenant, error)))
            .collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.at));
        errors.truncate(ERRORS_MAX);
        errors
    }
}

async fn check(enabled: &Enabled, caller: &Caller) -> view::PluginHealth {
    let checked_at = Some(clock::now_micros());
    if let Err(error) = enabled.cell.admission() {
        let details = vec![("reason".to_owned(), error.to_string())];
        return view::PluginHealth { healthy: false, ready: false, details, checked_at };
    }
    if !enabled.release.component.exports().contains(&"health") {
        return view::PluginHealth { healthy: true, ready: true, details: Vec::new(), checked_at };
    }
    let mut known = enabled.health.lock().await;
    if let Some((found_at, health)) = known.as_ref()
        && found_at.elapsed() < HEALTH_AGE_MAX
    {
        return health.clone();
    }
    let health = match enabled.cell.check_health(&caller.context(None)).await.result {
        Ok(report) => {
            view::PluginHealth { healthy: report.healthy, ready: report.ready, details: report.details, checked_at }
        }
        Err(error) => {
            let details = vec![("reason".to_owned(), call_detail(&error))];
            view::PluginHealth { healthy: false, ready: false, details, checked_at }
        }
    };
    *known = Some((Instant::now(), health.clone()));
    health
}

fn openapi_of(enabled: &Enabled) -> Value {
    let manifest = &enabled.release.manifest;
    let mut paths = serde_json::Map::new();
    for route in &manifest.routes {
        let mut operation =
            json!({ "responses": { "default": { "description": "the plugin's answer, or a problem" } } });
        let params: Vec<Value> = route
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        if let (false, Some(object)) = (params.is_empty(), operation.as_object_mut()) {
            object.insert("parameters".to_owned(), Value::Array(params));
        }
        if let (Some(permission), Some(object)) = (&route.permission, operation.as_object_mut()) {
            object.insert("x-permission".to_owned(), Value::from(permission.full(&enabled.plugin)));
        }
        let path = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": manifest.plugin.name, "version": manifest.plugin.version.to_string() },
        "servers": [{ "url": format!("/api/plugins/{}", enabled.plugin) }],
        "paths": paths,
    })
}

/// Written by hand and not cut out of the process's page: nothing of another tenant can slip in.
fn metrics_of(enabled: &Enabled, tenant: &TenantId) -> String {
    let counters = enabled.cell.counters();
    let plugin = &enabled.plugin;
    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        text.write_fmt(arguments).unwrap_or_default();
    };
    line(format_args!("# TYPE bulkhead_calls_total counter\n"));
    for call in &counters.calls {
        line(format_args!(
            "bulkhead_calls_total{{plugin=\"{plugin}\",tenant=\"{tenant}\",entry=\"{}\",outcome=\"{}\"}} {}\n",
            call.entry, call.outcome, call.count
        ));
    }
    for (name, kind, value) in [
        ("bulkhead_call_failures_total", "counter", counters.failures),
        ("bulkhead_breaker_opened_total", "counter", counters.breaker_opened),
        ("bulkhead_log_dropped_total", "counter", counters.log_dropped),
    ] {
        line(format_args!("# TYPE {name} {kind}\n{name}{{plugin=\"{plugin}\",tenant=\"{tenant}\"}} {value}\n"));
    }
    text
}

fn view_error(tenant: &TenantId, error: bulkhead_engine::ErrorSnapshot) -> view::ErrorSnapshot {
    view::ErrorSnapshot {
        tenant_id: tenant.clone(),
        at: i64::try_from(error.at_unix_ms).unwrap_or(i64::MAX).saturating_mul(1_000),
        entry: error.entry.as_str().to_owned(),
        code: error.code,
        message: error.message,
        frames: error.frames,
        log: error.log_tail.iter().map(|line| format!("{} {}", line.level.as_str(), line.message)).collect(),
        fuel_units: error.fuel_units,
        trace_id: error.trace.hex(),
    }
}
