//! The one way of a plugin's text to an engine: no backend takes anything but an [`Admitted`] text, and only this
//! file makes one, from what the statement guard printed.
//! It runs nothing; what an admitted statement can reach is the engine's own wall.

use std::sync::Arc;

use super::export::quoted;
use super::guard::{self, Checked, Guard, Kind, Verb};
use super::value::StorageError;

/// Text that passed the guard.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    checked: Arc<Checked>,
}

impl Admitted {
    /// What goes to the engine.
    pub(crate) fn text(&self) -> &str {
        &self.checked.text
    }

    /// Whether it changes rows or tables.
    pub(crate) fn writes(&self) -> bool {
        !self.checked.reads_only()
    }

    /// Whether it writes more than it removes.
    pub(crate) fn adds(&self) -> bool {
        self.writes() && self.checked.verb != Verb::Delete
    }

    /// Whether it builds an index outside of any transaction.
    pub(crate) fn builds_concurrently(&self) -> bool {
        self.checked.verb == Verb::CreateIndexConcurrently
    }

    /// A read of the view that this is the SELECT of: rows whose `columns` equal the parameters in their order, or have no
    /// value where the flag says so; `limit` of them at most.
    ///
    /// A name must be one of the view's columns. It stands alone, because behind a table's name PostgreSQL takes it for a
    /// function too; and it has lower case, so that it is never the name that stands for a whole row.
    pub(crate) fn of_view<'a>(&self, columns: impl IntoIterator<Item = (&'a str, bool)>, limit: u32) -> Self {
        let mut text = guard::view_as_table(&self.checked.text);
        let mut parameters = 0_u16;
        for (place, (column, is_null)) in columns.into_iter().enumerate() {
            text.push_str(if place == 0 { " WHERE " } else { " AND " });
            text.push_str(&quoted(column));
            if is_null {
                text.push_str(" IS NULL");
            } else {
                parameters = parameters.saturating_add(1);
                text.push_str(&format!(" = ${parameters}"));
            }
        }
        text.push_str(&format!(" LIMIT {limit}"));
        Self { checked: Arc::new(Checked { text, parameters, ..Checked::clone(&self.checked) }) }
    }

    /// Text that no guard has seen, to try the engine's own wall. It exists in this crate's unit tests alone.
    #[cfg(test)]
    pub(crate) fn unguarded(text: &str) -> Self {
        let checked = Checked {
            text: text.to_owned(),
            parameters: 0,
            verb: Verb::Update,
            tables: Vec::new(),
            functions: Vec::new(),
            types: Vec::new(),
        };
        Self { checked: Arc::new(checked) }
    }
}

/// Decides which texts pass. Shared by all plugins.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    guard: Guard,
}

impl Admission {
    /// One statement of a plugin.
    pub(crate) fn admit(&self, text: &str, kind: Kind) -> Result<Admitted, StorageError> {
        Ok(Admitted { checked: self.guard.check(text, kind)? })
    }

    /// The SELECT of a view.
    pub(crate) fn admit_view(&self, text: &str) -> Result<Admitted, StorageError> {
        Ok(Admitted { checked: Arc::new(guard::check_view(text)?) })
    }

    /// The statements of a migration.
    pub(crate) fn admit_script(&self, script: &str) -> Result<Vec<Admitted>, StorageError> {
        let statements = guard::check_script(script)?;
        Ok(statements.into_iter().map(|checked| Admitted { checked: Arc::new(checked) }).collect())
    }
}
