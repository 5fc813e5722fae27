//! The start: policy, stops, hooks, then every enabled plugin. A plugin that exports `lifecycle` or `health`, or has
//! migrations, starts in the background and serves when it is ready; all others serve at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bulkhead_database::{Act, StoredRelease, TenantPluginRow, TenantStatus};
use bulkhead_model::{Coded, Manifest, PluginId, TenantId};

use crate::error::Error;
use crate::host::Host;
use crate::release::{self, Release};
use crate::snapshot::{Enabled, TenantView};
use crate::worker::{follow, issuers, ledger, log, observe, reach, reconcile, registry, sweep, upkeep};

/// Rows of one read.
const PAGE: u32 = 1_000;
/// Releases of one read: each comes with its manifest and its bundles.
const RELEASES_PAGE: u32 = 100;

pub(crate) async fn run(host: &Host) -> Result<(), Error> {
    // Read before the rest: what changes meanwhile is seen twice and not missed.
    let changes = host.inner.db.changes().await?;
    // First, and in the background: until the keys are there, tokens of these issuers are refused.
    issuers::start(host);
    // Before anything is loaded: what was revoked while this host was away never starts.
    host.load_revocations().await?;
    host.load_roots().await?;
    host.load_policy().await?;
    log::begin(host).await?;
    crate::host_keys::record(host).await?;
    host.load_kills().await?;
    host.load_hooks().await?;
    ledger::load(host).await?;
    let later = mount_stored(host).await?;
    start_later(host, later);
    host.inner.booted.store(true, Ordering::Release);
    upkeep::start(host);
    registry::start(host);
    log::start(host);
    ledger::start(host);
    observe::start(host);
    reconcile::start(host);
    reach::start(host);
    follow::start(host, changes);
    sweep::run(host).await
}

/// A plugin that some tenant has enabled.
enum Known {
    /// Its release is loaded.
    Usable(Arc<Release>),
    /// It is not allowed, or cannot be loaded; what it says of itself, if that can be read.
    Unusable(Option<Arc<Manifest>>),
}

/// What a tenant has at the start.
#[derive(Default)]
struct Stored {
    serving: Vec<Arc<Enabled>>,
    absent: HashMap<PluginId, Arc<Manifest>>,
}

/// Mounts all tenants with what can serve at once, in one change; answers what needs a start first.
async fn mount_stored(host: &Host) -> Result<Vec<TenantPluginRow>, Error> {
    let (mut tenants, suspended) = read_tenants(host).await?;
    let mut views: HashMap<_, _> =
        suspended.into_iter().map(|tenant| (tenant, Arc::new(TenantView::suspended()))).collect();
    let releases = load_releases(host).await?;
    let mut later = Vec::new();
    let mut cursor: Option<(TenantId, PluginId)> = None;
    loop {
        let rows = host.inner.db.list_enabled(cursor.as_ref().map(|(tenant, plugin)| (tenant, plugin)), PAGE).await?;
        let Some(last) = rows.last() else { break };
        cursor = Some((last.tenant_id.clone(), last.plugin_id.clone()));
        for row in rows {
            if let (Some(stored), Some(known)) = (tenants.get_mut(&row.tenant_id), releases.get(&row.plugin_id)) {
                mount_row(host, row, known, stored, &mut later);
            }
        }
    }
    views.extend(tenants.into_iter().map(|(tenant, stored)| {
        let view = TenantView::starting(stored.absent).with(stored.serving);
        (tenant, Arc::new(view))
    }));
    host.change_snapshot(|snapshot| {
        let mut next = snapshot.clone();
        next.tenants = views;
        (next, ())
    })
    .await;
    Ok(later)
}

fn mount_row(host: &Host, row: TenantPluginRow, known: &Known, stored: &mut Stored, later: &mut Vec<TenantPluginRow>) {
    let release = match known {
        Known::Usable(release) => release,
        Known::Unusable(manifest) => {
            stored.absent.extend(manifest.iter().map(|manifest| (row.plugin_id.clone(), Arc::clone(manifest))));
            return;
        }
    };
    match host.verdict(release, &row.tenant_id) {
        Ok(verdict) if !needs_start(release) => stored.serving.push(host.cell(&row, release, verdict, true, None)),
        allowed => {
            stored.absent.insert(row.plugin_id.clone(), Arc::clone(&release.manifest));
            match allowed {
                Ok(_) => later.push(row),
                Err(error) => {
                    tracing::warn!(plugin.id = %row.plugin_id, tenant.id = %row.tenant_id, code = %error.code(), "a plugin is not allowed in a tenant that has it enabled");
                }
            }
        }
    }
}

fn needs_start(release: &Release) -> bool {
    let exports = release.component.exports();
    let manifest = &release.manifest;
    let keeps = manifest.migrations.is_some() || !manifest.views.provides.is_empty();
    exports.contains(&"lifecycle") || exports.contains(&"health") || keeps
}

/// The tenants that are served, and those that are suspended. One whose deletion was interrupted is neither.
async fn read_tenants(host: &Host) -> Result<(HashMap<TenantId, Stored>, Vec<TenantId>), Error> {
    let (mut active, mut suspended) = (HashMap::new(), Vec::new());
    let mut after = String::new();
    loop {
        let rows = host.inner.db.list_tenants(&after, PAGE).await?;
        let Some(last) = rows.last() else { return Ok((active, suspended)) };
        after = last.tenant_id.to_string();
        for row in rows {
            match row.status {
                TenantStatus::Active => {
                    active.insert(row.tenant_id, Stored::default());
                }
                TenantStatus::Suspended => suspended.push(row.tenant_id),
                TenantStatus::Deleting => {}
            }
        }
    }
}

/// Each release is loaded once; one that cannot be loaded is recorded and keeps nothing else from starting.
async fn load_releases(host: &Host) -> Result<HashMap<PluginId, Known>, Error> {
    let mut known = HashMap::new();
    let mut after = String::new();
    loop {
        let page = host.inner.db.list_enabled_releases(&after, RELEASES_PAGE).await?;
        let Some(last) = page.last() else { return Ok(known) };
        after = last.row.plugin_id.to_string();
        for stored in page {
            known.insert(stored.row.plugin_id.clone(), load(host, stored).await);
        }
    }
}

async fn load(host: &Host, stored: StoredRelease) -> Known {
    let (plugin, facts) = (stored.row.plugin_id.clone(), stored.row.facts.clone());
    match host.release_of(stored).await {
        Ok(release) => Known::Usable(release),
        Err(error) => {
            tracing::error!(plugin.id = %plugin, code = %error.code(), error = &error as &dyn std::error::Error, "a plugin cannot be loaded");
            record(host, &plugin, &error).await;
            let manifest = release::facts(&facts).ok().and_then(|facts| facts.manifest().ok());
            Known::Unusable(manifest.map(Arc::new))
        }
    }
}

async fn record(host: &Host, plugin: &PluginId, error: &Error) {
    let recorded = async {
        let mut tx = host.inner.db.begin().await?;
        tx.set_plugin_error(plugin, Some(&error.recorded()), crate::clock::now_micros()).await?;
        tx.commit().await?;
        let act = Act::system(crate::clock::now_micros());
        host.record_denial(&act, Some(plugin), None, error).await
    };
    if let Err(error) = recorded.await {
        tracing::error!(plugin.id = %plugin, error = &error as &dyn std::error::Error, "failed to record why a plugin cannot be loaded");
    }
}

/// Starts what needs one, as many at once as the machine has processors: more would only make each of them late.
fn start_later(host: &Host, later: Vec<TenantPluginRow>) {
    let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let starts = Arc::new(tokio::sync::Semaphore::new(at_once));
    host.inner.starting.store(later.len(), Ordering::Release);
    for row in later {
        let (host, starts) = (host.clone(), Arc::clone(&starts));
        host.clone().inner.tasks.spawn(async move {
            let _counted = Starting(&host);
            let Ok(_permit) = starts.acquire_owned().await else { return };
            if host.inner.stopping.is_cancelled() {
                return;
            }
            if let Err(error) = host.start_in_turn(&row.tenant_id, &row.plugin_id).await {
                tracing::warn!(plugin.id = %row.plugin_id, tenant.id = %row.tenant_id, code = %error.code(), "a plugin did not start");
            }
        });
    }
}

/// A start that has not ended, however it ends.
struct Starting<'a>(&'a Host);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.inner.starting.fetch_sub(1, Ordering::AcqRel);
    }
}
