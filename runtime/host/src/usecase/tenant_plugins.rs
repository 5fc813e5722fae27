//! A tenant's plugins: enable, disable, consent, list. Enabling migrates the tenant's storage, starts the plugin and only
//! then serves it.

use std::sync::Arc;

use bulkhead_database::{Act, TenantPluginRow, TenantStatus};
use bulkhead_model::{Actor, Coded, Interface, PluginId, PluginStatus, TenantId, TenantPluginStatus, Transition};

use crate::auth::require_tenant_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release::{self, Release};
use crate::usecase::configure;
use crate::view;

impl Host {
    /// The tenant's plugins: those that it has, and those that it could enable.
    pub async fn list_tenant_plugins(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
    ) -> Result<Vec<view::TenantPlugin>, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        self.existing_tenant(&tenant).await?;
        let rows = self.inner.db.list_tenant_plugins(&tenant).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(self.view_tenant_plugin(row).await?);
        }
        Ok(views)
    }

    /// Enables a plugin for a tenant. The tenant consents to what the release asks for. Enabling again after a failure
    /// tries again; enabling what is ready changes nothing.
    pub async fn enable_in_tenant(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
    ) -> Result<view::TenantPlugin, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        let _turn = self.inner.acts.both(&tenant, plugin).await?;
        let act = Act::new(actor, clock::now_micros());
        match self.enable_in_turn(&tenant, plugin, &act).await {
            Err(error) => {
                self.record_denial(&act, Some(plugin), Some(&tenant), &error).await?;
                Err(error)
            }
            enabled => enabled,
        }
    }

    /// Enables for an admin who holds the turn of the tenant and the plugin.
    pub(crate) async fn enable_in_turn(
        &self,
        tenant: &TenantId,
        plugin: &PluginId,
        act: &Act,
    ) -> Result<view::TenantPlugin, Error> {
        let status = self.existing_tenant(tenant).await?.status;
        if status != TenantStatus::Active {
            return Err(Error::Conflict(format!("the tenant is {}; nothing starts in it", status.as_str())));
        }
        let fleet = self.inner.db.get_plugin(plugin).await?;
        if !fleet.status.serves() {
            return Err(Error::Conflict(format!("`{plugin}` is {} and cannot be enabled by a tenant", fleet.status)));
        }
        let release = self.release(plugin, &fleet.version).await?;
        self.verdict(&release, tenant)?;
        self.check_dependencies(&release.manifest).await?;
        let known = self.inner.db.find_tenant_plugin(tenant, plugin).await?;
        if let Some(row) = known.as_ref().filter(|row| row.enabled && row.status == TenantPluginStatus::Ready)
            && self.serves(tenant, plugin)
        {
            return self.view_tenant_plugin(row.clone()).await;
        }
        let row = self.installing_row(tenant, &release, known).await?;
        let mut tx = self.inner.db.begin().await?;
        tx.put_tenant_plugin(&row, "tenant.enable", act).await?;
        // Read again: another tenant's first enable may have come between.
        if tx.get_plugin(plugin).await?.status == PluginStatus::Installed {
            tx.advance_plugin(plugin, Transition::Enable, act).await?;
        }
        tx.commit().await?;
        self.record_reach_of(tenant, plugin).await;
        self.start_stored(&row, &release).await?;
        self.tenant_plugin(tenant, plugin).await
    }

    /// Disables a plugin for a tenant; its data is kept.
    pub async fn disable_in_tenant(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
    ) -> Result<view::TenantPlugin, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        let _turn = self.inner.acts.both(&tenant, plugin).await?;
        let mut row = self.tenant_plugin_row(&tenant, plugin).await?;
        (row.enabled, row.status, row.last_error) = (false, TenantPluginStatus::Disabled, None);
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.put_tenant_plugin(&row, "tenant.disable", &act).await?;
        tx.commit().await?;
        self.unmount(&tenant, plugin).await;
        self.record_reach_of(&tenant, plugin).await;
        self.view_tenant_plugin(row).await
    }

    /// Replaces what the tenant consents to; the plugin restarts with it. Consent beyond the request grants nothing.
    pub async fn consent(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
        interfaces: &[Interface],
    ) -> Result<view::TenantPlugin, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        let _turn = self.inner.acts.both(&tenant, plugin).await?;
        let mut row = self.tenant_plugin_row(&tenant, plugin).await?;
        row.granted = interfaces.to_vec();
        row.granted.sort_unstable();
        row.granted.dedup();
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.put_tenant_plugin(&row, "tenant.consent", &act).await?;
        tx.commit().await?;
        self.record_reach_of(&tenant, plugin).await;
        self.restart(&row).await?;
        self.tenant_plugin(&tenant, plugin).await
    }

    /// Starts a stored tenant plugin and records how it went; serves it if all went well. In a tenant that is suspended
    /// nothing starts.
    pub(crate) async fn start_stored(&self, row: &TenantPluginRow, release: &Arc<Release>) -> Result<(), Error> {
        if self.snapshot().tenants.get(&row.tenant_id).is_none_or(|view| view.suspended) {
            return Ok(());
        }
        self.hold_place(&row.tenant_id, release).await;
        let outcome = self.start(row, release).await;
        if let Err(error) = &outcome {
            // Before anything is waited for: what failed to start again under what is stored now does not go on under
            // what was stored before.
            self.stop_serving(&row.tenant_id, &row.plugin_id, &release.manifest).await;
            let act = Act::system(clock::now_micros());
            self.record_denial(&act, Some(&row.plugin_id), Some(&row.tenant_id), error).await?;
        }
        let row = self.record_start(row, release, outcome.as_ref().err()).await?;
        let enabled = outcome?;
        let (core, started) = (enabled.verdict.core, enabled.started);
        self.mount(&row.tenant_id, enabled).await;
        // A policy that came into force meanwhile judged what served then.
        if let Err(error) = self.verdict(release, &row.tenant_id) {
            self.stop_serving(&row.tenant_id, &row.plugin_id, &release.manifest).await;
            self.record_start(&row, release, Some(&error)).await?;
            return Err(error);
        }
        // A stop that ended meanwhile left the plugin mounted without its start.
        if !started && !self.inner.kills.load().hit(&row.plugin_id, &row.tenant_id, core) {
            return Box::pin(self.start_stored(&row, release)).await;
        }
        Ok(())
    }

    /// Writes down how a start went. One that changed nothing leaves no entry in the audit log: hosts restart, and starts
    /// are tried again.
    pub(crate) async fn record_start(
        &self,
        before: &TenantPluginRow,
        release: &Release,
        failed: Option<&Error>,
    ) -> Result<TenantPluginRow, Error> {
        let mut row = before.clone();
        let act = Act::system(clock::now_micros());
        match failed {
            None => {
                row.status = TenantPluginStatus::Ready;
                row.current_version = Some(release.version.clone());
                row.last_error = None;
            }
            Some(error) => {
                row.status = TenantPluginStatus::Failed;
                row.last_error = Some(error.recorded());
            }
        }
        let changed = row != *before;
        if failed.is_none() {
            row.last_health_at = Some(act.at);
        }
        let mut tx = self.inner.db.begin().await?;
        if changed {
            tx.put_tenant_plugin(&row, "tenant.start", &act).await?;
        } else if failed.is_none() {
            tx.set_tenant_plugin_health(&row.tenant_id, &row.plugin_id, act.at).await?;
        }
        tx.commit().await?;
        Ok(row)
    }

    /// Starts a plugin in every tenant that has it enabled; a tenant's failure is recorded and leaves the others alone.
    pub(crate) async fn start_everywhere(&self, plugin: &PluginId) -> Result<(), Error> {
        let fleet = self.inner.db.get_plugin(plugin).await?;
        if !fleet.status.serves() {
            return Ok(());
        }
        let release = self.release(plugin, &fleet.version).await?;
        for row in self.inner.db.list_plugin_tenants(plugin).await? {
            if let Err(error) = self.start_stored(&row, &release).await {
                tracing::warn!(plugin.id = %plugin, tenant.id = %row.tenant_id, code = %error.code(), "a tenant's start failed");
            }
        }
        Ok(())
    }

    /// Starts an enabled plugin anew, with what is stored.
    pub(crate) async fn restart(&self, row: &TenantPluginRow) -> Result<(), Error> {
        let fleet = self.inner.db.get_plugin(&row.plugin_id).await?;
        if !row.enabled || !fleet.status.serves() {
            return Ok(());
        }
        let release = self.release(&row.plugin_id, &fleet.version).await?;
        self.start_stored(row, &release).await
    }

    pub(crate) async fn tenant_plugin_row(
        &self,
        tenant: &TenantId,
        plugin: &PluginId,
    ) -> Result<TenantPluginRow, Error> {
        self.existing_tenant(tenant).await?;
        let row = self.inner.db.find_tenant_plugin(tenant, plugin).await?;
        row.ok_or_else(|| Error::not_found("plugin", plugin))
    }

    pub(crate) async fn tenant_plugin(
        &self,
        tenant: &TenantId,
        plugin: &PluginId,
    ) -> Result<view::TenantPlugin, Error> {
        self.view_tenant_plugin(self.tenant_plugin_row(tenant, plugin).await?).await
    }

    pub(crate) fn serves(&self, tenant: &TenantId, plugin: &PluginId) -> bool {
        self.snapshot().tenants.get(tenant).is_some_and(|view| view.plugin(plugin.as_str()).is_some())
    }

    /// The row of a tenant that begins to use a release: its configuration's defaults, its consent to what is asked.
    async fn installing_row(
        &self,
        tenant: &TenantId,
        release: &Release,
        known: Option<TenantPluginRow>,
    ) -> Result<TenantPluginRow, Error> {
        let mut row = match known {
            Some(row) => row,
            None => {
                let (configuration, configuration_version) = configure::defaults(self, release).await?;
                let mut row =
                    TenantPluginRow::new(tenant.clone(), release.plugin.clone(), configuration, configuration_version);
                row.granted = release.manifest.requested().collect();
                row
            }
        };
        row.enabled = true;
        row.status = TenantPluginStatus::Installing;
        row.desired_version = Some(release.version.clone());
        row.last_error = None;
        Ok(row)
    }

    async fn view_tenant_plugin(&self, row: TenantPluginRow) -> Result<view::TenantPlugin, Error> {
        let fleet = self.inner.db.get_plugin(&row.plugin_id).await?;
        let stored = self.inner.db.get_plugin_version(&row.plugin_id, &fleet.version).await?;
        let manifest = release::facts(&stored.facts)?.manifest().map_err(Error::Refused)?;
        let trust = self.trust_of(&stored, Some(&row.tenant_id)).await?;
        Ok(view::TenantPlugin {
            trust,
            tenant_id: row.tenant_id,
            plugin_id: row.plugin_id,
            enabled: row.enabled,
            configuration: row.configuration,
            desired_version: row.desired_version,
            current_version: row.current_version,
            status: row.status,
            last_error: row.last_error,
            last_health_at: row.last_health_at,
            granted: row.granted,
            requested: manifest.requested().collect(),
        })
    }
}
