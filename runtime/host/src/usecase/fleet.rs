//! Plugins in the fleet: list, show, enable, disable.
//! What a tenant does for itself stands in `tenant_plugins`.

use bulkhead_database::{Act, PluginRow};
use bulkhead_model::{Actor, PluginId, Transition};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::view::{self, Health, Page, PageRequest};

impl Host {
    /// Plugins by id.
    pub async fn list_plugins(&self, actor: &Actor, page: &PageRequest) -> Result<Page<view::Plugin>, Error> {
        require_super_admin(actor)?;
        let rows =
            self.inner.db.list_plugins(page.cursor.as_deref().unwrap_or(""), page.limit.saturating_add(1)).await?;
        let page = page_of(rows, page.limit, |row| row.plugin_id.to_string());
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            items.push(self.view_of(row).await?);
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// One plugin.
    pub async fn get_plugin(&self, actor: &Actor, plugin: &PluginId) -> Result<view::Plugin, Error> {
        require_super_admin(actor)?;
        self.view_plugin(plugin).await
    }

    /// Its versions, newest first.
    pub async fn list_versions(&self, actor: &Actor, plugin: &PluginId) -> Result<Vec<view::PluginVersion>, Error> {
        require_super_admin(actor)?;
        self.inner.db.get_plugin(plugin).await?;
        let rows = self.inner.db.list_plugin_versions(plugin).await?;
        let mut versions = Vec::with_capacity(rows.len());
        for row in rows {
            versions.push(view::PluginVersion {
                trust: self.trust_of(&row, None).await?,
                version: row.version,
                digest: row.digest,
                size_bytes: row.size_bytes,
                registered_by: row.registered_by,
                created_at: row.created_at,
            });
            // Signatures are verified: calls on this thread go between.
            tokio::task::yield_now().await;
        }
        Ok(versions)
    }

    /// INSTALLED or DISABLED to ACTIVE: tenants that have it enabled are served.
    pub async fn enable_plugin(&self, actor: &Actor, plugin: &PluginId) -> Result<view::Plugin, Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.plugin(plugin).await?;
        self.advance(actor, plugin, Transition::Enable).await?;
        self.start_everywhere(plugin).await?;
        self.view_plugin(plugin).await
    }

    /// ACTIVE to DISABLED: nobody is served, everything is kept.
    pub async fn disable_plugin(&self, actor: &Actor, plugin: &PluginId) -> Result<view::Plugin, Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.plugin(plugin).await?;
        self.advance(actor, plugin, Transition::Disable).await?;
        self.unmount_everywhere(plugin).await;
        self.view_plugin(plugin).await
    }

    async fn advance(&self, actor: &Actor, plugin: &PluginId, transition: Transition) -> Result<(), Error> {
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.advance_plugin(plugin, transition, &act).await?;
        Ok(tx.commit().await?)
    }

    pub(crate) async fn view_plugin(&self, plugin: &PluginId) -> Result<view::Plugin, Error> {
        self.view_of(self.inner.db.get_plugin(plugin).await?).await
    }

    async fn view_of(&self, row: PluginRow) -> Result<view::Plugin, Error> {
        let release = self.inner.db.get_plugin_version(&row.plugin_id, &row.version).await?;
        let facts = release::facts(&release.facts)?;
        let manifest = facts.manifest().map_err(Error::Refused)?;
        Ok(view::Plugin {
            trust: self.trust_of(&release, None).await?,
            name: manifest.plugin.name,
            manifest: facts.manifest,
            tenants_enabled: self.inner.db.count_enabled_tenants(&row.plugin_id).await?,
            health: self.health_of(&row.plugin_id),
            id: row.plugin_id,
            version: row.version,
            status: row.status,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_error: row.last_error,
        })
    }

    fn health_of(&self, plugin: &PluginId) -> Health {
        let snapshot = self.snapshot();
        let mut cells = snapshot.tenants.values().filter_map(|view| view.plugin(plugin.as_str())).peekable();
        if cells.peek().is_none() {
            return Health::Unknown;
        }
        if cells.all(|enabled| enabled.cell.admission().is_ok()) { Health::Healthy } else { Health::Unhealthy }
    }
}

/// A page of rows of which one more than `limit` was read.
pub(crate) fn page_of<T>(mut rows: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = if more { rows.last().map(cursor) } else { None };
    Page { items: rows, next_cursor }
}
