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
use super::scope::Room;
use super::statement;
use super::storage::Store;
use crate::tenant::admission::Admitted;
use crate::tenant::limits;
use crate::tenant::ongoing::Loan;
use crate::tenant::value::{Isolation, StorageError, Table, Value, limit_codes};

/// The server stops a statement this long before the host gives the connection up.
const MARGIN: Duration = Duration::from_millis(10);
/// The same in a scope, whose transaction is worth more than a statement.
const SCOPE_MARGIN: Duration = Duration::from_millis(40);
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
pub(crate) struct Session {
    // First, so that the connection is gone before its shares are free.
    lease: Lease,
    store: Store,
    placed: Arc<Placed>,
    written: Written,
    _tenant: OwnedSemaphorePermit,
    pub(super) held: Option<OwnedSemaphorePermit>,
    /// Its share of what scopes may use, and when the server ends it if it is a scope's.
    scope: Option<(Room, Instant)>,
    /// Where it goes back to after a piece of work, if it is a scope's.
    loan: Option<Loan<Self>>,
}

impl Store {
    /// Opens a transaction in the pair's role, or answers that of the scope.
    pub(super) async fn session(&self, mode: Mode, deadline: Instant) -> Result<Session, StorageError> {
        if let Some(scope) = &self.scope
            && let Some(session) = scope.session(mode, deadline).await?
        {
            return Ok(session);
        }
        self.own_session(mode, deadline).await
    }

    /// Opens a transaction in the pair's role.
    pub(super) async fn own_session(&self, mode: Mode, deadline: Instant) -> Result<Session, StorageError> {
        let tenant = acquire(&self.pair.shares.all, deadline, limit_codes::DEADLINE).await?;
        let placed = self.server.placed(&self.pair, deadline).await?;
        let lease = self.server.plugins.lease(Login::Run(placed.shard), deadline).await?;
        let (lease, placed) = match open(lease, &self.pair, mode, deadline).await {
            Ok(lease) => (lease, placed),
            Err(first) => self.session_again(first, mode, deadline).await?,
        };
        Ok(Session {
            lease,
            store: self.clone(),
            placed,
            written: Written::default(),
            _tenant: tenant,
            held: None,
            scope: None,
            loan: None,
        })
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
    let text = format!("{}; {}", mode.begin(), settings(&pair.name, deadline, MARGIN, limits::TRANSACTION));
    match within(deadline, send(&mut lease, &text)).await {
        Ok(()) => Ok(lease),
        Err(failure) => Err(match failure.into_answer() {
            StorageError::Limit(code) => StorageError::Limit(code),
            _ => StorageError::Unavailable,
        }),
    }
}

/// The role, the path and the time of the next statement.
fn settings(name: &str, deadline: Instant, margin: Duration, idle: Duration) -> String {
    let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(margin).as_millis().max(1);
    let name = quoted(name);
    let mut text = format!("SET LOCAL ROLE {name}; SET LOCAL search_path = {name}, pg_temp");
    for (setting, time) in [
        ("statement_timeout", left),
        ("lock_timeout", left.min(limits::LOCK_WAIT.as_millis())),
        ("idle_in_transaction_session_timeout", idle.as_millis().max(1)),
    ] {
        // Writing to a text cannot fail.
        write!(text, "; SET LOCAL {setting} = {time}").unwrap_or_default();
    }
    text
}

impl Session {
    /// Puts role, path and times in force again: a statement before may have changed them.
    pub(super) async fn renew(&mut self, deadline: Instant) -> Result<(), Failure> {
        let renewed = self.send_in_force(STILL_OPEN, deadline).await;
        renewed.map_err(|failure| Failure::Broken(failure.into_answer()))
    }

    /// Sends statements of the host, and puts role, path and times in force again.
    pub(super) async fn send_in_force(&mut self, statements: &str, deadline: Instant) -> Result<(), Failure> {
        let (margin, idle) = match &self.scope {
            Some((_, ends_at)) => (SCOPE_MARGIN, ends_at.saturating_duration_since(Instant::now())),
            None => (MARGIN, limits::TRANSACTION),
        };
        let text = format!("{statements}; {}", settings(&self.store.pair.name, deadline, margin, idle));
        within(deadline, send(&mut self.lease, &text)).await
    }

    /// Makes it a scope's.
    pub(super) fn of_scope(mut self, room: Room, ends_at: Instant) -> Self {
        self.scope = Some((room, ends_at));
        self
    }

    /// Lends a scope's transaction for one piece of work, which is a savepoint.
    pub(super) fn lent(mut self, loan: Loan<Self>) -> Self {
        self.loan = Some(loan);
        self
    }

    /// Runs one statement of the plugin.
    pub(super) async fn run(
        &mut self,
        admitted: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, Failure> {
        // A transaction holds locks: nothing is given back for it.
        let is_kept = self.held.is_some() || self.scope.is_some();
        if admitted.adds() && is_kept && self.store.pair.meter.is_over(self.store.storage_bytes_max) {
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

    /// Makes the work permanent and gives the connection back as new; in a scope makes it a part of the scope's.
    pub(super) async fn commit(mut self, deadline: Instant) -> Result<(), StorageError> {
        if let Some(loan) = self.loan.take() {
            let release = format!("RELEASE {}", loan.work());
            within(deadline, send(&mut self.lease, &release)).await.map_err(Failure::into_answer)?;
            loan.give_back(self);
            return Ok(());
        }
        if let Err(error) = self.check_quota(deadline).await {
            self.rollback().await;
            return Err(error);
        }
        self.commit_checked(deadline).await
    }

    /// Whether what was written since this was asked last is within the quota.
    pub(super) async fn check_quota(&mut self, deadline: Instant) -> Result<(), StorageError> {
        let written = std::mem::take(&mut self.written);
        self.store.within_quota(&written, deadline).await
    }

    /// Whether every constraint that may wait for the commit holds by now. Nothing is changed: they go on waiting.
    pub(super) async fn check_constraints(&mut self, deadline: Instant) -> Result<(), Failure> {
        const CHECK: &str = "SAVEPOINT checked; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO checked; RELEASE checked";
        self.send_in_force(CHECK, deadline).await
    }

    /// Makes the work permanent and gives the connection back as new.
    pub(super) async fn commit_checked(mut self, deadline: Instant) -> Result<(), StorageError> {
        let text = format!("COMMIT; {AS_NEW}");
        within(deadline, send(&mut self.lease, &text)).await.map_err(Failure::into_answer)?;
        self.lease.put_back();
        Ok(())
    }

    /// Undoes the work and gives the connection back as new, or closes it; in a scope undoes this piece of work.
    pub(super) async fn rollback(mut self) {
        let deadline = Instant::now() + limits::LOCK_WAIT;
        if let Some(loan) = self.loan.take() {
            let undo = format!("ROLLBACK TO {0}; RELEASE {0}", loan.work());
            if within(deadline, send(&mut self.lease, &undo)).await.is_ok() {
                loan.give_back(self);
            }
            return;
        }
        let text = format!("ROLLBACK; {AS_NEW}");
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
            // The rest of an answer that is too much is read away, within bounds, for the sake of what came before it.
            Failure::Broken(error) if self.loan.is_some() && is_of_answer(&error) => {
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

/// Whether the host gave an answer up in its middle, on a connection that is sound.
pub(super) fn is_of_answer(error: &StorageError) -> bool {
    matches!(error, StorageError::Invalid(_) | StorageError::Limit(limit_codes::ROWS | limit_codes::BYTES))
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
