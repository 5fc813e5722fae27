//! Plugins of the fleet and the steps between their states.
//! What a step means is the host's; which steps are legal is [`PluginStatus::after`]'s.

use bulkhead_model::{PluginId, PluginStatus, Transition, Version};

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, single_reads};
use crate::error::Error;

/// A plugin in the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRow {
    /// Its id.
    pub plugin_id: PluginId,
    /// State in the fleet.
    pub status: PluginStatus,
    /// Version that is installed, or was registered last.
    pub version: Version,
    /// Why the last step failed.
    pub last_error: Option<String>,
    /// First registered, in microseconds since 1970.
    pub created_at: i64,
    /// Last changed.
    pub updated_at: i64,
}

type Columns = (String, String, String, Option<String>, i64, i64);

impl Tx {
    /// The plugin, if it is known.
    pub async fn find_plugin(&mut self, plugin: &PluginId) -> Result<Option<PluginRow>, Error> {
        const FIND_PLUGIN: &str =
            "SELECT plugin_id, status, version, last_error, created_at, updated_at FROM plugins WHERE plugin_id = $1";
        let found: Option<Columns> =
            on_engine!(self, |conn| sqlx::query_as(FIND_PLUGIN).bind(plugin.as_str()).fetch_optional(conn).await)
                .map_err(Error::query("find_plugin"))?;
        found.map(row).transpose()
    }

    /// The plugin.
    pub async fn get_plugin(&mut self, plugin: &PluginId) -> Result<PluginRow, Error> {
        let found = self.find_plugin(plugin).await?;
        found.ok_or_else(|| Error::NotFound { what: "plugin", name: plugin.to_string() })
    }

    /// Plugins by id, those behind `after`; the empty text begins.
    pub async fn list_plugins(&mut self, after: &str, limit: u32) -> Result<Vec<PluginRow>, Error> {
        const LIST_PLUGINS: &str = "SELECT plugin_id, status, version, last_error, created_at, updated_at FROM plugins \
             WHERE plugin_id > $1 ORDER BY plugin_id LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| sqlx::query_as(LIST_PLUGINS)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_plugins"))?;
        rows.into_iter().map(row).collect()
    }

    /// Takes a step and records it. A step that the state does not allow names those that it does; when somebody
    /// else took one in between, nothing happens.
    pub async fn advance_plugin(
        &mut self,
        plugin: &PluginId,
        transition: Transition,
        act: &Act,
    ) -> Result<PluginStatus, Error> {
        const ADVANCE_PLUGIN: &str =
            "UPDATE plugins SET status = $1, updated_at = $2 WHERE plugin_id = $3 AND status = $4";
        let from = self.get_plugin(plugin).await?.status;
        let to = from.after(transition)?;
        let advanced = on_engine!(self, |conn| {
            sqlx::query(ADVANCE_PLUGIN)
                .bind(to.as_str())
                .bind(act.at)
                .bind(plugin.as_str())
                .bind(from.as_str())
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })
        .map_err(Error::query("advance_plugin"))?;
        if advanced == 0 {
            return Err(Error::Conflict { query: "advance_plugin" });
        }
        let detail = serde_json::json!({ "from": from.as_str(), "to": to.as_str() }).to_string();
        self.append_audit(act, &format!("plugin.{transition}"), Some(plugin), None, &detail).await?;
        self.count_change().await?;
        Ok(to)
    }

    /// Says which version the plugin runs.
    pub async fn set_plugin_version(&mut self, plugin: &PluginId, version: &Version, act: &Act) -> Result<(), Error> {
        const SET_PLUGIN_VERSION: &str = "UPDATE plugins SET version = $1, updated_at = $2 WHERE plugin_id = $3";
        on_engine!(self, |conn| {
            sqlx::query(SET_PLUGIN_VERSION)
                .bind(version.to_string())
                .bind(act.at)
                .bind(plugin.as_str())
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("set_plugin_version"))?;
        let detail = serde_json::json!({ "version": version.to_string() }).to_string();
        self.append_audit(act, "plugin.version", Some(plugin), None, &detail).await?;
        self.count_change().await
    }

    /// Says why the last step failed, or that it did not. No decision, so no audit entry.
    pub async fn set_plugin_error(&mut self, plugin: &PluginId, error: Option<&str>, at: i64) -> Result<(), Error> {
        const SET_PLUGIN_ERROR: &str = "UPDATE plugins SET last_error = $1, updated_at = $2 WHERE plugin_id = $3";
        on_engine!(self, |conn| {
            sqlx::query(SET_PLUGIN_ERROR).bind(error).bind(at).bind(plugin.as_str()).execute(conn).await.map(drop)
        })
        .map_err(Error::query("set_plugin_error"))
    }

    /// Makes the plugin known, or, while nothing of it is installed, shows `version` as the one registered last.
    pub(crate) async fn put_plugin(&mut self, plugin: &PluginId, version: &Version, at: i64) -> Result<(), Error> {
        const PUT_PLUGIN: &str = "INSERT INTO plugins (plugin_id, status, version, created_at, updated_at) \
             VALUES ($1, 'registered', $2, $3, $3) ON CONFLICT (plugin_id) DO UPDATE SET updated_at = excluded.updated_at, \
             version = CASE WHEN plugins.status IN ('registered', 'uninstalled') THEN excluded.version ELSE plugins.version END";
        on_engine!(self, |conn| {
            sqlx::query(PUT_PLUGIN)
                .bind(plugin.as_str())
                .bind(version.to_string())
                .bind(at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("put_plugin"))
    }
}

single_reads! {
    /// The plugin, if it is known.
    find_plugin(plugin: &PluginId) -> Option<PluginRow>;
    /// The plugin.
    get_plugin(plugin: &PluginId) -> PluginRow;
    /// Plugins by id, those behind `after`; the empty text begins.
    list_plugins(after: &str, limit: u32) -> Vec<PluginRow>;
}

fn row((plugin_id, status, version, last_error, created_at, updated_at): Columns) -> Result<PluginRow, Error> {
    Ok(PluginRow {
        plugin_id: parsed("plugin_id", &plugin_id)?,
        status: parsed("status", &status)?,
        version: parsed("version", &version)?,
        last_error,
        created_at,
        updated_at,
    })
}
