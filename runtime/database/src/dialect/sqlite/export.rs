//! Reads all tables of a plugin's file in one read transaction, for an archive.
//! Its statements are the host's own; the plugin's names in them are quoted.

use std::time::Instant;

use tokio::sync::mpsc;

use super::connection::Connection;
use super::raw::{Cell, RawStatement};
use super::rules::is_internal;
use super::storage::Store;
use super::value::{ColumnKind, read};
use crate::tenant::export::{TablePiece, Waiting, quoted};
use crate::tenant::value::{StorageError, Value};

impl Store {
    /// Whether there is a file.
    pub(crate) async fn is_there(&self, _deadline: Instant) -> Result<bool, StorageError> {
        tokio::fs::try_exists(self.file.path()).await.map_err(|_| StorageError::Unavailable)
    }

    /// Sends all tables of one moment.
    pub(crate) async fn export_tables(
        &self,
        pieces: mpsc::Sender<TablePiece>,
        deadline: Instant,
    ) -> Result<(), StorageError> {
        let session = self.reader(deadline).await?;
        session.finish(deadline, move |connection| Export { connection, pieces, deadline }.run()).await
    }
}

struct Export<'a> {
    connection: &'a mut Connection,
    pieces: mpsc::Sender<TablePiece>,
    deadline: Instant,
}

impl Export<'_> {
    fn run(mut self) -> Result<(), StorageError> {
        self.connection.host("BEGIN", &[])?;
        let done = self.tables();
        self.connection.rollback().and(done)
    }

    fn tables(&mut self) -> Result<(), StorageError> {
        let mut tables = self.names("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
        tables.retain(|table| !is_internal(table));
        tables.into_iter().try_for_each(|table| self.table(table))
    }

    fn table(&mut self, table: String) -> Result<(), StorageError> {
        let literal = table.replace('\'', "''");
        let columns = self.names(&format!("SELECT name FROM pragma_table_info('{literal}') ORDER BY cid"))?;
        let keys = self.names(&format!("SELECT name FROM pragma_table_info('{literal}') WHERE pk > 0 ORDER BY pk"))?;
        let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
        // Without a key the order is that of the rows' own numbers, which no index may change.
        let order = if keys.is_empty() { "NOT INDEXED".to_owned() } else { format!("ORDER BY {}", keys.join(", ")) };
        let selected: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let text = format!("SELECT {} FROM {} {order}", selected.join(", "), quoted(&table));
        send(&self.pieces, TablePiece::Begin { table, columns })?;
        let (mut waiting, mut kinds) = (Waiting::default(), Vec::new());
        let pieces = &self.pieces;
        self.connection.host_read(&text, self.deadline, |row| {
            waiting.add(cells(row, &mut kinds)).map_or(Ok(()), |piece| send(pieces, piece))
        })?;
        waiting.take().map_or(Ok(()), |piece| send(&self.pieces, piece))
    }

    fn names(&mut self, text: &str) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        self.connection.host_read(text, self.deadline, |row| {
            if let Cell::Text(name) = row.cell(0) {
                names.push(String::from_utf8_lossy(name).into_owned());
            }
            Ok(())
        })?;
        Ok(names)
    }
}

/// Waits until there is room.
fn send(pieces: &mpsc::Sender<TablePiece>, piece: TablePiece) -> Result<(), StorageError> {
    pieces.blocking_send(piece).map_err(|_| StorageError::Ended)
}

fn cells(row: &RawStatement, kinds: &mut Vec<ColumnKind>) -> Vec<Value> {
    if kinds.is_empty() {
        kinds.extend((0..row.column_count()).map(|index| ColumnKind::of(row.column_type(index))));
    }
    kinds.iter().enumerate().map(|(index, kind)| cell(row.cell(index), *kind)).collect()
}

/// A cell; a text that is none comes as its bytes.
fn cell(cell: Cell<'_>, kind: ColumnKind) -> Value {
    match (read(cell, kind), cell) {
        (Ok(value), _) => value,
        (Err(_), Cell::Text(bytes) | Cell::Blob(bytes)) => Value::Bytes(bytes.to_vec()),
        (Err(_), Cell::Null | Cell::Integer(_) | Cell::Real(_)) => Value::Null,
    }
}
