//! Periodic upkeep: keys that nobody sees any more are removed from the plugins' storage, measured values are put together.
//! It touches nothing that a plugin could read.

use std::time::{Duration, Instant};

use bulkhead_database::tenant::{PluginStore, StorageError};

use crate::clock;
use crate::host::Host;

/// Time between two rounds in which measured values that nobody has fetched are put together.
const METRICS_PERIOD: Duration = Duration::from_secs(5);
/// Time between two rounds through the storage.
const SWEEP_PERIOD: Duration = Duration::from_secs(60 * 60);
/// Time that one plugin's batch may take.
const BATCH: Duration = Duration::from_secs(5);
/// Batches of one plugin in one round; what is left waits for the next.
const BATCHES_MAX: u32 = 100;

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let (sweep, metrics) = (host.clone(), host.clone());
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
    host.inner.tasks.spawn(async move {
        while waited(&metrics, METRICS_PERIOD).await {
            if let Some(handle) = &metrics.inner.prometheus {
                handle.run_upkeep();
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
    in_batches("expired keys", || store.kv_sweep(clock::now_ms(), Instant::now() + BATCH)).await;
    in_batches("uploads that nobody ended", || store.blob_sweep(clock::now_ms(), Instant::now() + BATCH)).await;
}

/// Removes `what` until nothing is left; the rest waits for the next round.
async fn in_batches<F: Future<Output = Result<u32, StorageError>>>(what: &str, remove: impl Fn() -> F) {
    for _ in 0..BATCHES_MAX {
        match remove().await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "{what} were not removed");
                return;
            }
        }
    }
}
