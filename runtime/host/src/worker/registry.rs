//! Collects what nobody refers to in the registry, once an hour. Any number of hosts may do it beside pushes.
//! What is referred to, and what is young, stays.

use std::time::Duration;

use crate::host::Host;

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let host = host.clone();
    host.clone().inner.tasks.spawn(async move {
        while host.inner.stopping.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            match host.inner.registry.collect().await {
                Ok(collected) => {
                    tracing::info!(
                        uploads = collected.uploads,
                        blobs = collected.blobs,
                        blob_bytes = collected.blob_bytes,
                        "collected what nobody referred to in the registry"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the registry was not collected; it is tried again"
                    );
                }
            }
        }
    });
}
