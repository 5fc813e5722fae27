//! Reads what a plugin keeps in tables for an archive: all tables of one moment, piece by piece, and no more in memory
//! than its pieces. It writes no archive; keys and blobs are read with the verbs that plugins use.

use std::time::Instant;

use tokio::sync::mpsc;

use super::limits;
use super::store::PluginStore;
use super::value::{StorageError, Value};

/// A piece of a plugin's tables, in order: a table begins, then its rows.
#[derive(Clone, Debug, PartialEq)]
pub enum TablePiece {
    /// A table begins.
    Begin {
        /// Its name.
        table: String,
        /// Its columns in order.
        columns: Vec<String>,
    },
    /// Further rows of the table, each as long as its columns; about [`limits::EXPORT_PIECE_BYTES`], or one row.
    Rows(Vec<Vec<Value>>),
}

impl PluginStore {
    /// Whether the plugin ever kept anything in the tenant. Makes nothing.
    pub async fn is_there(&self) -> Result<bool, StorageError> {
        self.store.is_there(Instant::now() + limits::STATEMENT).await
    }

    /// Sends all tables, by name, as one moment shows them, until `deadline` and for [`limits::EXPORT`] at most. Rows come
    /// in the order of the primary key, and without one as they are stored. A cell that no value can hold, such as
    /// infinity in time, comes as its text. It waits for whoever takes the pieces and ends when nobody does.
    pub async fn export_tables(&self, pieces: mpsc::Sender<TablePiece>, deadline: Instant) -> Result<(), StorageError> {
        self.store.export_tables(pieces, deadline.min(Instant::now() + limits::EXPORT)).await
    }
}

/// Rows that wait until they make a piece.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl Waiting {
    /// Adds a row; answers a piece when there is enough for one.
    pub(crate) fn add(&mut self, row: Vec<Value>) -> Option<TablePiece> {
        self.bytes = row.iter().map(Value::size_bytes).fold(self.bytes, usize::saturating_add);
        self.rows.push(row);
        if self.bytes < limits::EXPORT_PIECE_BYTES && self.rows.len() < limits::RESULT_ROWS_MAX {
            return None;
        }
        self.take()
    }

    /// What is left.
    pub(crate) fn take(&mut self) -> Option<TablePiece> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        (!rows.is_empty()).then_some(TablePiece::Rows(rows))
    }
}

/// A name as both engines read it, whatever is in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
