//! The host's tables on either engine: open, begin, commit. The enum and its one macro are the only place beside
//! `dialect/` that knows which engine runs.
//! The verbs on a transaction stand in one file per table.

use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::{Postgres, Sqlite};

use crate::dialect::{postgres, sqlite};
use crate::error::Error;

/// Where the host's tables are, and the bounds of reaching them.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `sqlite:<folder>` or `postgres://...`.
    pub url: String,
    /// Connections at once.
    pub pool_max: u32,
    /// Time to wait for a connection.
    pub acquire_timeout: Duration,
    /// Time of one statement and of one lock.
    pub statement_timeout: Duration,
}

impl DatabaseConfig {
    /// The default bounds for `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            pool_max: 8,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
        }
    }
}

/// The host's tables. A cheap clone.
#[derive(Clone, Debug)]
pub enum Db {
    /// Embedded, one host.
    Sqlite(sqlite::Engine),
    /// Shared by any number of hosts.
    Postgres(postgres::Engine),
}

/// A transaction. Dropping it rolls back.
#[derive(Debug)]
pub enum Tx {
    /// On `SQLite`.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// On PostgreSQL.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Db {
    /// Opens the database and brings the host's tables to this version. A changed migration refuses to start.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, Error> {
        if let Some(folder) = config.url.strip_prefix("sqlite:") {
            let folder = folder.strip_prefix("//").unwrap_or(folder);
            return sqlite::Engine::open(folder, config).await.map(Self::Sqlite);
        }
        if config.url.starts_with("postgres://") || config.url.starts_with("postgresql://") {
            // Boxed: a login through TLS is large, and callers hold it.
            return Box::pin(postgres::Engine::open(&config.url, config)).await.map(Self::Postgres);
        }
        Err(Error::Url)
    }

    /// Begins a transaction that may write. On `SQLite` there is one at a time.
    pub async fn begin(&self) -> Result<Tx, Error> {
        match self {
            Self::Sqlite(engine) => engine.begin().await.map(Tx::Sqlite),
            Self::Postgres(engine) => engine.begin().await.map(Tx::Postgres),
        }
        .map_err(Error::Begin)
    }

    /// Begins a transaction whose reads all see one moment.
    pub async fn begin_read(&self) -> Result<Tx, Error> {
        match self {
            Self::Sqlite(engine) => engine.begin_read().await.map(Tx::Sqlite),
            Self::Postgres(engine) => engine.begin_read().await.map(Tx::Postgres),
        }
        .map_err(Error::Begin)
    }

    /// Whether other hosts may write these tables.
    pub fn may_be_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// The server's clock, in microseconds since 1970; `None` where it is this machine's.
    pub async fn clock_micros(&self) -> Result<Option<i64>, Error> {
        const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        match self.begin_read().await? {
            Tx::Sqlite(_) => Ok(None),
            Tx::Postgres(mut tx) => {
                let clock = sqlx::query_scalar(CLOCK).fetch_one(&mut *tx).await;
                clock.map(Some).map_err(Error::query("clock_micros"))
            }
        }
    }

    /// Closes all connections, waiting for those in use.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(engine) => engine.close().await,
            Self::Postgres(engine) => engine.close().await,
        }
    }
}

impl Tx {
    /// Makes the transaction permanent.
    pub async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
        .map_err(Error::Commit)
    }
}

/// Runs one body of sqlx calls against whichever engine runs; `$conn` is its connection.
macro_rules! on_engine {
    ($tx:expr, |$conn:ident| $body:expr) => {
        match $tx {
            crate::db::Tx::Sqlite(tx) => {
                let $conn = &mut **tx;
                $body
            }
            crate::db::Tx::Postgres(tx) => {
                let $conn = &mut **tx;
                $body
            }
        }
    };
}
pub(crate) use on_engine;

/// Gives [`Db`] the reads of [`Tx`], each in a transaction of its own.
macro_rules! single_reads {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl crate::db::Db {
            $(
                $(#[$doc])*
                pub async fn $name(&self, $($argument: $kind),*) -> Result<$answer, crate::error::Error> {
                    let mut tx = self.begin_read().await?;
                    let answer = tx.$name($($argument),*).await?;
                    tx.commit().await?;
                    Ok(answer)
                }
            )*
        }
    };
}
pub(crate) use single_reads;

pub(crate) fn migrate_error(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMismatch(number) | MigrateError::VersionMissing(number) => Error::Drift { number },
        other => Error::Migrate(other),
    }
}

/// The rows of a list that can be read. One that cannot, since somebody wrote it by hand or another version did, is logged
/// and left out: it must not keep a host from its other rows.
pub(crate) fn readable<C, R>(list: &'static str, rows: Vec<C>, row: impl Fn(C) -> Result<R, Error>) -> Vec<R> {
    let read = rows.into_iter().filter_map(|columns| match row(columns) {
        Ok(row) => Some(row),
        Err(error) => {
            tracing::error!(
                list,
                error = &error as &dyn std::error::Error,
                "a stored row cannot be read and is left out"
            );
            None
        }
    });
    read.collect()
}

/// Reads a stored text that was parsed before it was stored.
pub(crate) fn parsed<T: std::str::FromStr>(column: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Corrupt { column })
}

/// Reads a stored number that is never negative.
pub(crate) fn unsigned<T: TryFrom<i64>>(column: &'static str, number: i64) -> Result<T, Error> {
    T::try_from(number).map_err(|_| Error::Corrupt { column })
}

/// The form in which a number is stored: the engines have signed ones only.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
