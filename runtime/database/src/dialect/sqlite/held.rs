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
use crate::tenant::value::{StorageError, Table, Value};

impl Store {
    /// Opens a transaction: the file's only writer while it is open, at every isolation.
    pub(crate) async fn begin(&self, deadline: Instant) -> Result<Transaction, StorageError> {
        let held = self.held(deadline).await?;
        let ends_at = transaction_end(deadline);
        let mut session = self.writer(limits::LOCK_WAIT, ends_at).await?;
        session.shares._held = Some(held);
        let (session, answer) = session.run(statement_deadline(ends_at), Connection::begin_immediate).await?;
        match answer {
            Ok(()) => Ok(Transaction { held: Held::new(session, ends_at, close) }),
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
pub(crate) struct Transaction {
    held: Held<Session>,
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
        let (_slot, session) = self.held.take().await?;
        session
            .finish(statement_deadline(self.held.ends_at()), |connection| {
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
        let deadline = statement_deadline(deadline.min(self.held.ends_at()));
        let (slot, session) = self.held.take().await?;
        let (session, answer) =
            session.run(deadline, move |connection| connection.run(statement.text(), params, access)).await?;
        if is_kept_after(&answer) {
            slot.keep(session);
        } else {
            close(session);
        }
        answer
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
