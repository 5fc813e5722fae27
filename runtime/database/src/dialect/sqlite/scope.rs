//! A plugin's transaction over several calls, on its file: the file's only writer from the first write to the scope's end.
//! When it opens, what its savepoints are and when it ends is decided by [`Ongoing`].

use std::sync::Arc;
use std::time::Instant;

use super::connection::Connection;
use super::files::{acquire, close};
use super::session::Session;
use super::settings::{PAGE_BYTES, PAGES_MIN};
use super::storage::Store;
use crate::tenant::limits;
use crate::tenant::ongoing::{Nested, Ongoing, Sealed, Transacted, Turn, Verdict};
use crate::tenant::value::{ConstraintKind, StorageError, limit_codes};

/// Bytes by which a statement may pass the quota before it is undone. Beyond them the engine finds no page, which undoes the
/// whole transaction.
const HEADROOM_BYTES: u64 = 16 << 20;

/// A plugin's part of a scope.
#[derive(Debug)]
pub(crate) struct Scope {
    store: Store,
    turn: Arc<Turn>,
    ongoing: Arc<Ongoing<Session>>,
}

impl Scope {
    pub(crate) fn new(store: &Store, ends_at: Instant) -> Self {
        let turn = Arc::default();
        let ongoing = Arc::new(Ongoing::new(&turn, ends_at));
        Self { store: store.clone(), turn, ongoing }
    }

    /// Begins a call, and answers the store that works for it.
    pub(crate) fn begin_call(self: &Arc<Self>) -> Store {
        let call = self.turn.begin();
        Store { scope: Some(InScope { scope: Arc::clone(self), call }), ..self.store.clone() }
    }

    /// Ends the call that began last.
    pub(crate) async fn end_call(&self, is_kept: bool) -> Result<(), StorageError> {
        let call = self.turn.end();
        let verdict = if is_kept { self.ongoing.check(call).await } else { Ok(()) };
        let settled = self.ongoing.settle(call, is_kept && verdict.is_ok()).await;
        verdict.and(settled)
    }

    /// Whether something was kept that is lost.
    pub(crate) async fn is_lost(&self) -> bool {
        self.ongoing.is_lost().await
    }

    /// Undoes everything.
    pub(crate) async fn end(&self) {
        self.turn.close();
        self.ongoing.end().await;
    }

    /// Takes what was kept out to be committed.
    pub(crate) async fn seal(&self) -> Result<Option<Sealed<Session>>, StorageError> {
        self.turn.close();
        self.ongoing.seal().await
    }
}

/// A call of a scope, as its store knows it.
#[derive(Clone, Debug)]
pub(super) struct InScope {
    scope: Arc<Scope>,
    call: u64,
}

impl InScope {
    /// The transaction, for a read; `None` while nothing was written in it.
    pub(super) async fn reader(&self, deadline: Instant) -> Result<Option<Session>, StorageError> {
        let lent = self.scope.ongoing.lend_if_open(self.call, deadline).await?;
        Ok(lent.map(|(loan, session)| session.lent(loan)))
    }

    /// The transaction, for a write.
    pub(super) async fn writer(&self, deadline: Instant) -> Result<Session, StorageError> {
        let begin = self.scope.store.begin_scope(deadline);
        let (loan, session) = self.scope.ongoing.lend(self.call, begin, deadline).await?;
        if session.log_bytes() > session.storage_bytes_max.saturating_add(limits::LOG_BYTES_MAX) {
            loan.give_back(session);
            return Err(StorageError::Limit(limit_codes::QUOTA));
        }
        Ok(session.lent(loan))
    }

    /// The guest's own transaction.
    pub(super) async fn nest(&self, deadline: Instant) -> Result<Nested<Session>, StorageError> {
        self.scope.ongoing.nest(self.call, self.scope.store.begin_scope(deadline), deadline).await
    }
}

impl Store {
    async fn begin_scope(&self, deadline: Instant) -> Result<Session, StorageError> {
        let until = deadline.min(Instant::now() + limits::LOCK_WAIT);
        let room = acquire(&self.files.scopes, until, limit_codes::OPEN_TRANSACTIONS).await?;
        let mut session = self.own_writer(limits::LOCK_WAIT, deadline).await?;
        session.shares._held = Some(room);
        session.storage_bytes_max = self.storage_bytes_max.saturating_add(HEADROOM_BYTES);
        let (session, answer) = session.run(deadline, Connection::begin_scope).await?;
        match answer {
            Ok(()) => Ok(session),
            Err(error) => {
                session.put_back();
                Err(error)
            }
        }
    }
}

impl Connection {
    /// Begins a transaction whose savepoints may keep many pages: they go to a temporary file, not to memory as what a
    /// statement sorts does.
    fn begin_scope(&mut self) -> Result<(), StorageError> {
        self.host_once("PRAGMA temp_store = FILE")?;
        let begun = self.begin_immediate();
        self.host_once("PRAGMA temp_store = MEMORY")?;
        begun
    }

    /// Runs `work`, and refuses it if the file grew beyond what it may hold, for whoever undoes it then.
    pub(super) fn within_quota<T>(
        &mut self,
        storage_bytes_max: u64,
        work: impl FnOnce(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let before = self.page_count()?;
        let answer = work(self)?;
        let after = self.page_count()?;
        if after > before && after > (storage_bytes_max / PAGE_BYTES).max(PAGES_MIN) {
            return Err(StorageError::Limit(limit_codes::QUOTA));
        }
        Ok(answer)
    }

    fn page_count(&mut self) -> Result<u64, StorageError> {
        self.set_host_mode();
        self.host_number("PRAGMA page_count").map(|count| u64::try_from(count).unwrap_or(0))
    }

    /// Whether references are left that a commit would refuse.
    fn check_before_commit(&mut self) -> Verdict {
        if self.has_open_references() {
            return Err(StorageError::Violation { kind: ConstraintKind::ForeignKey, name: None });
        }
        Ok(())
    }
}

impl Session {
    /// What the plugin may hold, where the session is a scope's.
    pub(super) fn quota_bytes(&self) -> u64 {
        self.storage_bytes_max.saturating_sub(HEADROOM_BYTES)
    }
}

impl Transacted for Session {
    const FAILS_TO_SAVEPOINT: bool = false;

    async fn control(self, statements: Vec<String>, deadline: Instant) -> Result<Self, StorageError> {
        let work = move |connection: &mut Connection| {
            statements.iter().try_for_each(|statement| connection.host_once(statement))
        };
        let (session, answer) = self.run(deadline, work).await?;
        match answer {
            // The engine ends a transaction itself on some errors.
            Ok(()) if session.is_in_transaction() => Ok(session),
            Ok(()) => {
                close(session);
                Err(StorageError::Ended)
            }
            Err(error) => {
                close(session);
                Err(error)
            }
        }
    }

    async fn check(self, deadline: Instant) -> Result<(Self, Verdict), StorageError> {
        self.run(deadline, Connection::check_before_commit).await
    }

    async fn commit(self, deadline: Instant) -> Result<(), StorageError> {
        self.finish(deadline, |connection| connection.commit().or_else(|error| connection.rollback().and(Err(error))))
            .await
    }

    async fn undo(self) {
        // What cannot be rolled back is closed, which undoes it as well.
        if let Err(error) = self.finish(Instant::now() + limits::LOCK_WAIT, Connection::rollback).await {
            tracing::debug!(%error, "a scope's transaction was not rolled back by a statement");
        }
    }

    fn close(self) {
        close(self);
    }
}
