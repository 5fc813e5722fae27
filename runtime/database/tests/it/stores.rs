//! Plugin storage for a test: a folder of its own, stores by tenant, short ways to call them.
//! It holds no assertion of its own.

use std::time::{Duration, Instant};

use bulkhead_database::tenant::{PluginMigration, PluginStorage, Run, StorageConfig};
use bulkhead_database::{DatabaseConfig, Db, PluginStore, StorageError, Table, Value};
use tempfile::TempDir;

use crate::engines::{plugin, tenant};
use crate::postgres;

/// Bytes that a store may hold unless a test says otherwise.
pub(crate) const QUOTA_BYTES: u64 = 8 << 20;

/// Storage on one of the engines, in a folder or database that goes with it.
pub(crate) struct Stores {
    pub(crate) engine: &'static str,
    pub(crate) storage: PluginStorage,
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    db: Option<Db>,
}

/// Runs `test` on storage in files, then on storage on a server.
pub(crate) async fn for_each_store(test: impl AsyncFn(&Stores)) {
    for stores in [Stores::new().await, Stores::on_server(server_config()).await] {
        eprintln!("on {}", stores.engine);
        test(&stores).await;
        stores.close().await;
    }
}

/// Few logins, so that tests meet on one.
pub(crate) fn server_config() -> StorageConfig {
    StorageConfig { shards: 2, login_key: Some([7; 32]), ..StorageConfig::default() }
}

impl Stores {
    /// In files.
    pub(crate) async fn new() -> Self {
        Self::with(StorageConfig::default()).await
    }

    /// In files, within these bounds.
    pub(crate) async fn with(config: StorageConfig) -> Self {
        let folder = TempDir::new().unwrap();
        let storage = PluginStorage::open(folder.path(), config).await.unwrap();
        Self { engine: "sqlite", storage, url: String::new(), folder, db: None }
    }

    /// In an empty database of a server, within these bounds.
    pub(crate) async fn on_server(config: StorageConfig) -> Self {
        Self::on_database(postgres::database(), config).await
    }

    /// In a database of a server.
    pub(crate) async fn on_database(url: String, config: StorageConfig) -> Self {
        let folder = TempDir::new().unwrap();
        let db = Db::open(&DatabaseConfig::new(&url)).await.unwrap();
        let storage = PluginStorage::beside(&db, folder.path(), &config).await.unwrap();
        Self { engine: "postgres", storage, url, folder, db: Some(db) }
    }

    /// Closes what is open.
    pub(crate) async fn close(&self) {
        self.storage.close().await.unwrap();
        if let Some(db) = &self.db {
            db.close().await;
        }
    }

    /// What stands for the engine that runs.
    pub(crate) fn either<T>(&self, sqlite: T, postgres: T) -> T {
        if self.engine == "sqlite" { sqlite } else { postgres }
    }

    /// The store of `acme.notes` in a tenant, empty.
    pub(crate) fn empty(&self, name: &str) -> PluginStore {
        self.storage.store(&tenant(name), &plugin("acme.notes"), QUOTA_BYTES)
    }

    /// The store of `acme.notes` in a tenant, with this schema.
    pub(crate) async fn with_schema(&self, name: &str, schema: &str) -> PluginStore {
        let store = self.empty(name);
        migrate(&store, &[schema]).await.unwrap();
        store
    }
}

/// A deadline that no sound call meets.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

pub(crate) fn migration(number: u32, sql: &str) -> PluginMigration {
    PluginMigration::new(number, "step", sql.as_bytes()).unwrap()
}

/// Applies these migrations, numbered from 1.
pub(crate) async fn migrate(
    store: &PluginStore,
    list: &[&str],
) -> Result<usize, bulkhead_database::tenant::MigrationError> {
    let list = (1..).zip(list).map(|(number, sql)| migration(number, sql)).collect();
    store.migrate(list, Run::Apply, 7).await.map(|applied| applied.len())
}

pub(crate) async fn query(store: &PluginStore, text: &str) -> Result<Table, StorageError> {
    store.query(text, vec![], soon()).await
}

pub(crate) async fn execute(store: &PluginStore, text: &str) -> Result<Table, StorageError> {
    store.execute(text, vec![], soon()).await
}

/// The one integer that a query answers.
pub(crate) async fn number(store: &PluginStore, text: &str) -> i64 {
    match query(store, text).await.unwrap().rows.as_slice() {
        [row] => match row.as_slice() {
            [Value::Int64(number)] => *number,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}
