//! Starting and stopping a plugin in a tenant: the cell, its two-phase start, and its place in the snapshot. A plugin
//! serves only when all of it went well. It stores no state; use cases and workers do.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_database::tenant::{Applied, MigrationError, Phase, PluginMigration, PluginViews, Run};
use bulkhead_database::{self as database, TenantPluginRow};
use bulkhead_engine::{CallError, CellConfig, Configuration, Rates};
use bulkhead_model::limits::{RATE_BURST, RATE_PER_MINUTE};
use bulkhead_model::{Coded, Grants, Interface, Limits, Manifest, PluginId, TenantId};
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
/// How often a start asks for health before it gives up on one that does not answer in time: the first answer of a fresh
/// instance on a busy machine says little.
const HEALTH_TRIES: u32 = 3;
/// Time between two of them.
const HEALTH_PAUSE: Duration = Duration::from_millis(250);

/// What a run of migrations did in a tenant.
#[derive(Default)]
pub(crate) struct Migrated {
    /// Those that ran.
    pub(crate) applied: Vec<Applied>,
    /// Why others did not.
    pub(crate) held: Option<String>,
}

impl Host {
    /// Makes the plugin ready to serve: storage migrated, `init`, `ready`, health. It does not serve yet: see
    /// [`Host::mount`].
    pub(crate) async fn start(&self, row: &TenantPluginRow, release: &Arc<Release>) -> Result<Arc<Enabled>, Error> {
        let verdict = self.verdict(release, &row.tenant_id)?;
        let migrated = self.migrate_storage(&row.tenant_id, release, &verdict, Run::Apply).await?;
        if let Some(held) = migrated.held {
            tracing::info!(plugin.id = %row.plugin_id, tenant.id = %row.tenant_id, reason = held, "a migration waits");
        }
        if self.inner.kills.load().hit(&row.plugin_id, &row.tenant_id, verdict.core) {
            return Ok(self.cell(row, release, verdict, false, None));
        }
        self.reach_storage(row, release, &verdict).await?;
        let views = self.open_views(row, release, &verdict).await?;
        let enabled = self.cell(row, release, verdict, true, views);
        let caller = Caller::system(row.tenant_id.clone());
        let exports = release.component.exports();
        if exports.contains(&"lifecycle") {
            enabled.cell.init(&caller.context(None)).await.result?;
            enabled.cell.ready(&caller.context(None)).await.result?;
        }
        if exports.contains(&"health") {
            first_health(&enabled, &caller).await?;
        }
        Ok(enabled)
    }

    /// Logs a plugin in that uses SQL, before its first call would have to.
    async fn reach_storage(&self, row: &TenantPluginRow, release: &Release, verdict: &Verdict) -> Result<(), Error> {
        if !grants(row, verdict).allows(Interface::Sql) {
            return Ok(());
        }
        let limits = Limits::effective(&release.manifest.limits, &verdict.limits_ceiling);
        let store = self.inner.storage.store(&row.tenant_id, &row.plugin_id, limits.storage_bytes);
        Ok(store.reach().await.map_err(|source| database::Error::Storage { query: "reach", source })?)
    }

    /// The plugin's cell in a tenant; nothing of the guest has run. `started` says whether it is about to, or needs no start;
    /// `views` are what it publishes.
    pub(crate) fn cell(
        &self,
        row: &TenantPluginRow,
        release: &Arc<Release>,
        verdict: Arc<Verdict>,
        started: bool,
        views: Option<PluginViews>,
    ) -> Arc<Enabled> {
        let limits = Limits::effective(&release.manifest.limits, &verdict.limits_ceiling);
        let grants = grants(row, &verdict);
        let needs_storage =
            [Interface::Sql, Interface::Kv, Interface::Blob].into_iter().any(|interface| grants.allows(interface));
        let storage =
            needs_storage.then(|| self.inner.storage.store(&row.tenant_id, &row.plugin_id, limits.storage_bytes));
        let configuration: Arc<str> = Arc::from(row.configuration.as_str());
        let cell = self.inner.engine.cell(CellConfig {
            tenant: row.tenant_id.clone(),
            plugin: row.plugin_id.clone(),
            version: release.version.clone(),
            component: release.component.clone(),
            grants,
            limits,
            storage: storage.clone(),
            views: self.view_source(&row.tenant_id, &release.manifest),
            configuration: Configuration { json: Arc::clone(&configuration), version: row.configuration_version },
            log_level: release.manifest.telemetry.log_level,
            rates: Rates {
                calls_per_minute: RATE_PER_MINUTE,
                calls_burst: RATE_BURST,
                routes_per_minute: release.manifest.routes.iter().map(|route| route.rate_per_minute).collect(),
            },
            ledger: self.inner.ledgers.of(&row.plugin_id, &row.tenant_id),
            concurrency_max: CONCURRENCY_MAX,
        });
        let enabled = Arc::new(Enabled {
            plugin: row.plugin_id.clone(),
            release: Arc::clone(release),
            verdict,
            storage,
            views,
            cell,
            started,
            configuration,
            granted: row.granted.clone(),
            health: tokio::sync::Mutex::default(),
        });
        // In this order: a stop is in force before it looks for cells, so that one of the two sees the other.
        self.inner.cells.add(&enabled);
        if self.inner.kills.load().hit(&row.plugin_id, &row.tenant_id, enabled.verdict.core) {
            enabled.cell.kill();
        }
        enabled
    }

    /// Runs the release's migrations in a tenant, forward, each once; answers those that ran. Those that remove what a version
    /// that still runs somewhere needs are held back, with the reason: see [`Host::contract_waits`].
    pub(crate) async fn migrate_storage(
        &self,
        tenant: &TenantId,
        release: &Release,
        verdict: &Verdict,
        run: Run,
    ) -> Result<Migrated, Error> {
        if release.manifest.migrations.is_none() {
            return Ok(Migrated::default());
        }
        let limits = Limits::effective(&release.manifest.limits, &verdict.limits_ceiling);
        let store = self.inner.storage.store(tenant, &release.plugin, limits.storage_bytes);
        let mut migrations = release.migrations(self).await?.to_vec();
        let mut held = self.contract_waits(release).await?;
        if held.is_some() {
            let applied = store.applied_migrations().await.map_err(MigrationError::Storage)?;
            let last = applied.last().map_or(0, |applied| applied.number);
            let is_held = |one: &PluginMigration| one.phase == Phase::Contract && one.number > last;
            match migrations.iter().position(is_held) {
                Some(place) => migrations.truncate(place),
                None => held = None,
            }
        }
        let applied = store.migrate(migrations, run, clock::now_micros()).await?;
        Ok(Migrated { applied, held })
    }

    /// Puts a started plugin into the snapshot; the one that it replaces drains.
    pub(crate) async fn mount(&self, tenant: &TenantId, enabled: Arc<Enabled>) {
        let replaced = self
            .change_tenant(tenant, |view| match view {
                Some(view) => (Some(view.with([Arc::clone(&enabled)])), view.plugin(enabled.plugin.as_str()).cloned()),
                // A tenant that was deleted or suspended meanwhile is not served: the cell drains unused.
                None => (None, Some(Arc::clone(&enabled))),
            })
            .await;
        self.drain(replaced);
    }

    /// Keeps a place for a plugin that the tenant has and that does not serve yet, unless it has one.
    pub(crate) async fn hold_place(&self, tenant: &TenantId, release: &Release) {
        self.change_tenant(tenant, |view| {
            let view = view.filter(|view| !view.has(&release.plugin));
            (view.map(|view| view.with_absent(&release.plugin, &release.manifest)), ())
        })
        .await;
    }

    /// Stops serving a plugin that the tenant still has; calls in flight end within their drain time.
    pub(crate) async fn stop_serving(&self, tenant: &TenantId, plugin: &PluginId, manifest: &Arc<Manifest>) {
        let removed = self
            .change_tenant(tenant, |view| match view {
                Some(view) => (Some(view.with_absent(plugin, manifest)), view.plugin(plugin.as_str()).cloned()),
                None => (None, None),
            })
            .await;
        self.drain(removed);
    }

    /// Takes a plugin out of a tenant; calls in flight end within their drain time.
    pub(crate) async fn unmount(&self, tenant: &TenantId, plugin: &PluginId) {
        let removed = self
            .change_tenant(tenant, |view| match view {
                Some(view) => (Some(view.without(plugin)), view.plugin(plugin.as_str()).cloned()),
                None => (None, None),
            })
            .await;
        self.drain(removed);
    }

    /// Takes a plugin out of every tenant.
    pub(crate) async fn unmount_everywhere(&self, plugin: &PluginId) {
        let snapshot = self.snapshot();
        for (tenant, view) in &snapshot.tenants {
            if view.has(plugin) {
                self.unmount(tenant, plugin).await;
            }
        }
        drop(snapshot);
        self.forget_unused_releases();
    }

    /// Gives a tenant this view; calls of the one that it had end now.
    pub(crate) async fn mount_tenant(&self, tenant: &TenantId, view: TenantView) {
        self.replace_tenant(tenant, Some(view)).await;
    }

    /// Takes a tenant away with all its plugins; no call of theirs runs afterwards.
    pub(crate) async fn unmount_tenant(&self, tenant: &TenantId) {
        self.replace_tenant(tenant, None).await;
    }

    async fn replace_tenant(&self, tenant: &TenantId, view: Option<TenantView>) {
        let removed = self
            .change_snapshot(|snapshot| (snapshot.with_tenant(tenant, view), snapshot.tenants.get(tenant).cloned()))
            .await;
        for enabled in removed.iter().flat_map(|view| view.plugins.values()) {
            end_calls(enabled).await;
        }
        drop(removed);
        self.forget_unused_releases();
    }

    /// Changes the view of a tenant that is served; `None` from `change` leaves it.
    async fn change_tenant<T>(
        &self,
        tenant: &TenantId,
        change: impl FnOnce(Option<&TenantView>) -> (Option<TenantView>, T),
    ) -> T {
        self.change_snapshot(|snapshot| {
            let served = snapshot.tenants.get(tenant).filter(|view| !view.suspended);
            let (view, answer) = change(served.map(Arc::as_ref));
            let next = match view {
                Some(view) => snapshot.with_tenant(tenant, Some(view)),
                None => snapshot.clone(),
            };
            (next, answer)
        })
        .await
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
            close(&enabled, DRAIN).await;
            drop(enabled);
            host.forget_unused_releases();
        });
    }
}

/// What a plugin may import in a tenant. Manifest request ∩ real imports ∩ ceiling are in the verdict; the tenant's consent is
/// the last factor.
pub(crate) fn grants(row: &TenantPluginRow, verdict: &Verdict) -> Grants {
    verdict.grants.intersection(&Grants::of(row.granted.iter().copied()))
}

/// Stops a plugin for good and waits until no call of it runs and nobody reads its views, so that what it keeps can be deleted.
pub(crate) async fn end_calls(enabled: &Enabled) {
    let cell = &enabled.cell;
    cell.close();
    cell.kill();
    let ended = cell.drained(END_MAX).await;
    let unread = match &enabled.views {
        Some(views) => views.close(END_MAX).await,
        None => true,
    };
    if !ended || !unread {
        tracing::error!(plugin.id = %cell.plugin(), tenant.id = %cell.tenant(), "a stopped call still runs");
    }
}

/// Takes no new calls; those that still run after `drain` are stopped. A plugin whose calls all ended is told that it ends.
pub(crate) async fn close(enabled: &Enabled, drain: Duration) {
    let cell = &enabled.cell;
    cell.close();
    if !cell.drained(drain).await {
        cell.kill();
        return;
    }
    if enabled.started && enabled.release.component.exports().contains(&"lifecycle") {
        let caller = Caller::system(cell.tenant().clone());
        if let Err(error) = cell.shutdown(&caller.context(None)).await.result {
            tracing::debug!(plugin.id = %cell.plugin(), tenant.id = %cell.tenant(), code = %error.code(), "a plugin did not shut down");
        }
    }
}

/// Asks a plugin that starts for its health. One that is late is asked again; one that says no has said it.
async fn first_health(enabled: &Enabled, caller: &Caller) -> Result<(), Error> {
    let mut tries = 0_u32;
    loop {
        tries = tries.saturating_add(1);
        match enabled.cell.check_health(&caller.context(None)).await.result {
            Ok(report) if report.healthy => return Ok(()),
            Ok(_) => return Err(Error::NotServing("its health check says that it is not healthy".to_owned())),
            Err(CallError::DeadlineExceeded { .. }) if tries < HEALTH_TRIES => tokio::time::sleep(HEALTH_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}
