//! Writes down what plugins burnt, every few seconds and when a month ends, and brings every account to the month's sum over
//! all hosts. A host that is killed loses the counts of those seconds, nothing else.
//! It refuses no call; the gate of a cell does, from memory.

use std::time::Duration;

use bulkhead_database::FuelRow;
use jiff::Timestamp;

use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::ledgers::Taken;
use crate::month::Month;

/// Time between two writings: as long may a month's bound be passed unnoticed by another host, or after a start.
const PERIOD: Duration = Duration::from_secs(5);
/// Accounts of one transaction.
const ACCOUNTS_PER_WRITE: usize = 500;
/// Accounts of one read.
const PAGE: u32 = 1_000;
/// Months that are kept, the running one aside.
const MONTHS_KEPT: i32 = 24;

/// Brings the accounts to what is written down of the running month.
pub(crate) async fn load(host: &Host) -> Result<(), Error> {
    let month = host.inner.ledgers.month().to_string();
    let mut after = None;
    loop {
        let cursor = after.as_ref().map(|(plugin, tenant)| (plugin, tenant));
        let page = host.inner.db.list_month_fuel(&month, cursor, PAGE).await?;
        let Some((plugin, tenant, _)) = page.last() else { return Ok(()) };
        after = Some((plugin.clone(), tenant.clone()));
        for (plugin, tenant, units) in page {
            host.inner.ledgers.of(&plugin, &tenant).written(&[], units);
        }
    }
}

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let host = host.clone();
    host.clone().inner.tasks.spawn(async move {
        while host.inner.stopping.run_until_cancelled(tokio::time::sleep(pause(&host, clock::now()))).await.is_some() {
            if let Err(error) = host.write_ledgers().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what plugins burnt was not written down; it is tried again"
                );
            }
        }
    });
}

/// Time to the next writing: the end of the month is one of them.
fn pause(host: &Host, now: Timestamp) -> Duration {
    let left_ms = host.inner.ledgers.month().end().as_millisecond().saturating_sub(now.as_millisecond());
    // A month whose end could not be written down is over already, and is tried again as any.
    u64::try_from(left_ms).ok().filter(|left_ms| *left_ms > 0).map_or(PERIOD, Duration::from_millis).min(PERIOD)
}

impl Host {
    /// Writes down what was burnt since the last time. Counts that cannot be written stay in their accounts.
    pub(crate) async fn write_ledgers(&self) -> Result<(), Error> {
        let ledgers = &self.inner.ledgers;
        let _alone = ledgers.writing.lock().await;
        let month = ledgers.month();
        let mut taken = ledgers.take();
        while !taken.is_empty() {
            let rest = taken.split_off(taken.len().min(ACCOUNTS_PER_WRITE));
            self.write(month, taken).await?;
            taken = rest;
        }
        let now = clock::now();
        if Month::of(now) > month {
            ledgers.begin(now);
            let mut tx = self.inner.db.begin().await?;
            tx.delete_fuel_before(&Month::of(now).earlier(MONTHS_KEPT).to_string()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn write(&self, month: Month, chunk: Vec<Taken>) -> Result<(), Error> {
        let month = month.to_string();
        let mut tx = self.inner.db.begin().await?;
        let mut sums = Vec::with_capacity(chunk.len());
        for taken in &chunk {
            for spent in &taken.spent {
                let row = FuelRow {
                    plugin_id: taken.plugin.clone(),
                    tenant_id: taken.tenant.clone(),
                    entry: spent.entry.to_string(),
                    calls: spent.calls,
                    fuel_units: spent.fuel_units,
                };
                tx.add_fuel(&month, &row, clock::now_micros()).await?;
            }
            let rows = tx.find_fuel(&month, &taken.plugin, &taken.tenant).await?;
            sums.push(rows.iter().map(|row| row.fuel_units).fold(0, u64::saturating_add));
        }
        tx.commit().await?;
        for (taken, sum) in chunk.into_iter().zip(sums) {
            taken.written(sum);
        }
        Ok(())
    }
}
