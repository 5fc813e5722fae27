//! Migrations on a plugin's `SQLite` file, and the check of what they leave behind. Blocking.
//! It does not decide which run: [`crate::tenant::migrate::pending`] does.

use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, integer, text};
use super::raw::Bind;
use super::rules::is_internal;
use super::storage::Store;
use crate::tenant::admission::Admission;
use crate::tenant::limits;
use crate::tenant::migrate::{
    Applied, FailedMigration, MigrationError, PluginMigration, Run, check_last, failed, pending,
};
use crate::tenant::value::{ConstraintKind, StorageError};

const LEDGER: &str = "SELECT number, name, checksum, applied_at FROM __migrations ORDER BY number LIMIT 10000";
const RECORD: &str = "INSERT INTO __migrations (number, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";
const FORGET: &str = "DELETE FROM __migrations WHERE number = $1";
const FAILURE: &str = "SELECT number, name, error, failed_at FROM __migration_failure LIMIT 1";
const FORGET_FAILURE: &str = "DELETE FROM __migration_failure";
const RECORD_FAILURE: &str = "INSERT INTO __migration_failure (number, name, error, failed_at) VALUES ($1, $2, $3, $4)";
const OBJECTS: &str = "SELECT type, name FROM sqlite_schema WHERE name NOT IN \
     ('__kv', '__kv_expiry', '__kv_state', '__migrations', '__migration_failure', \
     '__blobs', '__blob_uploads', '__blob_chunks', 'sqlite_sequence') AND name NOT LIKE 'sqlite\\_autoindex\\_%' ESCAPE '\\' LIMIT 100000";
const REFERENCES: &str = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";

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
        let session = self.writer(limits::MIGRATION, deadline).await.map_err(MigrationError::Storage)?;
        session
            .finish(deadline, move |connection| Ok(connection.migrate(&migrations, &admission, run, now)))
            .await
            .map_err(MigrationError::Storage)?
    }

    /// Undoes the migration that ran last by its down file.
    pub(crate) async fn revert(
        &self,
        down: PluginMigration,
        admission: Arc<Admission>,
        _now: i64,
    ) -> Result<(), MigrationError> {
        let deadline = Instant::now() + limits::MIGRATION;
        let session = self.writer(limits::MIGRATION, deadline).await.map_err(MigrationError::Storage)?;
        session
            .finish(deadline, move |connection| Ok(connection.revert(&down, &admission)))
            .await
            .map_err(MigrationError::Storage)?
    }

    /// The migration that failed last, if it has not run since.
    pub(crate) async fn failed_migration(&self, deadline: Instant) -> Result<Option<FailedMigration>, StorageError> {
        self.reader(deadline).await?.finish(deadline, Connection::failed_migration).await
    }

    /// The migrations that ran, in order.
    pub(crate) async fn applied_migrations(&self, deadline: Instant) -> Result<Vec<Applied>, StorageError> {
        self.reader(deadline).await?.finish(deadline, Connection::applied).await
    }
}

impl Connection {
    /// The ledger.
    pub(super) fn applied(&mut self) -> Result<Vec<Applied>, StorageError> {
        let mut applied = Vec::new();
        self.host_rows(LEDGER, &[], |row| {
            let checksum = text(row.cell(2)).parse().map_err(|_| StorageError::Unavailable)?;
            let number = u32::try_from(integer(row.cell(0))).map_err(|_| StorageError::Unavailable)?;
            applied.push(Applied { number, name: text(row.cell(1)), checksum, applied_at: integer(row.cell(3)) });
            Ok(())
        })?;
        Ok(applied)
    }

    /// Applies what is pending. Each migration has its own time; a dry run has that of one.
    pub(super) fn migrate(
        &mut self,
        carried: &[PluginMigration],
        admission: &Admission,
        run: Run,
        now: i64,
    ) -> Result<Vec<Applied>, MigrationError> {
        let applied = self.applied().map_err(MigrationError::Storage)?;
        let pending = pending(&applied, carried)?;
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        // A table that others refer to is rebuilt by copy, drop and rename, which no rule for single rows survives:
        // references are checked when all of a migration has run.
        self.host_once("PRAGMA foreign_keys = OFF").map_err(MigrationError::Storage)?;
        let result = match run {
            Run::Apply => pending.iter().map(|migration| self.apply(migration, admission, now)).collect(),
            Run::DryRun => self.dry_run(pending, admission, now),
        };
        self.host_once("PRAGMA foreign_keys = ON").map_err(MigrationError::Storage)?;
        self.forget_statements();
        result
    }

    fn revert(&mut self, down: &PluginMigration, admission: &Admission) -> Result<(), MigrationError> {
        let applied = self.applied().map_err(MigrationError::Storage)?;
        check_last(&applied, down)?;
        self.host_once("PRAGMA foreign_keys = OFF").map_err(MigrationError::Storage)?;
        self.start(Instant::now() + limits::MIGRATION);
        let done = self.in_transaction(|connection| {
            for statement in admission.admit_script(&down.sql)? {
                connection.run_script(statement.text())?;
            }
            connection.check_objects()?;
            connection.check_references()?;
            connection.host(FORGET, &[Bind::Integer(i64::from(down.number))])
        });
        self.host_once("PRAGMA foreign_keys = ON").map_err(MigrationError::Storage)?;
        self.forget_statements();
        done.map_err(|source| failed(down, source))
    }

    /// The migration that failed last, if it has not run since.
    fn failed_migration(&mut self) -> Result<Option<FailedMigration>, StorageError> {
        let mut failed = None;
        self.host_rows(FAILURE, &[], |row| {
            failed = Some(FailedMigration {
                number: u32::try_from(integer(row.cell(0))).map_err(|_| StorageError::Unavailable)?,
                name: text(row.cell(1)),
                error: text(row.cell(2)),
                failed_at: integer(row.cell(3)),
            });
            Ok(())
        })?;
        Ok(failed)
    }

    fn apply(
        &mut self,
        migration: &PluginMigration,
        admission: &Admission,
        now: i64,
    ) -> Result<Applied, MigrationError> {
        self.start(Instant::now() + limits::MIGRATION);
        let done = self.in_transaction(|connection| {
            connection.host(FORGET_FAILURE, &[])?;
            connection.run_migration(migration, admission, now)
        });
        done.map_err(|source| {
            self.record_failure(migration, &source, now);
            failed(migration, source)
        })
    }

    /// Writes down why a migration failed. That it could not is no reason to hide why.
    fn record_failure(&mut self, migration: &PluginMigration, error: &StorageError, now: i64) {
        let text = error.to_string();
        let number = Bind::Integer(i64::from(migration.number));
        let row = [number, Bind::Text(&migration.name), Bind::Text(&text), Bind::Integer(now)];
        let recorded = self.host(FORGET_FAILURE, &[]).and_then(|()| self.host(RECORD_FAILURE, &row));
        if let Err(error) = recorded {
            tracing::error!(%error, "why a migration failed was not written down");
        }
    }

    fn dry_run(
        &mut self,
        pending: &[PluginMigration],
        admission: &Admission,
        now: i64,
    ) -> Result<Vec<Applied>, MigrationError> {
        self.begin_immediate().map_err(MigrationError::Storage)?;
        let result = pending
            .iter()
            .map(|migration| self.run_migration(migration, admission, now).map_err(|source| failed(migration, source)))
            .collect();
        self.rollback().map_err(MigrationError::Storage)?;
        result
    }

    fn run_migration(
        &mut self,
        migration: &PluginMigration,
        admission: &Admission,
        now: i64,
    ) -> Result<Applied, StorageError> {
        for statement in admission.admit_script(&migration.sql)? {
            self.run_script(statement.text())?;
        }
        self.check_objects()?;
        self.check_references()?;
        let checksum = migration.checksum.to_string();
        let number = Bind::Integer(i64::from(migration.number));
        self.host(RECORD, &[number, Bind::Text(&migration.name), Bind::Text(&checksum), Bind::Integer(now)])?;
        Ok(Applied {
            number: migration.number,
            name: migration.name.clone(),
            checksum: migration.checksum,
            applied_at: now,
        })
    }

    /// Refuses rows that refer to rows that are not there.
    fn check_references(&mut self) -> Result<(), StorageError> {
        let mut dangling = None;
        self.host_rows(REFERENCES, &[], |row| {
            dangling = Some(text(row.cell(0)));
            Ok(())
        })?;
        dangling
            .map_or(Ok(()), |name| Err(StorageError::Violation { kind: ConstraintKind::ForeignKey, name: Some(name) }))
    }

    /// Refuses what a statement may have left that its own reading did not show, such as a rename to an internal name.
    fn check_objects(&mut self) -> Result<(), StorageError> {
        let mut odd = None;
        self.host_rows(OBJECTS, &[], |row| {
            let (kind, name) = (text(row.cell(0)), text(row.cell(1)));
            if is_internal(&name) || !matches!(kind.as_str(), "table" | "index") {
                odd = Some(format!("{kind}:name"));
            }
            Ok(())
        })?;
        odd.map_or(Ok(()), |code| Err(StorageError::Denied(code)))
    }
}
