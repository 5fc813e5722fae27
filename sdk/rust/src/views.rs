//! Views that other plugins of the tenant publish: read-only tables, by plugin and name. The manifest names each view that the
//! plugin uses, and its version:
//!
//! ```toml
//! [[views.uses]]
//! plugin = "acme.notes"
//! view = "notes"
//! version = 1
//! ```
//!
//! It builds no SQL: what is asked is columns, values and a number of rows.
//!
//! ```
//! use bulkhead_sdk::{FromRow, PluginError, equals, mock, views};
//!
//! #[derive(Debug, FromRow, PartialEq)]
//! struct Note {
//!     id: i64,
//!     title: String,
//! }
//!
//! fn notes_of(author: &str) -> Result<Vec<Note>, PluginError> {
//!     Ok(views::read("acme.notes", "notes", equals!["author" => author], 50)?.all()?)
//! }
//!
//! let notes = mock::rows(["id", "title", "author"], [
//!     [1.into(), "Buy milk".into(), "ada".into()],
//!     [2.into(), "Sleep".into(), "bo".into()],
//! ]);
//! let host = mock::Host::new().with_view("acme.notes", "notes", notes);
//! let found = host.run(|| notes_of("ada")).unwrap();
//! assert_eq!(found, [Note { id: 1, title: "Buy milk".to_owned() }]);
//! ```

use crate::StorageError;
use crate::imports;
use crate::sql::{Rows, Value};

/// What a read asks for: `equals!["author" => "ada", "done" => false]`; `None` finds what has no value. At most 64.
/// Takes whatever a [`Value`] can be made from.
#[macro_export]
macro_rules! equals {
    ($($column:expr => $value:expr),* $(,)?) => {
        &[$(($column, $crate::sql::Value::from($value))),*] as &[(&str, $crate::sql::Value)]
    };
}

/// The rows of a view whose columns equal all of `equals`, at most `limit` of them: 1 to 10,000. An answer has at most
/// 4 MiB and comes within 1 s; JSON cannot be compared.
///
/// # Errors
/// [`StorageError`]: `Denied` for a view that the manifest does not use, nobody granted, or nobody publishes in that version;
/// `Unavailable` while its plugin does not serve this tenant; `Parameter` with the place in `equals`.
pub fn read(plugin: &str, view: &str, equals: &[(&str, Value)], limit: u32) -> Result<Rows, StorageError> {
    let equals: Vec<_> = equals.iter().map(|(column, value)| ((*column).to_owned(), value.clone())).collect();
    Ok(Rows::from(imports::views::read(plugin, view, &equals, limit)?))
}
