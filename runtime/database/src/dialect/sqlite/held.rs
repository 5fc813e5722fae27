//! A transaction or cursor on a plugin's `SQLite` file between two calls of the guest. Dropping it closes its
//! connection, which undoes what was not committed.
//! When its time is up is decided by [`Held`].

use std::time::Instant;

use super::connection::{Access, Connection};
use super::files::close;
use super::session::Session;
use super::statement::Checked;
use super::storage::Store;
use crate::tenant::admission::Admitted;
use crate::tenant::held::{Held, is_kept_after, statement_deadline, transaction_end};
use crate::tenant::limits;
use crate::tenant::ongoing::Nested;
use crate::tenant::value::{StorageError, Table, Value};

impl Store {
    /// Opens a transaction: the file's only writer while it is open, at every isolation.
    pub(crate) async fn begin(&self, deadline: Instant) -> Result<Transaction, StorageError> {
        if let Some(scope) = &self.scope {
            let nested = scope.nest(statement_deadline(deadline)).await?;
            return Ok(Transaction::InScope { nested, ends_at: deadline });
        }
        let held = self.held(deadline).await?;
        let ends_at = transaction_end(deadline);
        let mut session = self.own_writer(limits::LOCK_WAIT, ends_at).await?;
        session.shares._held = Some(held);
        let (session, answer) = session.run(statement_deadline(ends_at), Connection::begin_immediate).await?;
        match answer {
            Ok(()) => Ok(Transaction::Own(Held::new(session, ends_at, close))),
            Err(error) => {
                session.put_back();
                Err(error)
            }
        }
    }

    /// Opens a cursor over one statement that only reads.
    pub(crate) async fn open_cursor(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Cursor, StorageError> {
        let held = self.held(deadline).await?;
        let ends_at = transaction_end(deadline);
        let statement = statement.clone();
        let mut session = self.reader(ends_at).await?;
        session.shares._held = Some(held);
        let (session, answer) = session
            .run(statement_deadline(ends_at), move |connection| connection.open_read(statement.text(), params))
            .await?;
        match answer {
            Ok((statement, columns)) => Ok(Cursor { held: Held::new((statement, session), ends_at, close), columns }),
            Err(error) => {
                session.put_back();
                Err(error)
            }
        }
    }
}

/// An open transaction.
#[derive(Debug)]
pub(crate) enum Transaction {
    /// With a connection of its own.
    Own(Held<Session>),
    /// A savepoint in the transaction of a scope.
    InScope {
        /// The savepoint.
        nested: Nested<Session>,
        /// The end of its call.
        ends_at: Instant,
    },
}

impl Transaction {
    /// Runs one statement that only reads.
    pub(crate) async fn query(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        self.run(statement, params, Access::Read, deadline).await
    }

    /// Runs one statement.
    pub(crate) async fn execute(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        self.run(statement, params, Access::Write, deadline).await
    }

    /// Makes the work permanent. After an error nothing of it is.
    pub(crate) async fn commit(&self) -> Result<(), StorageError> {
        let held = match self {
            Self::Own(held) => held,
            Self::InScope { nested, ends_at } => return nested.commit(statement_deadline(*ends_at)).await,
        };
        let (_slot, session) = held.take().await?;
        session
            .finish(statement_deadline(held.ends_at()), |connection| {
                connection.commit().or_else(|error| connection.rollback().and(Err(error)))
            })
            .await
    }

    async fn run(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        access: Access,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        let statement = statement.clone();
        let work = move |connection: &mut Connection| connection.run(statement.text(), params, access);
        match self {
            Self::Own(held) => {
                let (slot, session) = held.take().await?;
                let (session, answer) = session.run(statement_deadline(deadline.min(held.ends_at())), work).await?;
                if is_kept_after(&answer) {
                    slot.keep(session);
                } else {
                    close(session);
                }
                answer
            }
            Self::InScope { nested, ends_at } => {
                let deadline = statement_deadline(deadline.min(*ends_at));
                let (loan, session) = nested.lend(deadline).await?;
                let quota_bytes = session.quota_bytes();
                let work = move |connection: &mut Connection| connection.within_quota(quota_bytes, work);
                let (session, answer) = session.run(deadline, work).await?;
                if is_kept_after(&answer) {
                    loan.give_back(session);
                } else if session.is_in_transaction() {
                    nested.undo(loan, session).await?;
                } else {
                    close(session);
                }
                answer
            }
        }
    }
}

/// A read that is fetched in pages.
#[derive(Debug)]
pub(crate) struct Cursor {
    // The statement before the session: it ends before its connection closes.
    held: Held<(Checked, Session)>,
    columns: Vec<String>,
}

impl Cursor {
    /// Column names in order.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Up to `rows_max` further rows and at most the bytes of one result; none is the end.
    pub(crate) async fn next(&self, rows_max: usize, deadline: Instant) -> Result<Vec<Vec<Value>>, StorageError> {
        let deadline = statement_deadline(deadline.min(self.held.ends_at()));
        let columns = self.columns.len();
        let (slot, (mut statement, session)) = self.held.take().await?;
        let (session, done) = session
            .run(deadline, move |connection| {
                let answer = connection.next_rows(&mut statement, columns, rows_max);
                Ok((statement, answer))
            })
            .await?;
        let (statement, answer) = match done {
            Ok(done) => done,
            Err(error) => {
                close(session);
                return Err(error);
            }
        };
        if is_kept_after(&answer) {
            slot.keep((statement, session));
        } else {
            close((statement, session));
        }
        answer
    }
}
