//! The kill switch: stops a plugin in all tenants or one, or all plugins but core ones, calls in flight included. It is
//! stored, so that it holds after a restart.

use std::sync::Arc;

use bulkhead_database::Act;
use bulkhead_model::{Actor, Coded, PluginId, TenantId};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::{Host, Kills};

/// Stops that wait to be recorded.
const UNWRITTEN_MAX: usize = 1_000;
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
        // What runs is known without the database, which may be what is in trouble.
        if !self.inner.cells.all().iter().any(|enabled| enabled.plugin == *plugin) {
            self.inner.db.get_plugin(plugin).await?;
        }
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
        // Not every engine can store it, and a stop that can never be recorded would be tried for ever.
        if reason.contains('\0') {
            return Err(Error::InvalidName("a reason has no NUL".to_owned()));
        }
        let kill = Kill {
            plugin: plugin.cloned(),
            tenant: tenant.cloned(),
            reason: reason.to_owned(),
            act: Act::new(actor, clock::now_micros()),
        };
        // First it stops, then it is written down: a database that takes no writes holds up no stop.
        {
            let _changing = self.inner.changing.lock().await;
            let mut unwritten = self.inner.unwritten_kills.lock();
            unwritten.retain(|other| (other.plugin.as_ref(), other.tenant.as_ref()) != (plugin, tenant));
            // A stop of everything is always taken.
            if unwritten.len() >= UNWRITTEN_MAX && plugin.is_some() {
                return Err(Error::Conflict(format!(
                    "{UNWRITTEN_MAX} stops wait to be recorded; stop everything instead"
                )));
            }
            unwritten.push(kill);
            let mut kills = Kills::clone(&self.inner.kills.load());
            kills.0.push((plugin.cloned(), tenant.cloned()));
            self.enforce(kills);
        }
        self.write_kills().await?;
        self.load_kills().await
    }

    /// Records the stops that are in force on this node alone. Those that cannot be recorded now are tried again.
    pub(crate) async fn write_kills(&self) -> Result<(), Error> {
        let waiting = self.inner.unwritten_kills.lock().clone();
        let mut failed = None;
        for kill in waiting {
            // One that cannot be recorded holds up no other.
            match self.write_kill(&kill).await {
                Ok(()) => self.inner.unwritten_kills.lock().retain(|other| *other != kill),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn write_kill(&self, kill: &Kill) -> Result<(), Error> {
        let mut tx = self.inner.db.begin().await?;
        tx.insert_kill(kill.plugin.as_ref(), kill.tenant.as_ref(), &kill.reason, &kill.act).await?;
        Ok(tx.commit().await?)
    }

    async fn revive(&self, actor: &Actor, plugin: Option<&PluginId>, tenant: Option<&TenantId>) -> Result<(), Error> {
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.delete_kill(plugin, tenant, &act).await?;
        tx.commit().await?;
        self.inner
            .unwritten_kills
            .lock()
            .retain(|kill| (kill.plugin.as_ref(), kill.tenant.as_ref()) != (plugin, tenant));
        self.load_kills().await?;
        self.start_revived().await
    }

    /// Starts what was mounted while it was stopped; a tenant's failure is recorded and leaves the others alone.
    pub(crate) async fn start_revived(&self) -> Result<(), Error> {
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
        kills.extend(self.inner.unwritten_kills.lock().iter().map(|kill| (kill.plugin.clone(), kill.tenant.clone())));
        if self.inner.config.plugins_disabled {
            kills.push((None, None));
        }
        self.enforce(Kills(kills));
        Ok(())
    }

    /// Puts stops in force, for cells that start meanwhile as well: those are known from the moment they are made.
    fn enforce(&self, kills: Kills) {
        let kills = Arc::new(kills);
        self.inner.kills.store(Arc::clone(&kills));
        for enabled in self.inner.cells.all() {
            if kills.hit(&enabled.plugin, enabled.cell.tenant(), enabled.verdict.core) {
                enabled.cell.kill();
            } else if enabled.started && self.serves_by(&enabled) {
                enabled.cell.revive();
            }
        }
    }
}

/// A stop that is in force on this node and not recorded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    plugin: Option<PluginId>,
    tenant: Option<TenantId>,
    reason: String,
    act: Act,
}
