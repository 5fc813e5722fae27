//! Periodic upkeep: what time has made expire. Keys that nobody sees any more are removed from the plugins' storage;
//! plugins whose signature, rule or policy has expired are stopped. It touches nothing that a plugin could read.

use std::time::{Duration, Instant};

use bulkhead_database::tenant::PluginStore;

use crate::clock;
use crate::host::Host;

/// Time between two looks at what the policy still allows.
const JUDGE_PERIOD: Duration = Duration::from_secs(60);
/// Time between two rounds through the storage.
const SWEEP_PERIOD: Duration = Duration::from_secs(60 * 60);
/// Time that one plugin's batch may take.
const BATCH: Duration = Duration::from_secs(5);
/// Batches of one plugin in one round; what is left waits for the next.
const BATCHES_MAX: u32 = 100;

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let (judge, sweep) = (host.clone(), host.clone());
    host.inner.tasks.spawn(async move {
        while waited(&judge, JUDGE_PERIOD).await {
            if let Err(error) = judge.stop_what_is_refused().await {
                tracing::error!(error = &error as &dyn std::error::Error, "failed to judge the serving plugins again");
            }
        }
    });
    host.inner.tasks.spawn(async move {
        while waited(&sweep, SWEEP_PERIOD).await {
            for store in stores(&sweep) {
                if sweep.inner.stopping.is_cancelled() {
                    return;
                }
                remove_expired(&store).await;
            }
        }
    });
}

/// Whether `period` passed before the host stopped.
async fn waited(host: &Host, period: Duration) -> bool {
    host.inner.stopping.run_until_cancelled(tokio::time::sleep(period)).await.is_some()
}

fn stores(host: &Host) -> Vec<PluginStore> {
    let snapshot = host.snapshot();
    let enabled = snapshot.tenants.values().flat_map(|view| view.plugins.values());
    enabled.filter_map(|enabled| enabled.storage.clone()).collect()
}

async fn remove_expired(store: &PluginStore) {
    for _ in 0..BATCHES_MAX {
        match store.kv_sweep(clock::now_ms(), Instant::now() + BATCH).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "expired keys were not removed");
                return;
            }
        }
    }
}
