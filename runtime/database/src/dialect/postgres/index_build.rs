//! An index that is built while others write: outside of a transaction, under a session's lock, again where a try was
//! interrupted. Such a try leaves an index that is not valid.

use std::time::Instant;

use sqlx::AssertSqlSafe;

use super::answer::Failure;
use super::migrate::{LOCK_WAIT, Work};
use super::names::{Login, quoted};
use super::session::{send, within};
use crate::tenant::admission::Admitted;
use crate::tenant::limits;
use crate::tenant::migrate::PluginMigration;
use crate::tenant::value::StorageError;

/// Tries of an index.
const TRIES: u32 = 3;
/// What the ledger says of a migration without a transaction until it has ended.
const INTERRUPTED: &str = "interrupted";

impl Work<'_> {
    /// Builds an index while others write, on a connection of its own. What an interrupted try left is removed first.
    pub(super) async fn apply_without_transaction(
        &mut self,
        migration: &PluginMigration,
        login: Login,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut statements = self.admission.admit_script(&migration.sql).map_err(Failure::Refused)?;
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
            return Err(Failure::Refused(StorageError::Denied("multiple-statements".to_owned())));
        };
        let lease = self.store.server.plugins.lease_new(login, deadline).await.map_err(Failure::Broken)?;
        let mut alone = Work { store: self.store, lease, admission: self.admission, now: self.now };
        within(deadline, alone.build(migration, &statement)).await
    }

    async fn build(&mut self, migration: &PluginMigration, statement: &Admitted) -> Result<(), Failure> {
        let began = Instant::now();
        let name = quoted(&self.store.pair.name);
        let wait = limits::MIGRATION.as_millis();
        send(
            &mut self.lease,
            &format!(
                "SET search_path = pg_catalog; SET statement_timeout = {wait}; SET lock_timeout = {wait}; \
                 SELECT pg_catalog.pg_advisory_lock({}); SET lock_timeout = {}",
                self.store.pair.lock,
                LOCK_WAIT.as_millis()
            ),
        )
        .await?;
        if self.applied().await?.iter().any(|applied| applied.number == migration.number) {
            return Ok(());
        }
        let was_interrupted = self.was_interrupted(migration).await?;
        self.record(migration, Some(INTERRUPTED), began.elapsed()).await?;
        send(&mut self.lease, &format!("GRANT CREATE ON SCHEMA {name} TO {name}")).await?;
        let built = self.try_to_build(statement, was_interrupted).await;
        send(&mut self.lease, &format!("REVOKE CREATE ON SCHEMA {name} FROM {name}")).await?;
        built?;
        self.record(migration, None, began.elapsed()).await
    }

    /// Builds the index, anew where a try met a lock: such a try leaves an index that is not valid.
    async fn try_to_build(&mut self, statement: &Admitted, was_interrupted: bool) -> Result<(), Failure> {
        let name = quoted(&self.store.pair.name);
        let enter = format!("SET ROLE {name}; SET search_path = {name}, pg_temp");
        self.remove_remains(statement, was_interrupted).await?;
        for attempt in 1.. {
            send(&mut self.lease, &enter).await?;
            let built = send(&mut self.lease, statement.text()).await;
            send(&mut self.lease, "RESET ROLE; SET search_path = pg_catalog").await?;
            match built {
                Ok(()) => break,
                Err(Failure::Failed(error)) => {
                    self.remove_remains(statement, false).await?;
                    if attempt == TRIES || !matches!(error, StorageError::Limit(_) | StorageError::Retry) {
                        return Err(Failure::Failed(error));
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Whether the ledger says that this very migration was begun and not ended.
    async fn was_interrupted(&mut self, migration: &PluginMigration) -> Result<bool, Failure> {
        let query = format!(
            "SELECT count(*) FROM {} WHERE tenant_id = $1 AND plugin_id = $2 AND number = $3 AND checksum = $4 AND error = $5",
            self.store.ledger()
        );
        let pair = &self.store.pair;
        let connection = self.lease.connection().map_err(Failure::Broken)?;
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .bind(pair.tenant.as_str())
            .bind(pair.plugin.as_str())
            .bind(i64::from(migration.number))
            .bind(migration.checksum.to_string())
            .bind(INTERRUPTED)
            .fetch_one(connection)
            .await?;
        Ok(count > 0)
    }

    /// Indexes of the schema that are not valid, and the one named if it is there.
    async fn remains(&mut self, named: Option<&str>) -> Result<Vec<String>, Failure> {
        const INVALID: &str = "SELECT c.relname::text FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c \
             ON c.oid = i.indexrelid WHERE c.relnamespace = $1::text::regnamespace AND (NOT i.indisvalid OR c.relname = $2)";
        let name = self.store.pair.name.clone();
        let connection = self.lease.connection().map_err(Failure::Broken)?;
        Ok(sqlx::query_scalar(INVALID).bind(name).bind(named).fetch_all(connection).await?)
    }

    async fn remove_remains(&mut self, statement: &Admitted, was_interrupted: bool) -> Result<(), Failure> {
        let text = statement.text();
        let named = index_name(text).filter(|_| was_interrupted);
        let schema = quoted(&self.store.pair.name);
        for index in self.remains(named.as_deref()).await? {
            send(&mut self.lease, &format!("SET ROLE {schema}")).await?;
            let dropped =
                send(&mut self.lease, &format!("DROP INDEX CONCURRENTLY IF EXISTS {schema}.{}", quoted(&index))).await;
            send(&mut self.lease, "RESET ROLE").await?;
            dropped?;
        }
        Ok(())
    }
}

/// The name in `CREATE INDEX CONCURRENTLY "name" ON ..` as admission prints it.
fn index_name(text: &str) -> Option<String> {
    let (head, rest) = text.split_once('"')?;
    let (name, _) = rest.split_once('"')?;
    head.contains(" INDEX ").then(|| name.to_owned())
}
