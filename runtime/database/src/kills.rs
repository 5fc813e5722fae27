//! Stops by an operator: of a plugin, in one tenant or all, or of every plugin.
//! It stops nothing itself; hosts read the list.

use bulkhead_model::{PluginId, TenantId};

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, single_reads};
use crate::error::Error;

/// Most stops at once.
const KILLS_MAX: i64 = 100_000;
/// Stands for every plugin or tenant; no id contains it.
const EVERY: &str = "*";

/// A stop in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillRow {
    /// The plugin; `None` is every plugin.
    pub plugin_id: Option<PluginId>,
    /// The tenant; `None` is every tenant.
    pub tenant_id: Option<TenantId>,
    /// Why.
    pub reason: String,
    /// Who.
    pub killed_by: String,
    /// When, in microseconds since 1970.
    pub killed_at: i64,
}

type Columns = (String, String, String, String, i64);

impl Tx {
    /// Puts a stop in force; one that is there gets the new reason.
    pub async fn insert_kill(
        &mut self,
        plugin: Option<&PluginId>,
        tenant: Option<&TenantId>,
        reason: &str,
        act: &Act,
    ) -> Result<(), Error> {
        const INSERT_KILL: &str = "INSERT INTO kills (plugin_id, tenant_id, reason, killed_by, killed_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (plugin_id, tenant_id) DO UPDATE SET reason = excluded.reason, killed_by = excluded.killed_by, \
             killed_at = excluded.killed_at";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_KILL)
                .bind(plugin.map_or(EVERY, PluginId::as_str))
                .bind(tenant.map_or(EVERY, TenantId::as_str))
                .bind(reason)
                .bind(&act.actor)
                .bind(act.at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_kill"))?;
        let detail = serde_json::json!({ "reason": reason }).to_string();
        self.append_audit(act, "plugin.kill", plugin, tenant, &detail).await?;
        self.count_change().await
    }

    /// Ends exactly this stop; says whether there was one.
    pub async fn delete_kill(
        &mut self,
        plugin: Option<&PluginId>,
        tenant: Option<&TenantId>,
        act: &Act,
    ) -> Result<bool, Error> {
        const DELETE_KILL: &str = "DELETE FROM kills WHERE plugin_id = $1 AND tenant_id = $2";
        let deleted = on_engine!(self, |conn| {
            sqlx::query(DELETE_KILL)
                .bind(plugin.map_or(EVERY, PluginId::as_str))
                .bind(tenant.map_or(EVERY, TenantId::as_str))
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })
        .map_err(Error::query("delete_kill"))?;
        if deleted == 0 {
            return Ok(false);
        }
        self.append_audit(act, "plugin.revive", plugin, tenant, "{}").await?;
        self.count_change().await?;
        Ok(true)
    }

    /// The stops in force.
    pub async fn list_kills(&mut self) -> Result<Vec<KillRow>, Error> {
        const LIST_KILLS: &str = "SELECT plugin_id, tenant_id, reason, killed_by, killed_at FROM kills ORDER BY plugin_id, tenant_id LIMIT $1";
        let rows: Vec<Columns> =
            on_engine!(self, |conn| sqlx::query_as(LIST_KILLS).bind(KILLS_MAX).fetch_all(conn).await)
                .map_err(Error::query("list_kills"))?;
        rows.into_iter().map(row).collect()
    }
}

single_reads! {
    /// The stops in force.
    list_kills() -> Vec<KillRow>;
}

fn row((plugin_id, tenant_id, reason, killed_by, killed_at): Columns) -> Result<KillRow, Error> {
    let plugin_id = if plugin_id == EVERY { None } else { Some(parsed("plugin_id", &plugin_id)?) };
    let tenant_id = if tenant_id == EVERY { None } else { Some(parsed("tenant_id", &tenant_id)?) };
    Ok(KillRow { plugin_id, tenant_id, reason, killed_by, killed_at })
}
