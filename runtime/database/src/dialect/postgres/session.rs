//! A transaction on a connection, in the role of a pair: opened in one trip, put back as new or closed.
//! It decides nothing about what runs in it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor as _};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::Failure;
use super::connections::{Lease, acquire};
use super::names::{Login, quoted};
use super::pair::{Pair, Placed};
use super::quota::Written;
use super::statement;
use super::storage::Store;
use crate::tenant::admission::Admitted;
use crate::tenant::limits;
use crate::tenant::value::{Isolation, StorageError, Table, Value, limit_codes};

/// The server stops a statement this long before the host gives the connection up.
const MARGIN: Duration = Duration::from_millis(10);
/// Leaves a session as it was when it started, whatever ran in it.
const AS_NEW: &str =
    "RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; SELECT pg_catalog.pg_advisory_unlock_all()";

/// Fails where the transaction that the host began is no more.
const STILL_OPEN: &str = "SAVEPOINT still_open; RELEASE still_open";

/// How a transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One statement that reads.
    Read,
    /// Reads of one moment.
    Snapshot,
    /// Anything.
    Write(Isolation),
}

impl Mode {
    fn begin(self) -> &'static str {
        match self {
            Self::Read => "BEGIN READ ONLY",
            Self::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::Write(Isolation::ReadCommitted) => "BEGIN",
            Self::Write(Isolation::RepeatableRead) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Self::Write(Isolation::Serializable) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

/// An open transaction. Dropping it closes its connection, which undoes it.
#[derive(Debug)]
pub(super) struct Session {
    // First, so that the connection is gone before its shares are free.
    lease: Lease,
    store: Store,
    placed: Arc<Placed>,
    written: Written,
    _tenant: OwnedSemaphorePermit,
    pub(super) held: Option<OwnedSemaphorePermit>,
}

impl Store {
    /// Opens a transaction in the pair's role.
    pub(super) async fn session(&self, mode: Mode, deadline: Instant) -> Result<Session, StorageError> {
        let tenant = acquire(&self.pair.tenant_share, deadline, limit_codes::DEADLINE).await?;
        let placed = self.server.placed(&self.pair, deadline).await?;
        let lease = self.server.plugins.lease(Login::Run(placed.shard), deadline).await?;
        let (lease, placed) = match open(lease, &self.pair, mode, deadline).await {
            Ok(lease) => (lease, placed),
            Err(first) => self.session_again(first, mode, deadline).await?,
        };
        Ok(Session { lease, store: self.clone(), placed, written: Written::default(), _tenant: tenant, held: None })
    }

    /// A second try on a new connection: the server may have closed the first, another host may have removed the role.
    async fn session_again(
        &self,
        first: StorageError,
        mode: Mode,
        deadline: Instant,
    ) -> Result<(Lease, Arc<Placed>), StorageError> {
        if Instant::now() >= deadline {
            return Err(first);
        }
        self.pair.forget();
        let placed = self.server.placed(&self.pair, deadline).await?;
        let lease = self.server.plugins.lease_new(Login::Run(placed.shard), deadline).await?;
        Ok((open(lease, &self.pair, mode, deadline).await?, placed))
    }
}

/// Begins in one trip. A connection on which that failed is never used again: the server may be in a transaction that
/// nobody knows of.
async fn open(mut lease: Lease, pair: &Pair, mode: Mode, deadline: Instant) -> Result<Lease, StorageError> {
    let text = format!("{}; {}", mode.begin(), settings(&pair.name, deadline));
    match within(deadline, send(&mut lease, &text)).await {
        Ok(()) => Ok(lease),
        Err(failure) => Err(match failure.into_answer() {
            StorageError::Limit(code) => StorageError::Limit(code),
            _ => StorageError::Unavailable,
        }),
    }
}

/// The role, the path and the time of the next statement.
fn settings(name: &str, deadline: Instant) -> String {
    let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN).as_millis().max(1);
    let name = quoted(name);
    let mut text = format!("SET LOCAL ROLE {name}; SET LOCAL search_path = {name}, pg_temp");
    for (setting, time) in [
        ("statement_timeout", left),
        ("lock_timeout", left.min(limits::LOCK_WAIT.as_millis())),
        ("idle_in_transaction_session_timeout", limits::TRANSACTION.as_millis()),
    ] {
        // Writing to a text cannot fail.
        write!(text, "; SET LOCAL {setting} = {time}").unwrap_or_default();
    }
    text
}

impl Session {
    /// Puts role, path and times in force again: a statement before may have changed them.
    pub(super) async fn renew(&mut self, deadline: Instant) -> Result<(), Failure> {
        let text = format!("{STILL_OPEN}; {}", settings(&self.store.pair.name, deadline));
        let renewed = within(deadline, send(&mut self.lease, &text)).await;
        renewed.map_err(|failure| Failure::Broken(failure.into_answer()))
    }

    /// Runs one statement of the plugin.
    pub(super) async fn run(
        &mut self,
        admitted: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, Failure> {
        // A transaction holds locks: nothing is given back for it.
        if admitted.adds() && self.held.is_some() && self.store.pair.meter.is_over(self.store.storage_bytes_max) {
            return Err(Failure::Failed(StorageError::Limit(limit_codes::QUOTA)));
        }
        let text = self.tagged(admitted);
        let began = Instant::now();
        let connection = self.lease.connection().map_err(Failure::Broken)?;
        let mut table = within(deadline, statement::run(connection, &text, params)).await?;
        if admitted.writes() {
            self.written.add(began.elapsed(), admitted.adds());
        } else {
            table.affected = 0;
        }
        Ok(table)
    }

    /// The text as both sides remember it: plans and types are of one plugin at one version of its schema.
    pub(super) fn tagged(&self, admitted: &Admitted) -> String {
        format!("{}{}", self.placed.tag, admitted.text())
    }

    /// The connection, for reads in pieces.
    pub(super) fn lease(&mut self) -> &mut Lease {
        &mut self.lease
    }

    /// Makes the work permanent and gives the connection back as new.
    pub(super) async fn commit(mut self, deadline: Instant) -> Result<(), StorageError> {
        if let Err(error) = self.store.within_quota(&self.written, deadline).await {
            self.rollback().await;
            return Err(error);
        }
        let text = format!("COMMIT; {AS_NEW}");
        within(deadline, send(&mut self.lease, &text)).await.map_err(Failure::into_answer)?;
        self.lease.put_back();
        Ok(())
    }

    /// Undoes the work and gives the connection back as new, or closes it.
    pub(super) async fn rollback(mut self) {
        let text = format!("ROLLBACK; {AS_NEW}");
        let deadline = Instant::now() + limits::LOCK_WAIT;
        if within(deadline, send(&mut self.lease, &text)).await.is_ok() {
            self.lease.put_back();
        }
    }

    /// Ends the transaction after `failure` and says what the plugin learns.
    pub(super) async fn end_after(self, failure: Failure) -> StorageError {
        match failure {
            Failure::Refused(error) | Failure::Failed(error) => {
                self.rollback().await;
                error
            }
            Failure::Broken(error) => {
                // What is remembered of the schema may be stale.
                self.store.pair.forget();
                error
            }
        }
    }
}

/// Sends statements of the host in one trip.
pub(super) async fn send(lease: &mut Lease, text: &str) -> Result<(), Failure> {
    let connection = lease.connection().map_err(Failure::Broken)?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await?;
    Ok(())
}

/// Waits for `work` until `deadline`. Work that is given up leaves a connection in the middle of something.
pub(super) async fn within<T, E: Into<Failure>>(
    deadline: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Failure::Broken(StorageError::Limit(limit_codes::DEADLINE))),
    }
}
