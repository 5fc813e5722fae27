//! A plugin's transactions over several calls, on the server: one in its role for its tables, one of the host for its keys.
//! When they open, what their savepoints are and when they end is decided by [`Ongoing`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Failure;
use super::connections::{Lease, acquire};
use super::names::Login;
use super::session::{Mode, Session, send, within};
use super::storage::Store;
use crate::tenant::limits;
use crate::tenant::ongoing::{Loan, Nested, Ongoing, Sealed, Transacted, Turn, Verdict};
use crate::tenant::value::{Isolation, StorageError, limit_codes};

/// Time after a scope's end in which the server ends its transactions itself, should the host not.
const GRACE: Duration = Duration::from_secs(1);

/// A plugin's part of a scope.
#[derive(Debug)]
pub(crate) struct Scope {
    store: Store,
    turn: Arc<Turn>,
    tables: Arc<Ongoing<Session>>,
    keys: Arc<Ongoing<Keys>>,
    ends_at: Instant,
}

impl Scope {
    pub(crate) fn new(store: &Store, ends_at: Instant) -> Self {
        let turn = Arc::default();
        let (tables, keys) = (Ongoing::new(&turn, ends_at), Ongoing::new(&turn, ends_at));
        Self { store: store.clone(), turn, tables: Arc::new(tables), keys: Arc::new(keys), ends_at }
    }

    /// Begins a call, and answers the store that works for it.
    pub(crate) fn begin_call(self: &Arc<Self>) -> Store {
        let call = self.turn.begin();
        Store { scope: Some(InScope { scope: Arc::clone(self), call }), ..self.store.clone() }
    }

    /// Ends the call that began last.
    pub(crate) async fn end_call(&self, is_kept: bool) -> Result<(), StorageError> {
        let call = self.turn.end();
        let verdict = match is_kept {
            true => self.tables.check(call).await.and(self.keys.check(call).await),
            false => Ok(()),
        };
        let stays = is_kept && verdict.is_ok();
        let (tables, keys) = (self.tables.settle(call, stays).await, self.keys.settle(call, stays).await);
        let settled = tables.and(keys);
        // What one of the two lost, the other must not keep.
        if settled.is_err() || self.is_lost().await {
            self.end().await;
        }
        verdict.and(settled)
    }

    /// Whether something was kept that is lost.
    pub(crate) async fn is_lost(&self) -> bool {
        self.tables.is_lost().await || self.keys.is_lost().await
    }

    /// Undoes everything.
    pub(crate) async fn end(&self) {
        self.turn.close();
        self.tables.end().await;
        self.keys.end().await;
    }

    /// Takes what was kept out to be committed.
    pub(crate) async fn seal(&self) -> Result<Option<SealedScope>, StorageError> {
        self.turn.close();
        if self.is_lost().await {
            return Err(StorageError::Ended);
        }
        let (tables, keys) = (self.tables.seal().await?, self.keys.seal().await?);
        let has_any = tables.is_some() || keys.is_some();
        Ok(has_any.then_some(SealedScope { tables, keys }))
    }
}

/// What a plugin keeps of a scope.
#[derive(Debug)]
pub(crate) struct SealedScope {
    tables: Option<Sealed<Session>>,
    keys: Option<Sealed<Keys>>,
}

impl SealedScope {
    /// Makes it permanent: first the tables, whose server may still say no, then the keys.
    pub(crate) async fn commit(self) -> Result<(), StorageError> {
        if let Some(tables) = self.tables {
            tables.commit().await?;
        }
        match self.keys {
            Some(keys) => keys.commit().await,
            None => Ok(()),
        }
    }
}

/// A call of a scope, as its store knows it.
#[derive(Clone, Debug)]
pub(super) struct InScope {
    scope: Arc<Scope>,
    call: u64,
}

impl InScope {
    /// The transaction of the tables; `None` for a read while nothing was written in it.
    pub(super) async fn session(&self, mode: Mode, deadline: Instant) -> Result<Option<Session>, StorageError> {
        let tables = &self.scope.tables;
        let lent = match mode {
            Mode::Write(_) => Some(tables.lend(self.call, self.begin(deadline), deadline).await?),
            Mode::Read | Mode::Snapshot => tables.lend_if_open(self.call, deadline).await?,
        };
        Ok(lent.map(|(loan, session)| session.lent(loan)))
    }

    /// The guest's own transaction. Its isolation is that of the scope, and is not granted for more than it is.
    pub(super) async fn nest(&self, isolation: Isolation, deadline: Instant) -> Result<Nested<Session>, StorageError> {
        if isolation != Isolation::ReadCommitted {
            return Err(StorageError::Limit(limit_codes::ISOLATION));
        }
        self.scope.tables.nest(self.call, self.begin(deadline), deadline).await
    }

    /// The transaction of the keys, for a read; `None` while nothing was written in it.
    pub(super) async fn keys_to_read(&self, deadline: Instant) -> Result<Option<(Loan<Keys>, Keys)>, StorageError> {
        self.scope.keys.lend_if_open(self.call, deadline).await
    }

    /// The transaction of the keys, for a write.
    pub(super) async fn keys_to_write(&self, deadline: Instant) -> Result<(Loan<Keys>, Keys), StorageError> {
        self.scope.keys.lend(self.call, self.begin_keys(deadline), deadline).await
    }

    async fn begin(&self, deadline: Instant) -> Result<Session, StorageError> {
        let store = &self.scope.store;
        let room = Room::enter(&store.pair.shares.scopes, &store.server.scopes, deadline).await?;
        let session = store.own_session(Mode::Write(Isolation::ReadCommitted), deadline).await?;
        Ok(session.of_scope(room, self.scope.ends_at + GRACE))
    }

    async fn begin_keys(&self, deadline: Instant) -> Result<Keys, StorageError> {
        let store = &self.scope.store;
        let room = Room::enter(&store.pair.shares.scope_keys, &store.server.scopes_of_keys, deadline).await?;
        let mut lease = store.server.scope_keys.lease(Login::Owner, deadline).await?;
        let left = (self.scope.ends_at + GRACE).saturating_duration_since(Instant::now()).as_millis();
        let begin = format!("BEGIN; SET LOCAL idle_in_transaction_session_timeout = {left}");
        within(deadline, send(&mut lease, &begin)).await.map_err(Failure::into_answer)?;
        Ok(Keys { lease, _room: room })
    }
}

/// Room for one more transaction of a scope, in the tenant and in all.
#[derive(Debug)]
pub(super) struct Room {
    _tenant: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Room {
    async fn enter(tenant: &Arc<Semaphore>, all: &Arc<Semaphore>, deadline: Instant) -> Result<Self, StorageError> {
        let until = deadline.min(Instant::now() + limits::LOCK_WAIT);
        let tenant = acquire(tenant, until, limit_codes::OPEN_TRANSACTIONS).await?;
        let all = acquire(all, until, limit_codes::OPEN_TRANSACTIONS).await?;
        Ok(Self { _tenant: tenant, _all: all })
    }
}

/// The open transaction of a plugin's keys.
#[derive(Debug)]
pub(super) struct Keys {
    // First, so that the connection is gone before its room is free.
    pub(super) lease: Lease,
    _room: Room,
}

impl Transacted for Keys {
    const FAILS_TO_SAVEPOINT: bool = true;

    async fn control(mut self, statements: Vec<String>, deadline: Instant) -> Result<Self, StorageError> {
        within(deadline, send(&mut self.lease, &statements.join("; "))).await.map_err(Failure::into_answer)?;
        Ok(self)
    }

    async fn check(self, _deadline: Instant) -> Result<(Self, Verdict), StorageError> {
        Ok((self, Ok(())))
    }

    async fn commit(mut self, deadline: Instant) -> Result<(), StorageError> {
        within(deadline, send(&mut self.lease, "COMMIT")).await.map_err(Failure::into_answer)?;
        self.lease.put_back();
        Ok(())
    }

    async fn undo(mut self) {
        let deadline = Instant::now() + limits::LOCK_WAIT;
        if within(deadline, send(&mut self.lease, "ROLLBACK")).await.is_ok() {
            self.lease.put_back();
        }
    }

    fn close(self) {}
}

impl Transacted for Session {
    const FAILS_TO_SAVEPOINT: bool = true;

    async fn control(mut self, statements: Vec<String>, deadline: Instant) -> Result<Self, StorageError> {
        match self.send_in_force(&statements.join("; "), deadline).await {
            Ok(()) => Ok(self),
            Err(failure) => Err(failure.into_answer()),
        }
    }

    async fn check(mut self, deadline: Instant) -> Result<(Self, Verdict), StorageError> {
        let verdict = match self.check_constraints(deadline).await {
            Ok(()) => self.check_quota(deadline).await,
            Err(Failure::Refused(error) | Failure::Failed(error)) => Err(error),
            Err(Failure::Broken(error)) => return Err(error),
        };
        Ok((self, verdict))
    }

    async fn commit(self, deadline: Instant) -> Result<(), StorageError> {
        self.commit_checked(deadline).await
    }

    async fn undo(self) {
        self.rollback().await;
    }

    fn close(self) {}
}
