//! The host's tables on PostgreSQL, shared by any number of hosts.
//! No plugin's SQL ever runs on these connections: [`storage`] has its own, under other logins.

mod answer;
#[cfg(test)]
mod attacks;
mod blobs;
mod connections;
mod export;
mod held;
mod index_build;
mod kv;
mod migrate;
mod names;
mod numeric;
mod pair;
mod quota;
mod scope;
mod session;
mod setup;
mod statement;
mod storage;
mod value;

use std::sync::Arc;
use std::time::Duration;

use sqlx::Postgres;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};

use super::Fault;
use crate::db::DatabaseConfig;
use crate::error::Error;

pub(crate) use held::{Cursor, Transaction};
pub(crate) use scope::{Scope, SealedScope};
pub(crate) use storage::{Storage, Store};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Age at which a connection is replaced: its session's caches grow.
const LIFETIME: Duration = Duration::from_secs(600);

/// The pool of connections.
#[derive(Clone, Debug)]
pub struct Engine {
    pool: PgPool,
    /// The server, database and login of the URL.
    options: Arc<PgConnectOptions>,
}

impl Engine {
    /// Connects and brings the tables to this version. Hosts that start together migrate one behind the other,
    /// under the migrator's advisory lock.
    pub(crate) async fn open(url: &str, config: &DatabaseConfig) -> Result<Self, Error> {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let options: PgConnectOptions = url.parse().map_err(|_| Error::Url)?;
        let session = options.clone().application_name("bulkhead").options([
            ("statement_timeout", milliseconds(config.statement_timeout)),
            ("lock_timeout", milliseconds(config.statement_timeout)),
            ("idle_in_transaction_session_timeout", milliseconds(config.statement_timeout.saturating_mul(2))),
        ]);
        let pool = PoolOptions::new()
            .max_connections(config.pool_max.max(1))
            .acquire_timeout(config.acquire_timeout)
            .max_lifetime(LIFETIME)
            .before_acquire(|conn, _| Box::pin(async move { Ok(super::is_whole(conn)) }))
            .connect_with(session)
            .await
            .map_err(Error::Open)?;
        MIGRATIONS.run(&pool).await.map_err(crate::db::migrate_error)?;
        Ok(Self { pool, options: Arc::new(options) })
    }

    pub(crate) async fn begin(&self) -> Result<sqlx::Transaction<'static, Postgres>, sqlx::Error> {
        self.pool.begin().await
    }

    /// A snapshot: all reads in it see one moment, as on the other engine.
    pub(crate) async fn begin_read(&self) -> Result<sqlx::Transaction<'static, Postgres>, sqlx::Error> {
        self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

pub(crate) fn fault(code: &str) -> Option<Fault> {
    match code {
        // Disk full, then unique violation, serialization failure, deadlock, lock timeout.
        "22021" | "22P05" => Some(Fault::Text),
        "53100" => Some(Fault::Full),
        "23505" | "40001" | "40P01" | "55P03" => Some(Fault::Conflict),
        _ => None,
    }
}
