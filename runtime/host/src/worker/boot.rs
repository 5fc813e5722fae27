//! The start: policy, stops, hooks, then every enabled plugin. A plugin that exports `lifecycle` or `health`, or has
//! migrations, starts in the background and serves when it is ready; all others serve at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bulkhead_database::TenantPluginRow;
use bulkhead_model::{Coded, PluginId, PluginStatus, TenantId};

use crate::error::Error;
use crate::host::Host;
use crate::release::Release;
use crate::snapshot::{Enabled, TenantView};
use crate::worker::{sweep, upkeep};

/// Rows of one read.
const PAGE: u32 = 1_000;
/// Background starts at once.
const STARTS_MAX: usize = 8;

pub(crate) async fn run(host: &Host) -> Result<(), Error> {
    host.load_policy().await?;
    host.load_kills().await?;
    host.load_hooks().await?;
    let later = mount_stored(host).await?;
    host.inner.booted.store(true, Ordering::Release);
    start_later(host, later);
    upkeep::start(host);
    sweep::run(host).await
}

/// Mounts all tenants with what can serve at once, in one change; answers what needs a start first.
async fn mount_stored(host: &Host) -> Result<Vec<(TenantPluginRow, Arc<Release>)>, Error> {
    let mut tenants: HashMap<TenantId, (bool, Vec<Arc<Enabled>>)> = HashMap::new();
    let mut after = String::new();
    loop {
        let rows = host.inner.db.list_tenants(&after, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = last.tenant_id.to_string();
        tenants.extend(rows.into_iter().map(|row| (row.tenant_id, (row.suspended, Vec::new()))));
    }
    let mut releases = Releases { host, known: HashMap::new() };
    let mut later = Vec::new();
    let mut cursor: Option<(TenantId, PluginId)> = None;
    loop {
        let rows = host.inner.db.list_enabled(cursor.as_ref().map(|(tenant, plugin)| (tenant, plugin)), PAGE).await?;
        let Some(last) = rows.last() else { break };
        cursor = Some((last.tenant_id.clone(), last.plugin_id.clone()));
        for row in rows {
            let Some(release) = releases.get(&row.plugin_id).await else {
                continue;
            };
            let verdict = match host.verdict(&release, &row.tenant_id) {
                Ok(verdict) => verdict,
                Err(error) => {
                    tracing::warn!(plugin.id = %row.plugin_id, tenant.id = %row.tenant_id, code = %error.code(), "a plugin is not allowed in a tenant that has it enabled");
                    continue;
                }
            };
            let exports = release.component.exports();
            if exports.contains(&"lifecycle") || exports.contains(&"health") || release.manifest.migrations.is_some() {
                later.push((row, release));
            } else if let Some((_, mounted)) = tenants.get_mut(&row.tenant_id) {
                mounted.push(host.cell(&row, &release, verdict, true));
            }
        }
    }
    host.change_snapshot(|snapshot| {
        let mut next = snapshot.clone();
        next.tenants = tenants
            .into_iter()
            .map(|(tenant, (suspended, mounted))| (tenant, Arc::new(TenantView::of(suspended, mounted))))
            .collect();
        (next, ())
    })
    .await;
    Ok(later)
}

/// Each release is loaded once; one that cannot be loaded is recorded and keeps nothing else from starting.
struct Releases<'host> {
    host: &'host Host,
    known: HashMap<PluginId, Option<Arc<Release>>>,
}

impl Releases<'_> {
    async fn get(&mut self, plugin: &PluginId) -> Option<Arc<Release>> {
        if let Some(known) = self.known.get(plugin) {
            return known.clone();
        }
        let release = match self.load(plugin).await {
            Ok(release) => release,
            Err(error) => {
                tracing::error!(plugin.id = %plugin, code = %error.code(), error = &error as &dyn std::error::Error, "a plugin cannot be loaded");
                self.record(plugin, &error).await;
                None
            }
        };
        self.known.insert(plugin.clone(), release.clone());
        release
    }

    async fn load(&self, plugin: &PluginId) -> Result<Option<Arc<Release>>, Error> {
        let row = self.host.inner.db.get_plugin(plugin).await?;
        match row.status {
            PluginStatus::Installed | PluginStatus::Active => Ok(Some(self.host.release(plugin, &row.version).await?)),
            _ => Ok(None),
        }
    }

    async fn record(&self, plugin: &PluginId, error: &Error) {
        let recorded = async {
            let mut tx = self.host.inner.db.begin().await?;
            tx.set_plugin_error(plugin, Some(&format!("{}: {error}", error.code())), crate::clock::now_micros())
                .await?;
            tx.commit().await
        };
        if let Err(error) = recorded.await {
            tracing::error!(plugin.id = %plugin, error = &error as &dyn std::error::Error, "failed to record why a plugin cannot be loaded");
        }
    }
}

fn start_later(host: &Host, later: Vec<(TenantPluginRow, Arc<Release>)>) {
    let starts = Arc::new(tokio::sync::Semaphore::new(STARTS_MAX));
    for (row, release) in later {
        let (host, starts) = (host.clone(), Arc::clone(&starts));
        host.clone().inner.tasks.spawn(async move {
            let Ok(_permit) = starts.acquire_owned().await else { return };
            if host.inner.stopping.is_cancelled() {
                return;
            }
            if let Err(error) = start_in_turn(&host, &row.tenant_id, &row.plugin_id).await {
                tracing::warn!(plugin.id = %row.plugin_id, tenant.id = %row.tenant_id, code = %error.code(), "a plugin did not start");
            }
            drop(release);
        });
    }
}

/// Starts what is stored by now: an admin may have changed it since the host opened.
async fn start_in_turn(host: &Host, tenant: &TenantId, plugin: &PluginId) -> Result<(), Error> {
    let _turn = host.inner.acts.both(tenant, plugin).await?;
    let row = host.tenant_plugin_row(tenant, plugin).await?;
    host.restart(&row).await
}
