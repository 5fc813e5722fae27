//! Rows of an answer, and typed access to them by column name.
//! Access never traps: a missing column or another type is an error that names it.

use std::slice;

use super::value::{FromValue, Value, kind};
use crate::StorageError;
use crate::imports::storage;

/// The rows that a statement answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    affected: u64,
}

impl Rows {
    pub(super) fn new(columns: Vec<String>, rows: Vec<Vec<Value>>, affected: u64) -> Self {
        Self { columns, rows, affected }
    }

    /// The only row wanted, read as `T`; rows after it are ignored.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Decode` when it is not a `T`.
    pub fn one<T: FromRow>(&self) -> Result<T, StorageError> {
        self.optional()?.ok_or(StorageError::NotFound)
    }

    /// The first row, if there is one, read as `T`.
    ///
    /// # Errors
    /// `Decode` when it is not a `T`.
    pub fn optional<T: FromRow>(&self) -> Result<Option<T>, StorageError> {
        self.iter().next().map(|row| T::from_row(&row)).transpose()
    }

    /// All rows, each read as `T`.
    ///
    /// # Errors
    /// `Decode` for the first that is not a `T`.
    pub fn all<T: FromRow>(&self) -> Result<Vec<T>, StorageError> {
        self.iter().map(|row| T::from_row(&row)).collect()
    }

    /// The first column of the only row wanted: for `SELECT count(*) ...`.
    ///
    /// # Errors
    /// `NotFound` when there is no row, `Decode` when the cell is not a `T`.
    pub fn scalar<T: FromValue>(&self) -> Result<T, StorageError> {
        let row = self.iter().next().ok_or(StorageError::NotFound)?;
        let name = self.columns.first().map_or("", String::as_str);
        row.get(name)
    }

    /// The rows in their order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        <&Self as IntoIterator>::into_iter(self)
    }

    /// The names of the columns, in their order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows a statement that writes has changed.
    #[must_use]
    pub fn affected(&self) -> u64 {
        self.affected
    }
}

impl From<storage::Table> for Rows {
    fn from(table: storage::Table) -> Self {
        Self::new(table.columns, table.rows, table.affected)
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = Row<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        Iter { columns: &self.columns, rows: self.rows.iter() }
    }
}

/// The rows of an answer, one after another.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    columns: &'a [String],
    rows: slice::Iter<'a, Vec<Value>>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        self.rows.next().map(|cells| Row { columns: self.columns, cells })
    }
}

/// One row of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    columns: &'a [String],
    cells: &'a [Value],
}

impl Row<'_> {
    /// The cell of a column, read as `T`: `row.get::<i64>("id")`.
    ///
    /// # Errors
    /// `Decode` when there is no such column or the cell is not a `T`. A null is a `T` only where
    /// `T` is an `Option`.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, StorageError> {
        let index = self.columns.iter().position(|name| name == column);
        let cell = index.and_then(|index| self.cells.get(index));
        cell.and_then(T::from_value).ok_or_else(|| StorageError::Decode {
            name: column.to_owned(),
            wanted: T::WANTED,
            found: cell.map_or("not a column of the answer", kind).to_owned(),
        })
    }
}

/// A type that one row can be read as; `#[derive(FromRow)]` reads each field from the column of its
/// name, or of `#[row(column = "...")]`.
///
/// ```
/// use bulkhead_sdk::{FromRow, mock, params, sql};
///
/// #[derive(Debug, PartialEq, FromRow)]
/// struct Deal {
///     id: i64,
///     #[row(column = "name")]
///     title: String,
///     note: Option<String>,
/// }
///
/// let host = mock::Host::new().with_sql(
///     "FROM deals",
///     mock::rows(["id", "name", "note"], [[1.into(), "First".into(), sql::Value::Null]]),
/// );
/// let deals = host.run(|| sql::query("SELECT id, name, note FROM deals", params![])?.all::<Deal>());
/// assert_eq!(deals, Ok(vec![Deal { id: 1, title: "First".to_owned(), note: None }]));
/// ```
pub trait FromRow: Sized {
    /// Reads the row.
    ///
    /// # Errors
    /// `Decode` that names the column.
    fn from_row(row: &Row<'_>) -> Result<Self, StorageError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let first = vec![Value::Int64(7), Value::Text("seven".to_owned()), Value::Null];
        Rows::new(["id", "title", "note"].map(str::to_owned).to_vec(), vec![first], 0)
    }

    #[test]
    fn a_cell_is_read_by_its_columns_name() {
        let rows = rows();
        let row = rows.iter().next().unwrap();

        assert_eq!(row.get::<i64>("id"), Ok(7));
        assert_eq!(row.get::<String>("title").as_deref(), Ok("seven"));
        assert_eq!(row.get::<Option<String>>("note"), Ok(None));
        assert_eq!(rows.scalar::<i64>(), Ok(7));
    }

    #[test]
    fn a_cell_of_another_type_is_named_in_the_error() {
        check_error("title", "`title` is text, wanted a 64-bit integer");
        check_error("note", "`note` is null, wanted a 64-bit integer");
        check_error("price", "`price` is not a column of the answer, wanted a 64-bit integer");
    }

    fn check_error(column: &str, expected: &str) {
        let rows = rows();
        let error = rows.iter().next().unwrap().get::<i64>(column).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn no_row_is_not_found() {
        let none = Rows::new(vec!["count".to_owned()], Vec::new(), 0);

        assert_eq!(none.scalar::<i64>(), Err(StorageError::NotFound));
    }
}
