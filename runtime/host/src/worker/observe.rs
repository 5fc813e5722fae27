//! Writes down in the audit log what observed rules and policies would have denied. It denies nothing.

use std::time::Duration;

use bulkhead_database::Act;

use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::observations::Observed;

/// Time between two writes.
const PERIOD: Duration = Duration::from_secs(1);

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let host = host.clone();
    host.clone().inner.tasks.spawn(async move {
        while host.inner.stopping.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            let observed = host.inner.observations.take();
            if observed.is_empty() {
                continue;
            }
            if let Err(error) = write(&host, &observed).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "failed to record what would have been denied; it is tried again"
                );
                host.inner.observations.give_back(observed);
            }
        }
    });
}

async fn write(host: &Host, observed: &[Observed]) -> Result<(), Error> {
    let act = Act::system(clock::now_micros());
    let mut tx = host.inner.db.begin().await?;
    for Observed { plugin, tenant, observation } in observed {
        let detail = serde_json::json!({
            "by": observation.by,
            "reason": observation.refusal.code.as_str(),
            "detail": observation.refusal.detail,
        });
        tx.append_audit(&act, "plugin.observe", Some(plugin), tenant.as_ref(), &detail.to_string()).await?;
    }
    Ok(tx.commit().await?)
}
