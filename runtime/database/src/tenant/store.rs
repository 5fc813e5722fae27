//! One plugin's SQL in one tenant: what a call holds. Each statement or batch is a transaction of its own.
//! It names no file to anybody and takes no tenant or plugin from a guest.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_model::{PluginId, TenantId};

use super::files::{self, File, Files, acquire};
use super::limits;
use super::session::{Session, Shares};
use super::sqlite::{Access, Connection};
use super::value::{Statement, StorageError, Table, Value, limit_codes};
use crate::error::Error;

/// Bounds of plugin storage in the process.
#[derive(Clone, Copy, Debug)]
pub struct StorageConfig {
    /// Connections open at once, over all files; each takes up to three file descriptors.
    pub open_files_max: usize,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { open_files_max: limits::OPEN_FILES_MAX }
    }
}

/// The storage of all plugins in all tenants. A cheap clone.
#[derive(Clone, Debug)]
pub struct PluginStorage {
    files: Arc<Files>,
}

impl PluginStorage {
    /// Storage under `<folder>/tenants`, which is made if it is not there.
    pub async fn open(folder: &Path, config: StorageConfig) -> Result<Self, Error> {
        let folder = std::path::absolute(folder).map_err(Error::Folder)?.join("tenants");
        let files = Files::new(folder.clone(), config.open_files_max.max(1));
        blocking(move || files::make_folder(&folder)).await?;
        Ok(Self { files: Arc::new(files) })
    }

    /// What a plugin holds in a tenant, of at most `storage_bytes_max`. Opens nothing.
    pub fn store(&self, tenant: &TenantId, plugin: &PluginId, storage_bytes_max: u64) -> PluginStore {
        PluginStore { files: Arc::clone(&self.files), file: self.files.file(tenant, plugin), storage_bytes_max }
    }

    /// Bytes on disk of a plugin in a tenant, its write-ahead log included.
    pub async fn usage_bytes(&self, tenant: &TenantId, plugin: &PluginId) -> Result<u64, Error> {
        let file = self.files.file(tenant, plugin);
        blocking(move || Ok(length(file.path()).saturating_add(log_bytes(&file)))).await
    }

    /// Deletes everything that a plugin holds in a tenant, once its calls have ended. Nothing there is no error.
    pub async fn delete(&self, tenant: &TenantId, plugin: &PluginId) -> Result<(), Error> {
        let file = self.files.file(tenant, plugin);
        let _alone = file.alone().await?;
        let idle = self.files.drain_idle(&file);
        blocking(move || {
            drop(idle);
            file.paths().iter().try_for_each(|path| ignore_absent(std::fs::remove_file(path)))
        })
        .await
    }

    /// Deletes everything that all plugins hold in a tenant, once their calls have ended. Nothing there is no error.
    pub async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        let (mut alone, mut idle) = (Vec::new(), Vec::new());
        for file in self.files.known_of(tenant) {
            alone.push(file.alone().await?);
            idle.extend(self.files.drain_idle(&file));
        }
        let folder = self.files.folder_of(tenant);
        blocking(move || {
            drop(idle);
            ignore_absent(std::fs::remove_dir_all(folder))
        })
        .await
    }

    /// Closes the idle files of all plugins, for an orderly end of the process.
    pub async fn close(&self) -> Result<(), Error> {
        let idle = self.files.drain_all_idle();
        blocking(move || {
            drop(idle);
            Ok(())
        })
        .await
    }
}

/// One plugin's storage in one tenant. A cheap clone.
#[derive(Clone, Debug)]
pub struct PluginStore {
    files: Arc<Files>,
    file: Arc<File>,
    storage_bytes_max: u64,
}

impl PluginStore {
    /// Runs one statement that only reads.
    pub async fn query(&self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError> {
        let deadline = statement_deadline(deadline);
        let text = text.to_owned();
        let session = self.reader(deadline).await?;
        session.finish(deadline, move |connection| connection.run(&text, params, Access::Read)).await
    }

    /// Runs one statement in a transaction of its own.
    pub async fn execute(&self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError> {
        let deadline = statement_deadline(deadline);
        let text = text.to_owned();
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.run(&text, params, Access::Write)).await
    }

    /// Runs all statements in one transaction, or none.
    pub async fn batch(&self, statements: Vec<Statement>, deadline: Instant) -> Result<Vec<Table>, StorageError> {
        if statements.len() > limits::BATCH_STATEMENTS_MAX {
            return Err(StorageError::Limit(limit_codes::STATEMENTS));
        }
        let deadline = statement_deadline(deadline);
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| run_batch(connection, statements)).await
    }

    /// A connection for reading.
    pub(super) async fn reader(&self, deadline: Instant) -> Result<Session, StorageError> {
        let connection = acquire(&self.file.connections, deadline, limit_codes::DEADLINE).await?;
        self.session(Shares { _connection: connection, _writer: None, _held: None }, deadline).await
    }

    /// The file's one connection for writing, waited for as long as `wait` at most.
    pub(super) async fn writer(&self, wait: Duration, deadline: Instant) -> Result<Session, StorageError> {
        let until = deadline.min(Instant::now() + wait);
        let writer = acquire(&self.file.writer, until, limit_codes::LOCK_WAIT).await?;
        let connection = acquire(&self.file.connections, deadline, limit_codes::DEADLINE).await?;
        let session =
            self.session(Shares { _connection: connection, _writer: Some(writer), _held: None }, deadline).await?;
        if log_bytes(&session.file) <= limits::LOG_BYTES_MAX {
            return Ok(session);
        }
        self.shrink_log(session, deadline).await
    }

    /// Moves the write-ahead log into the file. A log that a reader keeps long counts against the quota: no write
    /// may add to it.
    async fn shrink_log(&self, session: Session, deadline: Instant) -> Result<Session, StorageError> {
        let (session, answer) = session.run(deadline, Connection::checkpoint).await?;
        if answer.is_ok() && log_bytes(&session.file) <= limits::LOG_BYTES_MAX {
            return Ok(session);
        }
        session.put_back();
        Err(StorageError::Limit(limit_codes::QUOTA))
    }

    async fn session(&self, shares: Shares, deadline: Instant) -> Result<Session, StorageError> {
        let (file, files) = (Arc::clone(&self.file), Arc::clone(&self.files));
        let storage_bytes_max = self.storage_bytes_max;
        let open = match files.take_idle(&file) {
            Some(open) => open,
            None => self.open(deadline).await?,
        };
        Ok(Session { open, file, files, storage_bytes_max, shares })
    }

    async fn open(&self, deadline: Instant) -> Result<files::Open, StorageError> {
        let permit = self.files.room(deadline).await?;
        let (file, storage_bytes_max) = (Arc::clone(&self.file), self.storage_bytes_max);
        tokio::task::spawn_blocking(move || file.open(storage_bytes_max, permit, deadline))
            .await
            .map_err(|_| StorageError::Unavailable)?
    }

    /// The right to hold a transaction or cursor between two calls of the guest.
    pub(super) async fn held(&self, deadline: Instant) -> Result<tokio::sync::OwnedSemaphorePermit, StorageError> {
        // One that was just dropped is still being closed: its place is waited for like a lock.
        let until = deadline.min(Instant::now() + limits::LOCK_WAIT);
        match tokio::time::timeout_at(until.into(), Arc::clone(&self.file.held).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(StorageError::Limit(limit_codes::OPEN_TRANSACTIONS)),
        }
    }
}

fn run_batch(connection: &mut Connection, statements: Vec<Statement>) -> Result<Vec<Table>, StorageError> {
    connection.in_transaction(|connection| {
        let (mut tables, mut bytes) = (Vec::with_capacity(statements.len()), 0_usize);
        for statement in statements {
            let table = connection.run(&statement.text, statement.params, Access::Write)?;
            bytes = bytes.saturating_add(table.rows.iter().flatten().map(Value::size_bytes).sum());
            if bytes > limits::RESULT_BYTES_MAX {
                return Err(StorageError::Limit(limit_codes::BYTES));
            }
            tables.push(table);
        }
        Ok(tables)
    })
}

/// The end of a statement that begins now in a call that ends at `deadline`.
pub(super) fn statement_deadline(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + limits::STATEMENT)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(std::io::Error::other).and_then(|done| done).map_err(Error::Folder)
}

fn log_bytes(file: &File) -> u64 {
    length(file.log_path())
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn ignore_absent(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
