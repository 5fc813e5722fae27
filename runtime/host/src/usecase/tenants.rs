//! Tenants: create, list, suspend, resume, delete with all data.

use bulkhead_database::{Act, TenantRow};
use bulkhead_model::{Actor, TenantId};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::usecase::fleet::page_of;
use crate::view::{self, Page, PageRequest};

impl Host {
    /// Creates a tenant.
    pub async fn create_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<view::Tenant, Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.tenant(tenant).await?;
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        if tx.find_tenant(tenant).await?.is_some() {
            return Err(Error::Conflict(format!("the tenant `{tenant}` exists")));
        }
        // Whatever lies under this name belonged to a tenant that is gone: the new one must not find it.
        if let Some(storage) = &self.inner.storage {
            storage.delete_tenant(tenant).await?;
        }
        let row = tx.insert_tenant(tenant, &act).await?;
        tx.commit().await?;
        self.mount_tenant(&row).await;
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

    /// Stops all plugins of a tenant; data and enablement are kept.
    pub async fn suspend_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<view::Tenant, Error> {
        self.set_suspended(actor, tenant, true).await
    }

    /// Ends a suspension.
    pub async fn resume_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<view::Tenant, Error> {
        self.set_suspended(actor, tenant, false).await
    }

    /// Deletes a tenant with all its plugins' data. There is no way back.
    pub async fn delete_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<(), Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.tenant(tenant).await?;
        self.existing_tenant(tenant).await?;
        self.unmount_tenant(tenant).await;
        // Files first: a crash in between leaves a tenant whose deletion can be asked for again.
        if let Some(storage) = &self.inner.storage {
            storage.delete_tenant(tenant).await?;
        }
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.delete_tenant(tenant, &act).await?;
        Ok(tx.commit().await?)
    }

    async fn set_suspended(&self, actor: &Actor, tenant: &TenantId, suspended: bool) -> Result<view::Tenant, Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.tenant(tenant).await?;
        self.existing_tenant(tenant).await?;
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        let row = tx.set_tenant_suspended(tenant, suspended, &act).await?;
        tx.commit().await?;
        self.mount_tenant(&row).await;
        Ok(view_tenant(row))
    }

    pub(crate) async fn existing_tenant(&self, tenant: &TenantId) -> Result<TenantRow, Error> {
        self.inner.db.find_tenant(tenant).await?.ok_or_else(|| Error::not_found("tenant", tenant))
    }
}

fn view_tenant(row: TenantRow) -> view::Tenant {
    view::Tenant { id: row.tenant_id, suspended: row.suspended, created_at: row.created_at }
}
