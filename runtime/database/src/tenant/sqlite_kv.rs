//! The key-value store inside a plugin's `SQLite` file: the host's own statements on tables that the plugin's SQL
//! cannot see. Blocking. An expired key is absent at once for everything, whenever it is swept.
//! It checks no size; the caller did.

use super::limits;
use super::sqlite::{Connection, integer, text};
use super::sqlite_guard::{Bind, Cell, RawStatement};
use super::value::{KvCondition, KvEntry, KvOutcome, KvPage, StorageError, limit_codes};

const GET: &str =
    "SELECT value, version, expires_at FROM __kv WHERE key = $1 AND (expires_at IS NULL OR expires_at > $2)";
const PUT: &str = "INSERT INTO __kv (key, value, version, expires_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at";
const IS_STORED: &str = "SELECT count(*) FROM __kv WHERE key = $1";
const DELETE: &str = "DELETE FROM __kv WHERE key = $1";
const NEXT_VERSION: &str = "UPDATE __kv_state SET last_version = last_version + 1 RETURNING last_version";
const COUNT_KEYS: &str = "UPDATE __kv_state SET key_count = key_count + $1";
const KEY_COUNT: &str = "SELECT key_count FROM __kv_state";
const SWEEP: &str = "DELETE FROM __kv WHERE key IN (SELECT key FROM __kv WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2) RETURNING 1";
const SCAN: &str = "SELECT key FROM __kv WHERE key >= $1 AND key > $2 AND ($3 IS NULL OR key < $3) \
     AND (expires_at IS NULL OR expires_at > $4) ORDER BY key LIMIT $5";

/// A write of the key-value store.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) ttl_ms: Option<u64>,
    pub(super) when: KvCondition,
}

impl Connection {
    /// The entry of `key`, unless it expired before `now_ms`.
    pub(super) fn kv_get(&mut self, key: &str, now_ms: i64) -> Result<Option<KvEntry>, StorageError> {
        let mut found = None;
        self.host_rows(GET, &[Bind::Text(key), Bind::Integer(now_ms)], |row| {
            found = Some(entry(row, now_ms));
            Ok(())
        })?;
        Ok(found)
    }

    /// The entries of `keys` in order, all of one moment.
    pub(super) fn kv_get_many(&mut self, keys: &[String], now_ms: i64) -> Result<Vec<Option<KvEntry>>, StorageError> {
        self.host("BEGIN", &[])?;
        let mut bytes = 0;
        let found = keys
            .iter()
            .map(|key| {
                let found = self.kv_get(key, now_ms)?;
                bytes += found.as_ref().map_or(0, |entry| entry.value.len());
                if bytes > limits::RESULT_BYTES_MAX { Err(StorageError::Limit(limit_codes::BYTES)) } else { Ok(found) }
            })
            .collect();
        self.rollback()?;
        found
    }

    /// Writes a value under a new version, if the condition holds.
    pub(super) fn kv_set(&mut self, put: &Put, now_ms: i64) -> Result<KvOutcome, StorageError> {
        self.in_transaction(|connection| {
            let current = connection.kv_get(&put.key, now_ms)?;
            if !holds(put.when, current.as_ref()) {
                return Ok(KvOutcome::Stale(current));
            }
            let expires_at = put.ttl_ms.map(|ttl_ms| now_ms.saturating_add_unsigned(ttl_ms));
            connection.put(&put.key, &put.value, expires_at, now_ms).map(KvOutcome::Done)
        })
    }

    /// Removes a key, if the condition holds.
    pub(super) fn kv_delete(&mut self, key: &str, when: KvCondition, now_ms: i64) -> Result<KvOutcome, StorageError> {
        self.in_transaction(|connection| {
            let current = connection.kv_get(key, now_ms)?;
            if !holds(when, current.as_ref()) {
                return Ok(KvOutcome::Stale(current));
            }
            let version = connection.next_version()?;
            if connection.is_stored(key)? {
                connection.host(DELETE, &[Bind::Text(key)])?;
                connection.host(COUNT_KEYS, &[Bind::Integer(-1)])?;
            }
            Ok(KvOutcome::Done(version))
        })
    }

    /// Adds to a value that is a decimal integer; an absent one counts as 0. The expiry stays.
    pub(super) fn kv_increment(&mut self, key: &str, by: i64, now_ms: i64) -> Result<i64, StorageError> {
        self.in_transaction(|connection| {
            let current = connection.kv_get(key, now_ms)?;
            let number = match &current {
                None => 0,
                Some(entry) => {
                    let digits = std::str::from_utf8(&entry.value).ok();
                    digits
                        .and_then(|digits| digits.parse().ok())
                        .ok_or_else(|| StorageError::Invalid("the value is not an integer".to_owned()))?
                }
            };
            let sum: i64 =
                i64::checked_add(number, by).ok_or_else(|| StorageError::Invalid("integer overflow".to_owned()))?;
            let expires_at =
                current.and_then(|entry| entry.ttl_ms).map(|ttl_ms| now_ms.saturating_add_unsigned(ttl_ms));
            connection.put(key, sum.to_string().as_bytes(), expires_at, now_ms)?;
            Ok(sum)
        })
    }

    /// Up to `max` keys that begin with `prefix`, in byte order behind `after`.
    pub(super) fn kv_scan(
        &mut self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
        now_ms: i64,
    ) -> Result<KvPage, StorageError> {
        // A key is never empty, so that the empty text is before every key.
        let after = Bind::Text(after.unwrap_or_default());
        let end = end_of_prefix(prefix);
        let end = end.as_deref().map_or(Bind::Null, Bind::Text);
        let limit = Bind::Integer(i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1));
        let mut keys = Vec::new();
        self.host_rows(SCAN, &[Bind::Text(prefix), after, end, Bind::Integer(now_ms), limit], |row| {
            keys.push(text(row.cell(0)));
            Ok(())
        })?;
        let has_more = keys.len() > max;
        keys.truncate(max);
        let next = keys.last().filter(|_| has_more).cloned();
        Ok(KvPage { keys, next })
    }

    /// Removes up to a batch of expired keys and says how many.
    pub(super) fn kv_sweep(&mut self, now_ms: i64) -> Result<u32, StorageError> {
        self.in_transaction(|connection| connection.sweep(now_ms))
    }

    fn sweep(&mut self, now_ms: i64) -> Result<u32, StorageError> {
        let mut swept = 0_u32;
        self.host_rows(SWEEP, &[Bind::Integer(now_ms), Bind::Integer(i64::from(limits::SWEEP_KEYS_MAX))], |_| {
            swept = swept.saturating_add(1);
            Ok(())
        })?;
        if swept > 0 {
            self.host(COUNT_KEYS, &[Bind::Integer(-i64::from(swept))])?;
        }
        Ok(swept)
    }

    fn put(&mut self, key: &str, value: &[u8], expires_at: Option<i64>, now_ms: i64) -> Result<u64, StorageError> {
        if !self.is_stored(key)? {
            if self.key_count()? >= limits::KEYS_MAX && self.sweep(now_ms)? == 0 {
                return Err(StorageError::Limit(limit_codes::KEYS));
            }
            self.host(COUNT_KEYS, &[Bind::Integer(1)])?;
        }
        let version = self.next_version()?;
        let expires_at = expires_at.map_or(Bind::Null, Bind::Integer);
        let stored = Bind::Integer(i64::try_from(version).unwrap_or(i64::MAX));
        self.host(PUT, &[Bind::Text(key), Bind::Blob(value), stored, expires_at])?;
        Ok(version)
    }

    fn is_stored(&mut self, key: &str) -> Result<bool, StorageError> {
        let mut is_stored = false;
        self.host_rows(IS_STORED, &[Bind::Text(key)], |row| {
            is_stored = integer(row.cell(0)) > 0;
            Ok(())
        })?;
        Ok(is_stored)
    }

    fn key_count(&mut self) -> Result<u64, StorageError> {
        self.host_number(KEY_COUNT).map(|count| u64::try_from(count).unwrap_or(0))
    }

    fn next_version(&mut self) -> Result<u64, StorageError> {
        self.host_number(NEXT_VERSION).map(|version| u64::try_from(version).unwrap_or(0))
    }
}

fn holds(when: KvCondition, current: Option<&KvEntry>) -> bool {
    match when {
        KvCondition::Always => true,
        KvCondition::Absent => current.is_none(),
        KvCondition::Version(version) => current.is_some_and(|entry| entry.version == version),
    }
}

fn entry(row: &RawStatement, now_ms: i64) -> KvEntry {
    let value = match row.cell(0) {
        Cell::Blob(bytes) | Cell::Text(bytes) => bytes.to_vec(),
        Cell::Null | Cell::Integer(_) | Cell::Real(_) => Vec::new(),
    };
    let ttl_ms = match row.cell(2) {
        Cell::Integer(expires_at) => u64::try_from(expires_at.saturating_sub(now_ms)).ok(),
        Cell::Null | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => None,
    };
    KvEntry { value, version: u64::try_from(integer(row.cell(1))).unwrap_or(0), ttl_ms }
}

/// The first text behind every text that begins with `prefix`; `None` if there is none.
fn end_of_prefix(prefix: &str) -> Option<String> {
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
