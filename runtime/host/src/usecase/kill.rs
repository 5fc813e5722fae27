//! The kill switch: stops a plugin in all tenants or one, or all plugins but core ones, calls in flight included. It is
//! stored, so that it holds after a restart.

use bulkhead_database::Act;
use bulkhead_model::{Actor, Coded, PluginId, TenantId};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::{Host, Kills};

/// Longest reason in bytes.
const REASON_BYTES_MAX: usize = 1_000;

impl Host {
    /// Stops a plugin, in all tenants or one.
    pub async fn kill_plugin(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        tenant: Option<&TenantId>,
        reason: &str,
    ) -> Result<(), Error> {
        require_super_admin(actor)?;
        self.inner.db.get_plugin(plugin).await?;
        self.kill(actor, Some(plugin), tenant, reason).await
    }

    /// Ends the stop of a plugin, in all tenants or one.
    pub async fn revive_plugin(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        tenant: Option<&TenantId>,
    ) -> Result<(), Error> {
        require_super_admin(actor)?;
        self.inner.db.get_plugin(plugin).await?;
        self.revive(actor, Some(plugin), tenant).await
    }

    /// Stops every plugin but core ones.
    pub async fn kill_all(&self, actor: &Actor, reason: &str) -> Result<(), Error> {
        require_super_admin(actor)?;
        self.kill(actor, None, None, reason).await
    }

    /// Ends the stop of every plugin; stops of single plugins stay.
    pub async fn revive_all(&self, actor: &Actor) -> Result<(), Error> {
        require_super_admin(actor)?;
        self.revive(actor, None, None).await
    }

    async fn kill(
        &self,
        actor: &Actor,
        plugin: Option<&PluginId>,
        tenant: Option<&TenantId>,
        reason: &str,
    ) -> Result<(), Error> {
        if reason.len() > REASON_BYTES_MAX {
            return Err(Error::InvalidName(format!("a reason is at most {REASON_BYTES_MAX} bytes long")));
        }
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.insert_kill(plugin, tenant, reason, &act).await?;
        tx.commit().await?;
        self.load_kills().await
    }

    async fn revive(&self, actor: &Actor, plugin: Option<&PluginId>, tenant: Option<&TenantId>) -> Result<(), Error> {
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.delete_kill(plugin, tenant, &act).await?;
        tx.commit().await?;
        self.load_kills().await?;
        self.start_revived().await
    }

    /// Starts what was mounted while it was stopped; a tenant's failure is recorded and leaves the others alone.
    async fn start_revived(&self) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let kills = self.inner.kills.load_full();
        for (tenant, view) in &snapshot.tenants {
            for enabled in view.plugins.values() {
                if enabled.started || kills.hit(&enabled.plugin, tenant, enabled.verdict.core) {
                    continue;
                }
                let _turn = self.inner.acts.both(tenant, &enabled.plugin).await?;
                let row = self.tenant_plugin_row(tenant, &enabled.plugin).await?;
                if let Err(error) = self.restart(&row).await {
                    tracing::warn!(plugin.id = %row.plugin_id, tenant.id = %tenant, code = %error.code(), "a revived plugin did not start");
                }
            }
        }
        Ok(())
    }

    /// Reads the stops and applies them to every cell of this node.
    pub(crate) async fn load_kills(&self) -> Result<(), Error> {
        // Between reading and applying no cell may be mounted by the old list.
        let _changing = self.inner.changing.lock().await;
        let mut kills: Vec<_> =
            self.inner.db.list_kills().await?.into_iter().map(|row| (row.plugin_id, row.tenant_id)).collect();
        if self.inner.config.plugins_disabled {
            kills.push((None, None));
        }
        let kills = Kills(kills);
        for (tenant, view) in &self.inner.snapshot.load().tenants {
            for enabled in view.plugins.values() {
                if kills.hit(&enabled.plugin, tenant, enabled.verdict.core) {
                    enabled.cell.kill();
                } else if enabled.started {
                    enabled.cell.revive();
                }
            }
        }
        self.inner.kills.store(std::sync::Arc::new(kills));
        Ok(())
    }
}
