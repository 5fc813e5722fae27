//! The plugin's own tables in this tenant: statements, transactions, typed rows.
//! It builds no SQL and knows no engine: texts use `$1..$n` and what SQLite and PostgreSQL share.
//!
//! ```
//! use bulkhead_sdk::{FromRow, PluginError, mock, params, sql};
//!
//! #[derive(FromRow)]
//! struct Visit {
//!     name: String,
//!     count: i64,
//! }
//!
//! fn visit(name: &str) -> Result<Visit, PluginError> {
//!     sql::transaction(|tx| {
//!         tx.execute("UPDATE visits SET count = count + 1 WHERE name = $1", params![name])?;
//!         Ok(tx.query("SELECT name, count FROM visits WHERE name = $1", params![name])?.one()?)
//!     })
//! }
//!
//! let host = mock::Host::new()
//!     .with_sql("UPDATE visits", mock::affected(1))
//!     .with_sql("FROM visits", mock::rows(["name", "count"], [["ada".into(), 3.into()]]));
//! let visit = host.run(|| visit("ada")).unwrap();
//! assert_eq!((visit.name.as_str(), visit.count), ("ada", 3));
//! ```

mod row;
mod value;

use crate::imports;
use crate::{JsonText, PluginError, StorageError};

pub use crate::bindings::bulkhead::plugin::sql::{Isolation, Statement};
pub use row::{FromRow, Row, Rows};
pub use value::{Decimal, FromValue, Json, Timestamp, Value};

/// Parameters of a statement: `params![id, "text", Some(3)]` for `$1`, `$2`, `$3`; at most 64.
/// Takes whatever a [`Value`] can be made from.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::sql::Value::from($value)),*] as &[$crate::sql::Value]
    };
}

/// Reads rows, in a read-only transaction of its own. At most 10,000 rows or 4 MiB: use a `LIMIT`,
/// or [`open`].
///
/// # Errors
/// [`StorageError`]; `Limit` when the answer is too large or took longer than 1 s.
pub fn query(text: &str, params: &[Value]) -> Result<Rows, StorageError> {
    Ok(Rows::from(imports::sql::query(text, params)?))
}

/// Runs one statement in a transaction of its own. Rows are those of its `RETURNING`.
///
/// # Errors
/// [`StorageError`]; `Violation` when a constraint of the plugin's tables said no.
pub fn execute(text: &str, params: &[Value]) -> Result<Rows, StorageError> {
    Ok(Rows::from(imports::sql::execute(text, params)?))
}

/// Runs all statements or none, without a way back to the plugin in between: cheaper than
/// [`transaction`] where no statement needs the answer of an earlier one. At most 100 statements.
///
/// # Errors
/// [`StorageError`] of the first statement that failed; then nothing is changed.
pub fn batch(statements: &[Statement]) -> Result<Vec<Rows>, StorageError> {
    Ok(imports::sql::batch(statements)?.into_iter().map(Rows::from).collect())
}

/// One statement of a [`batch`].
#[must_use]
pub fn statement(text: &str, params: &[Value]) -> Statement {
    Statement { text: text.to_owned(), params: params.to_vec() }
}

/// Runs `work` in a transaction: committed when it answers `Ok`, rolled back when it answers an
/// error or traps. One transaction may be open at a time, 5 s at most, 1 s between two statements.
///
/// # Errors
/// That of `work`, or of the begin or commit; `Unavailable` when it lost a race: the caller may
/// try again.
pub fn transaction<T>(work: impl FnOnce(&Transaction) -> Result<T, PluginError>) -> Result<T, PluginError> {
    transaction_at(Isolation::ReadCommitted, work)
}

/// [`transaction`] at an isolation level. SQLite is serializable whatever is asked.
///
/// # Errors
/// As of [`transaction`].
pub fn transaction_at<T>(
    isolation: Isolation,
    work: impl FnOnce(&Transaction) -> Result<T, PluginError>,
) -> Result<T, PluginError> {
    let tx = Transaction(imports::sql::begin(isolation).map_err(StorageError::from)?);
    let answer = work(&tx)?;
    imports::sql::Transaction::commit(tx.0).map_err(StorageError::from)?;
    Ok(answer)
}

/// An open transaction; see [`transaction`].
#[derive(Debug)]
pub struct Transaction(imports::sql::Transaction);

impl Transaction {
    /// Reads rows as this transaction sees them.
    ///
    /// # Errors
    /// As of [`query`]; after an error the transaction is over and all else answers `Ended`.
    pub fn query(&self, text: &str, params: &[Value]) -> Result<Rows, StorageError> {
        Ok(Rows::from(self.0.query(text, params)?))
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// As of [`execute`]; after an error the transaction is over and all else answers `Ended`.
    pub fn execute(&self, text: &str, params: &[Value]) -> Result<Rows, StorageError> {
        Ok(Rows::from(self.0.execute(text, params)?))
    }

    /// Publishes an event that is delivered only if this transaction commits. Answers its id.
    ///
    /// # Errors
    /// [`StorageError`]; `Denied` for a topic that the manifest does not publish.
    pub fn publish(&self, topic: &str, key: &str, payload: &JsonText) -> Result<String, StorageError> {
        Ok(self.0.publish(topic, key, payload.as_str())?)
    }
}

/// Opens a read too large for one answer. It holds a connection until it is dropped or read to its
/// end, and at most 5 s.
///
/// # Errors
/// As of [`query`].
pub fn open(text: &str, params: &[Value]) -> Result<Cursor, StorageError> {
    Ok(Cursor(imports::sql::open(text, params)?))
}

/// An open read; see [`open`].
#[derive(Debug)]
pub struct Cursor(imports::sql::Cursor);

impl Cursor {
    /// The next rows, at most `max_rows`; none at the end.
    ///
    /// # Errors
    /// As of [`query`].
    pub fn next(&self, max_rows: u32) -> Result<Rows, StorageError> {
        let rows = self.0.next(max_rows)?;
        Ok(Rows::new(self.0.columns(), rows, 0))
    }
}
