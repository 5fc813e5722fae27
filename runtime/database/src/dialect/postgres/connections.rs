//! Connections to the server, by login: few at a time, the least recently used closed first, none used again after
//! anything odd. It sends no statement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::names::{Login, Names};
use crate::tenant::limits;
use crate::tenant::value::{StorageError, limit_codes};

/// Age at which a connection is replaced: its session's caches grow.
const LIFETIME: Duration = Duration::from_secs(600);
/// Prepared statements kept per connection.
const STATEMENTS_MAX: usize = 128;
/// How a plugin's session starts, and what `RESET ALL` goes back to. A silent statement notices within the check
/// interval that its client has gone.
const PLUGIN_SETTINGS: [(&str, &str); 5] = [
    ("client_connection_check_interval", "100ms"),
    ("max_parallel_workers_per_gather", "0"),
    // Not the server's own default, which begins with the schema that is named like the role.
    ("search_path", "pg_catalog"),
    ("jit", "off"),
    ("work_mem", "4MB"),
];

/// The open connections of a kind, in use or idle.
#[derive(Debug)]
pub(super) struct Connections {
    server: PgConnectOptions,
    names: Names,
    connections_max: usize,
    /// One permit per connection in use.
    room: Arc<Semaphore>,
    /// In the order in which they were put back.
    idle: Mutex<Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    login: Login,
    connection: PgConnection,
    opened_at: Instant,
}

impl Connections {
    /// At most `connections_max` to the server and database of `server`, whose login is the owner's.
    pub(super) fn new(server: PgConnectOptions, names: Names, connections_max: u32) -> Self {
        let connections_max = usize::try_from(connections_max.max(1)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { server, names, connections_max, room: Arc::new(Semaphore::new(connections_max)), idle: Mutex::default() }
    }

    /// A connection of `login`, as new.
    pub(super) async fn lease(self: &Arc<Self>, login: Login, deadline: Instant) -> Result<Lease, StorageError> {
        let room = acquire(&self.room, deadline, limit_codes::DEADLINE).await?;
        match self.take_idle(login) {
            Some(open) => Ok(self.leased(open, room)),
            None => self.open(login, room, deadline).await,
        }
    }

    /// A connection of `login` that nobody used.
    pub(super) async fn lease_new(self: &Arc<Self>, login: Login, deadline: Instant) -> Result<Lease, StorageError> {
        let room = acquire(&self.room, deadline, limit_codes::DEADLINE).await?;
        self.open(login, room, deadline).await
    }

    fn leased(self: &Arc<Self>, open: Open, room: OwnedSemaphorePermit) -> Lease {
        Lease { open: Some(open), connections: Arc::clone(self), _room: room }
    }

    async fn open(
        self: &Arc<Self>,
        login: Login,
        room: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Result<Lease, StorageError> {
        self.make_room();
        // Boxed: a login through TLS is large and rare, and every read and write of a plugin would hold it.
        let opening = Box::pin(async { self.options(login).connect().await });
        match tokio::time::timeout_at(deadline.into(), opening).await {
            Ok(Ok(connection)) => Ok(self.leased(Open { login, connection, opened_at: Instant::now() }, room)),
            Ok(Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the server of plugins' data refuses a login"
                );
                Err(StorageError::Unavailable)
            }
            Err(_) => Err(StorageError::Limit(limit_codes::DEADLINE)),
        }
    }

    /// Closes all that are idle.
    pub(super) fn close_idle(&self) {
        self.idle.lock().clear();
    }

    fn take_idle(&self, login: Login) -> Option<Open> {
        let mut idle = self.idle.lock();
        idle.retain(|open| open.opened_at.elapsed() < LIFETIME);
        let place = idle.iter().rposition(|open| open.login == login)?;
        Some(idle.remove(place))
    }

    /// Closes the least recently used of the idle, until one more connection is within the bound.
    fn make_room(&self) {
        let mut idle = self.idle.lock();
        let in_use = self.connections_max.saturating_sub(self.room.available_permits());
        let room = self.connections_max.saturating_sub(in_use);
        let surplus = idle.len().saturating_sub(room);
        drop(idle.drain(..surplus));
    }

    fn options(&self, login: Login) -> PgConnectOptions {
        let timeout = |time: Duration| format!("{}ms", time.as_millis());
        let server = self.server.clone().statement_cache_capacity(STATEMENTS_MAX);
        match self.names.login(login) {
            None => server.application_name("bulkhead-storage").options([
                ("statement_timeout", timeout(limits::STATEMENT)),
                ("lock_timeout", timeout(limits::LOCK_WAIT)),
                ("idle_in_transaction_session_timeout", timeout(limits::TRANSACTION)),
            ]),
            Some(name) => server
                .application_name("bulkhead-plugins")
                .username(&name)
                .password(&self.names.password(&name))
                .options(PLUGIN_SETTINGS),
        }
    }
}

/// A connection in use. Unless it is put back, dropping it closes it, which undoes its transaction.
#[derive(Debug)]
pub(super) struct Lease {
    open: Option<Open>,
    connections: Arc<Connections>,
    _room: OwnedSemaphorePermit,
}

impl Lease {
    /// The connection.
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, StorageError> {
        self.open.as_mut().map(|open| &mut open.connection).ok_or(StorageError::Ended)
    }

    /// Keeps the connection for the next call. Only for one that is as new.
    pub(super) fn put_back(mut self) {
        if let Some(open) = self.open.take() {
            self.connections.idle.lock().push(open);
        }
    }
}

/// A permit of `semaphore`, or the limit `code` when `deadline` passes first.
pub(super) async fn acquire(
    semaphore: &Arc<Semaphore>,
    deadline: Instant,
    code: &'static str,
) -> Result<OwnedSemaphorePermit, StorageError> {
    match tokio::time::timeout_at(deadline.into(), Arc::clone(semaphore).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(StorageError::Unavailable),
        Err(_) => Err(StorageError::Limit(code)),
    }
}
