//! What plugins use: calls and fuel of a month, by entry, and bytes of storage. Exact as far as this node is asked: its own
//! counts are written down first.
//! It sets no bound; policy and manifest do.

use bulkhead_database::FuelRow;
use bulkhead_model::{Actor, PluginId, TenantId};

use crate::auth::{require_super_admin, require_tenant_admin};
use crate::error::Error;
use crate::host::Host;
use crate::month::Month;
use crate::view::{self, Page, PageRequest};

impl Host {
    /// What a plugin used in each tenant that called it in a month, by tenant; the running month where none is named.
    pub async fn plugin_usage(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        tenant: Option<&TenantId>,
        month: Option<Month>,
        page: &PageRequest,
    ) -> Result<Page<view::Usage>, Error> {
        require_super_admin(actor)?;
        self.inner.db.get_plugin(plugin).await?;
        let month = self.settled(month).await;
        if let Some(tenant) = tenant {
            self.existing_tenant(tenant).await?;
            return Ok(Page { items: vec![self.usage_of(plugin, tenant, month).await?], next_cursor: None });
        }
        let after = page.cursor.as_deref().unwrap_or("");
        let rows =
            self.inner.db.list_plugin_fuel(&month.to_string(), plugin, after, page.limit.saturating_add(1)).await?;
        let mut items: Vec<view::Usage> = Vec::new();
        for of_tenant in rows.chunk_by(|left, right| left.tenant_id == right.tenant_id) {
            let Some(first) = of_tenant.first() else { continue };
            items.push(self.usage(plugin, &first.tenant_id, month, of_tenant).await?);
        }
        Ok(crate::usecase::fleet::page_of(items, page.limit, |usage| usage.tenant_id.to_string()))
    }

    /// What a plugin used in the tenant in a month; the running one where none is named.
    pub async fn tenant_usage(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
        plugin: &PluginId,
        month: Option<Month>,
    ) -> Result<view::Usage, Error> {
        let tenant = require_tenant_admin(actor, tenant)?;
        self.tenant_plugin_row(&tenant, plugin).await?;
        let month = self.settled(month).await;
        self.usage_of(plugin, &tenant, month).await
    }

    /// The month that is asked for, once this node's counts are written down. A database that takes no writes shows what it has.
    async fn settled(&self, month: Option<Month>) -> Month {
        if let Err(error) = self.write_ledgers().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "usage is shown without the last seconds");
        }
        month.unwrap_or_else(|| self.inner.ledgers.month())
    }

    async fn usage_of(&self, plugin: &PluginId, tenant: &TenantId, month: Month) -> Result<view::Usage, Error> {
        let rows = self.inner.db.find_fuel(&month.to_string(), plugin, tenant).await?;
        self.usage(plugin, tenant, month, &rows).await
    }

    async fn usage(
        &self,
        plugin: &PluginId,
        tenant: &TenantId,
        month: Month,
        rows: &[FuelRow],
    ) -> Result<view::Usage, Error> {
        let snapshot = self.snapshot();
        let limits = snapshot
            .tenants
            .get(tenant)
            .and_then(|view| view.plugin(plugin.as_str()))
            .map(|enabled| *enabled.cell.limits());
        let sum = |part: fn(&FuelRow) -> u64| rows.iter().map(part).fold(0, u64::saturating_add);
        Ok(view::Usage {
            plugin_id: plugin.clone(),
            tenant_id: tenant.clone(),
            month,
            calls: sum(|row| row.calls),
            fuel_units: sum(|row| row.fuel_units),
            fuel_per_month: limits.map(|limits| limits.fuel_per_month),
            storage_bytes: self.inner.storage.usage_bytes(tenant, plugin).await?,
            storage_bytes_max: limits.map(|limits| limits.storage_bytes),
            entries: rows
                .iter()
                .map(|row| view::EntryUsage { entry: row.entry.clone(), calls: row.calls, fuel_units: row.fuel_units })
                .collect(),
        })
    }
}
