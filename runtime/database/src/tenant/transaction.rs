//! What a guest holds between two calls to its storage: an open transaction, or a cursor over a large read.
//! Either ends by itself when its time is up, also while the guest does nothing; dropping it undoes a transaction.

use std::sync::Arc;
use std::time::Instant;

use super::admission::Admission;
use super::guard::Kind;
use super::limits;
use super::store::PluginStore;
use super::value::{Isolation, StorageError, Table, Value};
use crate::dialect;

impl PluginStore {
    /// Opens a transaction that ends at `deadline` at the latest.
    pub async fn begin(&self, isolation: Isolation, deadline: Instant) -> Result<PluginTx, StorageError> {
        let transaction = self.store.begin(isolation, self.call_deadline(deadline)).await?;
        Ok(PluginTx { transaction, admission: Arc::clone(&self.admission) })
    }

    /// Opens a cursor over one statement that only reads; it ends at `deadline` at the latest.
    pub async fn open_cursor(&self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Cursor, StorageError> {
        self.refuse_in_scope()?;
        let statement = self.admission.admit(text, Kind::Query)?;
        self.store.open_cursor(&statement, params, deadline).await.map(|cursor| Cursor { cursor })
    }
}

/// An open transaction of a guest. Dropping it rolls back.
#[derive(Debug)]
pub struct PluginTx {
    transaction: dialect::Transaction,
    admission: Arc<Admission>,
}

impl PluginTx {
    /// Runs one statement that only reads.
    pub async fn query(&mut self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError> {
        let statement = self.admission.admit(text, Kind::Query)?;
        self.transaction.query(&statement, params, deadline).await
    }

    /// Runs one statement. An error other than a refusal ends the transaction.
    pub async fn execute(&mut self, text: &str, params: Vec<Value>, deadline: Instant) -> Result<Table, StorageError> {
        let statement = self.admission.admit(text, Kind::Execute)?;
        self.transaction.execute(&statement, params, deadline).await
    }

    /// Makes the work permanent. After an error nothing of it is.
    pub async fn commit(self) -> Result<(), StorageError> {
        self.transaction.commit().await
    }
}

/// A read that is fetched in pages. Dropping it ends the read.
#[derive(Debug)]
pub struct Cursor {
    cursor: dialect::Cursor,
}

impl Cursor {
    /// Column names in order.
    pub fn columns(&self) -> &[String] {
        self.cursor.columns()
    }

    /// Up to `max_rows` further rows and at most the bytes of one result; none is the end.
    pub async fn next(&mut self, max_rows: u32, deadline: Instant) -> Result<Vec<Vec<Value>>, StorageError> {
        let rows_max = usize::try_from(max_rows).unwrap_or(usize::MAX).clamp(1, limits::RESULT_ROWS_MAX);
        self.cursor.next(rows_max, deadline).await
    }
}
