//! Migrations in a pair's schema: one transaction each, together with its ledger row, under the pair's advisory lock.
//! The pair's role may change the schema only inside. The ledger is a table of the host that the role cannot name.
//! It does not decide which run: [`crate::tenant::migrate::pending`] does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Row as _};

use super::answer::Failure;
use super::connections::{Lease, acquire};
use super::names::{Login, quoted};
use super::session::{send, within};
use super::storage::Store;
use crate::tenant::admission::{Admission, Admitted};
use crate::tenant::limits;
use crate::tenant::migrate::{
    Applied, FailedMigration, MigrationError, PluginMigration, Run, check_last, failed, pending,
};
use crate::tenant::value::{StorageError, limit_codes};

/// Time that a migration waits for a lock on a table: whoever comes behind it waits as well.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(2);
/// What the ledger says of a migration that was undone by its down file.
const REVERTED: &str = "reverted";

/// A run on one connection.
pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) lease: Lease,
    pub(super) admission: &'a Admission,
    /// Of a run that is kept: microseconds since 1970.
    pub(super) now: i64,
}

impl Store {
    /// Applies the migrations that have not run.
    pub(crate) async fn migrate(
        &self,
        migrations: Vec<PluginMigration>,
        admission: Arc<Admission>,
        run: Run,
        now: i64,
    ) -> Result<Vec<Applied>, MigrationError> {
        let deadline = Instant::now() + limits::MIGRATION;
        let storage = MigrationError::Storage;
        let _share = acquire(&self.pair.shares.all, deadline, limit_codes::DEADLINE).await.map_err(storage)?;
        let placed = self.server.placed(&self.pair, deadline).await.map_err(storage)?;
        let login = Login::Migrate(placed.shard);
        let lease = self.server.plugins.lease(login, deadline).await.map_err(storage)?;
        let mut work = Work { store: self, lease, admission: &admission, now };
        let mut done = Vec::new();
        let result = match run {
            Run::DryRun => work.dry_run(&migrations).await,
            Run::Apply => loop {
                match work.next(&migrations, login).await {
                    Ok(Some(applied)) => done.push(applied),
                    Ok(None) => break Ok(done),
                    Err(error) => break Err(error),
                }
            },
        };
        // The shape of the tables, and with it the tag of their statements, is another one.
        self.pair.forget();
        // A connection on which something failed may be in any state: it is closed.
        if result.is_ok() {
            work.lease.put_back();
        }
        result
    }

    /// Undoes the migration that ran last by its down file. Its row stays, as one that is not applied.
    pub(crate) async fn revert(
        &self,
        down: PluginMigration,
        admission: Arc<Admission>,
        now: i64,
    ) -> Result<(), MigrationError> {
        let deadline = Instant::now() + limits::MIGRATION;
        let storage = MigrationError::Storage;
        let _share = acquire(&self.pair.shares.all, deadline, limit_codes::DEADLINE).await.map_err(storage)?;
        let placed = self.server.placed(&self.pair, deadline).await.map_err(storage)?;
        let lease = self.server.plugins.lease(Login::Migrate(placed.shard), deadline).await.map_err(storage)?;
        let mut work = Work { store: self, lease, admission: &admission, now };
        let result = work.revert(&down, deadline).await;
        self.pair.forget();
        if result.is_ok() {
            work.lease.put_back();
        }
        result
    }

    /// The migrations that ran, in order.
    pub(crate) async fn applied_migrations(&self, deadline: Instant) -> Result<Vec<Applied>, StorageError> {
        let mut lease = self.server.host.lease(Login::Owner, deadline).await?;
        let ledger = self.ledger();
        let applied = within(deadline, applied(&mut lease, &ledger, self)).await.map_err(Failure::into_answer)?;
        lease.put_back();
        Ok(applied)
    }

    /// The migration that failed last, if it has not run since.
    pub(crate) async fn failed_migration(&self, deadline: Instant) -> Result<Option<FailedMigration>, StorageError> {
        const FAILED: &str = "SELECT number, name, error, applied_at FROM storage_migrations \
             WHERE tenant_id = $1 AND plugin_id = $2 AND error IS NOT NULL AND error <> $3 ORDER BY number LIMIT 1";
        let mut lease = self.server.host.lease(Login::Owner, deadline).await?;
        let connection = lease.connection()?;
        let read = async {
            let query =
                sqlx::query(FAILED).bind(self.pair.tenant.as_str()).bind(self.pair.plugin.as_str()).bind(REVERTED);
            let Some(row) = query.fetch_optional(connection).await? else {
                return Ok(None);
            };
            let number = u32::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
            Ok::<_, sqlx::Error>(Some(FailedMigration {
                number,
                name: row.try_get(1)?,
                error: row.try_get(2)?,
                failed_at: row.try_get(3)?,
            }))
        };
        let failed = within(deadline, read).await.map_err(Failure::into_answer)?;
        lease.put_back();
        Ok(failed)
    }

    pub(super) fn ledger(&self) -> String {
        format!("{}.storage_migrations", quoted(&self.server.host_schema))
    }
}

impl Work<'_> {
    /// Applies the first migration that is pending; `None` when there is none.
    async fn next(&mut self, migrations: &[PluginMigration], login: Login) -> Result<Option<Applied>, MigrationError> {
        let deadline = Instant::now() + limits::MIGRATION;
        self.locked(deadline).await.map_err(storage)?;
        let applied = self.applied().await.map_err(storage)?;
        let Some(migration) = pending(&applied, migrations)?.first() else {
            self.undo().await.map_err(storage)?;
            return Ok(None);
        };
        let began = Instant::now();
        let result = if migration.no_transaction {
            self.undo().await.map_err(storage)?;
            self.apply_without_transaction(migration, login, deadline).await
        } else {
            let work = async {
                self.change(migration).await?;
                self.record(migration, None, began.elapsed()).await?;
                send(&mut self.lease, "COMMIT").await
            };
            within(deadline, work).await
        };
        match result {
            Ok(()) => Ok(Some(migration_applied(migration, self.now))),
            Err(failure) => {
                let error = failure.into_answer();
                self.store.record_failure(migration, &error, self.now, began.elapsed()).await;
                Err(failed(migration, error))
            }
        }
    }

    async fn revert(&mut self, down: &PluginMigration, deadline: Instant) -> Result<(), MigrationError> {
        self.locked(deadline).await.map_err(storage)?;
        check_last(&self.applied().await.map_err(storage)?, down)?;
        let work = async {
            self.change(down).await?;
            self.forget(down).await?;
            send(&mut self.lease, "COMMIT").await
        };
        within(deadline, work).await.map_err(|failure| failed(down, failure.into_answer()))
    }

    /// Says in the ledger that a migration is not applied any more.
    async fn forget(&mut self, down: &PluginMigration) -> Result<(), Failure> {
        let query = format!(
            "UPDATE {} SET error = '{REVERTED}', applied_at = $1 WHERE tenant_id = $2 AND plugin_id = $3 AND number = $4",
            self.store.ledger()
        );
        let pair = &self.store.pair;
        let connection = self.lease.connection().map_err(Failure::Broken)?;
        sqlx::query(AssertSqlSafe(query))
            .bind(self.now)
            .bind(pair.tenant.as_str())
            .bind(pair.plugin.as_str())
            .bind(i64::from(down.number))
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Runs all that is pending in one transaction that is undone.
    async fn dry_run(&mut self, migrations: &[PluginMigration]) -> Result<Vec<Applied>, MigrationError> {
        let deadline = Instant::now() + limits::MIGRATION;
        self.locked(deadline).await.map_err(storage)?;
        let applied = self.applied().await.map_err(storage)?;
        let mut would = Vec::new();
        for migration in pending(&applied, migrations)? {
            within(deadline, self.change(migration))
                .await
                .map_err(|failure| failed(migration, failure.into_answer()))?;
            would.push(migration_applied(migration, self.now));
        }
        self.undo().await.map_err(storage)?;
        Ok(would)
    }

    /// Begins a transaction that holds the pair's lock: runs for one pair queue here, over all hosts.
    async fn locked(&mut self, deadline: Instant) -> Result<(), Failure> {
        let wait = limits::MIGRATION.as_millis();
        let text = format!(
            "BEGIN; SET LOCAL statement_timeout = {wait}; SET LOCAL lock_timeout = {wait}; \
             SET LOCAL search_path = pg_catalog; SELECT pg_catalog.pg_advisory_xact_lock({}); \
             SET LOCAL lock_timeout = {}",
            self.store.pair.lock,
            LOCK_WAIT.as_millis()
        );
        within(deadline, send(&mut self.lease, &text)).await
    }

    async fn undo(&mut self) -> Result<(), Failure> {
        send(&mut self.lease, "ROLLBACK; RESET ALL").await
    }

    pub(super) async fn applied(&mut self) -> Result<Vec<Applied>, Failure> {
        let ledger = self.store.ledger();
        applied(&mut self.lease, &ledger, self.store).await
    }

    /// Runs the statements of a migration in the pair's role, and looks at what they left.
    async fn change(&mut self, migration: &PluginMigration) -> Result<(), Failure> {
        let statements = self.admission.admit_script(&migration.sql).map_err(Failure::Refused)?;
        let name = quoted(&self.store.pair.name);
        let before = self.transaction().await?;
        let enter = format!(
            "GRANT CREATE ON SCHEMA {name} TO {name}; SET LOCAL ROLE {name}; SET LOCAL search_path = {name}, pg_temp"
        );
        send(&mut self.lease, &enter).await?;
        for statement in &statements {
            send(&mut self.lease, &in_transaction(statement)).await?;
        }
        // Deferred checks run here, under the role that they are for, and not at the end under a stronger one.
        let leave = format!(
            "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL ROLE NONE; SET LOCAL search_path = pg_catalog; \
             REVOKE CREATE ON SCHEMA {name} FROM {name}"
        );
        send(&mut self.lease, &leave).await?;
        if self.transaction().await? != before {
            return Err(Failure::Broken(StorageError::Denied("statement:transaction".to_owned())));
        }
        self.check_objects().await?;
        self.check_size().await
    }

    /// The number of the open transaction.
    async fn transaction(&mut self) -> Result<i64, Failure> {
        let connection = self.lease.connection().map_err(Failure::Broken)?;
        Ok(sqlx::query_scalar("SELECT pg_catalog.txid_current()").fetch_one(connection).await?)
    }

    /// Refuses what statements may have left that their own reading did not show.
    async fn check_objects(&mut self) -> Result<(), Failure> {
        const ODD: &str = "SELECT 'relation' FROM pg_catalog.pg_class WHERE relnamespace = $1::text::regnamespace \
             AND (relkind NOT IN ('r', 'i', 'S') OR relname LIKE '\\_\\_%' OR relname LIKE 'pg\\_%' OR relrowsecurity) \
             UNION ALL SELECT 'function' FROM pg_catalog.pg_proc WHERE pronamespace = $1::text::regnamespace \
             UNION ALL SELECT 'trigger' FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid \
             WHERE c.relnamespace = $1::text::regnamespace AND NOT t.tgisinternal \
             UNION ALL SELECT 'operator' FROM pg_catalog.pg_operator WHERE oprnamespace = $1::text::regnamespace \
             UNION ALL SELECT 'type' FROM pg_catalog.pg_type WHERE typnamespace = $1::text::regnamespace \
             AND typtype <> 'c' AND typcategory <> 'A' LIMIT 1";
        let name = self.store.pair.name.clone();
        let connection = self.lease.connection().map_err(Failure::Broken)?;
        let odd: Option<String> = sqlx::query_scalar(ODD).bind(name).fetch_optional(connection).await?;
        odd.map_or(Ok(()), |kind| Err(Failure::Failed(StorageError::Denied(format!("{kind}:name")))))
    }

    /// Refuses a migration that makes the tables larger than the quota.
    async fn check_size(&mut self) -> Result<(), Failure> {
        const SIZE: &str = "SELECT coalesce(sum(pg_catalog.pg_total_relation_size(oid)), 0)::bigint \
             FROM pg_catalog.pg_class WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'S')";
        let name = self.store.pair.name.clone();
        let connection = self.lease.connection().map_err(Failure::Broken)?;
        let bytes: i64 = sqlx::query_scalar(SIZE).bind(name).fetch_one(connection).await?;
        if u64::try_from(bytes).unwrap_or(0) > self.store.storage_bytes_max {
            return Err(Failure::Failed(StorageError::Limit(limit_codes::QUOTA)));
        }
        Ok(())
    }

    /// Writes the ledger row.
    pub(super) async fn record(
        &mut self,
        migration: &PluginMigration,
        error: Option<&str>,
        elapsed: Duration,
    ) -> Result<(), Failure> {
        let ledger = self.store.ledger();
        record(&mut self.lease, &ledger, self.store, migration, error, (self.now, elapsed)).await
    }
}

impl Store {
    /// Writes down in a transaction of its own why a migration failed. That it could not is no reason to hide why.
    async fn record_failure(&self, migration: &PluginMigration, error: &StorageError, now: i64, elapsed: Duration) {
        let deadline = Instant::now() + limits::STATEMENT;
        let work = async {
            let mut lease = self.server.host.lease(Login::Owner, deadline).await.map_err(Failure::Broken)?;
            let text = error.to_string();
            record(&mut lease, &self.ledger(), self, migration, Some(&text), (now, elapsed)).await?;
            lease.put_back();
            Ok::<_, Failure>(())
        };
        if let Err(failure) = within(deadline, work).await {
            tracing::error!(error = %failure.into_answer(), "why a migration failed was not written down");
        }
    }
}

async fn applied(lease: &mut Lease, ledger: &str, store: &Store) -> Result<Vec<Applied>, Failure> {
    let query = format!(
        "SELECT number, name, checksum, applied_at FROM {ledger} \
         WHERE tenant_id = $1 AND plugin_id = $2 AND error IS NULL ORDER BY number LIMIT 10000"
    );
    let connection = lease.connection().map_err(Failure::Broken)?;
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(store.pair.tenant.as_str())
        .bind(store.pair.plugin.as_str())
        .fetch_all(connection)
        .await?;
    let corrupt = || Failure::Broken(StorageError::Unavailable);
    rows.iter()
        .map(|row| {
            Ok(Applied {
                number: u32::try_from(row.try_get::<i64, _>(0)?).map_err(|_| corrupt())?,
                name: row.try_get(1)?,
                checksum: row.try_get::<String, _>(2)?.parse().map_err(|_| corrupt())?,
                applied_at: row.try_get(3)?,
            })
        })
        .collect()
}

async fn record(
    lease: &mut Lease,
    ledger: &str,
    store: &Store,
    migration: &PluginMigration,
    error: Option<&str>,
    (now, elapsed): (i64, Duration),
) -> Result<(), Failure> {
    // What was applied is never overwritten.
    let query = format!(
        "INSERT INTO {ledger} AS l (tenant_id, plugin_id, number, name, checksum, error, applied_at, duration_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, plugin_id, number) DO UPDATE \
         SET name = excluded.name, checksum = excluded.checksum, error = excluded.error, \
         applied_at = excluded.applied_at, duration_ms = excluded.duration_ms WHERE l.error IS NOT NULL"
    );
    let connection = lease.connection().map_err(Failure::Broken)?;
    sqlx::query(AssertSqlSafe(query))
        .bind(store.pair.tenant.as_str())
        .bind(store.pair.plugin.as_str())
        .bind(i64::from(migration.number))
        .bind(&migration.name)
        .bind(migration.checksum.to_string())
        .bind(error)
        .bind(now)
        .bind(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(())
}

fn storage(failure: Failure) -> MigrationError {
    MigrationError::Storage(failure.into_answer())
}

fn migration_applied(migration: &PluginMigration, now: i64) -> Applied {
    Applied { number: migration.number, name: migration.name.clone(), checksum: migration.checksum, applied_at: now }
}

/// A concurrent build has no place in a transaction: a dry run builds the plain index.
fn in_transaction(statement: &Admitted) -> String {
    let text = statement.text();
    if statement.builds_concurrently() { text.replacen(" CONCURRENTLY ", " ", 1) } else { text.to_owned() }
}
