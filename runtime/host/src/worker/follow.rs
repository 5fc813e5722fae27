//! Follows what other hosts of the same database do: policy, stops, hooks, tenants, and which plugin serves where. It looks at
//! one number, and only when that moved at the rest. What this host does itself is found done.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bulkhead_database::{TenantPluginRow, TenantStatus};
use bulkhead_model::{Coded, PluginId, TenantId, TenantPluginStatus, Version};

use crate::error::Error;
use crate::host::Host;
use crate::snapshot::TenantView;

/// Time between two looks: a stop by another host is to hold here within a second.
const LOOK: Duration = Duration::from_millis(250);
/// Rows of one read.
const PAGE: u32 = 1_000;

/// Runs until the host stops, where other hosts may write the tables that this one serves from.
pub(crate) fn start(host: &Host, mut seen: u64) {
    if !host.inner.db.may_be_shared() {
        return;
    }
    let host = host.clone();
    host.clone().inner.tasks.spawn(async move {
        while host.inner.stopping.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            match Box::pin(look(&host, seen)).await {
                Ok(now) => seen = now,
                Err(error) => {
                    tracing::warn!(code = %error.code(), error = &error as &dyn std::error::Error, "failed to follow the other hosts; it is tried again");
                }
            }
        }
    });
}

/// Catches up if something changed since `seen`; answers how far that is.
async fn look(host: &Host, seen: u64) -> Result<u64, Error> {
    let now = host.inner.db.changes().await?;
    if now == seen {
        return Ok(seen);
    }
    // Stops first: they cannot wait for anything.
    host.load_kills().await?;
    let revoked = host.follow_revocations().await?;
    let rotated = host.follow_roots().await?;
    let newest = host.inner.db.find_latest_policy().await?.map_or(0, |row| row.version);
    let known = host.inner.policy.newest();
    if rotated || newest != known {
        host.load_policy().await?;
    }
    super::log::look(host).await;
    if revoked || rotated || newest != known {
        host.judge_serving().await?;
    }
    host.load_hooks().await?;
    follow_tenants(host).await?;
    follow_plugins(host).await?;
    host.start_revived().await?;
    Ok(now)
}

async fn follow_tenants(host: &Host) -> Result<(), Error> {
    let mut stored: HashMap<TenantId, TenantStatus> = HashMap::new();
    let mut after = String::new();
    loop {
        let rows = host.inner.db.list_tenants(&after, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = last.tenant_id.to_string();
        stored.extend(rows.into_iter().map(|row| (row.tenant_id, row.status)));
    }
    let snapshot = host.snapshot();
    for (tenant, view) in &snapshot.tenants {
        let _turn = match stored.get(tenant) {
            Some(TenantStatus::Active) if !view.suspended => continue,
            Some(TenantStatus::Suspended) if view.suspended => continue,
            Some(_) | None => host.inner.acts.tenant(tenant).await?,
        };
        // As it is by now: an act of this host may have been going on.
        match host.inner.db.find_tenant(tenant).await?.map(|row| row.status) {
            Some(TenantStatus::Active) => host.resume_here(tenant).await?,
            Some(TenantStatus::Suspended) => host.mount_tenant(tenant, TenantView::suspended()).await,
            Some(TenantStatus::Deleting) | None => host.unmount_tenant(tenant).await,
        }
    }
    for tenant in stored.keys().filter(|tenant| !snapshot.tenants.contains_key(*tenant)) {
        let _turn = host.inner.acts.tenant(tenant).await?;
        let status = host.inner.db.find_tenant(tenant).await?.map(|row| row.status);
        if status == Some(TenantStatus::Active) && !host.snapshot().tenants.contains_key(tenant) {
            host.mount_tenant(tenant, TenantView::default()).await;
        }
    }
    Ok(())
}

async fn follow_plugins(host: &Host) -> Result<(), Error> {
    let fleet = serving_versions(host).await?;
    let mut wanted: HashSet<(TenantId, PluginId)> = HashSet::new();
    let mut cursor: Option<(TenantId, PluginId)> = None;
    loop {
        let rows = host.inner.db.list_enabled(cursor.as_ref().map(|(tenant, plugin)| (tenant, plugin)), PAGE).await?;
        let Some(last) = rows.last() else { break };
        cursor = Some((last.tenant_id.clone(), last.plugin_id.clone()));
        for row in rows {
            let Some(version) = fleet.get(&row.plugin_id) else { continue };
            if !is_served(host, &row, version) && row.status != TenantPluginStatus::Failed {
                follow_row(host, &row.tenant_id, &row.plugin_id).await?;
            }
            wanted.insert((row.tenant_id, row.plugin_id));
        }
    }
    for (tenant, view) in &host.snapshot().tenants {
        for plugin in view.all().filter(|plugin| !wanted.contains(&(tenant.clone(), (*plugin).clone()))) {
            follow_row(host, tenant, plugin).await?;
        }
    }
    Ok(())
}

/// The plugins that serve, with the version that does.
async fn serving_versions(host: &Host) -> Result<HashMap<PluginId, Version>, Error> {
    let mut serving = HashMap::new();
    let mut after = String::new();
    loop {
        let rows = host.inner.db.list_plugins(&after, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(serving) };
        after = last.plugin_id.to_string();
        let rows = rows.into_iter().filter(|row| row.status.serves());
        serving.extend(rows.map(|row| (row.plugin_id, row.version)));
    }
}

/// Whether this host serves exactly what is stored, or need not since the tenant is suspended.
fn is_served(host: &Host, row: &TenantPluginRow, version: &Version) -> bool {
    let snapshot = host.snapshot();
    let Some(view) = snapshot.tenants.get(&row.tenant_id) else { return true };
    view.suspended || view.plugin(row.plugin_id.as_str()).is_some_and(|enabled| enabled.is_of(row, version))
}

/// Brings one plugin in one tenant in line with what is stored by now.
async fn follow_row(host: &Host, tenant: &TenantId, plugin: &PluginId) -> Result<(), Error> {
    let _turn = host.inner.acts.both(tenant, plugin).await?;
    let fleet = host.inner.db.find_plugin(plugin).await?.filter(|row| row.status.serves());
    let row = host.inner.db.find_tenant_plugin(tenant, plugin).await?.filter(|row| row.enabled);
    let (Some(fleet), Some(row)) = (fleet, row) else {
        host.unmount(tenant, plugin).await;
        return Ok(());
    };
    if is_served(host, &row, &fleet.version) {
        return Ok(());
    }
    if let Err(error) = host.restart(&row).await {
        tracing::warn!(plugin.id = %plugin, tenant.id = %tenant, code = %error.code(), "a plugin that another host changed did not start here");
    }
    Ok(())
}
