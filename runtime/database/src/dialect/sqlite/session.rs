//! A connection in use: what a call holds while it works on its file, and what it gives back.
//! The work itself blocks and runs off the async threads; a caller that goes away stops it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::connection::Connection;
use super::files::{File, Files, Open};
use super::gate::Gate;
use super::storage::log_bytes;
use crate::tenant::ongoing::Loan;
use crate::tenant::value::StorageError;

/// A connection in use and its shares of the file's bounds. All of it is released together, and only when the
/// engine has truly stopped: it travels with the blocking work.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) open: Open,
    pub(super) file: Arc<File>,
    pub(super) files: Arc<Files>,
    pub(super) storage_bytes_max: u64,
    pub(super) shares: Shares,
    /// Where it goes back to, if it is a scope's.
    pub(super) loan: Option<Loan<Self>>,
}

/// What a session holds beside its connection.
#[derive(Debug)]
pub(super) struct Shares {
    pub(super) _connection: OwnedSemaphorePermit,
    pub(super) _writer: Option<OwnedSemaphorePermit>,
    pub(super) _held: Option<OwnedSemaphorePermit>,
}

impl Session {
    /// Lends a scope's session for one piece of work.
    pub(super) fn lent(mut self, loan: Loan<Self>) -> Self {
        self.loan = Some(loan);
        self
    }

    /// Whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        !self.open.connection.is_clean()
    }

    /// Bytes of the file's write-ahead log.
    pub(super) fn log_bytes(&self) -> u64 {
        log_bytes(&self.file)
    }

    /// Runs `work` until `deadline` at most; afterwards the session goes back or, if anything is odd, is closed. What fails in a
    /// scope's transaction leaves nothing in it.
    pub(super) async fn finish<T: Send + 'static>(
        self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let quota_bytes = self.loan.as_ref().map(|_| self.quota_bytes());
        let work = move |connection: &mut Connection| match quota_bytes {
            Some(quota_bytes) => connection.in_savepoint(|connection| connection.within_quota(quota_bytes, work)),
            None => work(connection),
        };
        let (session, answer) = self.run(deadline, work).await?;
        session.put_back();
        answer
    }

    /// Runs `work` until `deadline` at most and gives the session back to the caller. When the caller's future is
    /// dropped, the work is stopped, its transaction undone and the connection closed.
    pub(super) async fn run<T: Send + 'static>(
        mut self,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<(Self, Result<T, StorageError>), StorageError> {
        let mut abandon = Abandon(Some(Arc::clone(self.open.connection.gate())));
        let job = tokio::task::spawn_blocking(move || {
            let connection = &mut self.open.connection;
            let answer = connection.begin_work(self.storage_bytes_max, deadline).and_then(|()| work(connection));
            // In this order when nobody takes it: what `answer` holds is dropped before its connection closes.
            (answer, self)
        });
        let done = job.await;
        abandon.0 = None;
        done.map(|(answer, session)| (session, answer)).map_err(|error| {
            let id = Uuid::new_v4().to_string();
            tracing::error!(error = %error, internal.id = id, "work on a plugin's storage did not end");
            StorageError::Internal(id)
        })
    }

    /// Keeps the connection for the next call if nothing is left open on it, or for the next of its scope.
    pub(super) fn put_back(mut self) {
        if let Some(loan) = self.loan.take() {
            if self.is_in_transaction() {
                loan.give_back(self);
            } else {
                super::files::close(self);
            }
            return;
        }
        let Self { open, file, files, shares, .. } = self;
        if open.connection.is_clean() {
            files.put_idle(&file, open);
        } else {
            super::files::close((open, shares));
        }
    }
}

/// Stops the work when it is dropped with the gate still in it.
struct Abandon(Option<Arc<Gate>>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.abandon();
        }
    }
}
