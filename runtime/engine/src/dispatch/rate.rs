//! Token buckets, each in one atomic number, without a lock: calls, taken before they run, and fuel, charged when they have.
//! They know nothing of whom they count.

use std::sync::atomic::{AtomicU64, Ordering};

const MINUTE_NS: u64 = 60_000_000_000;

/// Calls per minute with a burst, without a lock.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Time between two calls at the steady rate, in nanoseconds.
    interval_ns: u64,
    /// How far ahead of the steady rate calls may run, in nanoseconds.
    tolerance_ns: u64,
    /// When the bucket is full again, in nanoseconds since the engine's start.
    full_at_ns: AtomicU64,
}

impl Bucket {
    /// A full bucket. Zero of either means one.
    pub(crate) fn new(per_minute: u32, burst: u32) -> Self {
        let interval_ns = MINUTE_NS / u64::from(per_minute.max(1));
        Self {
            interval_ns,
            tolerance_ns: interval_ns.saturating_mul(u64::from(burst.max(1))),
            full_at_ns: AtomicU64::new(0),
        }
    }

    /// Takes one token at `now_ns`, or says in how many milliseconds there is one.
    pub(crate) fn take(&self, now_ns: u64) -> Result<(), u64> {
        let next = |full_at_ns: u64| full_at_ns.max(now_ns).saturating_add(self.interval_ns);
        let limit = now_ns.saturating_add(self.tolerance_ns);
        self.full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
                let next = next(full_at_ns);
                (next <= limit).then_some(next)
            })
            .map(drop)
            .map_err(|full_at_ns| next(full_at_ns).saturating_sub(limit).div_ceil(1_000_000).max(1))
    }
}

/// Fuel per minute. What a call burns is known when it has ended: it is charged then, and the calls after it wait until
/// the debt is paid.
#[derive(Debug)]
pub(crate) struct FuelMeter {
    units_per_minute: u64,
    /// When all that was burnt is paid for, in nanoseconds since the engine's start.
    paid_at_ns: AtomicU64,
}

impl FuelMeter {
    /// A meter that nothing was charged to. A rate of zero means one.
    pub(crate) fn new(units_per_minute: u64) -> Self {
        Self { units_per_minute: units_per_minute.max(1), paid_at_ns: AtomicU64::new(0) }
    }

    /// Whether less than a minute's fuel is unpaid at `now_ns`, or in how many milliseconds.
    pub(crate) fn check(&self, now_ns: u64) -> Result<(), u64> {
        let limit = now_ns.saturating_add(MINUTE_NS);
        match self.paid_at_ns.load(Ordering::Relaxed).saturating_sub(limit) {
            0 => Ok(()),
            over_ns => Err(over_ns.div_ceil(1_000_000)),
        }
    }

    /// Charges what a call burnt that ended at `now_ns`.
    pub(crate) fn charge(&self, units: u64, now_ns: u64) {
        let cost = u128::from(units).saturating_mul(u128::from(MINUTE_NS)) / u128::from(self.units_per_minute);
        let cost_ns = u64::try_from(cost).unwrap_or(u64::MAX);
        let next = |paid_at_ns: u64| paid_at_ns.max(now_ns).saturating_add(cost_ns);
        let _before = self.paid_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| Some(next(paid)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Takes tokens at these seconds; the answers in order.
    fn check(per_minute: u32, burst: u32, taken_at_s: &[u64], wanted: &[Result<(), u64>]) {
        let bucket = Bucket::new(per_minute, burst);
        let found: Vec<_> = taken_at_s.iter().map(|second| bucket.take(second * SECOND_NS)).collect();
        assert_eq!(found, wanted, "{per_minute} per minute, burst {burst}, at {taken_at_s:?}");
    }

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        check(60, 2, &[0, 0, 0], &[Ok(()), Ok(()), Err(1_000)]);
        check(60, 2, &[0, 0, 1, 1], &[Ok(()), Ok(()), Ok(()), Err(1_000)]);
        check(60, 1, &[0, 1, 2, 2], &[Ok(()), Ok(()), Ok(()), Err(1_000)]);
        check(6, 1, &[0, 1], &[Ok(()), Err(9_000)]);
    }

    #[test]
    fn a_rest_fills_the_bucket_and_no_more() {
        check(60, 2, &[0, 0, 100, 100, 100], &[Ok(()), Ok(()), Ok(()), Ok(()), Err(1_000)]);
    }

    #[test]
    fn a_rate_of_zero_is_one() {
        check(0, 0, &[0, 59, 60], &[Ok(()), Err(1_000), Ok(())]);
    }

    #[test]
    fn a_minutes_fuel_passes_at_once_and_more_waits_until_it_is_paid() {
        let meter = FuelMeter::new(60_000);

        meter.charge(60_000, 0);
        assert_eq!(meter.check(0), Ok(()));
        meter.charge(5_000, 0);
        assert_eq!(meter.check(0), Err(5_000));
        assert_eq!(meter.check(4 * SECOND_NS), Err(1_000));
        assert_eq!(meter.check(5 * SECOND_NS), Ok(()));
    }

    #[test]
    fn one_call_cannot_owe_more_than_the_clock_can_hold() {
        let meter = FuelMeter::new(0);

        meter.charge(u64::MAX, 0);

        assert!(meter.check(0).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_of_calls_passes_more_than_the_burst_and_the_rate(
            per_minute in 1_u32..100_000, burst in 1_u32..1_000, gaps_ms in proptest::collection::vec(0_u64..2_000, 1..500),
        ) {
            let bucket = Bucket::new(per_minute, burst);
            let (mut now_ms, mut passed) = (0, 0_u64);
            for gap_ms in gaps_ms {
                now_ms += gap_ms;
                passed += u64::from(bucket.take(now_ms * 1_000_000).is_ok());
            }
            // The interval is rounded down to nanoseconds: a call in a thousand million may come early.
            proptest::prop_assert!(passed <= u64::from(burst) + u64::from(per_minute) * now_ms / 60_000 + 1);
        }

        #[test]
        fn whoever_waits_as_told_is_served(per_minute in 1_u32..100_000, burst in 1_u32..50) {
            let bucket = Bucket::new(per_minute, burst);
            let mut refused_ms = None;
            for _ in 0..=burst {
                refused_ms = bucket.take(0).err();
            }
            let wait_ms = refused_ms.unwrap();
            proptest::prop_assert_eq!(bucket.take(wait_ms * 1_000_000), Ok(()));
        }
    }
}
