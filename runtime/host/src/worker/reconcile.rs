//! Brings what runs in line with what is stored and allowed, again and again: stops what the policy or the time no longer
//! allows, starts what should serve and does not, records what could not be recorded, ends what was interrupted. One that
//! fails to start is tried again after a pause that doubles.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use bulkhead_database::TenantPluginRow;
use bulkhead_model::{Coded, PluginId, TenantId};

use super::sweep;
use crate::error::Error;
use crate::host::Host;

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(60);
/// First pause before a failed start is tried again.
const PAUSE: Duration = Duration::from_secs(30);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);
/// Rows of one read.
const PAGE: u32 = 1_000;

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let host = host.clone();
    host.clone().inner.tasks.spawn(async move {
        let mut pauses = Pauses::default();
        while host.inner.stopping.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            said("record the stops that are in force", host.write_kills()).await;
            said("judge the serving plugins again", host.judge_serving()).await;
            pauses.begin_round(Instant::now());
            said("start what should serve", host.start_missing(|row| pauses.is_due(row, Instant::now()))).await;
            said("take up what was interrupted", sweep::run(&host)).await;
        }
    });
}

async fn said(what: &str, work: impl Future<Output = Result<(), Error>>) {
    // Rounds are rare and their work is large: it lies on the heap while it waits.
    if let Err(error) = Box::pin(work).await {
        tracing::error!(code = %error.code(), error = &error as &dyn std::error::Error, "failed to {what}");
    }
}

impl Host {
    /// Starts every enabled plugin that does not serve and for which `is_due` says so. A failure is recorded and leaves the
    /// others alone.
    pub(crate) async fn start_missing(&self, mut is_due: impl FnMut(&TenantPluginRow) -> bool) -> Result<(), Error> {
        let mut cursor: Option<(TenantId, PluginId)> = None;
        loop {
            let rows =
                self.inner.db.list_enabled(cursor.as_ref().map(|(tenant, plugin)| (tenant, plugin)), PAGE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            cursor = Some((last.tenant_id.clone(), last.plugin_id.clone()));
            for row in rows {
                if self.inner.stopping.is_cancelled() {
                    return Ok(());
                }
                if !self.is_missing(&row) || !is_due(&row) {
                    continue;
                }
                if let Err(error) = self.start_in_turn(&row.tenant_id, &row.plugin_id).await {
                    tracing::warn!(plugin.id = %row.plugin_id, tenant.id = %row.tenant_id, code = %error.code(), "a plugin did not start");
                }
            }
        }
    }

    /// Starts what is stored by now, unless it serves: an admin may have changed it since it was read.
    pub(crate) async fn start_in_turn(&self, tenant: &TenantId, plugin: &PluginId) -> Result<(), Error> {
        let _turn = self.inner.acts.both(tenant, plugin).await?;
        let row = self.tenant_plugin_row(tenant, plugin).await?;
        self.restart(&row).await
    }

    /// Whether the tenant is served, but not by this plugin.
    fn is_missing(&self, row: &TenantPluginRow) -> bool {
        let snapshot = self.snapshot();
        let view = snapshot.tenants.get(&row.tenant_id).filter(|view| !view.suspended);
        view.is_some_and(|view| view.plugin(row.plugin_id.as_str()).is_none())
    }
}

/// When each start may be tried again.
#[derive(Default)]
struct Pauses(HashMap<(TenantId, PluginId), (Instant, Duration)>);

impl Pauses {
    /// Forgets those that nobody asked about for long: they served meanwhile, and begin anew.
    fn begin_round(&mut self, now: Instant) {
        self.0.retain(|_, (next, pause)| now.saturating_duration_since(*next) < pause.saturating_mul(4));
    }

    /// Whether the row's time has come; if so, the next one is further away.
    fn is_due(&mut self, row: &TenantPluginRow, now: Instant) -> bool {
        let key = (row.tenant_id.clone(), row.plugin_id.clone());
        let (next, pause) = self.0.get(&key).copied().unwrap_or((now, PAUSE));
        if now < next {
            return false;
        }
        self.0.insert(key, (now.checked_add(pause).unwrap_or(now), pause.saturating_mul(2).min(PAUSE_MAX)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tenant: &str) -> TenantPluginRow {
        TenantPluginRow::new(tenant.parse().unwrap(), "acme.crm".parse().unwrap(), "{}".to_owned(), 1)
    }

    #[test]
    fn a_start_that_fails_again_and_again_is_tried_less_and_less() {
        let (mut pauses, began) = (Pauses::default(), Instant::now());
        let mut tries = Vec::new();
        for minute in 0_u64..600 {
            if pauses.is_due(&row("bank"), began + Duration::from_secs(minute * 60)) {
                tries.push(minute);
            }
        }

        assert_eq!(tries.iter().take(7).copied().collect::<Vec<_>>(), [0, 1, 2, 4, 8, 16, 32]);
        assert!(tries.windows(2).all(|two| two[1] - two[0] <= 61), "{tries:?}");
        assert!(tries.len() < 20, "{tries:?}");
    }

    #[test]
    fn the_pause_of_one_is_not_another_ones() {
        let (mut pauses, now) = (Pauses::default(), Instant::now());

        assert!(pauses.is_due(&row("bank"), now));
        assert!(pauses.is_due(&row("shop"), now));
        assert!(!pauses.is_due(&row("bank"), now));
    }

    #[test]
    fn one_that_served_for_long_is_tried_at_once() {
        let (mut pauses, now) = (Pauses::default(), Instant::now());
        assert!(pauses.is_due(&row("bank"), now));

        let later = now + Duration::from_secs(3_600);
        pauses.begin_round(later);

        assert!(pauses.is_due(&row("bank"), later));
        assert_eq!(pauses.0.values().next().map(|(_, pause)| *pause), Some(PAUSE * 2));
    }
}
