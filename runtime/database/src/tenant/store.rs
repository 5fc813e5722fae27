//! One plugin's SQL in one tenant: what a call holds. Each statement or batch is a transaction of its own.
//! It names no place to anybody and takes no tenant or plugin from a guest.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bulkhead_model::{PluginId, TenantId};

use super::admission::Admission;
use super::guard::Kind;
use super::limits;
use super::migrate::{MigrationError, PluginMigration, select_downs, select_for};
use super::value::{Statement, StorageError, Table, Value, limit_codes};
use crate::db::Db;
use crate::dialect;
use crate::error::Error;

/// Bounds and keys of plugin storage in the process.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Files open at once where plugin data is kept in files; each takes up to three file descriptors.
    pub open_files_max: usize,
    /// Connections open at once to a database server for plugins' SQL, over all of its logins. One tenant uses at
    /// most a quarter.
    pub connections_max: u32,
    /// Connections open at once to a database server for key-value stores, quotas and provisioning. Beside them are at most
    /// [`limits::SCOPE_KEYS_CONNECTIONS_MAX`] for keys that are written in scopes.
    pub host_connections_max: u32,
    /// Logins over which tenants are spread on a database server, 1 to [`limits::SHARDS_MAX`]. Each serves at most
    /// [`limits::ROLES_PER_SHARD_MAX`] (tenant, plugin) pairs. It may grow later; what exists stays where it is.
    pub shards: u16,
    /// Key of the passwords of those logins: the same on all hosts that share a database, and kept outside it. `None` uses a
    /// secret that the database made for itself, which only its owner can read.
    pub login_key: Option<[u8; 32]>,
}

impl Default for StorageConfig {
    /// The default bounds, and the database's own secret.
    fn default() -> Self {
        Self {
            open_files_max: limits::OPEN_FILES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            host_connections_max: limits::HOST_CONNECTIONS_MAX,
            shards: limits::SHARDS,
            login_key: None,
        }
    }
}

/// A layer of the isolation that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the layer.
    pub layer: &'static str,
    /// What is open, for an operator.
    pub detail: String,
    /// What an operator can do.
    pub remedy: String,
}

/// Somebody's data, by the names under which it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The tenant.
    pub tenant: String,
    /// The plugin's [`PluginId::sql_name`].
    pub plugin: String,
}

/// The storage of all plugins in all tenants. A cheap clone.
#[derive(Clone, Debug)]
pub struct PluginStorage {
    storage: dialect::Storage,
    admission: Arc<Admission>,
}

impl PluginStorage {
    /// Storage in files under `<folder>/tenants`, which is made if it is not there.
    pub async fn open(folder: &Path, config: StorageConfig) -> Result<Self, Error> {
        Ok(Self::of(dialect::Storage::in_folder(folder, &config).await?))
    }

    /// Storage where the host's tables are: in files under `folder` beside an embedded database, or on the database
    /// server that several hosts share.
    pub async fn beside(db: &Db, folder: &Path, config: &StorageConfig) -> Result<Self, Error> {
        Ok(Self::of(dialect::Storage::beside(db, folder, config).await?))
    }

    fn of(storage: dialect::Storage) -> Self {
        Self { storage, admission: Arc::default() }
    }

    /// What a plugin holds in a tenant, of at most `storage_bytes_max`. Opens nothing.
    pub fn store(&self, tenant: &TenantId, plugin: &PluginId, storage_bytes_max: u64) -> PluginStore {
        let store = self.storage.store(tenant, plugin, storage_bytes_max);
        PluginStore { store, admission: Arc::clone(&self.admission) }
    }

    /// The migrations among an artifact's files that are for the engine of this storage, in order. A file is
    /// `NNNN_name.sql`, or `NNNN_name.<engine>.sql` which takes its place.
    pub fn migrations<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Vec<PluginMigration>, MigrationError> {
        select_for(self.storage.engine_name(), files)
    }

    /// The files `NNNN_name.down.sql` or `NNNN_name.<engine>.down.sql` for the engine of this storage, in order.
    pub fn down_migrations<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Vec<PluginMigration>, MigrationError> {
        select_downs(self.storage.engine_name(), files)
    }

    /// Bytes that a plugin holds in a tenant: tables, indexes, keys, and a file's write-ahead log.
    pub async fn usage_bytes(&self, tenant: &TenantId, plugin: &PluginId) -> Result<u64, Error> {
        self.storage.usage_bytes(tenant, plugin).await
    }

    /// Deletes everything that a plugin holds in a tenant, once its calls have ended. Nothing there is no error.
    pub async fn delete(&self, tenant: &TenantId, plugin: &PluginId) -> Result<(), Error> {
        self.storage.delete(tenant, plugin).await
    }

    /// Deletes everything that all plugins hold in a tenant, once their calls have ended. Nothing there is no error.
    pub async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        self.storage.delete_tenant(tenant).await
    }

    /// Whose data is kept, in no order, at most `limit`. Opens nothing.
    pub async fn kept(&self, limit: usize) -> Result<Vec<Kept>, Error> {
        self.storage.kept(limit).await
    }

    /// The layers of the isolation that are missing; none is sound.
    pub async fn check(&self) -> Result<Vec<Finding>, Error> {
        self.storage.check().await
    }

    /// Closes what is idle, for an orderly end of the process.
    pub async fn close(&self) -> Result<(), Error> {
        self.storage.close().await
    }
}

/// One plugin's storage in one tenant. A cheap clone.
#[derive(Clone, Debug)]
pub struct PluginStore {
    pub(super) store: dialect::Store,
    pub(super) admission: Arc<Admission>,
}

impl PluginStore {
    /// Opens what the plugin's calls will need, so that none of them spends its short time on a login: a connection to the
    /// server and the plugin's place there. Tells of a login that is not let in before a call does. Files need nothing.
    pub async fn reach(&self) -> Result<(), StorageError> {
        self.store.reach(Instant::now() + limits::REACH).await
    }

    /// Runs one statement that only reads.
    pub async fn query(&self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError> {
        let statement = self.admission.admit(text, Kind::Query)?;
        self.store.query(&statement, params, self.statement_deadline(deadline)).await
    }

    /// Runs one statement in a transaction of its own.
    pub async fn execute(&self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError> {
        let statement = self.admission.admit(text, Kind::Execute)?;
        self.store.execute(&statement, params, self.statement_deadline(deadline)).await
    }

    /// Runs all statements in one transaction, or none.
    pub async fn batch(&self, statements: Vec<Statement>, deadline: Instant) -> Result<Vec<Table>, StorageError> {
        if statements.len() > limits::BATCH_STATEMENTS_MAX {
            return Err(StorageError::Limit(limit_codes::STATEMENTS));
        }
        let admitted = statements
            .into_iter()
            .map(|statement| Ok((self.admission.admit(&statement.text, Kind::Execute)?, statement.params)))
            .collect::<Result<Vec<_>, StorageError>>()?;
        self.store.batch(admitted, self.statement_deadline(deadline)).await
    }
}
