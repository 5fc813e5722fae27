//! Requests per minute of each administrator: a token bucket per tenant and subject, since two tenants may name their
//! people alike. Calls into plugins have their own rates, in the engine.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bulkhead_model::{Actor, TenantId};
use parking_lot::Mutex;

/// Administrators that are remembered. When all of them are busy, a further one waits like one over its rate.
const ADMINISTRATORS_MAX: usize = 10_000;
/// Tokens are counted in these parts, so that whole numbers refill smoothly.
const PARTS: u64 = 60_000;

pub(crate) struct Rates {
    per_minute: u64,
    /// Requests that may come at once.
    burst: u64,
    buckets: Mutex<HashMap<Administrator, Bucket>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Administrator {
    tenant: Option<TenantId>,
    subject: String,
}

struct Bucket {
    /// Tokens left, in parts.
    parts: u64,
    refilled: Instant,
}

impl Rates {
    /// A tenth of a minute's requests may come at once.
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_minute = u64::from(per_minute);
        Self { per_minute, burst: (per_minute / 10).max(1), buckets: Mutex::default() }
    }

    /// A whole minute's requests may come at once: programs work through lists as fast as they can.
    pub(crate) fn of_programs(per_minute: u32) -> Self {
        let per_minute = u64::from(per_minute);
        Self { per_minute, burst: per_minute.max(1), buckets: Mutex::default() }
    }

    /// Takes one request of `actor` at `now`, or says how long to wait.
    pub(crate) fn take(&self, actor: &Actor, now: Instant) -> Result<(), Duration> {
        let administrator = Administrator { tenant: actor.tenant.clone(), subject: actor.subject.clone() };
        let full = self.burst.saturating_mul(PARTS);
        let mut buckets = self.buckets.lock();
        if buckets.len() >= ADMINISTRATORS_MAX && !buckets.contains_key(&administrator) {
            buckets.retain(|_, bucket| bucket.refill(now, self.per_minute, full) < full);
            if buckets.len() >= ADMINISTRATORS_MAX {
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = buckets.entry(administrator).or_insert(Bucket { parts: full, refilled: now });
        let parts = bucket.refill(now, self.per_minute, full);
        match parts.checked_sub(PARTS) {
            Some(left) => {
                bucket.parts = left;
                Ok(())
            }
            None => Err(Duration::from_millis(PARTS.saturating_sub(parts).div_ceil(self.per_minute.max(1)))),
        }
    }
}

impl Bucket {
    /// One token refills `PARTS` parts in `60_000 / per_minute` milliseconds: `per_minute` parts a millisecond.
    fn refill(&mut self, now: Instant, per_minute: u64, full: u64) -> u64 {
        let passed_ms = u64::try_from(now.saturating_duration_since(self.refilled).as_millis()).unwrap_or(u64::MAX);
        if passed_ms > 0 {
            self.parts = self.parts.saturating_add(passed_ms.saturating_mul(per_minute)).min(full);
            self.refilled = now;
        }
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(subject: &str) -> Actor {
        Actor { subject: subject.to_owned(), ..Actor::system() }
    }

    #[test]
    fn a_burst_is_taken_and_the_rest_waits_for_its_token() {
        let rates = Rates::new(60);
        let (anna, start) = (named("anna"), Instant::now());

        for _ in 0..6 {
            rates.take(&anna, start).unwrap();
        }

        assert_eq!(rates.take(&anna, start), Err(Duration::from_secs(1)));
        assert_eq!(rates.take(&anna, start + Duration::from_millis(400)), Err(Duration::from_millis(600)));
        rates.take(&anna, start + Duration::from_secs(1)).unwrap();
        rates.take(&named("bert"), start).unwrap();
    }

    #[test]
    fn the_same_name_in_another_tenant_is_somebody_else() {
        let rates = Rates::new(1);
        let start = Instant::now();

        for tenant in [None, Some("globex"), Some("initech")] {
            let tenant = tenant.map(|tenant| tenant.parse().unwrap());
            let anna = Actor { tenant, ..named("anna") };
            assert_eq!(rates.take(&anna, start), Ok(()), "{anna:?}");
            assert!(rates.take(&anna, start).is_err(), "{anna:?}");
        }
    }

    #[test]
    fn administrators_are_bounded_and_idle_ones_make_room() {
        let rates = Rates::new(600);
        let start = Instant::now();
        for index in 0..ADMINISTRATORS_MAX {
            rates.take(&named(&index.to_string()), start).unwrap();
        }

        assert!(rates.take(&named("one more"), start).is_err());
        rates.take(&named("one more"), start + Duration::from_secs(1)).unwrap();
        assert!(rates.buckets.lock().len() < ADMINISTRATORS_MAX);
    }
}
