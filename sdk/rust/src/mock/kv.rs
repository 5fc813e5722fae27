//! The mock of `kv`: an ordered map with versions and expiry, by the mock's clock.
//! It has no quota; keys and values are as large as a test makes them.

use std::collections::BTreeMap;

/// Keys and values of the one tenant and plugin.
#[derive(Debug, Default)]
pub(super) struct Store {
    entries: BTreeMap<String, Stored>,
    last_version: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    value: Vec<u8>,
    version: u64,
    expires_us: Option<i64>,
}

/// `bulkhead:plugin/kv`.
pub(crate) mod imports {
    use std::ops::Bound;

    use super::{Store, Stored};
    use crate::imports::storage::StorageError;
    use crate::kv::{Condition, Entry, Outcome, Page};
    use crate::mock::with_state;

    pub(crate) fn get(key: &str) -> Result<Option<Entry>, StorageError> {
        with_store(|store, now_us| Ok(store.get(key, now_us)))
    }

    pub(crate) fn get_many(keys: &[String]) -> Result<Vec<Option<Entry>>, StorageError> {
        with_store(|store, now_us| Ok(keys.iter().map(|key| store.get(key, now_us)).collect()))
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl_ms: Option<u64>, when: Condition) -> Result<Outcome, StorageError> {
        let ttl_us = ttl_ms.map(|ttl_ms| i64::try_from(ttl_ms).unwrap_or(i64::MAX).saturating_mul(1_000));
        with_store(|store, now_us| {
            let expires_us = ttl_us.map(|ttl_us| now_us.saturating_add(ttl_us));
            Ok(store.change(key, when, now_us, |store, version| {
                let stored = Stored { value: value.to_vec(), version, expires_us };
                store.entries.insert(key.to_owned(), stored);
            }))
        })
    }

    pub(crate) fn delete(key: &str, when: Condition) -> Result<Outcome, StorageError> {
        with_store(|store, now_us| {
            Ok(store.change(key, when, now_us, |store, _| {
                store.entries.remove(key);
            }))
        })
    }

    pub(crate) fn increment(key: &str, by: i64) -> Result<i64, StorageError> {
        let not_a_counter = || StorageError::Invalid(format!("`{key}` is not a counter"));
        with_store(|store, now_us| {
            let current = store.alive(key, now_us);
            let expires_us = current.and_then(|stored| stored.expires_us);
            let before = current.map_or(Ok(0), |stored| {
                let digits = std::str::from_utf8(&stored.value).ok();
                digits.and_then(|digits| digits.parse::<i64>().ok()).ok_or_else(not_a_counter)
            })?;
            let sum = before.checked_add(by).ok_or_else(not_a_counter)?;
            store.change(key, Condition::Always, now_us, |store, version| {
                let value = sum.to_string().into_bytes();
                let stored = Stored { value, version, expires_us };
                store.entries.insert(key.to_owned(), stored);
            });
            Ok(sum)
        })
    }

    pub(crate) fn scan(prefix: &str, after: Option<&str>, max: u32) -> Result<Page, StorageError> {
        if after.is_some_and(|after| !after.starts_with(prefix)) {
            return Err(StorageError::Invalid("the token is of another prefix".to_owned()));
        }
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        with_store(|store, now_us| {
            let mut keys = store
                .entries
                .range::<str, _>((start, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .filter(|(_, stored)| stored.is_alive(now_us))
                .map(|(key, _)| key.clone());
            let page: Vec<String> = keys.by_ref().take(max).collect();
            let next = keys.next().and_then(|_| page.last().cloned());
            Ok(Page { keys: page, next })
        })
    }

    fn with_store<T>(work: impl FnOnce(&mut Store, i64) -> T) -> T {
        with_state(|state| work(&mut state.kv, state.now_us))
    }

    impl Store {
        fn alive(&self, key: &str, now_us: i64) -> Option<&Stored> {
            self.entries.get(key).filter(|stored| stored.is_alive(now_us))
        }

        fn get(&self, key: &str, now_us: i64) -> Option<Entry> {
            let stored = self.alive(key, now_us)?;
            let left_us = stored.expires_us.map(|expires_us| expires_us.saturating_sub(now_us));
            let ttl_ms = left_us.and_then(|left_us| u64::try_from(left_us / 1_000).ok());
            Some(Entry { value: stored.value.clone(), version: stored.version, ttl_ms })
        }

        /// Makes a change with a version that was never used, if the condition holds.
        fn change(&mut self, key: &str, when: Condition, now_us: i64, change: impl FnOnce(&mut Self, u64)) -> Outcome {
            let current = self.get(key, now_us);
            let version = current.as_ref().map(|entry| entry.version);
            let is_met = match when {
                Condition::Always => true,
                Condition::Absent => version.is_none(),
                Condition::Version(expected) => version == Some(expected),
            };
            if !is_met {
                return Outcome::Stale(current);
            }
            self.last_version += 1;
            change(self, self.last_version);
            Outcome::Done(self.last_version)
        }
    }

    impl Stored {
        fn is_alive(&self, now_us: i64) -> bool {
            self.expires_us.is_none_or(|expires_us| now_us < expires_us)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::StorageError;
    use crate::kv::{self, Outcome};
    use crate::mock::Host;

    #[test]
    fn a_write_against_an_old_version_is_stale() {
        Host::new().run(|| {
            let Ok(Outcome::Done(first)) = kv::compare_and_set("k", None, b"1") else { panic!() };
            assert!(matches!(kv::compare_and_set("k", None, b"2"), Ok(Outcome::Stale(Some(_)))));
            let Ok(Outcome::Done(second)) = kv::compare_and_set("k", Some(first), b"2") else { panic!() };
            assert!(matches!(kv::compare_and_set("k", Some(first), b"3"), Ok(Outcome::Stale(Some(_)))));
            assert!(matches!(kv::delete_version("k", first), Ok(Outcome::Stale(Some(_)))));
            assert!(matches!(kv::delete_version("k", second), Ok(Outcome::Done(_))));
            assert_eq!(kv::get("k"), Ok(None));
        });
    }

    #[test]
    fn a_version_is_not_used_again_after_a_delete() {
        Host::new().run(|| {
            let first = kv::set("k", b"1").unwrap();
            kv::delete("k").unwrap();

            assert!(kv::set("k", b"1").unwrap() > first);
        });
    }

    #[test]
    fn a_key_is_absent_when_its_time_is_over() {
        let host = Host::new().with_now_us(1_000_000);
        host.run(|| kv::set_for("k", b"1", 500)).unwrap();

        assert_eq!(host.run(|| kv::entry("k")).unwrap().and_then(|entry| entry.ttl_ms), Some(500));
        let later = host.with_now_us(1_500_000);
        assert_eq!(later.run(|| kv::get("k")), Ok(None));
        assert_eq!(later.run(|| kv::scan("", None, 10)).unwrap().keys, [""; 0]);
    }

    #[test]
    fn pages_of_a_scan_join_without_a_gap() {
        Host::new().run(|| {
            for key in ["a", "b/1", "b/2", "b/3", "c"] {
                kv::set(key, b"").unwrap();
            }

            let first = kv::scan("b/", None, 2).unwrap();
            let second = kv::scan("b/", first.next.as_deref(), 2).unwrap();

            assert_eq!(
                (first.keys, second.keys, second.next),
                (vec!["b/1".to_owned(), "b/2".to_owned()], vec!["b/3".to_owned()], None)
            );
            assert!(matches!(kv::scan("b/", Some("c"), 2), Err(StorageError::Invalid(_))));
        });
    }

    #[test]
    fn a_counter_counts_and_text_is_no_counter() {
        Host::new().run(|| {
            assert_eq!(kv::increment("k", 2), Ok(2));
            assert_eq!(kv::increment("k", -5), Ok(-3));
            assert!(matches!(kv::increment("k", i64::MIN), Err(StorageError::Invalid(_))));
            kv::set("k", b"three").unwrap();
            assert!(matches!(kv::increment("k", 1), Err(StorageError::Invalid(_))));
        });
    }

    #[test]
    fn a_counter_keeps_its_time() {
        let host = Host::new().with_now_us(1_000_000);
        host.run(|| {
            kv::set_for("k", b"1", 500).unwrap();
            assert_eq!(kv::increment("k", 1), Ok(2));
        });

        assert_eq!(host.with_now_us(1_500_000).run(|| kv::counter("k")), Ok(0));
    }

    #[test]
    fn an_update_starts_from_what_is_there() {
        Host::new().run(|| {
            let add = |before: Option<u32>| before.unwrap_or(10) + 1;

            assert_eq!(kv::update_json("k", add), Ok(11));
            assert_eq!(kv::update_json("k", add), Ok(12));
            kv::set("k", b"{").unwrap();
            assert!(matches!(kv::update_json("k", add), Err(StorageError::Decode { .. })));
        });
    }
}
