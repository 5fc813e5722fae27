//! How much a plugin holds in a tenant, and whether it may hold more. Sizes are read from the server only when so much
//! may have been written since the last time that the bound is in reach.
//! It bounds no statement: time does.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::Row as _;

use super::answer::Failure;
use super::connections::Lease;
use super::names::{Login, quoted};
use super::pair::Pair;
use super::session::{send, within};
use super::storage::Store;
use crate::tenant::limits;
use crate::tenant::value::{StorageError, limit_codes};

/// What a server is taken to write at most in a second of one statement, in bytes.
const WRITTEN_PER_SECOND: u64 = 256 << 20;
/// What any statement is taken to write at least, in bytes.
const WRITTEN_PER_STATEMENT: u64 = 64 << 10;
/// Age at which a size is read again: other hosts write as well.
const FRESH: Duration = Duration::from_secs(5);

/// Time between two clean-ups of a full pair.
const RECLAIM_PERIOD: Duration = Duration::from_secs(5);
/// Time of one clean-up.
const RECLAIM: Duration = Duration::from_secs(30);

/// What is left of a write's time after the wait for a clean-up.
const RECLAIM_REST: Duration = Duration::from_millis(300);

const SIZES: &str = "SELECT (SELECT coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint \
     FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relkind IN ('r', 'm', 'S')), \
     coalesce((SELECT bytes FROM storage_key_totals WHERE tenant_id = $2 AND plugin_id = $3), 0)";

/// What a transaction wrote.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    bytes_max: u64,
    /// Whether anything but removals was written.
    adds: bool,
}

impl Written {
    /// Counts a statement that ran for so long.
    pub(super) fn add(&mut self, elapsed: Duration, adds: bool) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let by_time = (WRITTEN_PER_SECOND / 1_000_000).saturating_mul(micros);
        self.bytes_max = self.bytes_max.saturating_add(by_time).saturating_add(WRITTEN_PER_STATEMENT);
        self.adds |= adds;
    }
}

/// What is known of a pair's size.
#[derive(Debug, Default)]
pub(super) struct Meter {
    reading: Mutex<Option<Reading>>,
    reclaimed_at: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    table_bytes: u64,
    key_bytes: u64,
    read_at: Instant,
    /// What may have been written since.
    written_max: u64,
}

impl Meter {
    /// Counts `written`, and says whether it surely stays within `bytes_max`.
    fn surely_within(&self, written: u64, bytes_max: u64) -> bool {
        let mut known = self.reading.lock();
        let Some(reading) = known.as_mut().filter(|reading| reading.read_at.elapsed() < FRESH) else {
            return false;
        };
        reading.written_max = reading.written_max.saturating_add(written);
        reading.table_bytes.saturating_add(reading.key_bytes).saturating_add(reading.written_max) <= bytes_max
    }

    /// Remembers sizes that were just read, and answers the tables' size before.
    fn replace(&self, table_bytes: u64, key_bytes: u64) -> Option<u64> {
        let reading = Reading { table_bytes, key_bytes, read_at: Instant::now(), written_max: 0 };
        self.reading.lock().replace(reading).map(|reading| reading.table_bytes)
    }

    /// Whether a clean-up is due; if so, the next is due a period later.
    fn begin_reclaim(&self) -> bool {
        let mut last = self.reclaimed_at.lock();
        let is_due = last.is_none_or(|at| at.elapsed() >= RECLAIM_PERIOD);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }

    /// Whether the last reading was over `bytes_max`.
    pub(super) fn is_over(&self, bytes_max: u64) -> bool {
        self.reading.lock().is_some_and(|reading| reading.table_bytes.saturating_add(reading.key_bytes) > bytes_max)
    }

    fn table_bytes(&self) -> Option<u64> {
        self.reading.lock().filter(|reading| reading.read_at.elapsed() < FRESH).map(|reading| reading.table_bytes)
    }
}

impl Store {
    /// Refuses to begin a write where the quota is used up already. What was removed, or written and undone, is given
    /// back first, now and then: it is still in the tables' files.
    pub(super) async fn check_tables(&self, deadline: Instant) -> Result<(), StorageError> {
        if !self.pair.meter.is_over(self.storage_bytes_max) || !self.is_over(deadline).await?.0 {
            return Ok(());
        }
        if self.pair.meter.begin_reclaim() {
            let store = self.clone();
            let reclaim = tokio::spawn(async move { store.reclaim().await });
            // What is not done in this time goes on for the next write.
            let until = deadline.checked_sub(RECLAIM_REST).unwrap_or(deadline);
            drop(tokio::time::timeout_at(until.into(), reclaim).await);
            if !self.is_over(deadline).await?.0 {
                return Ok(());
            }
        }
        Err(StorageError::Limit(limit_codes::QUOTA))
    }

    /// Refuses a transaction that makes the tables grow beyond the quota. Its writes are in the tables' files already,
    /// whether it commits or not. One that fits into space that is there, or only removes, passes.
    pub(super) async fn within_quota(&self, written: &Written, deadline: Instant) -> Result<(), StorageError> {
        if !written.adds || self.pair.meter.surely_within(written.bytes_max, self.storage_bytes_max) {
            return Ok(());
        }
        match self.is_over(deadline).await? {
            (true, true) => Err(StorageError::Limit(limit_codes::QUOTA)),
            _ => Ok(()),
        }
    }

    /// Reads the sizes: whether they are over the quota, and whether the tables have grown since the last reading.
    async fn is_over(&self, deadline: Instant) -> Result<(bool, bool), StorageError> {
        let mut lease = self.server.host.lease(Login::Owner, deadline).await?;
        let (table_bytes, key_bytes) =
            within(deadline, sizes(&mut lease, &self.pair)).await.map_err(Failure::into_answer)?;
        lease.put_back();
        let before = self.pair.meter.replace(table_bytes, key_bytes);
        let is_over = table_bytes.saturating_add(key_bytes) > self.storage_bytes_max;
        Ok((is_over, before.is_none_or(|before| table_bytes > before)))
    }

    /// Writes the tables anew without what was removed.
    async fn reclaim(&self) {
        let deadline = Instant::now() + RECLAIM;
        if let Err(failure) = within(deadline, self.vacuum(deadline)).await {
            tracing::warn!(error = %failure.into_answer(), "the place of removed rows was not given back");
        }
    }

    async fn vacuum(&self, deadline: Instant) -> Result<(), Failure> {
        const TABLES: &str = "SELECT relname::text FROM pg_catalog.pg_class \
             WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' ORDER BY relname LIMIT 1000";
        let placed = self.server.placed(&self.pair, deadline).await.map_err(Failure::Broken)?;
        let mut lease =
            self.server.plugins.lease_new(Login::Migrate(placed.shard), deadline).await.map_err(Failure::Broken)?;
        let connection = lease.connection().map_err(Failure::Broken)?;
        let tables: Vec<String> = sqlx::query_scalar(TABLES).bind(&self.pair.name).fetch_all(connection).await?;
        let (name, wait) = (quoted(&self.pair.name), limits::LOCK_WAIT.as_millis());
        send(&mut lease, &format!("SET ROLE {name}; SET search_path = {name}, pg_temp; SET lock_timeout = {wait}"))
            .await?;
        for table in tables {
            send(&mut lease, &format!("VACUUM (FULL) {name}.{}", quoted(&table))).await?;
        }
        Ok(())
    }

    /// The size of the tables, as far as it is fresh; read on the connection of `lease` if not.
    pub(super) async fn table_bytes(&self, lease: &mut Lease) -> Result<u64, Failure> {
        if let Some(bytes) = self.pair.meter.table_bytes() {
            return Ok(bytes);
        }
        let (table_bytes, key_bytes) = sizes(lease, &self.pair).await?;
        self.pair.meter.replace(table_bytes, key_bytes);
        Ok(table_bytes)
    }
}

/// Bytes of the pair's tables with all that belongs to them, and of its keys.
pub(super) async fn sizes(lease: &mut Lease, pair: &Pair) -> Result<(u64, u64), Failure> {
    let connection = lease.connection().map_err(Failure::Broken)?;
    let row = sqlx::query(SIZES)
        .bind(&pair.name)
        .bind(pair.tenant.as_str())
        .bind(pair.plugin.as_str())
        .fetch_one(connection)
        .await?;
    let bytes = |place: usize| Ok::<_, sqlx::Error>(u64::try_from(row.try_get::<i64, _>(place)?).unwrap_or(0));
    Ok((bytes(0)?, bytes(1)?))
}
