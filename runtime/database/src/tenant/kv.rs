//! One plugin's key-value store in one tenant: checks sizes and names, then asks the engine.
//! Time is a value: `now_ms` in milliseconds since 1970 decides what has expired.

use std::time::Instant;

use super::limits;
use super::sqlite_kv::Put;
use super::store::{PluginStore, statement_deadline};
use super::value::{KvCondition, KvEntry, KvOutcome, KvPage, StorageError, limit_codes};

impl PluginStore {
    /// The entry of `key`.
    pub async fn kv_get(&self, key: &str, now_ms: u64, deadline: Instant) -> Result<Option<KvEntry>, StorageError> {
        let (key, now_ms) = (checked_key(key)?, moment(now_ms));
        let deadline = statement_deadline(deadline);
        self.reader(deadline).await?.finish(deadline, move |connection| connection.kv_get(&key, now_ms)).await
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
        keys.iter().try_for_each(|key| checked_key(key).map(drop))?;
        let deadline = statement_deadline(deadline);
        self.reader(deadline)
            .await?
            .finish(deadline, move |connection| connection.kv_get_many(&keys, moment(now_ms)))
            .await
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
        let put = Put { key: checked_key(key)?, value, ttl_ms, when };
        let deadline = statement_deadline(deadline);
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.kv_set(&put, moment(now_ms))).await
    }

    /// Removes `key` if `when` holds.
    pub async fn kv_delete(
        &self,
        key: &str,
        when: KvCondition,
        now_ms: u64,
        deadline: Instant,
    ) -> Result<KvOutcome, StorageError> {
        let key = checked_key(key)?;
        let deadline = statement_deadline(deadline);
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.kv_delete(&key, when, moment(now_ms))).await
    }

    /// Adds `by` to a decimal integer and answers the sum; an absent one counts as 0. The expiry stays.
    pub async fn kv_increment(&self, key: &str, by: i64, now_ms: u64, deadline: Instant) -> Result<i64, StorageError> {
        let key = checked_key(key)?;
        let deadline = statement_deadline(deadline);
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.kv_increment(&key, by, moment(now_ms))).await
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
        let prefix = if prefix.is_empty() { String::new() } else { checked_key(prefix)? };
        if let Some(after) = &after
            && !checked_key(after)?.starts_with(&prefix)
        {
            return Err(StorageError::Invalid("the token is of another scan".to_owned()));
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, limits::KEYS_PER_REQUEST_MAX);
        let deadline = statement_deadline(deadline);
        let session = self.reader(deadline).await?;
        session
            .finish(deadline, move |connection| connection.kv_scan(&prefix, after.as_deref(), max, moment(now_ms)))
            .await
    }

    /// Removes a batch of expired keys and says how many; 0 means that none is left.
    pub async fn kv_sweep(&self, now_ms: u64, deadline: Instant) -> Result<u32, StorageError> {
        let deadline = statement_deadline(deadline);
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.kv_sweep(moment(now_ms))).await
    }
}

/// A key is 1 to 512 bytes of UTF-8 without NUL.
fn checked_key(key: &str) -> Result<String, StorageError> {
    if key.is_empty() || key.contains('\0') {
        return Err(StorageError::Invalid("a key is text without NUL, not empty".to_owned()));
    }
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(StorageError::Limit(limit_codes::BYTES));
    }
    Ok(key.to_owned())
}

fn moment(now_ms: u64) -> i64 {
    i64::try_from(now_ms).unwrap_or(i64::MAX)
}
