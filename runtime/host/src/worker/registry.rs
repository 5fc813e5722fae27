//! Keeps the registry: judges its versions again whenever another policy or another revocation is in force, and collects what
//! nobody refers to once an hour. Any number of hosts may do both beside pushes.
//! What is referred to, and what is young, stays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::host::Host;

/// Time between two looks at what is in force.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two rounds of collecting; also of judging, since time alone ends what a policy allows.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let host = host.clone();
    host.clone().inner.tasks.spawn(async move {
        let (mut judged_by, mut judged, mut collected) = (None, Instant::now(), Instant::now());
        while host.inner.stopping.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let in_force = host.inner.policy.load();
            let is_known = judged_by.as_ref().is_some_and(|known| Arc::ptr_eq(known, &in_force));
            if (!is_known || judged.elapsed() >= PERIOD) && judge(&host).await {
                (judged_by, judged) = (Some(in_force), Instant::now());
            }
            if collected.elapsed() >= PERIOD {
                collected = Instant::now();
                collect(&host).await;
            }
        }
    });
}

/// Says whether every version was judged.
async fn judge(host: &Host) -> bool {
    match host.inner.registry.judge_again().await {
        Ok(0) => true,
        Ok(moved) => {
            tracing::info!(moved, "versions in the registry moved by the policy in force");
            true
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the registry's versions were not all judged; it is tried again");
            false
        }
    }
}

async fn collect(host: &Host) {
    match host.inner.registry.collect().await {
        Ok(collected) => {
            tracing::info!(
                uploads = collected.uploads,
                manifests = collected.manifests,
                blobs = collected.blobs,
                blob_bytes = collected.blob_bytes,
                "collected what nobody referred to in the registry"
            );
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the registry was not collected; it is tried again");
        }
    }
}
