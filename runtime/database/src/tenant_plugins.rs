//! A plugin's record in a tenant, and the history of its configuration there.
//! It judges neither the configuration nor the consent.

use bulkhead_model::{Interface, PluginId, TenantId, TenantPluginStatus, Version};

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, readable, single_reads, unsigned};
use crate::error::Error;

/// Most plugins that the list of a tenant shows.
const PLUGINS_MAX: i64 = 10_000;
/// Most tenants that the list of a plugin shows.
const TENANTS_MAX: i64 = 1_000_000;

/// A plugin in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantPluginRow {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The plugin.
    pub plugin_id: PluginId,
    /// Whether the tenant wants it.
    pub enabled: bool,
    /// The configuration, JSON text.
    pub configuration: String,
    /// Version of the schema that the configuration satisfies.
    pub configuration_version: u32,
    /// Version of the schema that it was first written for.
    pub original_version: u32,
    /// When it was written or migrated; `None` while it is the defaults.
    pub configured_at: Option<i64>,
    /// Version that the tenant should have.
    pub desired_version: Option<Version>,
    /// Version that it has.
    pub current_version: Option<Version>,
    /// State in the tenant.
    pub status: TenantPluginStatus,
    /// Why the last step failed.
    pub last_error: Option<String>,
    /// When it was last found healthy.
    pub last_health_at: Option<i64>,
    /// Interfaces that the tenant consented to, in order.
    pub granted: Vec<Interface>,
    /// First written, in microseconds since 1970; set by the database.
    pub created_at: i64,
    /// Last written; set by the database.
    pub updated_at: i64,
}

impl TenantPluginRow {
    /// A record that was never stored: disabled, nothing granted.
    pub fn new(tenant_id: TenantId, plugin_id: PluginId, configuration: String, configuration_version: u32) -> Self {
        Self {
            tenant_id,
            plugin_id,
            enabled: false,
            configuration,
            configuration_version,
            original_version: configuration_version,
            configured_at: None,
            desired_version: None,
            current_version: None,
            status: TenantPluginStatus::Disabled,
            last_error: None,
            last_health_at: None,
            granted: Vec::new(),
            created_at: 0,
            updated_at: 0,
        }
    }
}

/// A past configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationRow {
    /// Position, from 1.
    pub revision: u64,
    /// JSON text.
    pub data: String,
    /// Version of the schema that it satisfies.
    pub schema_version: u32,
    /// Version of the schema that it was first written for.
    pub original_version: u32,
    /// Who wrote it.
    pub changed_by: String,
    /// When, in microseconds since 1970.
    pub changed_at: i64,
}

type Columns = (
    String,
    String,
    bool,
    String,
    i64,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    String,
    Option<String>,
    Option<i64>,
    String,
    i64,
    i64,
);
type HistoryColumns = (i64, String, i64, i64, String, i64);

impl Tx {
    /// Writes the record and says in the audit log what was done.
    pub async fn put_tenant_plugin(&mut self, row: &TenantPluginRow, action: &str, act: &Act) -> Result<(), Error> {
        const PUT_TENANT_PLUGIN: &str = "INSERT INTO tenant_plugins \
             (tenant_id, plugin_id, enabled, configuration, configuration_version, original_version, configured_at, desired_version, \
             current_version, status, last_error, last_health_at, granted, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14) \
             ON CONFLICT (tenant_id, plugin_id) DO UPDATE SET enabled = excluded.enabled, configuration = excluded.configuration, \
             configuration_version = excluded.configuration_version, original_version = excluded.original_version, \
             configured_at = excluded.configured_at, desired_version = excluded.desired_version, \
             current_version = excluded.current_version, status = excluded.status, last_error = excluded.last_error, \
             last_health_at = excluded.last_health_at, granted = excluded.granted, updated_at = excluded.updated_at";
        on_engine!(self, |conn| {
            sqlx::query(PUT_TENANT_PLUGIN)
                .bind(row.tenant_id.as_str())
                .bind(row.plugin_id.as_str())
                .bind(row.enabled)
                .bind(&row.configuration)
                .bind(i64::from(row.configuration_version))
                .bind(i64::from(row.original_version))
                .bind(row.configured_at)
                .bind(row.desired_version.as_ref().map(ToString::to_string))
                .bind(row.current_version.as_ref().map(ToString::to_string))
                .bind(row.status.as_str())
                .bind(&row.last_error)
                .bind(row.last_health_at)
                .bind(granted_text(&row.granted))
                .bind(act.at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("put_tenant_plugin"))?;
        let detail = serde_json::json!({
            "enabled": row.enabled,
            "status": row.status.as_str(),
            "granted": row.granted.iter().map(|interface| interface.as_str()).collect::<Vec<_>>(),
            "version": row.current_version.as_ref().map(ToString::to_string),
        });
        self.append_audit(act, action, Some(&row.plugin_id), Some(&row.tenant_id), &detail.to_string()).await?;
        self.count_change().await
    }

    /// Writes down when the plugin was last found healthy.
    pub async fn set_tenant_plugin_health(
        &mut self,
        tenant: &TenantId,
        plugin: &PluginId,
        at: i64,
    ) -> Result<(), Error> {
        const SET_HEALTH: &str =
            "UPDATE tenant_plugins SET last_health_at = $1 WHERE tenant_id = $2 AND plugin_id = $3";
        on_engine!(self, |conn| {
            sqlx::query(SET_HEALTH).bind(at).bind(tenant.as_str()).bind(plugin.as_str()).execute(conn).await.map(drop)
        })
        .map_err(Error::query("set_tenant_plugin_health"))
    }

    /// The record, if there is one.
    pub async fn find_tenant_plugin(
        &mut self,
        tenant: &TenantId,
        plugin: &PluginId,
    ) -> Result<Option<TenantPluginRow>, Error> {
        const FIND_TENANT_PLUGIN: &str = "SELECT tenant_id, plugin_id, enabled, configuration, configuration_version, original_version, \
             configured_at, desired_version, current_version, status, last_error, last_health_at, granted, created_at, updated_at \
             FROM tenant_plugins WHERE tenant_id = $1 AND plugin_id = $2";
        let found: Option<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(FIND_TENANT_PLUGIN).bind(tenant.as_str()).bind(plugin.as_str()).fetch_optional(conn).await
        })
        .map_err(Error::query("find_tenant_plugin"))?;
        found.map(row).transpose()
    }

    /// All plugins of a tenant by id, enabled or not.
    pub async fn list_tenant_plugins(&mut self, tenant: &TenantId) -> Result<Vec<TenantPluginRow>, Error> {
        const LIST_TENANT_PLUGINS: &str = "SELECT tenant_id, plugin_id, enabled, configuration, configuration_version, original_version, \
             configured_at, desired_version, current_version, status, last_error, last_health_at, granted, created_at, updated_at \
             FROM tenant_plugins WHERE tenant_id = $1 ORDER BY plugin_id LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_TENANT_PLUGINS).bind(tenant.as_str()).bind(PLUGINS_MAX).fetch_all(conn).await
        })
        .map_err(Error::query("list_tenant_plugins"))?;
        rows.into_iter().map(row).collect()
    }

    /// The tenants that have a plugin enabled, by id.
    pub async fn list_plugin_tenants(&mut self, plugin: &PluginId) -> Result<Vec<TenantPluginRow>, Error> {
        const LIST_PLUGIN_TENANTS: &str = "SELECT tenant_id, plugin_id, enabled, configuration, configuration_version, original_version, \
             configured_at, desired_version, current_version, status, last_error, last_health_at, granted, created_at, updated_at \
             FROM tenant_plugins WHERE plugin_id = $1 AND enabled ORDER BY tenant_id LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_PLUGIN_TENANTS).bind(plugin.as_str()).bind(TENANTS_MAX).fetch_all(conn).await
        })
        .map_err(Error::query("list_plugin_tenants"))?;
        Ok(readable("list_plugin_tenants", rows, row))
    }

    /// The tenants that have or had a plugin, by id: those that may hold data of it.
    pub async fn list_tenants_with_record(&mut self, plugin: &PluginId) -> Result<Vec<TenantId>, Error> {
        const LIST_TENANTS_WITH_RECORD: &str =
            "SELECT tenant_id FROM tenant_plugins WHERE plugin_id = $1 ORDER BY tenant_id LIMIT $2";
        let rows: Vec<String> = on_engine!(self, |conn| {
            sqlx::query_scalar(LIST_TENANTS_WITH_RECORD).bind(plugin.as_str()).bind(TENANTS_MAX).fetch_all(conn).await
        })
        .map_err(Error::query("list_tenants_with_record"))?;
        rows.iter().map(|tenant| parsed("tenant_id", tenant)).collect()
    }

    /// Everything that is enabled, by tenant and plugin, behind `after`.
    pub async fn list_enabled(
        &mut self,
        after: Option<(&TenantId, &PluginId)>,
        limit: u32,
    ) -> Result<Vec<TenantPluginRow>, Error> {
        const LIST_ENABLED: &str = "SELECT tenant_id, plugin_id, enabled, configuration, configuration_version, original_version, \
             configured_at, desired_version, current_version, status, last_error, last_health_at, granted, created_at, updated_at \
             FROM tenant_plugins WHERE enabled AND (tenant_id, plugin_id) > ($1, $2) ORDER BY tenant_id, plugin_id LIMIT $3";
        let (tenant, plugin) = after.map_or(("", ""), |(tenant, plugin)| (tenant.as_str(), plugin.as_str()));
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_ENABLED).bind(tenant).bind(plugin).bind(i64::from(limit)).fetch_all(conn).await
        })
        .map_err(Error::query("list_enabled"))?;
        Ok(readable("list_enabled", rows, row))
    }

    /// The versions that tenants run of a plugin that they have enabled, each with up to ten of those tenants by id.
    pub async fn list_running_versions(&mut self, plugin: &PluginId) -> Result<Vec<(Version, Vec<TenantId>)>, Error> {
        const LIST_RUNNING_VERSIONS: &str = "SELECT current_version, tenant_id FROM (SELECT current_version, tenant_id, \
             row_number() OVER (PARTITION BY current_version ORDER BY tenant_id) AS place FROM tenant_plugins \
             WHERE plugin_id = $1 AND enabled AND current_version IS NOT NULL) AS running \
             WHERE place <= 10 ORDER BY current_version, tenant_id";
        let rows: Vec<(String, String)> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_RUNNING_VERSIONS).bind(plugin.as_str()).fetch_all(conn).await
        })
        .map_err(Error::query("list_running_versions"))?;
        let mut versions: Vec<(Version, Vec<TenantId>)> = Vec::new();
        for (version, tenant) in rows {
            let version = parsed("current_version", &version)?;
            let tenant = parsed("tenant_id", &tenant)?;
            match versions.last_mut() {
                Some((last, tenants)) if *last == version => tenants.push(tenant),
                Some(_) | None => versions.push((version, vec![tenant])),
            }
        }
        Ok(versions)
    }

    /// Number of tenants that have a plugin enabled.
    pub async fn count_enabled_tenants(&mut self, plugin: &PluginId) -> Result<u64, Error> {
        const COUNT_ENABLED_TENANTS: &str = "SELECT count(*) FROM tenant_plugins WHERE plugin_id = $1 AND enabled";
        let count: i64 = on_engine!(self, |conn| sqlx::query_scalar(COUNT_ENABLED_TENANTS)
            .bind(plugin.as_str())
            .fetch_one(conn)
            .await)
        .map_err(Error::query("count_enabled_tenants"))?;
        unsigned("count", count)
    }

    /// Forgets a plugin's records in all tenants, after its data was dropped.
    pub async fn delete_plugin_tenants(&mut self, plugin: &PluginId, act: &Act) -> Result<(), Error> {
        const DELETE_HISTORY: &str = "DELETE FROM configuration_history WHERE plugin_id = $1";
        const DELETE_RECORDS: &str = "DELETE FROM tenant_plugins WHERE plugin_id = $1";
        for statement in [DELETE_HISTORY, DELETE_RECORDS] {
            on_engine!(self, |conn| sqlx::query(statement).bind(plugin.as_str()).execute(conn).await.map(drop))
                .map_err(Error::query("delete_plugin_tenants"))?;
        }
        self.append_audit(act, "plugin.drop-data", Some(plugin), None, "{}").await?;
        self.count_change().await
    }

    /// Keeps the record's configuration as the next revision and answers its number.
    pub async fn insert_configuration(&mut self, row: &TenantPluginRow, act: &Act) -> Result<u64, Error> {
        const INSERT_CONFIGURATION: &str = "INSERT INTO configuration_history \
             (tenant_id, plugin_id, revision, data, schema_version, original_version, changed_by, changed_at) \
             SELECT $1, $2, 1 + COALESCE(MAX(revision), 0), $3, $4, $5, $6, $7 FROM configuration_history \
             WHERE tenant_id = $1 AND plugin_id = $2 RETURNING revision";
        let revision: i64 = on_engine!(self, |conn| {
            sqlx::query_scalar(INSERT_CONFIGURATION)
                .bind(row.tenant_id.as_str())
                .bind(row.plugin_id.as_str())
                .bind(&row.configuration)
                .bind(i64::from(row.configuration_version))
                .bind(i64::from(row.original_version))
                .bind(&act.actor)
                .bind(act.at)
                .fetch_one(conn)
                .await
        })
        .map_err(Error::query("insert_configuration"))?;
        unsigned("revision", revision)
    }

    /// Past configurations, newest first.
    pub async fn list_configurations(
        &mut self,
        tenant: &TenantId,
        plugin: &PluginId,
        limit: u32,
    ) -> Result<Vec<ConfigurationRow>, Error> {
        const LIST_CONFIGURATIONS: &str = "SELECT revision, data, schema_version, original_version, changed_by, changed_at \
             FROM configuration_history WHERE tenant_id = $1 AND plugin_id = $2 ORDER BY revision DESC LIMIT $3";
        let rows: Vec<HistoryColumns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_CONFIGURATIONS)
                .bind(tenant.as_str())
                .bind(plugin.as_str())
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_configurations"))?;
        rows.into_iter().map(history_row).collect()
    }
}

single_reads! {
    /// The record, if there is one.
    find_tenant_plugin(tenant: &TenantId, plugin: &PluginId) -> Option<TenantPluginRow>;
    /// All plugins of a tenant by id, enabled or not.
    list_tenant_plugins(tenant: &TenantId) -> Vec<TenantPluginRow>;
    /// The tenants that have a plugin enabled, by id.
    list_plugin_tenants(plugin: &PluginId) -> Vec<TenantPluginRow>;
    /// The tenants that have or had a plugin, by id: those that may hold data of it.
    list_tenants_with_record(plugin: &PluginId) -> Vec<TenantId>;
    /// Everything that is enabled, by tenant and plugin, behind `after`.
    list_enabled(after: Option<(&TenantId, &PluginId)>, limit: u32) -> Vec<TenantPluginRow>;
    /// The versions that tenants run of a plugin that they have enabled, each with up to ten of those tenants by id.
    list_running_versions(plugin: &PluginId) -> Vec<(Version, Vec<TenantId>)>;
    /// Number of tenants that have a plugin enabled.
    count_enabled_tenants(plugin: &PluginId) -> u64;
    /// Past configurations, newest first.
    list_configurations(tenant: &TenantId, plugin: &PluginId, limit: u32) -> Vec<ConfigurationRow>;
}

fn granted_text(granted: &[Interface]) -> String {
    serde_json::Value::from(granted.iter().map(|interface| interface.as_str()).collect::<Vec<_>>()).to_string()
}

/// A name that this version does not know, written by another one, grants nothing: one record must not keep a host from
/// reading all others.
pub(crate) fn granted(text: &str) -> Result<Vec<Interface>, Error> {
    let names: Vec<String> = serde_json::from_str(text).map_err(|_| Error::Corrupt { column: "granted" })?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn row(row: Columns) -> Result<TenantPluginRow, Error> {
    let version = |column, text: Option<String>| text.map(|text| parsed(column, &text)).transpose();
    Ok(TenantPluginRow {
        tenant_id: parsed("tenant_id", &row.0)?,
        plugin_id: parsed("plugin_id", &row.1)?,
        enabled: row.2,
        configuration: row.3,
        configuration_version: unsigned("configuration_version", row.4)?,
        original_version: unsigned("original_version", row.5)?,
        configured_at: row.6,
        desired_version: version("desired_version", row.7)?,
        current_version: version("current_version", row.8)?,
        status: parsed("status", &row.9)?,
        last_error: row.10,
        last_health_at: row.11,
        granted: granted(&row.12)?,
        created_at: row.13,
        updated_at: row.14,
    })
}

fn history_row(
    (revision, data, schema_version, original_version, changed_by, changed_at): HistoryColumns,
) -> Result<ConfigurationRow, Error> {
    Ok(ConfigurationRow {
        revision: unsigned("revision", revision)?,
        data,
        schema_version: unsigned("schema_version", schema_version)?,
        original_version: unsigned("original_version", original_version)?,
        changed_by,
        changed_at,
    })
}
