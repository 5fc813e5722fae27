//! The host's tables on `SQLite`: one file, one connection that writes, several that read.
//! Plugin data is in files of its own: [`storage`].

#[cfg(test)]
mod attacks;
mod blobs;
mod connection;
mod export;
mod files;
mod functions;
mod gate;
mod held;
mod kv;
mod migrate;
mod raw;
mod rules;
mod scope;
mod session;
mod settings;
mod statement;
mod storage;
mod value;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::Sqlite;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};

use super::Fault;
use crate::db::DatabaseConfig;
use crate::error::Error;

pub(crate) use held::{Cursor, Transaction};
pub(crate) use scope::Scope;
pub(crate) use session::Session;
pub(crate) use storage::{Storage, Store};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Time between two tries for the lock of the migrations.
const LOCK_TRY: Duration = Duration::from_millis(20);
/// Time that a start waits for another process's migrations.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// The open file.
#[derive(Clone, Debug)]
pub struct Engine {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Engine {
    /// Opens or creates the file in the folder of the URL and brings its tables to this version.
    pub(crate) async fn open(folder: &str, config: &DatabaseConfig) -> Result<Self, Error> {
        let folder = PathBuf::from(folder);
        tokio::fs::create_dir_all(&folder).await.map_err(Error::Folder)?;
        let file = SqliteConnectOptions::new()
            .filename(folder.join("host.db"))
            .busy_timeout(config.acquire_timeout)
            .foreign_keys(true);
        let write = file
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        // The first to come turns the file to its journal, which waits for nobody else who opens it.
        let lock = lock(&folder).await?;
        let writer = pool(config, 1).connect_with(write).await.map_err(Error::Open)?;
        MIGRATIONS.run(&writer).await.map_err(crate::db::migrate_error)?;
        drop(lock);
        let readers = pool(config, config.pool_max).connect_with(file.read_only(true)).await.map_err(Error::Open)?;
        Ok(Self { writer, readers })
    }

    pub(crate) async fn begin(&self) -> Result<sqlx::Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    pub(crate) async fn begin_read(&self) -> Result<sqlx::Transaction<'static, Sqlite>, sqlx::Error> {
        self.readers.begin().await
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

pub(crate) fn fault(code: &str) -> Option<Fault> {
    match code {
        // SQLITE_FULL, then the unique and primary-key constraints, then the kinds of SQLITE_BUSY.
        "13" => Some(Fault::Full),
        "1555" | "2067" | "5" | "261" | "517" => Some(Fault::Conflict),
        _ => None,
    }
}

fn pool(config: &DatabaseConfig, connections_max: u32) -> PoolOptions<Sqlite> {
    PoolOptions::new()
        .max_connections(connections_max.max(1))
        .acquire_timeout(config.acquire_timeout)
        .before_acquire(|conn, _| Box::pin(async move { Ok(super::is_whole(conn)) }))
}

/// One process at a time migrates; the lock goes with the returned file.
async fn lock(folder: &Path) -> Result<File, Error> {
    let until = Instant::now() + LOCK_WAIT;
    let file = File::create(folder.join("host.lock")).map_err(Error::Folder)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < until => tokio::time::sleep(LOCK_TRY).await,
            Err(error) => return Err(Error::Folder(error.into())),
        }
    }
}
