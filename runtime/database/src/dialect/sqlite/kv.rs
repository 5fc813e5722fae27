//! The key-value store inside a plugin's `SQLite` file: the host's own statements on tables that the plugin's SQL
//! cannot see. Blocking. An expired key is absent at once for everything, whenever it is swept.
//! It checks no size; the caller did.

use crate::tenant::limits;
use std::time::Instant;

use super::connection::{Connection, integer, text};
use super::raw::{Bind, Cell, RawStatement};
use super::storage::Store;
use crate::tenant::kv::{Put, end_of_prefix, holds, incremented, page};
use crate::tenant::value::{KvCondition, KvEntry, KvOutcome, KvPage, StorageError, limit_codes};

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

impl Store {
    /// Reads a key.
    pub(crate) async fn kv_get(
        &self,
        key: &str,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<Option<KvEntry>, StorageError> {
        let key = key.to_owned();
        self.reader(deadline).await?.finish(deadline, move |connection| connection.kv_get(&key, now_ms)).await
    }

    /// Reads keys in order, all of one moment.
    pub(crate) async fn kv_get_many(
        &self,
        keys: Vec<String>,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<Vec<Option<KvEntry>>, StorageError> {
        self.reader(deadline).await?.finish(deadline, move |connection| connection.kv_get_many(&keys, now_ms)).await
    }

    /// Writes a key, if its condition holds.
    pub(crate) async fn kv_set(&self, put: Put, now_ms: i64, deadline: Instant) -> Result<KvOutcome, StorageError> {
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.kv_set(&put, now_ms)).await
    }

    /// Removes a key, if the condition holds.
    pub(crate) async fn kv_delete(
        &self,
        key: &str,
        when: KvCondition,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<KvOutcome, StorageError> {
        let key = key.to_owned();
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.kv_delete(&key, when, now_ms)).await
    }

    /// Adds to a decimal integer.
    pub(crate) async fn kv_increment(
        &self,
        key: &str,
        by: i64,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<i64, StorageError> {
        let key = key.to_owned();
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.kv_increment(&key, by, now_ms)).await
    }

    /// Up to `max` keys of a prefix behind `after`, in byte order.
    pub(crate) async fn kv_scan(
        &self,
        prefix: &str,
        after: Option<String>,
        max: usize,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<KvPage, StorageError> {
        let prefix = prefix.to_owned();
        let session = self.reader(deadline).await?;
        session.finish(deadline, move |connection| connection.kv_scan(&prefix, after.as_deref(), max, now_ms)).await
    }

    /// Removes a batch of expired keys and says how many.
    pub(crate) async fn kv_sweep(&self, now_ms: i64, deadline: Instant) -> Result<u32, StorageError> {
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.kv_sweep(now_ms)).await
    }
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
        self.in_snapshot(|connection| {
            let mut bytes = 0;
            let mut within = |found: Option<KvEntry>| {
                bytes += found.as_ref().map_or(0, |entry| entry.value.len());
                if bytes > limits::RESULT_BYTES_MAX { Err(StorageError::Limit(limit_codes::BYTES)) } else { Ok(found) }
            };
            keys.iter().map(|key| connection.kv_get(key, now_ms).and_then(&mut within)).collect()
        })
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
            let sum = incremented(current.as_ref(), by)?;
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
        Ok(page(keys, max))
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
