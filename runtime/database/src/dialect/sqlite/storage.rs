//! Plugin storage on `SQLite`: one file per (tenant, plugin). A file is its own boundary: no statement can name
//! another, and quota, lock and deletion are the file's.
//! It decides nothing about who may call and reads no text that the guard did not let through.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_model::{PluginId, TenantId};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::{Access, Connection};
use super::files::{self, File, Files, acquire};
use super::scope::InScope;
use super::session::{Session, Shares};
use crate::error::Error;
use crate::tenant::admission::Admitted;
use crate::tenant::value::{StorageError, Table, Value, limit_codes};
use crate::tenant::{Finding, Kept, limits, value};

/// The files of all plugins in all tenants. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    files: Arc<Files>,
}

impl Storage {
    /// Storage under `<folder>/tenants`, which is made if it is not there.
    pub(crate) async fn open(folder: &Path, open_files_max: usize) -> Result<Self, Error> {
        let folder = std::path::absolute(folder).map_err(Error::Folder)?.join("tenants");
        let files = Files::new(folder.clone(), open_files_max.max(1));
        blocking(move || files::make_folder(&folder)).await?;
        Ok(Self { files: Arc::new(files) })
    }

    /// What a plugin holds in a tenant. Opens nothing.
    pub(crate) fn store(&self, tenant: &TenantId, plugin: &PluginId, storage_bytes_max: u64) -> Store {
        Store { files: Arc::clone(&self.files), file: self.files.file(tenant, plugin), storage_bytes_max, scope: None }
    }

    /// Bytes on disk, the write-ahead log included.
    pub(crate) async fn usage_bytes(&self, tenant: &TenantId, plugin: &PluginId) -> Result<u64, Error> {
        let file = self.files.file(tenant, plugin);
        blocking(move || Ok(length(file.path()).saturating_add(log_bytes(&file)))).await
    }

    /// Whose files there are.
    pub(crate) async fn kept(&self, limit: usize) -> Result<Vec<Kept>, Error> {
        let folder = self.files.folder().to_owned();
        blocking(move || {
            let mut kept = Vec::new();
            for tenant in std::fs::read_dir(folder)? {
                let tenant = tenant?;
                if !tenant.file_type()?.is_dir() {
                    continue;
                }
                for file in std::fs::read_dir(tenant.path())? {
                    let name = file?.file_name().to_string_lossy().into_owned();
                    if let Some(plugin) = name.strip_suffix(".db") {
                        let tenant = tenant.file_name().to_string_lossy().into_owned();
                        kept.push(Kept { tenant, plugin: plugin.to_owned() });
                    }
                    if kept.len() >= limit {
                        return Ok(kept);
                    }
                }
            }
            Ok(kept)
        })
        .await
    }

    /// A file is a wall of its own: nothing of it can be missing.
    pub(crate) async fn check(&self) -> Result<Vec<Finding>, Error> {
        Ok(Vec::new())
    }

    /// Removes a plugin's file once its calls have ended.
    pub(crate) async fn delete(&self, tenant: &TenantId, plugin: &PluginId) -> Result<(), Error> {
        let file = self.files.file(tenant, plugin);
        let _alone = file.alone().await?;
        let idle = self.files.drain_idle(&file);
        blocking(move || {
            drop(idle);
            file.paths().iter().try_for_each(|path| ignore_absent(std::fs::remove_file(path)))
        })
        .await
    }

    /// Removes a tenant's folder once all calls have ended.
    pub(crate) async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
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

    /// Closes the idle files of all plugins.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        let idle = self.files.drain_all_idle();
        blocking(move || {
            drop(idle);
            Ok(())
        })
        .await
    }
}

/// One plugin's file. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(super) files: Arc<Files>,
    pub(super) file: Arc<File>,
    pub(super) storage_bytes_max: u64,
    /// The call of a scope that it works for.
    pub(super) scope: Option<InScope>,
}

impl Store {
    /// Nothing: a file is opened in less time than a call has.
    pub(crate) async fn reach(&self, _deadline: Instant) -> Result<(), StorageError> {
        Ok(())
    }

    /// Runs one statement that only reads.
    pub(crate) async fn query(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        let statement = statement.clone();
        let session = self.reader(deadline).await?;
        session.finish(deadline, move |connection| connection.run(statement.text(), params, Access::Read)).await
    }

    /// Runs one statement in a transaction of its own.
    pub(crate) async fn execute(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        let statement = statement.clone();
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| connection.run(statement.text(), params, Access::Write)).await
    }

    /// Runs all statements in one transaction, or none.
    pub(crate) async fn batch(
        &self,
        statements: Vec<(Admitted, Vec<Value>)>,
        deadline: Instant,
    ) -> Result<Vec<Table>, StorageError> {
        let session = self.writer(limits::LOCK_WAIT, deadline).await?;
        session.finish(deadline, move |connection| run_batch(connection, statements)).await
    }

    /// Whether it works for a call of a scope.
    pub(crate) fn is_scoped(&self) -> bool {
        self.scope.is_some()
    }

    /// Whether both are of one file.
    pub(crate) fn is_of_same_plugin(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }

    /// A connection for reading.
    pub(super) async fn reader(&self, deadline: Instant) -> Result<Session, StorageError> {
        if let Some(scope) = &self.scope
            && let Some(session) = scope.reader(deadline).await?
        {
            return Ok(session);
        }
        let connection = acquire(&self.file.connections, deadline, limit_codes::DEADLINE).await?;
        self.session(Shares { _connection: connection, _writer: None, _held: None }, deadline).await
    }

    /// The file's one connection for writing, waited for as long as `wait` at most; in a scope its transaction.
    pub(super) async fn writer(&self, wait: Duration, deadline: Instant) -> Result<Session, StorageError> {
        match &self.scope {
            Some(scope) => scope.writer(deadline).await,
            None => self.own_writer(wait, deadline).await,
        }
    }

    pub(super) async fn own_writer(&self, wait: Duration, deadline: Instant) -> Result<Session, StorageError> {
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
        Ok(Session { open, file, files, storage_bytes_max, shares, loan: None })
    }

    async fn open(&self, deadline: Instant) -> Result<files::Open, StorageError> {
        let permit = self.files.room(deadline).await?;
        let (file, storage_bytes_max) = (Arc::clone(&self.file), self.storage_bytes_max);
        tokio::task::spawn_blocking(move || file.open(storage_bytes_max, permit, deadline))
            .await
            .map_err(|_| StorageError::Unavailable)?
    }

    /// The right to hold a transaction or cursor between two calls of the guest.
    pub(super) async fn held(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, StorageError> {
        // One that was just dropped is still being closed: its place is waited for like a lock.
        let until = deadline.min(Instant::now() + limits::LOCK_WAIT);
        acquire(&self.file.held, until, limit_codes::OPEN_TRANSACTIONS).await
    }
}

fn run_batch(connection: &mut Connection, statements: Vec<(Admitted, Vec<Value>)>) -> Result<Vec<Table>, StorageError> {
    connection.in_transaction(|connection| {
        let (mut tables, mut bytes) = (Vec::with_capacity(statements.len()), 0_usize);
        for (statement, params) in statements {
            let table = connection.run(statement.text(), params, Access::Write)?;
            bytes = value::within_result_bytes(bytes, &table)?;
            tables.push(table);
        }
        Ok(tables)
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(std::io::Error::other).and_then(|done| done).map_err(Error::Folder)
}

pub(super) fn log_bytes(file: &File) -> u64 {
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
