//! What differs between the engines, under the same names in each: the host's tables, and the storage of plugins.
//! It holds no query: those of the host's tables are written once, those of a plugin are the plugin's.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bulkhead_model::{PluginId, TenantId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;

use crate::db::Db;
use crate::error::Error;
use crate::tenant::admission::{Admission, Admitted};
use crate::tenant::blobs::{BlobInfo, BlobPage, Rows};
use crate::tenant::export::TablePiece;
use crate::tenant::kv::Put;
use crate::tenant::migrate::{Applied, FailedMigration, MigrationError, PluginMigration, Run};
use crate::tenant::ongoing::Sealed;
use crate::tenant::value::{Isolation, KvCondition, KvEntry, KvOutcome, KvPage, StorageError, Table, Value};
use crate::tenant::{Finding, Kept, StorageConfig};

pub(crate) mod postgres;
pub(crate) mod sqlite;

/// A failure that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No space left.
    Full,
    /// Somebody else was first.
    Conflict,
    /// A text has what the engine does not keep, NUL before all.
    Text,
}

/// Whether a connection of the host's tables can be lent again. One whose transaction was neither committed nor rolled back
/// cannot: a commit that finds the disk full leaves the driver and the engine at odds about that, for ever.
pub(crate) fn is_whole(conn: &impl sqlx::Connection) -> bool {
    !conn.is_in_transaction()
}

/// The fault behind an error. The engines' codes do not overlap: one has numbers, the other five characters.
pub(crate) fn fault(error: &sqlx::Error) -> Option<Fault> {
    let code = error.as_database_error()?.code()?;
    sqlite::fault(&code).or_else(|| postgres::fault(&code))
}

/// Gives one of these enums its verbs: each is the verb of the same name on the engine that runs.
macro_rules! verbs {
    ($engine:ident { $(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;
    )* }) => {
        impl $engine {
            $(
                $(#[$doc])*
                pub(crate) async fn $name(&self, $($argument: $kind),*) -> $answer {
                    match self {
                        Self::Sqlite(engine) => engine.$name($($argument),*).await,
                        // Boxed: what waits for a server is large, and callers hold it.
                        Self::Postgres(engine) => Box::pin(engine.$name($($argument),*)).await,
                    }
                }
            )*
        }
    };
}

/// The storage of all plugins in all tenants.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    Sqlite(sqlite::Storage),
    Postgres(postgres::Storage),
}

impl Storage {
    /// Storage in files under a folder.
    pub(crate) async fn in_folder(folder: &Path, config: &StorageConfig) -> Result<Self, Error> {
        sqlite::Storage::open(folder, config.open_files_max).await.map(Self::Sqlite)
    }

    /// Storage on the engine of the host's tables.
    pub(crate) async fn beside(db: &Db, folder: &Path, config: &StorageConfig) -> Result<Self, Error> {
        match db {
            Db::Sqlite(_) => Self::in_folder(folder, config).await,
            Db::Postgres(engine) => Box::pin(postgres::Storage::open(engine, config)).await.map(Self::Postgres),
        }
    }

    /// The engine's name in a file's name.
    pub(crate) fn engine_name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// What a plugin holds in a tenant. Opens nothing.
    pub(crate) fn store(&self, tenant: &TenantId, plugin: &PluginId, storage_bytes_max: u64) -> Store {
        match self {
            Self::Sqlite(storage) => Store::Sqlite(storage.store(tenant, plugin, storage_bytes_max)),
            Self::Postgres(storage) => Store::Postgres(storage.store(tenant, plugin, storage_bytes_max)),
        }
    }
}

verbs! { Storage {
    /// Bytes that a plugin holds in a tenant.
    fn usage_bytes(tenant: &TenantId, plugin: &PluginId) -> Result<u64, Error>;
    /// Deletes what a plugin holds in a tenant.
    fn delete(tenant: &TenantId, plugin: &PluginId) -> Result<(), Error>;
    /// Deletes what all plugins hold in a tenant.
    fn delete_tenant(tenant: &TenantId) -> Result<(), Error>;
    /// Whose data is kept, at most `limit`.
    fn kept(limit: usize) -> Result<Vec<Kept>, Error>;
    /// The layers of the isolation that are missing.
    fn check() -> Result<Vec<Finding>, Error>;
    /// Closes what is idle.
    fn close() -> Result<(), Error>;
}}

/// One plugin's storage in one tenant.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Sqlite(sqlite::Store),
    Postgres(postgres::Store),
}

verbs! { Store {
    /// Opens what calls will need.
    fn reach(deadline: Instant) -> Result<(), StorageError>;
    /// Runs one statement that only reads.
    fn query(statement: &Admitted, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError>;
    /// Runs one statement in a transaction of its own.
    fn execute(statement: &Admitted, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError>;
    /// Runs all statements in one transaction, or none.
    fn batch(statements: Vec<(Admitted, Vec<Value>)>, deadline: Instant) -> Result<Vec<Table>, StorageError>;
    /// Reads a key.
    fn kv_get(key: &str, now_ms: i64, deadline: Instant) -> Result<Option<KvEntry>, StorageError>;
    /// Reads keys in order, all of one moment.
    fn kv_get_many(keys: Vec<String>, now_ms: i64, deadline: Instant) -> Result<Vec<Option<KvEntry>>, StorageError>;
    /// Writes a key, if its condition holds.
    fn kv_set(put: Put, now_ms: i64, deadline: Instant) -> Result<KvOutcome, StorageError>;
    /// Removes a key, if the condition holds.
    fn kv_delete(key: &str, when: KvCondition, now_ms: i64, deadline: Instant) -> Result<KvOutcome, StorageError>;
    /// Adds to a decimal integer.
    fn kv_increment(key: &str, by: i64, now_ms: i64, deadline: Instant) -> Result<i64, StorageError>;
    /// Up to `max` keys of a prefix behind `after`, in byte order.
    fn kv_scan(prefix: &str, after: Option<String>, max: usize, now_ms: i64, deadline: Instant) -> Result<KvPage, StorageError>;
    /// Removes a batch of expired keys and says how many.
    fn kv_sweep(now_ms: i64, deadline: Instant) -> Result<u32, StorageError>;
    /// The right to write a blob.
    fn blob_place(deadline: Instant) -> Result<OwnedSemaphorePermit, StorageError>;
    /// What is known of a blob.
    fn blob_stat(name: &str, deadline: Instant) -> Result<Option<BlobInfo>, StorageError>;
    /// These chunks of a blob, as far as it has them.
    fn blob_chunks(name: &str, numbers: Range<i64>, deadline: Instant) -> Result<Option<Vec<Vec<u8>>>, StorageError>;
    /// Stores rows of an upload, which the first of them begins.
    fn blob_append(rows: Rows, now_us: i64, deadline: Instant) -> Result<(), StorageError>;
    /// Stores the last rows of an upload and makes all of it the blob of its name.
    fn blob_finish(rows: Rows, info: BlobInfo, deadline: Instant) -> Result<(), StorageError>;
    /// Removes an upload that was not finished.
    fn blob_discard(upload_id: i64, deadline: Instant) -> Result<(), StorageError>;
    /// Removes a blob and says whether it was there.
    fn blob_delete(name: &str, deadline: Instant) -> Result<bool, StorageError>;
    /// Up to `max` blobs of a prefix behind `after`, in byte order.
    fn blob_scan(prefix: &str, after: Option<String>, max: usize, deadline: Instant) -> Result<BlobPage, StorageError>;
    /// Removes one upload that began before a moment and says how many.
    fn blob_sweep(before_us: i64, deadline: Instant) -> Result<u32, StorageError>;
    /// Applies the migrations that have not run.
    fn migrate(migrations: Vec<PluginMigration>, admission: Arc<Admission>, run: Run, now: i64) -> Result<Vec<Applied>, MigrationError>;
    /// Undoes the migration that ran last by its down file.
    fn revert(down: PluginMigration, admission: Arc<Admission>, now: i64) -> Result<(), MigrationError>;
    /// Whether anything is kept. Makes nothing.
    fn is_there(deadline: Instant) -> Result<bool, StorageError>;
    /// Sends all tables of one moment.
    fn export_tables(pieces: Sender<TablePiece>, deadline: Instant) -> Result<(), StorageError>;
    /// The migration that failed last, if it has not run since.
    fn failed_migration(deadline: Instant) -> Result<Option<FailedMigration>, StorageError>;
    /// The migrations that ran, in order.
    fn applied_migrations(deadline: Instant) -> Result<Vec<Applied>, StorageError>;
}}

impl Store {
    /// The plugin's part of a scope.
    pub(crate) fn scope(&self, ends_at: Instant) -> Scope {
        match self {
            Self::Sqlite(store) => Scope::Sqlite(Arc::new(sqlite::Scope::new(store, ends_at))),
            Self::Postgres(store) => Scope::Postgres(Arc::new(postgres::Scope::new(store, ends_at))),
        }
    }

    /// Whether it works for a call of a scope.
    pub(crate) fn is_scoped(&self) -> bool {
        match self {
            Self::Sqlite(store) => store.is_scoped(),
            Self::Postgres(store) => store.is_scoped(),
        }
    }

    /// Whether both are of one plugin in one tenant.
    pub(crate) fn is_of_same_plugin(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => one.is_of_same_plugin(other),
            (Self::Postgres(one), Self::Postgres(other)) => one.is_of_same_plugin(other),
            (Self::Sqlite(_), Self::Postgres(_)) | (Self::Postgres(_), Self::Sqlite(_)) => false,
        }
    }

    /// Opens a transaction that ends at `deadline` at the latest.
    pub(crate) async fn begin(&self, isolation: Isolation, deadline: Instant) -> Result<Transaction, StorageError> {
        match self {
            // The file's one writer is alone at every isolation.
            Self::Sqlite(store) => store.begin(deadline).await.map(Transaction::Sqlite),
            Self::Postgres(store) => Box::pin(store.begin(isolation, deadline)).await.map(Transaction::Postgres),
        }
    }

    /// Opens a cursor over one statement that only reads.
    pub(crate) async fn open_cursor(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Cursor, StorageError> {
        match self {
            Self::Sqlite(store) => store.open_cursor(statement, params, deadline).await.map(Cursor::Sqlite),
            Self::Postgres(store) => {
                Box::pin(store.open_cursor(statement, params, deadline)).await.map(Cursor::Postgres)
            }
        }
    }
}

/// One plugin's part of a scope of the host application.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    Sqlite(Arc<sqlite::Scope>),
    Postgres(Arc<postgres::Scope>),
}

verbs! { Scope {
    /// Ends the call that began last: what it wrote is kept or undone.
    fn end_call(is_kept: bool) -> Result<(), StorageError>;
    /// Whether something was kept that is lost.
    fn is_lost() -> bool;
    /// Undoes everything.
    fn end() -> ();
}}

impl Scope {
    /// Begins a call, and answers the store that works for it.
    pub(crate) fn begin_call(&self) -> Store {
        match self {
            Self::Sqlite(scope) => Store::Sqlite(scope.begin_call()),
            Self::Postgres(scope) => Store::Postgres(scope.begin_call()),
        }
    }

    /// Takes what was kept out to be committed.
    pub(crate) async fn seal(&self) -> Result<Option<SealedScope>, StorageError> {
        match self {
            Self::Sqlite(scope) => Ok(scope.seal().await?.map(SealedScope::Sqlite)),
            Self::Postgres(scope) => Ok(Box::pin(scope.seal()).await?.map(SealedScope::Postgres)),
        }
    }
}

/// What a plugin keeps of a scope, on its way to its commit.
#[derive(Debug)]
pub(crate) enum SealedScope {
    Sqlite(Sealed<sqlite::Session>),
    Postgres(postgres::SealedScope),
}

impl SealedScope {
    /// Makes it permanent.
    pub(crate) async fn commit(self) -> Result<(), StorageError> {
        match self {
            Self::Sqlite(sealed) => sealed.commit().await,
            Self::Postgres(sealed) => Box::pin(sealed.commit()).await,
        }
    }
}

/// An open transaction of a guest.
#[derive(Debug)]
pub(crate) enum Transaction {
    Sqlite(sqlite::Transaction),
    Postgres(postgres::Transaction),
}

verbs! { Transaction {
    /// Runs one statement that only reads.
    fn query(statement: &Admitted, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError>;
    /// Runs one statement.
    fn execute(statement: &Admitted, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError>;
    /// Makes the work permanent.
    fn commit() -> Result<(), StorageError>;
}}

/// A read that is fetched in pages.
#[derive(Debug)]
pub(crate) enum Cursor {
    Sqlite(sqlite::Cursor),
    Postgres(postgres::Cursor),
}

impl Cursor {
    /// Column names in order.
    pub(crate) fn columns(&self) -> &[String] {
        match self {
            Self::Sqlite(cursor) => cursor.columns(),
            Self::Postgres(cursor) => cursor.columns(),
        }
    }
}

verbs! { Cursor {
    /// Up to `rows_max` further rows; none is the end.
    fn next(rows_max: usize, deadline: Instant) -> Result<Vec<Vec<Value>>, StorageError>;
}}
