//! `sql`: the plugin's own tables in the tenant. A call has at most one transaction and one cursor open; what
//! it leaves open is rolled back and closed.
//! It reads no SQL; the database guards statements.

use bulkhead_bindings::bulkhead::plugin::sql::{
    Cursor as CursorHandle, Host, HostCursor, HostTransaction, Isolation, Statement, Transaction as TransactionHandle,
};
use bulkhead_bindings::bulkhead::plugin::storage_types as wit;
use bulkhead_database::tenant::{self as database, Cursor, PluginTx, StorageError, limit_codes};
use bulkhead_model::Interface;
use wasmtime::component::Resource;

use crate::imports::Failure;
use crate::state::CallState;

/// Bytes that a cell, a row or a parameter costs beside its own.
pub(super) const CELL_OVERHEAD_BYTES: usize = 16;

impl Host for CallState {
    async fn query(
        &mut self,
        text: String,
        params: Vec<wit::Value>,
    ) -> wasmtime::Result<Result<wit::Table, wit::StorageError>> {
        let result = self.sql_query(&text, params).await;
        self.answer(Interface::Sql, result)
    }

    async fn execute(
        &mut self,
        text: String,
        params: Vec<wit::Value>,
    ) -> wasmtime::Result<Result<wit::Table, wit::StorageError>> {
        let result = self.sql_execute(&text, params).await;
        self.answer(Interface::Sql, result)
    }

    async fn batch(
        &mut self,
        statements: Vec<Statement>,
    ) -> wasmtime::Result<Result<Vec<wit::Table>, wit::StorageError>> {
        let result = self.sql_batch(statements).await;
        self.answer(Interface::Sql, result)
    }

    async fn open(
        &mut self,
        text: String,
        params: Vec<wit::Value>,
    ) -> wasmtime::Result<Result<Resource<CursorHandle>, wit::StorageError>> {
        let result = self.sql_open(&text, params).await;
        self.answer(Interface::Sql, result)
    }

    async fn begin(
        &mut self,
        isolation: Isolation,
    ) -> wasmtime::Result<Result<Resource<TransactionHandle>, wit::StorageError>> {
        let result = self.sql_begin(isolation).await;
        self.answer(Interface::Sql, result)
    }
}

impl HostCursor for CallState {
    async fn columns(&mut self, this: Resource<CursorHandle>) -> wasmtime::Result<Vec<String>> {
        let granted = self.admit(Interface::Sql, 0)?;
        let columns = self.cursor(&this).filter(|_| granted).map_or_else(Vec::new, |cursor| cursor.columns().to_vec());
        self.charge(columns.iter().map(String::len).sum())?;
        Ok(columns)
    }

    async fn next(
        &mut self,
        this: Resource<CursorHandle>,
        max_rows: u32,
    ) -> wasmtime::Result<Result<Vec<Vec<wit::Value>>, wit::StorageError>> {
        let result = self.cursor_next(&this, max_rows).await;
        self.answer(Interface::Sql, result)
    }

    async fn drop(&mut self, this: Resource<CursorHandle>) -> wasmtime::Result<()> {
        if self.cursor(&this).is_some() {
            self.open.cursor = None;
        }
        Ok(())
    }
}

impl HostTransaction for CallState {
    async fn query(
        &mut self,
        this: Resource<TransactionHandle>,
        text: String,
        params: Vec<wit::Value>,
    ) -> wasmtime::Result<Result<wit::Table, wit::StorageError>> {
        let result = self.transaction_query(&this, &text, params).await;
        self.answer(Interface::Sql, result)
    }

    async fn execute(
        &mut self,
        this: Resource<TransactionHandle>,
        text: String,
        params: Vec<wit::Value>,
    ) -> wasmtime::Result<Result<wit::Table, wit::StorageError>> {
        let result = self.transaction_execute(&this, &text, params).await;
        self.answer(Interface::Sql, result)
    }

    async fn publish(
        &mut self,
        _this: Resource<TransactionHandle>,
        topic: String,
        key: String,
        payload: String,
    ) -> wasmtime::Result<Result<String, wit::StorageError>> {
        let bytes = topic.len().saturating_add(key.len()).saturating_add(payload.len());
        let result = match self.admit_storage(Interface::Sql, bytes) {
            // This host serves no events: the grant cannot have been given.
            Ok(_) => Err(Failure::Answer(wit::StorageError::Denied(Interface::EventsPublish.as_str().to_owned()))),
            Err(failure) => Err(failure),
        };
        self.answer(Interface::Sql, result)
    }

    async fn commit(&mut self, this: Resource<TransactionHandle>) -> wasmtime::Result<Result<(), wit::StorageError>> {
        let result = self.transaction_commit(&this).await;
        self.answer(Interface::Sql, result)
    }

    async fn drop(&mut self, this: Resource<TransactionHandle>) -> wasmtime::Result<()> {
        if self.transaction(&this).is_some() {
            self.open.transaction = None;
        }
        Ok(())
    }
}

impl CallState {
    async fn sql_query(&mut self, text: &str, params: Vec<wit::Value>) -> Result<wit::Table, Failure> {
        let deadline = self.call.deadline;
        let params = values(params);
        let store = self.admit_storage(Interface::Sql, statement_bytes(text, &params))?;
        let found = store.query(text, params, deadline).await?;
        self.table(found)
    }

    async fn sql_execute(&mut self, text: &str, params: Vec<wit::Value>) -> Result<wit::Table, Failure> {
        let deadline = self.call.deadline;
        let params = values(params);
        let store = self.admit_storage(Interface::Sql, statement_bytes(text, &params))?;
        let found = store.execute(text, params, deadline).await?;
        self.table(found)
    }

    async fn sql_batch(&mut self, statements: Vec<Statement>) -> Result<Vec<wit::Table>, Failure> {
        let deadline = self.call.deadline;
        let statements: Vec<_> = statements
            .into_iter()
            .map(|statement| database::Statement { text: statement.text, params: values(statement.params) })
            .collect();
        let bytes = statements.iter().map(|statement| statement_bytes(&statement.text, &statement.params)).sum();
        let store = self.admit_storage(Interface::Sql, bytes)?;
        let found = store.batch(statements, deadline).await?;
        found.into_iter().map(|found| self.table(found)).collect()
    }

    async fn sql_open(&mut self, text: &str, params: Vec<wit::Value>) -> Result<Resource<CursorHandle>, Failure> {
        let deadline = self.call.deadline;
        let taken = self.open.cursor.is_some();
        let params = values(params);
        let store = self.admit_storage(Interface::Sql, statement_bytes(text, &params))?;
        if taken {
            return Err(StorageError::Limit(limit_codes::OPEN_TRANSACTIONS).into());
        }
        let cursor = store.open_cursor(text, params, deadline).await?;
        let serial = self.open.next_serial();
        self.open.cursor = Some((serial, cursor));
        Ok(Resource::new_own(serial))
    }

    async fn sql_begin(&mut self, isolation: Isolation) -> Result<Resource<TransactionHandle>, Failure> {
        let deadline = self.call.deadline;
        let taken = self.open.transaction.is_some();
        let store = self.admit_storage(Interface::Sql, 0)?;
        if taken {
            return Err(StorageError::Limit(limit_codes::OPEN_TRANSACTIONS).into());
        }
        let isolation = match isolation {
            Isolation::ReadCommitted => database::Isolation::ReadCommitted,
            Isolation::RepeatableRead => database::Isolation::RepeatableRead,
            Isolation::Serializable => database::Isolation::Serializable,
        };
        let transaction = store.begin(isolation, deadline).await?;
        let serial = self.open.next_serial();
        self.open.transaction = Some((serial, transaction));
        Ok(Resource::new_own(serial))
    }

    async fn cursor_next(
        &mut self,
        this: &Resource<CursorHandle>,
        max_rows: u32,
    ) -> Result<Vec<Vec<wit::Value>>, Failure> {
        let deadline = self.call.deadline;
        self.admit_storage(Interface::Sql, 0)?;
        let cursor = self.cursor(this).ok_or(StorageError::Ended)?;
        let rows = cursor.next(max_rows, deadline).await?;
        if rows.is_empty() {
            // The end: the connection goes back before the guest gets around to dropping the handle.
            self.open.cursor = None;
        }
        self.charge(rows_bytes(&rows))?;
        Ok(rows.into_iter().map(row).collect())
    }

    async fn transaction_query(
        &mut self,
        this: &Resource<TransactionHandle>,
        text: &str,
        params: Vec<wit::Value>,
    ) -> Result<wit::Table, Failure> {
        let deadline = self.call.deadline;
        let params = values(params);
        self.admit_storage(Interface::Sql, statement_bytes(text, &params))?;
        let found = self.transaction(this).ok_or(StorageError::Ended)?.query(text, params, deadline).await?;
        self.table(found)
    }

    async fn transaction_execute(
        &mut self,
        this: &Resource<TransactionHandle>,
        text: &str,
        params: Vec<wit::Value>,
    ) -> Result<wit::Table, Failure> {
        let deadline = self.call.deadline;
        let params = values(params);
        self.admit_storage(Interface::Sql, statement_bytes(text, &params))?;
        let found = self.transaction(this).ok_or(StorageError::Ended)?.execute(text, params, deadline).await?;
        self.table(found)
    }

    async fn transaction_commit(&mut self, this: &Resource<TransactionHandle>) -> Result<(), Failure> {
        self.admit_storage(Interface::Sql, 0)?;
        let (_, transaction) =
            self.open.transaction.take_if(|(serial, _)| *serial == this.rep()).ok_or(StorageError::Ended)?;
        transaction.commit().await?;
        Ok(())
    }

    fn transaction(&mut self, this: &Resource<TransactionHandle>) -> Option<&mut PluginTx> {
        self.open.transaction.as_mut().filter(|(serial, _)| *serial == this.rep()).map(|(_, transaction)| transaction)
    }

    fn cursor(&mut self, this: &Resource<CursorHandle>) -> Option<&mut Cursor> {
        self.open.cursor.as_mut().filter(|(serial, _)| *serial == this.rep()).map(|(_, cursor)| cursor)
    }

    /// What a read found, counted.
    pub(super) fn table(&mut self, found: database::Table) -> Result<wit::Table, Failure> {
        let columns_bytes: usize = found.columns.iter().map(String::len).sum();
        self.charge(columns_bytes.saturating_add(rows_bytes(&found.rows)))?;
        Ok(wit::Table {
            columns: found.columns,
            rows: found.rows.into_iter().map(row).collect(),
            affected: found.affected,
        })
    }
}

fn statement_bytes(text: &str, params: &[database::Value]) -> usize {
    text.len().saturating_add(cells_bytes(params))
}

fn rows_bytes(rows: &[Vec<database::Value>]) -> usize {
    rows.iter().map(|row| cells_bytes(row).saturating_add(CELL_OVERHEAD_BYTES)).sum()
}

fn cells_bytes(cells: &[database::Value]) -> usize {
    cells.iter().map(|cell| cell.size_bytes().saturating_add(CELL_OVERHEAD_BYTES)).sum()
}

fn row(cells: Vec<database::Value>) -> Vec<wit::Value> {
    cells.into_iter().map(cell).collect()
}

fn cell(value: database::Value) -> wit::Value {
    match value {
        database::Value::Null => wit::Value::Null,
        database::Value::Boolean(value) => wit::Value::Boolean(value),
        database::Value::Int64(value) => wit::Value::Int64(value),
        database::Value::Float64(value) => wit::Value::Float64(value),
        database::Value::Text(value) => wit::Value::Text(value),
        database::Value::Bytes(value) => wit::Value::Bytes(value),
        database::Value::Json(value) => wit::Value::Json(value),
        database::Value::Timestamp(value) => wit::Value::Timestamp(value),
        database::Value::Uuid(high, low) => wit::Value::Uuid((high, low)),
        database::Value::Decimal(value) => wit::Value::Decimal(value),
    }
}

fn values(params: Vec<wit::Value>) -> Vec<database::Value> {
    params.into_iter().map(value).collect()
}

/// A parameter as the guest gave it.
pub(super) fn value(value: wit::Value) -> database::Value {
    match value {
        wit::Value::Null => database::Value::Null,
        wit::Value::Boolean(value) => database::Value::Boolean(value),
        wit::Value::Int64(value) => database::Value::Int64(value),
        wit::Value::Float64(value) => database::Value::Float64(value),
        wit::Value::Text(value) => database::Value::Text(value),
        wit::Value::Bytes(value) => database::Value::Bytes(value),
        wit::Value::Json(value) => database::Value::Json(value),
        wit::Value::Timestamp(value) => database::Value::Timestamp(value),
        wit::Value::Uuid((high, low)) => database::Value::Uuid(high, low),
        wit::Value::Decimal(value) => database::Value::Decimal(value),
    }
}

/// A storage error as the guest sees it.
pub(crate) fn storage_error(error: StorageError) -> wit::StorageError {
    match error {
        StorageError::Denied(code) => wit::StorageError::Denied(code),
        StorageError::Invalid(text) => wit::StorageError::Invalid(text),
        StorageError::Parameter(position, wanted) => wit::StorageError::Parameter((position, wanted)),
        StorageError::Violation { kind, name } => {
            wit::StorageError::Violation(wit::Violation { kind: constraint(kind), name })
        }
        StorageError::Retry => wit::StorageError::Retry,
        StorageError::Limit(code) => wit::StorageError::Limit(code.to_owned()),
        StorageError::Ended => wit::StorageError::Ended,
        StorageError::Unavailable => wit::StorageError::Unavailable,
        StorageError::Internal(id) => wit::StorageError::Internal(id),
    }
}

fn constraint(kind: database::ConstraintKind) -> wit::ConstraintKind {
    match kind {
        database::ConstraintKind::Unique => wit::ConstraintKind::Unique,
        database::ConstraintKind::ForeignKey => wit::ConstraintKind::ForeignKey,
        database::ConstraintKind::Check => wit::ConstraintKind::Check,
        database::ConstraintKind::NotNull => wit::ConstraintKind::NotNull,
        database::ConstraintKind::Other => wit::ConstraintKind::Other,
    }
}
