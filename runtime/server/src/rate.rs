//! Requests per minute of each administrator: a token bucket per subject.
//! Calls into plugins have their own rates, in the engine.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Subjects that are remembered. When all of them are busy, a further one waits like one over its rate.
const SUBJECTS_MAX: usize = 10_000;
/// Tokens are counted in these parts, so that whole numbers refill smoothly.
const PARTS: u64 = 60_000;

pub(crate) struct Rates {
    per_minute: u64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    /// Tokens left, in parts.
    parts: u64,
    refilled: Instant,
}

impl Rates {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: u64::from(per_minute), buckets: Mutex::default() }
    }

    /// Takes one request of `subject` at `now`, or says how long to wait. A tenth of a minute's requests may come at once.
    pub(crate) fn take(&self, subject: &str, now: Instant) -> Result<(), Duration> {
        let full = (self.per_minute / 10).max(1).saturating_mul(PARTS);
        let mut buckets = self.buckets.lock();
        if !buckets.contains_key(subject) {
            if buckets.len() >= SUBJECTS_MAX {
                buckets.retain(|_, bucket| bucket.refill(now, self.per_minute, full) < full);
            }
            if buckets.len() >= SUBJECTS_MAX {
                return Err(Duration::from_secs(1));
            }
            buckets.insert(subject.to_owned(), Bucket { parts: full, refilled: now });
        }
        let Some(bucket) = buckets.get_mut(subject) else {
            return Ok(());
        };
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

    #[test]
    fn a_burst_is_taken_and_the_rest_waits_for_its_token() {
        let rates = Rates::new(60);
        let start = Instant::now();

        for _ in 0..6 {
            rates.take("anna", start).unwrap();
        }

        assert_eq!(rates.take("anna", start), Err(Duration::from_secs(1)));
        assert_eq!(rates.take("anna", start + Duration::from_millis(400)), Err(Duration::from_millis(600)));
        rates.take("anna", start + Duration::from_secs(1)).unwrap();
        rates.take("bert", start).unwrap();
    }

    #[test]
    fn subjects_are_bounded_and_idle_ones_make_room() {
        let rates = Rates::new(600);
        let start = Instant::now();
        for index in 0..SUBJECTS_MAX {
            rates.take(&index.to_string(), start).unwrap();
        }

        assert!(rates.take("one more", start).is_err());
        rates.take("one more", start + Duration::from_secs(1)).unwrap();
        assert!(rates.buckets.lock().len() < SUBJECTS_MAX);
    }
}
