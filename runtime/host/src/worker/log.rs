//! Looks at the registry's log at the start and once a minute: whether it grew from what this host saw before.
//! It mends nothing; an operator does.

use std::time::Duration;

use bulkhead_database::Act;
use bulkhead_model::Coded as _;

use crate::clock;
use crate::error::Error;
use crate::host::Host;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(60);

/// The first look. What is wrong with the stored state is an alarm and keeps no host from starting.
pub(crate) async fn begin(host: &Host) -> Result<(), Error> {
    let mut tx = host.inner.db.begin().await?;
    tx.begin_log(&Act::system(clock::now_micros())).await?;
    tx.commit().await?;
    match host.look_at_log().await {
        Ok(_) | Err(Error::LogBroken(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let host = host.clone();
    host.clone().inner.tasks.spawn(async move {
        while host.inner.stopping.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            look(&host).await;
        }
    });
}

/// Looks again; a broken log is told where it is found.
pub(crate) async fn look(host: &Host) {
    match host.look_at_log().await {
        Ok(_) | Err(Error::LogBroken(_)) => {}
        Err(error) => {
            tracing::warn!(code = %error.code(), error = &error as &dyn std::error::Error, "failed to look at the registry's log; it is tried again");
        }
    }
}
