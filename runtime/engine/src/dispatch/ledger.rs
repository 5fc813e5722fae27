//! What a (tenant, plugin) burns in a calendar month, by entry: counted by every call without a lock, bounded at the gate.
//! It stores nothing; the host takes the counts out and writes them down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bulkhead_model::Entry;

/// Calls and fuel of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// How the guest was entered.
    pub entry: Entry,
    /// Calls that ran, whether they ended well or not.
    pub calls: u64,
    /// Fuel units that they burnt.
    pub fuel_units: u64,
}

/// The account of one (tenant, plugin) on this host. It outlives its cells: a new version, or a new configuration, goes on with
/// the month's count.
#[derive(Debug)]
pub struct Ledger {
    entries: [Counts; Entry::ALL.len()],
    /// Fuel units of the month that are written down, those of other hosts included.
    written_units: AtomicU64,
    /// Fuel units that are not yet.
    unwritten_units: AtomicU64,
    made_at: Instant,
    /// When the next month begins, in milliseconds after `made_at`.
    month_ends_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    fuel_units: AtomicU64,
}

impl Ledger {
    /// An empty account; the next month begins at `month_ends_at`.
    pub fn new(month_ends_at: Instant) -> Self {
        let ledger = Self {
            entries: Default::default(),
            written_units: AtomicU64::new(0),
            unwritten_units: AtomicU64::new(0),
            made_at: Instant::now(),
            month_ends_ms: AtomicU64::new(0),
        };
        ledger.begin_month(month_ends_at);
        ledger
    }

    /// Takes out what was counted since the last time; entries without a call are left out. It goes on to count against the
    /// month, until [`Ledger::written`] says what the month's sum is by then.
    pub fn take(&self) -> Vec<Spent> {
        let taken = Entry::ALL.into_iter().zip(&self.entries).filter_map(|(entry, counts)| {
            // Most entries of most accounts have nothing to take: a look costs less than an exchange.
            let calls = counts.calls.load(Ordering::Relaxed);
            (calls > 0).then(|| Spent {
                entry,
                calls: counts.calls.swap(0, Ordering::Acquire),
                fuel_units: counts.fuel_units.swap(0, Ordering::Relaxed),
            })
        });
        taken.collect()
    }

    /// What was taken is written down, and the month's sum is `month_units` with it.
    pub fn written(&self, taken: &[Spent], month_units: u64) {
        self.written_units.store(month_units, Ordering::Relaxed);
        let units: u64 = taken.iter().map(|spent| spent.fuel_units).sum();
        self.unwritten_units.fetch_sub(units, Ordering::Relaxed);
    }

    /// What was taken could not be written down: the next taking has it again.
    pub fn give_back(&self, taken: &[Spent]) {
        for spent in taken {
            if let Some(counts) = self.entries.get(spent.entry.index()) {
                counts.fuel_units.fetch_add(spent.fuel_units, Ordering::Relaxed);
                counts.calls.fetch_add(spent.calls, Ordering::Release);
            }
        }
    }

    /// Nothing of the month that ends at `month_ends_at` is written down yet.
    pub fn begin_month(&self, month_ends_at: Instant) {
        let left = month_ends_at.saturating_duration_since(self.made_at);
        self.month_ends_ms.store(milliseconds(left), Ordering::Relaxed);
        self.written_units.store(0, Ordering::Relaxed);
    }

    /// Fuel units of the running month as far as this host knows.
    pub fn month_units(&self) -> u64 {
        self.written_units.load(Ordering::Relaxed).saturating_add(self.unwritten_units.load(Ordering::Relaxed))
    }

    /// Counts a call that ran.
    pub(crate) fn charge(&self, entry: Entry, units: u64) {
        self.unwritten_units.fetch_add(units, Ordering::Relaxed);
        if let Some(counts) = self.entries.get(entry.index()) {
            counts.fuel_units.fetch_add(units, Ordering::Relaxed);
            // Last: whoever takes this call finds its fuel.
            counts.calls.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether less than `units_max` was burnt this month, or in how many milliseconds the next one begins.
    pub(crate) fn check(&self, units_max: u64, now: Instant) -> Result<(), u64> {
        if self.month_units() < units_max {
            return Ok(());
        }
        let passed = milliseconds(now.saturating_duration_since(self.made_at));
        Err(self.month_ends_ms.load(Ordering::Relaxed).saturating_sub(passed).max(1))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(month: Duration) -> Ledger {
        Ledger::new(Instant::now() + month)
    }

    fn spent(entry: Entry, calls: u64, fuel_units: u64) -> Spent {
        Spent { entry, calls, fuel_units }
    }

    #[test]
    fn what_is_taken_counts_once_and_goes_on_to_bound_the_month() {
        let ledger = ledger(Duration::from_secs(60));
        ledger.charge(Entry::Route, 30);
        ledger.charge(Entry::Route, 5);
        ledger.charge(Entry::Filter, 7);

        let taken = ledger.take();

        assert_eq!(taken, [spent(Entry::Route, 2, 35), spent(Entry::Filter, 1, 7)]);
        assert_eq!(ledger.take(), []);
        assert_eq!(ledger.month_units(), 42);
        ledger.charge(Entry::Route, 1);
        ledger.written(&taken, 1_042);
        assert_eq!(ledger.month_units(), 1_043);
    }

    #[test]
    fn what_could_not_be_written_is_taken_again() {
        let ledger = ledger(Duration::from_secs(60));
        ledger.charge(Entry::Action, 9);

        let taken = ledger.take();
        ledger.give_back(&taken);

        assert_eq!(ledger.month_units(), 9);
        assert_eq!(ledger.take(), [spent(Entry::Action, 1, 9)]);
    }

    #[test]
    fn a_spent_month_refuses_until_the_next_begins() {
        let ledger = ledger(Duration::from_secs(60));
        let now = ledger.made_at;
        ledger.charge(Entry::Route, 99);
        assert_eq!(ledger.check(100, now), Ok(()));

        ledger.charge(Entry::Route, 1);
        let wait_ms = ledger.check(100, now + Duration::from_secs(20)).unwrap_err();
        assert!((39_000..=40_000).contains(&wait_ms), "{wait_ms}");

        let taken = ledger.take();
        ledger.written(&taken, 100);
        ledger.begin_month(now + Duration::from_secs(120));
        assert_eq!(ledger.check(100, now + Duration::from_secs(61)), Ok(()));
    }
}
