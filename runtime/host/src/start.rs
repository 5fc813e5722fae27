//! Starting and stopping a plugin in a tenant: the cell, its two-phase start, and its place in the snapshot. A plugin
//! serves only when all of it went well. It stores no state; use cases and workers do.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_database::tenant::{PluginMigration, Run};
use bulkhead_database::{TenantPluginRow, TenantRow};
use bulkhead_engine::{Cell, CellConfig, Configuration};
use bulkhead_model::limits::{RATE_BURST, RATE_PER_MINUTE};
use bulkhead_model::{Grants, Interface, Limits, PluginId, TenantId};
use bulkhead_trust::Verdict;

use crate::calls::Caller;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release::Release;
use crate::snapshot::{Enabled, Snapshot, TenantView};

/// Calls of a (tenant, plugin) at once.
const CONCURRENCY_MAX: u32 = 64;
/// Time within which a stopped call has ended.
const END_MAX: Duration = Duration::from_secs(5);
/// Time that a replaced cell's calls may take to end.
const DRAIN: Duration = Duration::from_secs(5);

impl Host {
    /// Makes the plugin ready to serve: storage migrated, `init`, `ready`, health. It does not serve yet: see
    /// [`Host::mount`].
    pub(crate) async fn start(&self, row: &TenantPluginRow, release: &Arc<Release>) -> Result<Arc<Enabled>, Error> {
        let verdict = self.verdict(release, &row.tenant_id)?;
        self.migrate(&row.tenant_id, release, &verdict).await?;
        if self.inner.kills.load().hit(&row.plugin_id, &row.tenant_id, verdict.core) {
            return Ok(self.cell(row, release, verdict, false));
        }
        let enabled = self.cell(row, release, verdict, true);
        let caller = Caller::system(row.tenant_id.clone());
        let exports = release.component.exports();
        if exports.contains(&"lifecycle") {
            enabled.cell.init(&caller.context(None)).await.result?;
            enabled.cell.ready(&caller.context(None)).await.result?;
        }
        if exports.contains(&"health") {
            let report = enabled.cell.check_health(&caller.context(None)).await.result?;
            if !report.healthy {
                return Err(Error::NotServing("its health check says that it is not healthy".to_owned()));
            }
        }
        Ok(enabled)
    }

    /// The plugin's cell in a tenant; nothing of the guest has run. `started` says whether it is about to, or needs no start.
    pub(crate) fn cell(
        &self,
        row: &TenantPluginRow,
        release: &Arc<Release>,
        verdict: Arc<Verdict>,
        started: bool,
    ) -> Arc<Enabled> {
        let limits = Limits::effective(&release.manifest.limits, &verdict.limits_ceiling);
        // Manifest request ∩ real imports ∩ ceiling are in the verdict; the tenant's consent is the last factor.
        let grants = verdict.grants.intersection(&Grants::of(row.granted.iter().copied()));
        let needs_storage = [Interface::Sql, Interface::Kv].into_iter().any(|interface| grants.allows(interface));
        let storage = match (&self.inner.storage, needs_storage) {
            (Some(storage), true) => Some(storage.store(&row.tenant_id, &row.plugin_id, limits.storage_bytes)),
            (Some(_) | None, _) => None,
        };
        let cell = self.inner.engine.cell(CellConfig {
            tenant: row.tenant_id.clone(),
            plugin: row.plugin_id.clone(),
            version: release.version.clone(),
            component: release.component.clone(),
            grants,
            limits,
            storage: storage.clone(),
            configuration: Configuration {
                json: Arc::from(row.configuration.as_str()),
                version: row.configuration_version,
            },
            log_level: release.manifest.telemetry.log_level,
            rate_per_minute: RATE_PER_MINUTE,
            rate_burst: RATE_BURST,
            concurrency_max: CONCURRENCY_MAX,
        });
        if self.inner.kills.load().hit(&row.plugin_id, &row.tenant_id, verdict.core) {
            cell.kill();
        }
        Arc::new(Enabled {
            plugin: row.plugin_id.clone(),
            release: Arc::clone(release),
            verdict,
            storage,
            cell,
            started,
        })
    }

    /// Runs the release's migrations in a tenant, forward, each once.
    async fn migrate(&self, tenant: &TenantId, release: &Release, verdict: &Verdict) -> Result<(), Error> {
        if release.manifest.migrations.is_none() {
            return Ok(());
        }
        let Some(storage) = &self.inner.storage else {
            return Err(bulkhead_database::Error::PluginStorageEngine.into());
        };
        let limits = Limits::effective(&release.manifest.limits, &verdict.limits_ceiling);
        let (_, artifact) = self.artifact(&release.digest).await?;
        let migrations: Vec<PluginMigration> = bulkhead_database::tenant::select_migrations(
            artifact.migrations.iter().map(|(name, file)| (name, file.bytes.as_slice())),
        )?;
        let store = storage.store(tenant, &release.plugin, limits.storage_bytes);
        store.migrate(migrations, Run::Apply, clock::now_micros()).await?;
        Ok(())
    }

    /// Puts a started plugin into the snapshot; the one that it replaces drains.
    pub(crate) async fn mount(&self, tenant: &TenantId, enabled: Arc<Enabled>) {
        let plugin = enabled.plugin.clone();
        let replaced = self
            .change_snapshot(|snapshot| {
                // A tenant that was deleted meanwhile is not served again: the cell drains unused.
                let Some(view) = snapshot.tenants.get(tenant) else {
                    return (snapshot.clone(), Some(Arc::clone(&enabled)));
                };
                // A stop that came while the plugin started found no cell in the snapshot to stop.
                if self.inner.kills.load().hit(&plugin, tenant, enabled.verdict.core) {
                    enabled.cell.kill();
                }
                let replaced = view.plugin(plugin.as_str()).cloned();
                (snapshot.with_tenant(tenant, Some(view.with(&enabled))), replaced)
            })
            .await;
        self.drain(replaced);
    }

    /// Takes a plugin out of a tenant; calls in flight end within their drain time.
    pub(crate) async fn unmount(&self, tenant: &TenantId, plugin: &PluginId) {
        let removed = self
            .change_snapshot(|snapshot| match snapshot.tenants.get(tenant) {
                Some(view) => {
                    let removed = view.plugin(plugin.as_str()).cloned();
                    (snapshot.with_tenant(tenant, Some(view.without(plugin))), removed)
                }
                None => (snapshot.clone(), None),
            })
            .await;
        self.drain(removed);
    }

    /// Takes a plugin out of every tenant.
    pub(crate) async fn unmount_everywhere(&self, plugin: &PluginId) {
        let snapshot = self.snapshot();
        for (tenant, view) in &snapshot.tenants {
            if view.plugin(plugin.as_str()).is_some() {
                self.unmount(tenant, plugin).await;
            }
        }
        drop(snapshot);
        self.forget_unused_releases();
    }

    /// Adds a tenant without plugins, or changes whether it is suspended.
    pub(crate) async fn mount_tenant(&self, tenant: &TenantRow) {
        self.change_snapshot(|snapshot| {
            let plugins =
                snapshot.tenants.get(&tenant.tenant_id).map(|view| view.plugins.values().cloned().collect::<Vec<_>>());
            let view = TenantView::of(tenant.suspended, plugins.unwrap_or_default());
            (snapshot.with_tenant(&tenant.tenant_id, Some(view)), ())
        })
        .await;
    }

    /// Takes a tenant away with all its plugins; no call of theirs runs afterwards.
    pub(crate) async fn unmount_tenant(&self, tenant: &TenantId) {
        let removed = self
            .change_snapshot(|snapshot| (snapshot.with_tenant(tenant, None), snapshot.tenants.get(tenant).cloned()))
            .await;
        for enabled in removed.iter().flat_map(|view| view.plugins.values()) {
            end_calls(&enabled.cell).await;
        }
        drop(removed);
        self.forget_unused_releases();
    }

    /// Swaps the snapshot; one change at a time, readers never wait.
    pub(crate) async fn change_snapshot<T>(&self, change: impl FnOnce(&Snapshot) -> (Snapshot, T)) -> T {
        let _changing = self.inner.changing.lock().await;
        let (next, answer) = change(&self.inner.snapshot.load());
        self.inner.snapshot.store(Arc::new(next));
        answer
    }

    fn drain(&self, enabled: Option<Arc<Enabled>>) {
        let Some(enabled) = enabled else { return };
        let host = self.clone();
        self.inner.tasks.spawn(async move {
            close(&enabled.cell, DRAIN).await;
            drop(enabled);
            host.forget_unused_releases();
        });
    }
}

/// Stops a cell for good and waits until no call of it runs, so that what it used can be deleted.
pub(crate) async fn end_calls(cell: &Cell) {
    cell.close();
    cell.kill();
    if !cell.drained(END_MAX).await {
        tracing::error!(plugin.id = %cell.plugin(), tenant.id = %cell.tenant(), "a stopped call still runs");
    }
}

/// Takes no new calls; those that still run after `drain` are stopped.
pub(crate) async fn close(cell: &Cell, drain: Duration) {
    cell.close();
    if !cell.drained(drain).await {
        cell.kill();
    }
}
