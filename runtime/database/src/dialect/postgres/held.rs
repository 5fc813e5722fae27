//! A transaction or cursor on the server between two calls of the guest. Dropping it closes its connection, which
//! undoes what was not committed.
//! When its time is up is decided by [`Held`].

use std::collections::VecDeque;
use std::time::Instant;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::answer::Failure;
use super::session::{Mode, Session, is_of_answer, within};
use super::statement::{Columns, arguments, describe, row};
use super::storage::Store;
use super::value::Kind;
use crate::tenant::admission::Admitted;
use crate::tenant::held::{Held, statement_deadline, transaction_end};
use crate::tenant::limits;
use crate::tenant::ongoing::Nested;
use crate::tenant::value::{Isolation, StorageError, Table, Value, limit_codes};

/// Rows of the first piece of a cursor, whose rows may be large.
const FIRST_ROWS: usize = 16;
/// Rows of one piece.
const PIECE_ROWS_MAX: usize = 1_000;
/// Bytes after which a page of a cursor ends.
const PAGE_BYTES: usize = limits::RESULT_BYTES_MAX / 2;

impl Store {
    /// Opens a transaction.
    pub(crate) async fn begin(&self, isolation: Isolation, deadline: Instant) -> Result<Transaction, StorageError> {
        if let Some(scope) = &self.scope {
            let nested = scope.nest(isolation, statement_deadline(deadline)).await?;
            return Ok(Transaction::InScope { nested, ends_at: deadline });
        }
        let held = self.held(deadline).await?;
        let ends_at = transaction_end(deadline);
        let mut session = self.own_session(Mode::Write(isolation), statement_deadline(ends_at)).await?;
        session.held = Some(held);
        Ok(Transaction::Own(Held::new(session, ends_at, drop)))
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
        let until = statement_deadline(ends_at);
        let mut session = self.session(Mode::Snapshot, until).await?;
        session.held = Some(held);
        let text = session.tagged(statement);
        let declared = match session.lease().connection() {
            Ok(connection) => within(until, declare(connection, &text, params)).await,
            Err(error) => Err(Failure::Broken(error)),
        };
        match declared {
            Ok(columns) => {
                let names = columns.names;
                let reading = Reading {
                    session,
                    kinds: columns.kinds,
                    waiting: VecDeque::new(),
                    row_bytes: PAGE_BYTES / FIRST_ROWS,
                    is_at_end: false,
                };
                Ok(Cursor { held: Held::new(reading, ends_at, drop), columns: names })
            }
            Err(failure) => Err(session.end_after(failure).await),
        }
    }
}

async fn declare(connection: &mut PgConnection, text: &str, params: Vec<Value>) -> Result<Columns, Failure> {
    let described = describe(connection, text).await?;
    let arguments = arguments(&described, params)?;
    let declare = AssertSqlSafe(format!("DECLARE \"__cursor\" NO SCROLL CURSOR FOR {text}"));
    connection.execute(sqlx::query_with(declare, arguments).persistent(false)).await?;
    Ok(described.columns)
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
        self.execute(statement, params, deadline).await
    }

    /// Runs one statement; admission saw to it that a query only reads.
    pub(crate) async fn execute(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        let held = match self {
            Self::Own(held) => held,
            Self::InScope { nested, ends_at } => {
                let deadline = statement_deadline(deadline.min(*ends_at));
                return in_scope(nested, statement, params, deadline).await;
            }
        };
        let deadline = statement_deadline(deadline.min(held.ends_at()));
        let (slot, mut session) = held.take().await?;
        match renewed(&mut session, statement, params, deadline).await {
            Ok(table) => {
                slot.keep(session);
                Ok(table)
            }
            Err(Failure::Refused(error @ (StorageError::Denied(_) | StorageError::Parameter(_, _)))) => {
                slot.keep(session);
                Err(error)
            }
            Err(failure) => Err(session.end_after(failure).await),
        }
    }

    /// Makes the work permanent. After an error nothing of it is.
    pub(crate) async fn commit(&self) -> Result<(), StorageError> {
        let held = match self {
            Self::Own(held) => held,
            Self::InScope { nested, ends_at } => return nested.commit(statement_deadline(*ends_at)).await,
        };
        let (_slot, mut session) = held.take().await?;
        let deadline = statement_deadline(held.ends_at());
        match session.renew(deadline).await {
            Ok(()) => session.commit(deadline).await,
            Err(failure) => Err(session.end_after(failure).await),
        }
    }
}

async fn renewed(
    session: &mut Session,
    statement: &Admitted,
    params: Vec<Value>,
    deadline: Instant,
) -> Result<Table, Failure> {
    session.renew(deadline).await?;
    session.run(statement, params, deadline).await
}

/// One statement of the guest's own transaction in a scope.
async fn in_scope(
    nested: &Nested<Session>,
    statement: &Admitted,
    params: Vec<Value>,
    deadline: Instant,
) -> Result<Table, StorageError> {
    let (loan, mut session) = nested.lend(deadline).await?;
    match renewed(&mut session, statement, params, deadline).await {
        Ok(table) => {
            loan.give_back(session);
            Ok(table)
        }
        Err(Failure::Refused(error @ (StorageError::Denied(_) | StorageError::Parameter(_, _)))) => {
            loan.give_back(session);
            Err(error)
        }
        Err(Failure::Broken(error)) if !is_of_answer(&error) => Err(session.end_after(Failure::Broken(error)).await),
        Err(failure) => {
            nested.undo(loan, session).await?;
            Err(failure.into_answer())
        }
    }
}

/// A read that is fetched in pages.
#[derive(Debug)]
pub(crate) struct Cursor {
    held: Held<Reading>,
    columns: Vec<String>,
}

#[derive(Debug)]
struct Reading {
    session: Session,
    kinds: Vec<Kind>,
    /// Rows that came and did not fit into the page.
    waiting: VecDeque<(Vec<Value>, usize)>,
    /// Bytes of a row, as far as known.
    row_bytes: usize,
    is_at_end: bool,
}

impl Cursor {
    /// Column names in order.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Up to `rows_max` further rows and at most the bytes of one result; none is the end.
    pub(crate) async fn next(&self, rows_max: usize, deadline: Instant) -> Result<Vec<Vec<Value>>, StorageError> {
        let deadline = statement_deadline(deadline.min(self.held.ends_at()));
        let (slot, mut reading) = self.held.take().await?;
        match reading.page(rows_max, deadline).await {
            Ok(rows) => {
                slot.keep(reading);
                Ok(rows)
            }
            Err(failure) => Err(reading.session.end_after(failure).await),
        }
    }
}

impl Reading {
    async fn page(&mut self, rows_max: usize, deadline: Instant) -> Result<Vec<Vec<Value>>, Failure> {
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        while rows.len() < rows_max && bytes < PAGE_BYTES {
            match self.waiting.pop_front() {
                Some((values, row_bytes)) => {
                    bytes = bytes.saturating_add(row_bytes);
                    rows.push(values);
                }
                None if self.is_at_end => break,
                None => self.fetch(rows_max - rows.len(), PAGE_BYTES - bytes, deadline).await?,
            }
        }
        Ok(rows)
    }

    /// Fetches so many rows as will about fill the page.
    async fn fetch(&mut self, rows_max: usize, bytes: usize, deadline: Instant) -> Result<(), Failure> {
        self.session.renew(deadline).await?;
        let count = (bytes / self.row_bytes.max(1)).clamp(1, PIECE_ROWS_MAX).min(rows_max);
        let connection = self.session.lease().connection().map_err(Failure::Broken)?;
        let pieces = within(deadline, fetch(connection, count, &self.kinds)).await?;
        self.is_at_end = pieces.len() < count;
        if !pieces.is_empty() {
            self.row_bytes = pieces.iter().map(|(_, bytes)| bytes).sum::<usize>() / pieces.len();
        }
        self.waiting.extend(pieces);
        Ok(())
    }
}

async fn fetch(
    connection: &mut PgConnection,
    count: usize,
    kinds: &[Kind],
) -> Result<Vec<(Vec<Value>, usize)>, Failure> {
    use futures_util::TryStreamExt as _;
    // Not kept: the result of this text has other columns for another cursor.
    let text = AssertSqlSafe(format!("FETCH FORWARD {count} FROM \"__cursor\""));
    let mut stream = connection.fetch(sqlx::query(text).persistent(false));
    let (mut rows, mut bytes) = (Vec::new(), 0_usize);
    while let Some(found) = stream.try_next().await? {
        let (values, row_bytes) = row(&found, kinds)?;
        bytes = bytes.saturating_add(row_bytes);
        // A page and what waits for the next: rows that suddenly are large end the read.
        if bytes > limits::RESULT_BYTES_MAX.saturating_mul(4) {
            return Err(Failure::Broken(StorageError::Limit(limit_codes::BYTES)));
        }
        rows.push((values, row_bytes));
    }
    Ok(rows)
}
