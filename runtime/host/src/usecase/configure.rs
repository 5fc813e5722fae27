//! A tenant's configuration of a plugin: checked against the release's schema, defaults applied, every version kept.

use bulkhead_database::{Act, ConfigurationRow, TenantPluginRow};
use bulkhead_model::manifest::Issue;
use bulkhead_model::{Actor, Code, PluginId, TenantId};
use serde_json::Value;

use crate::auth::require_tenant_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release::{self, Release};
use crate::view;

/// Largest configuration in bytes.
const CONFIGURATION_BYTES_MAX: usize = 256 * 1024;
/// Most problems that one answer lists.
const ISSUES_MAX: usize = 100;
/// Deepest nesting into which defaults are written.
const DEPTH_MAX: u32 = 32;
/// Past configurations that one answer lists.
const HISTORY_MAX: u32 = 100;

impl Host {
    /// The configuration in force.
    pub async fn get_configuration(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
    ) -> Result<view::Configuration, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        Ok(view_configuration(&self.tenant_plugin_row(&tenant, plugin).await?))
    }

    /// Replaces the configuration with `data`, a JSON object. Every problem is in the error. The plugin restarts with it.
    pub async fn set_configuration(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
        data: &str,
    ) -> Result<view::Configuration, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        if data.len() > CONFIGURATION_BYTES_MAX {
            return Err(Error::BodyTooLarge { bytes_max: u64::try_from(CONFIGURATION_BYTES_MAX).unwrap_or(u64::MAX) });
        }
        let _turn = self.inner.acts.both(&tenant, plugin).await?;
        let mut row = self.tenant_plugin_row(&tenant, plugin).await?;
        let fleet = self.inner.db.get_plugin(plugin).await?;
        let release = self.release(plugin, &fleet.version).await?;
        let now = clock::now_micros();
        row.configuration = checked(self, &release, data).await?;
        row.configuration_version = release.manifest.config.as_ref().map_or(1, |section| section.version);
        row.configured_at = Some(now);

        let act = Act::new(actor, now);
        let mut tx = self.inner.db.begin().await?;
        tx.put_tenant_plugin(&row, "tenant.configure", &act).await?;
        tx.insert_configuration(&row, &act).await?;
        tx.commit().await?;
        self.restart(&row).await?;
        Ok(view_configuration(&row))
    }

    /// What it was, newest first.
    pub async fn configuration_history(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
    ) -> Result<Vec<view::ConfigurationChange>, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        self.tenant_plugin_row(&tenant, plugin).await?;
        let rows = self.inner.db.list_configurations(&tenant, plugin, HISTORY_MAX).await?;
        Ok(rows.into_iter().map(view_change).collect())
    }
}

/// The configuration of a tenant that gave none, and its schema's version. It need not satisfy the schema: a required
/// field without a default is for the tenant's admin to fill in.
pub(crate) async fn defaults(host: &Host, release: &Release) -> Result<(String, u32), Error> {
    let Some(section) = &release.manifest.config else {
        return Ok(("{}".to_owned(), 1));
    };
    let schema = schema(host, release, &section.schema).await?;
    let mut data = Value::Object(serde_json::Map::new());
    apply_defaults(&schema, &mut data, 0);
    Ok((data.to_string(), section.version))
}

async fn checked(host: &Host, release: &Release, data: &str) -> Result<String, Error> {
    let invalid = |issues| Error::Invalid { code: Code::InvalidConfiguration, issues };
    let mut value: Value =
        serde_json::from_str(data).map_err(|error| invalid(vec![Issue::new("", format!("not JSON: {error}"))]))?;
    if !value.is_object() {
        return Err(invalid(vec![Issue::new("", "a configuration is a JSON object")]));
    }
    let Some(section) = &release.manifest.config else {
        return Err(invalid(vec![Issue::new("", "this plugin takes no configuration")]));
    };
    let schema = schema(host, release, &section.schema).await?;
    apply_defaults(&schema, &mut value, 0);
    let validator = release::schema_of(&schema).map_err(|reason| invalid(vec![Issue::new("", reason)]))?;
    let issues: Vec<Issue> = validator
        .iter_errors(&value)
        .take(ISSUES_MAX)
        .map(|error| Issue::new(error.instance_path().to_string(), error.to_string()))
        .collect();
    if issues.is_empty() { Ok(value.to_string()) } else { Err(invalid(issues)) }
}

async fn schema(host: &Host, release: &Release, path: &str) -> Result<Value, Error> {
    let (_, artifact) = host.artifact(&release.digest).await?;
    release::asset_json(&artifact, path)
}

/// Writes the `default` of each absent property of the schema's objects. A default inside an absent object appears only
/// if that object has a default itself.
fn apply_defaults(schema: &Value, data: &mut Value, depth: u32) {
    let (Some(properties), Some(object)) = (schema.get("properties").and_then(Value::as_object), data.as_object_mut())
    else {
        return;
    };
    if depth >= DEPTH_MAX {
        return;
    }
    for (name, property) in properties {
        if let Some(default) = property.get("default")
            && !object.contains_key(name)
        {
            object.insert(name.clone(), default.clone());
        }
        if let Some(value) = object.get_mut(name) {
            apply_defaults(property, value, depth.saturating_add(1));
        }
    }
}

fn view_configuration(row: &TenantPluginRow) -> view::Configuration {
    view::Configuration {
        version: row.configuration_version,
        data: row.configuration.clone(),
        migrated_at: row.configured_at,
        original_version: row.original_version,
    }
}

fn view_change(row: ConfigurationRow) -> view::ConfigurationChange {
    view::ConfigurationChange {
        revision: row.revision,
        configuration: view::Configuration {
            version: row.schema_version,
            data: row.data,
            migrated_at: Some(row.changed_at),
            original_version: row.original_version,
        },
        changed_by: row.changed_by,
        changed_at: row.changed_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_what_is_absent_and_nothing_else() {
        let schema = serde_json::json!({
            "properties": {
                "greeting": { "default": "Hello" },
                "limit": { "default": 10 },
                "mail": { "properties": { "from": { "default": "a@b.example" } } },
                "theme": { "default": {}, "properties": { "dark": { "default": true } } }
            }
        });
        let check = |given: Value, wanted: Value| {
            let mut data = given;
            apply_defaults(&schema, &mut data, 0);
            assert_eq!(data, wanted);
        };

        check(
            serde_json::json!({}),
            serde_json::json!({ "greeting": "Hello", "limit": 10, "theme": { "dark": true } }),
        );
        check(
            serde_json::json!({ "limit": 3, "mail": {}, "theme": { "dark": false }, "other": 1 }),
            serde_json::json!({ "greeting": "Hello", "limit": 3, "mail": { "from": "a@b.example" }, "theme": { "dark": false }, "other": 1 }),
        );
        check(serde_json::json!([]), serde_json::json!([]));
    }
}
