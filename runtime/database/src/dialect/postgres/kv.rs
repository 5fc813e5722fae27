//! The key-value store in tables of the host, whose connections run no plugin SQL. Every write takes the pair's totals
//! first: versions rise, counts and bytes are exact, and two writers of a pair never meet. An expired key is absent at once.
//! It checks no size of a key or value; the caller did.

use std::time::Instant;

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::answer::Failure;
use super::connections::Lease;
use super::names::Login;
use super::scope::Keys;
use super::session::{is_of_answer, send, within};
use super::storage::Store;
use crate::tenant::kv::{Put, end_of_prefix, holds, incremented, page};
use crate::tenant::limits;
use crate::tenant::ongoing::Loan;
use crate::tenant::value::{KvCondition, KvEntry, KvOutcome, KvPage, StorageError, limit_codes};

/// Bytes that a key takes beside its own and its value's, about.
const ROW_BYTES: i64 = 100;

const GET: &str = "SELECT key, value, version, expires_at FROM storage_keys \
     WHERE tenant_id = $1 AND plugin_id = $2 AND key = $3 AND (expires_at IS NULL OR expires_at > $4)";
const GET_MANY: &str = "SELECT key, value, version, expires_at FROM storage_keys \
     WHERE tenant_id = $1 AND plugin_id = $2 AND key = ANY ($3) AND (expires_at IS NULL OR expires_at > $4)";
const SCAN: &str = "SELECT key FROM storage_keys WHERE tenant_id = $1 AND plugin_id = $2 AND key >= $3 AND key > $4 \
     AND ($5::text IS NULL OR key < $5) AND (expires_at IS NULL OR expires_at > $6) ORDER BY key LIMIT $7";
const TAKE_TOTALS: &str = "INSERT INTO storage_key_totals (tenant_id, plugin_id, last_version, key_count, bytes) \
     VALUES ($1, $2, 1, 0, 0) ON CONFLICT (tenant_id, plugin_id) DO UPDATE \
     SET last_version = storage_key_totals.last_version + 1 RETURNING last_version, key_count, bytes";
const STORED: &str = "SELECT key, value, version, expires_at FROM storage_keys \
     WHERE tenant_id = $1 AND plugin_id = $2 AND key = $3";
const PUT: &str = "WITH put AS (INSERT INTO storage_keys (tenant_id, plugin_id, key, value, version, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, plugin_id, key) DO UPDATE \
     SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at) \
     UPDATE storage_key_totals SET key_count = key_count + $7, bytes = bytes + $8 WHERE tenant_id = $1 AND plugin_id = $2";
const DELETE: &str = "WITH gone AS (DELETE FROM storage_keys WHERE tenant_id = $1 AND plugin_id = $2 AND key = $3) \
     UPDATE storage_key_totals SET key_count = key_count - 1, bytes = bytes - $4 WHERE tenant_id = $1 AND plugin_id = $2";
const SWEEP: &str = "WITH gone AS (DELETE FROM storage_keys WHERE tenant_id = $1 AND plugin_id = $2 AND key IN \
     (SELECT key FROM storage_keys WHERE tenant_id = $1 AND plugin_id = $2 AND expires_at <= $3 ORDER BY expires_at LIMIT $4) \
     RETURNING 2 * octet_length(key) + octet_length(value) + $5 AS bytes), \
     sums AS (SELECT count(*) AS keys, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone) \
     UPDATE storage_key_totals SET key_count = key_count - sums.keys, bytes = storage_key_totals.bytes - sums.bytes FROM sums \
     WHERE tenant_id = $1 AND plugin_id = $2 RETURNING sums.keys, storage_key_totals.bytes";

/// The totals of a pair, locked, with the version that this write takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    version: i64,
    key_count: u64,
    /// Of keys and of blobs.
    pub(super) bytes: u64,
}

/// What is stored under a key, expired or not.
#[derive(Debug)]
struct Stored {
    bytes: i64,
    /// `None` once it has expired.
    entry: Option<KvEntry>,
}

impl Store {
    /// Reads a key.
    pub(crate) async fn kv_get(
        &self,
        key: &str,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<Option<KvEntry>, StorageError> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        self.read(deadline, async |connection| {
            let get = sqlx::query(GET).bind(tenant).bind(plugin).bind(key).bind(now_ms);
            let row = get.fetch_optional(connection).await?;
            Ok(row.map(|row| entry(&row, now_ms)).transpose()?)
        })
        .await
    }

    /// Reads keys in order, all of one moment.
    pub(crate) async fn kv_get_many(
        &self,
        keys: Vec<String>,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<Vec<Option<KvEntry>>, StorageError> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        self.read(deadline, async |connection| {
            let mut found = std::collections::HashMap::new();
            let mut rows = sqlx::query(GET_MANY).bind(tenant).bind(plugin).bind(&keys).bind(now_ms).fetch(connection);
            let mut bytes = 0_usize;
            while let Some(row) = rows.try_next().await? {
                let key: String = row.try_get(0)?;
                let entry = entry(&row, now_ms)?;
                let asked = keys.iter().filter(|asked| **asked == key).count();
                bytes = bytes.saturating_add(entry.value.len().saturating_mul(asked));
                if bytes > limits::RESULT_BYTES_MAX {
                    return Err(Failure::Broken(StorageError::Limit(limit_codes::BYTES)));
                }
                found.insert(key, entry);
            }
            Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
        })
        .await
    }

    /// Writes a key, if its condition holds.
    pub(crate) async fn kv_set(&self, put: Put, now_ms: i64, deadline: Instant) -> Result<KvOutcome, StorageError> {
        self.write(deadline, async |lease, totals| {
            let stored = self.stored(lease, &put.key, now_ms).await?;
            let current = stored.as_ref().and_then(|stored| stored.entry.clone());
            if !holds(put.when, current.as_ref()) {
                return Ok(End::Undone(KvOutcome::Stale(current)));
            }
            let expires_at = put.ttl_ms.map(|ttl_ms| now_ms.saturating_add_unsigned(ttl_ms));
            self.put(lease, totals, stored, (&put.key, &put.value, expires_at), now_ms).await?;
            Ok(End::Done(KvOutcome::Done(version(totals.version))))
        })
        .await
    }

    /// Removes a key, if the condition holds.
    pub(crate) async fn kv_delete(
        &self,
        key: &str,
        when: KvCondition,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<KvOutcome, StorageError> {
        self.write(deadline, async |lease, totals| {
            let stored = self.stored(lease, key, now_ms).await?;
            let current = stored.as_ref().and_then(|stored| stored.entry.clone());
            if !holds(when, current.as_ref()) {
                return Ok(End::Undone(KvOutcome::Stale(current)));
            }
            if let Some(stored) = stored {
                let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
                let delete = sqlx::query(DELETE).bind(tenant).bind(plugin).bind(key).bind(stored.bytes);
                delete.execute(lease.connection().map_err(Failure::Broken)?).await?;
            }
            Ok(End::Done(KvOutcome::Done(version(totals.version))))
        })
        .await
    }

    /// Adds to a decimal integer.
    pub(crate) async fn kv_increment(
        &self,
        key: &str,
        by: i64,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<i64, StorageError> {
        self.write(deadline, async |lease, totals| {
            let stored = self.stored(lease, key, now_ms).await?;
            let current = stored.as_ref().and_then(|stored| stored.entry.as_ref());
            let sum = incremented(current, by).map_err(Failure::Failed)?;
            let ttl_ms = current.and_then(|entry| entry.ttl_ms);
            let expires_at = ttl_ms.map(|ttl_ms| now_ms.saturating_add_unsigned(ttl_ms));
            self.put(lease, totals, stored, (key, sum.to_string().as_bytes(), expires_at), now_ms).await?;
            Ok(End::Done(sum))
        })
        .await
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
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        self.read(deadline, async |connection| {
            let scan = sqlx::query_scalar(SCAN)
                .bind(tenant)
                .bind(plugin)
                .bind(prefix)
                // A key is never empty, so that the empty text is before every key.
                .bind(after.unwrap_or_default())
                .bind(end_of_prefix(prefix))
                .bind(now_ms)
                .bind(i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1));
            Ok(page(scan.fetch_all(connection).await?, max))
        })
        .await
    }

    /// Removes a batch of expired keys and says how many.
    pub(crate) async fn kv_sweep(&self, now_ms: i64, deadline: Instant) -> Result<u32, StorageError> {
        self.write(deadline, async |lease, _| self.sweep(lease, now_ms).await.map(|(keys, _)| End::Done(keys))).await
    }

    /// The tables of keys and blobs as one moment shows them.
    pub(super) async fn read<T>(
        &self,
        deadline: Instant,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Failure>,
    ) -> Result<T, StorageError> {
        let scoped = match &self.scope {
            Some(scope) => scope.keys_to_read(deadline).await?.map(Unit::of_scope),
            None => None,
        };
        let mut unit = match scoped {
            Some(unit) => unit,
            None => Unit::Own(self.server.host.lease(Login::Owner, deadline).await?),
        };
        let answer = match unit.lease().connection() {
            Ok(connection) => within(deadline, work(connection)).await,
            Err(error) => Err(Failure::Broken(error)),
        };
        match answer {
            Ok(answer) => {
                unit.end_read(deadline).await?;
                Ok(answer)
            }
            Err(Failure::Broken(error)) if !unit.outlives(&error) => Err(error),
            Err(failure) => {
                unit.end_read(deadline).await?;
                Err(failure.into_answer())
            }
        }
    }

    /// Runs `work` in a transaction that holds the pair's totals.
    pub(super) async fn write<T>(
        &self,
        deadline: Instant,
        work: impl AsyncFnOnce(&mut Lease, Totals) -> Result<End<T>, Failure>,
    ) -> Result<T, StorageError> {
        let mut unit = match &self.scope {
            Some(scope) => Unit::of_scope(scope.keys_to_write(deadline).await?),
            None => {
                let mut lease = self.server.host.lease(Login::Owner, deadline).await?;
                within(deadline, send(&mut lease, "BEGIN")).await.map_err(Failure::into_answer)?;
                Unit::Own(lease)
            }
        };
        let done = async {
            let totals = self.take_totals(unit.lease()).await?;
            work(unit.lease(), totals).await
        };
        match within(deadline, done).await {
            Ok(End::Done(answer)) => unit.end(true, deadline).await.map(|()| answer),
            Ok(End::Undone(answer)) => unit.end(false, deadline).await.map(|()| answer),
            Err(Failure::Broken(error)) if !unit.outlives(&error) => Err(error),
            Err(failure) => {
                unit.end(false, deadline).await?;
                Err(failure.into_answer())
            }
        }
    }

    async fn take_totals(&self, lease: &mut Lease) -> Result<Totals, Failure> {
        let connection = lease.connection().map_err(Failure::Broken)?;
        let take = sqlx::query(TAKE_TOTALS).bind(self.pair.tenant.as_str()).bind(self.pair.plugin.as_str());
        let row = take.fetch_one(connection).await?;
        Ok(Totals {
            version: row.try_get(0)?,
            key_count: u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0),
            bytes: u64::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0),
        })
    }

    async fn stored(&self, lease: &mut Lease, key: &str, now_ms: i64) -> Result<Option<Stored>, Failure> {
        let connection = lease.connection().map_err(Failure::Broken)?;
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        let row = sqlx::query(STORED).bind(tenant).bind(plugin).bind(key).fetch_optional(connection).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let entry = entry(&row, now_ms)?;
        let expires_at: Option<i64> = row.try_get(3)?;
        let bytes = stored_bytes(key, entry.value.len());
        Ok(Some(Stored { bytes, entry: expires_at.is_none_or(|at| at > now_ms).then_some(entry) }))
    }

    async fn put(
        &self,
        lease: &mut Lease,
        mut totals: Totals,
        stored: Option<Stored>,
        (key, value, expires_at): (&str, &[u8], Option<i64>),
        now_ms: i64,
    ) -> Result<(), Failure> {
        if stored.is_none() && totals.key_count >= limits::KEYS_MAX {
            let (swept, bytes) = self.sweep(lease, now_ms).await?;
            if swept == 0 {
                return Err(Failure::Failed(StorageError::Limit(limit_codes::KEYS)));
            }
            totals.bytes = bytes;
        }
        let added = stored_bytes(key, value.len()) - stored.as_ref().map_or(0, |stored| stored.bytes);
        if added > 0 {
            let keys = totals.bytes.saturating_add_signed(added);
            let tables = self.table_bytes(lease).await?;
            if keys.saturating_add(tables) > self.storage_bytes_max {
                return Err(Failure::Failed(StorageError::Limit(limit_codes::QUOTA)));
            }
        }
        let connection = lease.connection().map_err(Failure::Broken)?;
        sqlx::query(PUT)
            .bind(self.pair.tenant.as_str())
            .bind(self.pair.plugin.as_str())
            .bind(key)
            .bind(value)
            .bind(totals.version)
            .bind(expires_at)
            .bind(i64::from(stored.is_none()))
            .bind(added)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Removes a batch of expired keys; answers how many, and the bytes of those that are left.
    async fn sweep(&self, lease: &mut Lease, now_ms: i64) -> Result<(u32, u64), Failure> {
        let connection = lease.connection().map_err(Failure::Broken)?;
        let row = sqlx::query(SWEEP)
            .bind(self.pair.tenant.as_str())
            .bind(self.pair.plugin.as_str())
            .bind(now_ms)
            .bind(i64::from(limits::SWEEP_KEYS_MAX))
            .bind(ROW_BYTES)
            .fetch_one(connection)
            .await?;
        let keys = u32::try_from(row.try_get::<i64, _>(0)?).unwrap_or(u32::MAX);
        Ok((keys, u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0)))
    }
}

/// A piece of work on the tables of keys and blobs. Dropping it undoes it, with the whole transaction where it is a scope's.
enum Unit {
    /// On a connection of its own.
    Own(Lease),
    /// A savepoint in the transaction of a scope.
    Scopes(Keys, Loan<Keys>),
}

impl Unit {
    fn of_scope((loan, keys): (Loan<Keys>, Keys)) -> Self {
        Self::Scopes(keys, loan)
    }

    fn lease(&mut self) -> &mut Lease {
        match self {
            Self::Own(lease) => lease,
            Self::Scopes(keys, _) => &mut keys.lease,
        }
    }

    /// Whether the connection is of use after an error in the middle of an answer: in a scope the rest is read away.
    fn outlives(&self, error: &StorageError) -> bool {
        matches!(self, Self::Scopes(..)) && is_of_answer(error)
    }

    /// Ends a read.
    async fn end_read(self, deadline: Instant) -> Result<(), StorageError> {
        match self {
            Self::Own(lease) => {
                lease.put_back();
                Ok(())
            }
            Self::Scopes(..) => self.end(false, deadline).await,
        }
    }

    /// Ends a write, which is done or undone.
    async fn end(self, is_done: bool, deadline: Instant) -> Result<(), StorageError> {
        match self {
            Self::Own(mut lease) => {
                let end = if is_done { "COMMIT" } else { "ROLLBACK" };
                within(deadline, send(&mut lease, end)).await.map_err(Failure::into_answer)?;
                lease.put_back();
            }
            Self::Scopes(mut keys, loan) => {
                let work = loan.work();
                let undo = if is_done { String::new() } else { format!("ROLLBACK TO {work}; ") };
                let end = format!("{undo}RELEASE {work}");
                within(deadline, send(&mut keys.lease, &end)).await.map_err(Failure::into_answer)?;
                loan.give_back(keys);
            }
        }
        Ok(())
    }
}

/// How a write ends.
pub(super) enum End<T> {
    /// For good.
    Done(T),
    /// As if it had not been.
    Undone(T),
}

fn entry(row: &PgRow, now_ms: i64) -> Result<KvEntry, sqlx::Error> {
    let expires_at: Option<i64> = row.try_get(3)?;
    Ok(KvEntry {
        value: row.try_get(1)?,
        version: version(row.try_get(2)?),
        ttl_ms: expires_at.and_then(|at| u64::try_from(at.saturating_sub(now_ms)).ok()),
    })
}

fn version(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// The key is in the row and in the index.
fn stored_bytes(key: &str, value_bytes: usize) -> i64 {
    i64::try_from(2 * key.len() + value_bytes).unwrap_or(i64::MAX).saturating_add(ROW_BYTES)
}
