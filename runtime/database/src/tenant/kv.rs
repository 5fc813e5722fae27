//! One plugin's key-value store in one tenant: checks sizes and names, then asks the engine.
//! Time is a value: `now_ms` in milliseconds since 1970 decides what has expired.

use std::time::Instant;

use super::limits;
use super::store::PluginStore;
use super::value::{KvCondition, KvEntry, KvOutcome, KvPage, StorageError, limit_codes};

impl PluginStore {
    /// The entry of `key`.
    pub async fn kv_get(&self, key: &str, now_ms: u64, deadline: Instant) -> Result<Option<KvEntry>, StorageError> {
        check_key(key)?;
        self.store.kv_get(key, moment(now_ms), self.statement_deadline(deadline)).await
    }

    /// The entries of `keys` in order, all of one moment.
    pub async fn kv_get_many(
        &self,
        keys: Vec<String>,
        now_ms: u64,
        deadline: Instant,
    ) -> Result<Vec<Option<KvEntry>>, StorageError> {
        if keys.len() > limits::KEYS_PER_REQUEST_MAX {
            return Err(StorageError::Limit(limit_codes::KEYS));
        }
        keys.iter().try_for_each(|key| check_key(key))?;
        self.store.kv_get_many(keys, moment(now_ms), self.statement_deadline(deadline)).await
    }

    /// Writes `value` under a new version if `when` holds; it expires after `ttl_ms`, or never.
    pub async fn kv_set(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        when: KvCondition,
        now_ms: u64,
        deadline: Instant,
    ) -> Result<KvOutcome, StorageError> {
        if value.len() > limits::VALUE_BYTES_MAX {
            return Err(StorageError::Limit(limit_codes::BYTES));
        }
        check_key(key)?;
        let put = Put { key: key.to_owned(), value, ttl_ms, when };
        self.store.kv_set(put, moment(now_ms), self.statement_deadline(deadline)).await
    }

    /// Removes `key` if `when` holds.
    pub async fn kv_delete(
        &self,
        key: &str,
        when: KvCondition,
        now_ms: u64,
        deadline: Instant,
    ) -> Result<KvOutcome, StorageError> {
        check_key(key)?;
        self.store.kv_delete(key, when, moment(now_ms), self.statement_deadline(deadline)).await
    }

    /// Adds `by` to a decimal integer and answers the sum; an absent one counts as 0. The expiry stays.
    pub async fn kv_increment(&self, key: &str, by: i64, now_ms: u64, deadline: Instant) -> Result<i64, StorageError> {
        check_key(key)?;
        self.store.kv_increment(key, by, moment(now_ms), self.statement_deadline(deadline)).await
    }

    /// Up to `max` keys that begin with `prefix`, in byte order. `after` is the `next` of the page before.
    pub async fn kv_scan(
        &self,
        prefix: &str,
        after: Option<String>,
        max: u32,
        now_ms: u64,
        deadline: Instant,
    ) -> Result<KvPage, StorageError> {
        if !prefix.is_empty() {
            check_key(prefix)?;
        }
        if let Some(after) = &after {
            check_key(after)?;
            if !after.starts_with(prefix) {
                return Err(StorageError::Invalid("the token is of another scan".to_owned()));
            }
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, limits::KEYS_PER_REQUEST_MAX);
        self.store.kv_scan(prefix, after, max, moment(now_ms), self.statement_deadline(deadline)).await
    }

    /// Removes a batch of expired keys and says how many; 0 means that none is left.
    pub async fn kv_sweep(&self, now_ms: u64, deadline: Instant) -> Result<u32, StorageError> {
        self.store.kv_sweep(moment(now_ms), self.statement_deadline(deadline)).await
    }
}

/// A key is 1 to 512 bytes of UTF-8 without NUL.
fn check_key(key: &str) -> Result<(), StorageError> {
    if key.is_empty() || key.contains('\0') {
        return Err(StorageError::Invalid("a key is text without NUL, not empty".to_owned()));
    }
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(StorageError::Limit(limit_codes::BYTES));
    }
    Ok(())
}

fn moment(now_ms: u64) -> i64 {
    i64::try_from(now_ms).unwrap_or(i64::MAX)
}

/// A write of the key-value store.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) when: KvCondition,
}

/// Whether `when` holds for what is there.
pub(crate) fn holds(when: KvCondition, current: Option<&KvEntry>) -> bool {
    match when {
        KvCondition::Always => true,
        KvCondition::Absent => current.is_none(),
        KvCondition::Version(version) => current.is_some_and(|entry| entry.version == version),
    }
}

/// The sum of a decimal integer and `by`; an absent one counts as 0.
pub(crate) fn incremented(current: Option<&KvEntry>, by: i64) -> Result<i64, StorageError> {
    let not_a_number = || StorageError::Invalid("the value is not an integer".to_owned());
    let number: i64 = match current {
        None => 0,
        Some(entry) => {
            std::str::from_utf8(&entry.value).ok().and_then(|digits| digits.parse().ok()).ok_or_else(not_a_number)?
        }
    };
    number.checked_add(by).ok_or_else(|| StorageError::Invalid("integer overflow".to_owned()))
}

/// A page of at most `max` of `keys`, which holds one more than that where there is more.
pub(crate) fn page(mut keys: Vec<String>, max: usize) -> KvPage {
    let has_more = keys.len() > max;
    keys.truncate(max);
    let next = keys.last().filter(|_| has_more).cloned();
    KvPage { keys, next }
}

/// The first text behind every text that begins with `prefix`; `None` if there is none.
pub(crate) fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        // The next character in the order of UTF-8 bytes, which is the order of characters; the surrogates'
        // gap is stepped over.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).take(0x801).find_map(char::from_u32);
        if let Some(next) = next {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_that_begin_with_it() {
        let check =
            |prefix: &str, wanted: Option<&str>| assert_eq!(end_of_prefix(prefix).as_deref(), wanted, "{prefix:?}");
        check("", None);
        check("a", Some("b"));
        check("user:", Some("user;"));
        check("\u{d7ff}", Some("\u{e000}"));
        check("a\u{10ffff}", Some("b"));
        check("\u{10ffff}", None);
    }
}
