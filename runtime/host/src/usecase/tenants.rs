//! Tenants: create, list, suspend, resume, delete with all data.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_database::{Act, TenantRow, TenantStatus};
use bulkhead_model::{Actor, Coded, Manifest, PluginId, TenantId};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::snapshot::TenantView;
use crate::usecase::fleet::page_of;
use crate::view::{self, Page, PageRequest};

impl Host {
    /// Creates a tenant, with the plugins that every new tenant gets. One of those that does not start is recorded, and is
    /// tried again; the tenant is there.
    pub async fn create_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<view::Tenant, Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.tenant(tenant).await?;
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        if tx.find_tenant(tenant).await?.is_some() {
            return Err(Error::Conflict(format!("the tenant `{tenant}` exists")));
        }
        // Whatever lies under this name belonged to a tenant that is gone: the new one must not find it.
        self.inner.storage.delete_tenant(tenant).await?;
        let row = tx.insert_tenant(tenant, &act).await?;
        tx.commit().await?;
        self.mount_tenant(tenant, TenantView::default()).await;
        for plugin in &self.inner.config.plugins_by_default {
            let _turn = self.inner.acts.within(plugin).await?;
            if let Err(error) = self.enable_in_turn(tenant, plugin, &act).await {
                tracing::warn!(plugin.id = %plugin, tenant.id = %tenant, code = %error.code(), "a plugin that every new tenant gets was not enabled");
            }
        }
        Ok(view_tenant(row))
    }

    /// Tenants by id.
    pub async fn list_tenants(&self, actor: &Actor, page: &PageRequest) -> Result<Page<view::Tenant>, Error> {
        require_super_admin(actor)?;
        let rows =
            self.inner.db.list_tenants(page.cursor.as_deref().unwrap_or(""), page.limit.saturating_add(1)).await?;
        let page = page_of(rows, page.limit, |row| row.tenant_id.to_string());
        Ok(Page { items: page.items.into_iter().map(view_tenant).collect(), next_cursor: page.next_cursor })
    }

    /// One tenant.
    pub async fn get_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<view::Tenant, Error> {
        require_super_admin(actor)?;
        Ok(view_tenant(self.existing_tenant(tenant).await?))
    }

    /// Stops all plugins of a tenant, calls in flight included; data and enablement are kept.
    pub async fn suspend_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<view::Tenant, Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.tenant(tenant).await?;
        let row = self.set_status(tenant, TenantStatus::Suspended, &Act::new(actor, clock::now_micros())).await?;
        self.mount_tenant(tenant, TenantView::suspended()).await;
        Ok(view_tenant(row))
    }

    /// Ends a suspension: the tenant's plugins start.
    pub async fn resume_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<view::Tenant, Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.tenant(tenant).await?;
        let row = self.set_status(tenant, TenantStatus::Active, &Act::new(actor, clock::now_micros())).await?;
        self.resume_here(tenant).await?;
        Ok(view_tenant(row))
    }

    /// Starts an active tenant's plugins on this host, unless it is served here. The caller holds the tenant's turn.
    pub(crate) async fn resume_here(&self, tenant: &TenantId) -> Result<(), Error> {
        match self.snapshot().tenants.get(tenant) {
            Some(view) if !view.suspended => Ok(()),
            Some(_) | None => self.start_tenant(tenant).await,
        }
    }

    /// Deletes a tenant with all its plugins' data. There is no way back. A crash, or a file that cannot be deleted, leaves a
    /// tenant that serves nobody and whose deletion goes on by itself.
    pub async fn delete_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<(), Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.tenant(tenant).await?;
        let act = Act::new(actor, clock::now_micros());
        self.set_status(tenant, TenantStatus::Deleting, &act).await?;
        self.finish_deletion(tenant, &act).await
    }

    /// Takes up a deletion that was interrupted.
    pub(crate) async fn resume_deletion(&self, tenant: &TenantId) -> Result<(), Error> {
        let _turn = self.inner.acts.tenant(tenant).await?;
        match self.inner.db.find_tenant(tenant).await? {
            Some(row) if row.status == TenantStatus::Deleting => {
                self.finish_deletion(tenant, &Act::system(clock::now_micros())).await
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn finish_deletion(&self, tenant: &TenantId, act: &Act) -> Result<(), Error> {
        self.unmount_tenant(tenant).await;
        self.inner.storage.delete_tenant(tenant).await?;
        let mut tx = self.inner.db.begin().await?;
        tx.delete_tenant(tenant, act).await?;
        tx.commit().await?;
        self.inner.ledgers.forget(tenant);
        Ok(())
    }

    /// Starts everything that the tenant has enabled; each plugin holds its place in the chains from the beginning.
    async fn start_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        let mut rows = self.inner.db.list_tenant_plugins(tenant).await?;
        rows.retain(|row| row.enabled);
        let mut absent = HashMap::new();
        for row in &rows {
            if let Some(manifest) = self.served_manifest(&row.plugin_id).await? {
                absent.insert(row.plugin_id.clone(), manifest);
            }
        }
        self.mount_tenant(tenant, TenantView::starting(absent)).await;
        for row in rows {
            let _turn = self.inner.acts.within(&row.plugin_id).await?;
            if let Err(error) = self.restart(&row).await {
                tracing::warn!(plugin.id = %row.plugin_id, tenant.id = %tenant, code = %error.code(), "a plugin of a resumed tenant did not start");
            }
        }
        Ok(())
    }

    /// What a plugin that serves says of itself, whether its release is allowed at present or not.
    async fn served_manifest(&self, plugin: &PluginId) -> Result<Option<Arc<Manifest>>, Error> {
        let Some(row) = self.inner.db.find_plugin(plugin).await?.filter(|row| row.status.serves()) else {
            return Ok(None);
        };
        let stored = self.inner.db.get_plugin_version(plugin, &row.version).await?;
        Ok(release::facts(&stored.facts)?.manifest().ok().map(Arc::new))
    }

    async fn set_status(&self, tenant: &TenantId, status: TenantStatus, act: &Act) -> Result<TenantRow, Error> {
        let known = self.existing_tenant(tenant).await?;
        if known.status == TenantStatus::Deleting && status != TenantStatus::Deleting {
            return Err(Error::Conflict(format!("the tenant `{tenant}` is being deleted")));
        }
        let mut tx = self.inner.db.begin().await?;
        let row = tx.set_tenant_status(tenant, status, act).await?;
        tx.commit().await?;
        Ok(row)
    }

    pub(crate) async fn existing_tenant(&self, tenant: &TenantId) -> Result<TenantRow, Error> {
        self.inner.db.find_tenant(tenant).await?.ok_or_else(|| Error::not_found("tenant", tenant))
    }
}

fn view_tenant(row: TenantRow) -> view::Tenant {
    view::Tenant { id: row.tenant_id, status: row.status.as_str(), created_at: row.created_at }
}
