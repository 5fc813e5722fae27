//! The accounts of all (tenant, plugin) pairs that were called on this node in the running month, whether they are served
//! at present or not: a plugin that is disabled and enabled again goes on with its month.
//! It writes nothing down; `worker::ledger` does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_engine::{Ledger, Spent};
use bulkhead_model::{PluginId, TenantId};
use jiff::Timestamp;

use crate::month::Month;

type Pair = (PluginId, TenantId);

/// The accounts, and the month that they are of.
pub(crate) struct Ledgers {
    current: parking_lot::Mutex<Current>,
    /// Held while accounts are written down, so that no count is written into two months.
    pub(crate) writing: tokio::sync::Mutex<()>,
}

struct Current {
    month: Month,
    ends_at: Instant,
    of: HashMap<Pair, Arc<Ledger>>,
}

/// Counts that were taken out of an account and are to be written down. However the writing ends, also when whoever waits for
/// it gives up, counts that were not written go back.
pub(crate) struct Taken {
    pub(crate) plugin: PluginId,
    pub(crate) tenant: TenantId,
    pub(crate) spent: Vec<Spent>,
    ledger: Arc<Ledger>,
}

impl Taken {
    /// The counts are written down, and the month's sum is `month_units` with them.
    pub(crate) fn written(mut self, month_units: u64) {
        self.ledger.written(&std::mem::take(&mut self.spent), month_units);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.ledger.give_back(&self.spent);
    }
}

impl Ledgers {
    pub(crate) fn new(now: Timestamp) -> Self {
        let month = Month::of(now);
        let current = Current { month, ends_at: instant_of(month.end(), now), of: HashMap::new() };
        Self { current: parking_lot::Mutex::new(current), writing: tokio::sync::Mutex::default() }
    }

    /// The account of a plugin in a tenant.
    pub(crate) fn of(&self, plugin: &PluginId, tenant: &TenantId) -> Arc<Ledger> {
        let mut current = self.current.lock();
        let ends_at = current.ends_at;
        let entry = current.of.entry((plugin.clone(), tenant.clone()));
        Arc::clone(entry.or_insert_with(|| Arc::new(Ledger::new(ends_at))))
    }

    /// The month that is being counted.
    pub(crate) fn month(&self) -> Month {
        self.current.lock().month
    }

    /// Takes the counts out of every account that has some, in one order on every node.
    pub(crate) fn take(&self) -> Vec<Taken> {
        let current = self.current.lock();
        let taken = current.of.iter().map(|((plugin, tenant), ledger)| Taken {
            plugin: plugin.clone(),
            tenant: tenant.clone(),
            spent: ledger.take(),
            ledger: Arc::clone(ledger),
        });
        let mut taken: Vec<_> = taken.filter(|taken| !taken.spent.is_empty()).collect();
        taken.sort_by(|left, right| (&left.plugin, &left.tenant).cmp(&(&right.plugin, &right.tenant)));
        taken
    }

    /// Begins the month of `now`; accounts that no cell holds any more are left behind.
    pub(crate) fn begin(&self, now: Timestamp) {
        let month = Month::of(now);
        let mut current = self.current.lock();
        (current.month, current.ends_at) = (month, instant_of(month.end(), now));
        let ends_at = current.ends_at;
        current.of.retain(|_, ledger| {
            ledger.begin_month(ends_at);
            Arc::strong_count(ledger) > 1 || ledger.month_units() > 0
        });
    }

    /// Forgets the accounts of a tenant that is gone.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.current.lock().of.retain(|(_, within), _| within != tenant);
    }
}

/// The moment on the monotonic clock; `now` on the calendar is now on the clock.
fn instant_of(moment: Timestamp, now: Timestamp) -> Instant {
    let left = moment.as_millisecond().saturating_sub(now.as_millisecond());
    Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_back_unless_they_were_written() {
        let ledgers = Ledgers::new("2026-11-21T12:00:00Z".parse().unwrap());
        let ledger = ledgers.of(&"acme.crm".parse().unwrap(), &"bank".parse().unwrap());
        let spent = Spent { entry: bulkhead_model::Entry::Route, calls: 2, fuel_units: 70 };
        ledger.give_back(&[spent]);

        drop(ledgers.take());
        let again = ledgers.take();
        assert_eq!(again.iter().map(|taken| taken.spent.clone()).collect::<Vec<_>>(), [vec![spent]]);

        again.into_iter().for_each(|taken| taken.written(70));
        assert_eq!(ledgers.take().len(), 0);
    }
}
