//! The open files of plugin storage: one per (tenant, plugin), few at a time, the least recently used closed first.
//! It names each file from parsed ids alone and runs no SQL of a plugin.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bulkhead_model::{PluginId, TenantId};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Connection;
use crate::error::Error;
use crate::tenant::limits;
use crate::tenant::value::{StorageError, limit_codes};

/// All files under one folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// One permit per open connection in the process.
    open: Arc<Semaphore>,
    /// One permit per transaction of a scope: half of the connections are for others.
    pub(super) scopes: Arc<Semaphore>,
    idle: Mutex<Idle>,
    known: Mutex<HashMap<(TenantId, PluginId), Weak<File>>>,
    next_number: AtomicU64,
}

/// One file, whether open or not.
#[derive(Debug)]
pub(super) struct File {
    number: u64,
    path: PathBuf,
    log_path: PathBuf,
    /// One permit: writers queue here, so that the engine never answers "locked".
    pub(super) writer: Arc<Semaphore>,
    /// One permit per connection to this file.
    pub(super) connections: Arc<Semaphore>,
    /// One permit per transaction or cursor that a guest holds.
    pub(super) held: Arc<Semaphore>,
    /// One permit per blob that is being written.
    pub(super) blob_writers: Arc<Semaphore>,
    /// Two connections must not create the file at once.
    opening: Mutex<()>,
}

/// An open connection and its share of the process's bound. Dropping it closes the file: not on an async thread.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) connection: Connection,
    _permit: OwnedSemaphorePermit,
}

impl Files {
    pub(super) fn new(folder: PathBuf, open_files_max: usize) -> Self {
        Self {
            folder,
            open: Arc::new(Semaphore::new(open_files_max)),
            scopes: Arc::new(Semaphore::new((open_files_max / 2).max(1))),
            idle: Mutex::default(),
            known: Mutex::default(),
            next_number: AtomicU64::new(0),
        }
    }

    /// The file of a plugin in a tenant: the same value for all who ask while any of them holds it.
    pub(super) fn file(&self, tenant: &TenantId, plugin: &PluginId) -> Arc<File> {
        let mut known = self.known.lock();
        let key = (tenant.clone(), plugin.clone());
        if let Some(file) = known.get(&key).and_then(Weak::upgrade) {
            return file;
        }
        // Forgets the dead before the map would grow: its size stays within twice the living.
        if known.len() == known.capacity() {
            known.retain(|_, file| file.strong_count() > 0);
        }
        let (folder, name) = (self.folder_of(tenant), plugin.sql_name());
        let file = Arc::new(File {
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            path: folder.join(format!("{name}.db")),
            log_path: folder.join(format!("{name}.db-wal")),
            writer: Arc::new(Semaphore::new(1)),
            connections: Arc::new(Semaphore::new(limits::CONNECTIONS_PER_FILE_MAX)),
            held: Arc::new(Semaphore::new(limits::OPEN_TRANSACTIONS_MAX)),
            blob_writers: Arc::new(Semaphore::new(limits::BLOB_WRITERS_MAX)),
            opening: Mutex::default(),
        });
        known.insert(key, Arc::downgrade(&file));
        file
    }

    /// The folder of all tenants' folders.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a tenant's files. A tenant id has no slash and no dot: it is a plain name.
    pub(super) fn folder_of(&self, tenant: &TenantId) -> PathBuf {
        self.folder.join(tenant.as_str())
    }

    /// The files of a tenant that somebody holds.
    pub(super) fn known_of(&self, tenant: &TenantId) -> Vec<Arc<File>> {
        let known = self.known.lock();
        known.iter().filter(|((of, _), _)| of == tenant).filter_map(|(_, file)| file.upgrade()).collect()
    }

    /// An idle connection to `file`, if there is one.
    pub(super) fn take_idle(&self, file: &File) -> Option<Open> {
        self.idle.lock().take(file.number)
    }

    /// Keeps a connection for the next call.
    pub(super) fn put_idle(&self, file: &File, open: Open) {
        self.idle.lock().put(file.number, open);
    }

    /// The right to open one more connection; closes the least recently used idle one when there is no room.
    pub(super) async fn room(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, StorageError> {
        if let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() {
            return Ok(permit);
        }
        let oldest = self.idle.lock().take_oldest();
        if let Some(oldest) = oldest {
            close(oldest);
        }
        acquire(&self.open, deadline, limit_codes::DEADLINE).await
    }

    /// All idle connections to `file`.
    pub(super) fn drain_idle(&self, file: &File) -> Vec<Open> {
        std::iter::from_fn(|| self.take_idle(file)).collect()
    }

    /// All idle connections.
    pub(super) fn drain_all_idle(&self) -> Vec<Open> {
        std::iter::from_fn(|| self.idle.lock().take_oldest()).collect()
    }
}

impl File {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The write-ahead log beside the file.
    pub(super) fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// The file and all that the engine keeps beside it; the log goes first, so that a crash in between never
    /// leaves a log for a file that is made later.
    pub(super) fn paths(&self) -> [PathBuf; 3] {
        [self.log_path.clone(), self.path.with_extension("db-shm"), self.path.clone()]
    }

    /// All shares of the file: nobody else is connected to it while they are held.
    pub(super) async fn alone(&self) -> Result<OwnedSemaphorePermit, Error> {
        let all = u32::try_from(limits::CONNECTIONS_PER_FILE_MAX).unwrap_or(u32::MAX);
        let shares = Arc::clone(&self.connections).acquire_many_owned(all);
        match tokio::time::timeout(limits::TRANSACTION.saturating_mul(2), shares).await {
            Ok(Ok(shares)) => Ok(shares),
            Ok(Err(_)) | Err(_) => Err(Error::Conflict { query: "storage_alone" }),
        }
    }

    /// Opens a connection, making the file if there is none. Blocking.
    pub(super) fn open(
        &self,
        storage_bytes_max: u64,
        permit: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Result<Open, StorageError> {
        let _alone = self.opening.lock();
        if let Some(folder) = self.path.parent() {
            make_folder(folder).map_err(|error| {
                tracing::error!(error = %error, "the folder of a tenant's storage cannot be made");
                StorageError::Unavailable
            })?;
        }
        Connection::open(&self.path, storage_bytes_max, deadline).map(|connection| Open { connection, _permit: permit })
    }
}

/// A permit of `semaphore`, or the limit `code` when `deadline` passes first.
pub(super) async fn acquire(
    semaphore: &Arc<Semaphore>,
    deadline: Instant,
    code: &'static str,
) -> Result<OwnedSemaphorePermit, StorageError> {
    if let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() {
        return Ok(permit);
    }
    match tokio::time::timeout_at(deadline.into(), Arc::clone(semaphore).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(StorageError::Unavailable),
        Err(_) => Err(StorageError::Limit(code)),
    }
}

/// Drops `value` off the async threads: closing a file may write to it.
pub(super) fn close<T: Send + 'static>(value: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(value))),
        Err(_) => drop(value),
    }
}

/// Makes a folder that only the host may enter.
pub(super) fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Idle connections by file, and the order in which they were put back.
#[derive(Debug, Default)]
struct Idle {
    by_file: HashMap<u64, Vec<(u64, Open)>>,
    order: BTreeMap<u64, u64>,
    tick: u64,
}

impl Idle {
    fn put(&mut self, file: u64, open: Open) {
        self.tick += 1;
        self.order.insert(self.tick, file);
        self.by_file.entry(file).or_default().push((self.tick, open));
    }

    fn take(&mut self, file: u64) -> Option<Open> {
        let connections = self.by_file.get_mut(&file)?;
        let (tick, open) = connections.pop()?;
        if connections.is_empty() {
            self.by_file.remove(&file);
        }
        self.order.remove(&tick);
        Some(open)
    }

    fn take_oldest(&mut self) -> Option<Open> {
        let (tick, file) = self.order.pop_first()?;
        let connections = self.by_file.get_mut(&file)?;
        let place = connections.iter().position(|(at, _)| *at == tick)?;
        let (_, open) = connections.swap_remove(place);
        if connections.is_empty() {
            self.by_file.remove(&file);
        }
        Some(open)
    }
}
