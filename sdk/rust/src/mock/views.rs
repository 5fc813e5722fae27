//! Views of other plugins in the mock: tables that a test gives, filtered and cut as a host does.
//! It compares values as they are given; a host compares them as the column's type does.

use super::Host;
use super::sql::Answer;

/// A view that a test gives: its plugin, its name, and what it holds.
pub(super) type View = (String, String, Answer);

/// Most rows of one read.
const LIMIT_MAX: u32 = 10_000;
/// Most columns that a read compares.
const EQUALS_MAX: usize = 64;

impl Host {
    /// The same host with a view that another plugin publishes, in the version that the manifest uses. Reads give the rows of
    /// `answer` that fit, or its failure, as often as they are asked.
    #[must_use]
    pub fn with_view(self, plugin: &str, view: &str, answer: Answer) -> Self {
        self.change(|state| state.views.push((plugin.to_owned(), view.to_owned(), answer)))
    }
}

/// `bulkhead:plugin/views`.
pub(crate) mod imports {
    use super::{EQUALS_MAX, LIMIT_MAX};
    use crate::bindings::bulkhead::plugin::storage_types::{StorageError, Table, Value};
    use crate::mock::with_state;

    pub(crate) fn read(
        plugin: &str,
        view: &str,
        equals: &[(String, Value)],
        limit: u32,
    ) -> Result<Table, StorageError> {
        let found = with_state(|state| {
            let found = state.views.iter().rev().find(|(owner, name, _)| owner == plugin && name == view);
            found.map(|(_, _, answer)| answer.clone())
        });
        let mut table = found.ok_or_else(|| StorageError::Denied("view".to_owned()))?.0?;
        if equals.len() > EQUALS_MAX {
            return Err(StorageError::Limit("parameters".to_owned()));
        }
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(StorageError::Invalid(format!("a limit of 1 to {LIMIT_MAX} rows")));
        }
        for (place, (name, value)) in (1..).zip(equals) {
            let wanted = |what: &str| StorageError::Parameter((place, what.to_owned()));
            let column = table.columns.iter().position(|column| column == name);
            let column = column.ok_or_else(|| wanted("a column of the view"))?;
            if matches!(value, Value::Json(_)) {
                return Err(wanted("a value that is no JSON"));
            }
            table.rows.retain(|row| row.get(column) == Some(value));
        }
        table.rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use crate::mock::{Host, failure, rows, unavailable};
    use crate::sql::{Json, Value};
    use crate::{PluginError, StorageError, equals, views};

    fn host() -> Host {
        let people = rows(["name", "age"], [["ada".into(), 36.into()], ["bo".into(), Value::Null]]);
        Host::new().with_view("acme.people", "people", people)
    }

    #[test]
    fn a_read_gives_the_rows_that_equal_all_that_is_asked() {
        let check = |equals: &[(&str, Value)], limit: u32, wanted: &[&str]| {
            let rows = host().run(|| views::read("acme.people", "people", equals, limit)).unwrap();
            let names: Vec<String> = rows.iter().map(|row| row.get("name").unwrap()).collect();
            assert_eq!(names, wanted, "{equals:?}");
        };
        check(equals![], 10, &["ada", "bo"]);
        check(equals![], 1, &["ada"]);
        check(equals!["name" => "bo"], 10, &["bo"]);
        check(equals!["age" => None::<i64>], 10, &["bo"]);
        check(equals!["name" => "bo", "age" => 36], 10, &[]);
    }

    #[test]
    fn what_a_host_refuses_the_mock_refuses_too() {
        let check = |view: &str, equals: &[(&str, Value)], limit: u32, wanted: StorageError| {
            assert_eq!(host().run(|| views::read("acme.people", view, equals, limit)), Err(wanted), "{view}");
        };
        let place = |position, wanted: &str| StorageError::Parameter { position, wanted: wanted.to_owned() };
        check("animals", equals![], 10, StorageError::Denied("view".to_owned()));
        check("people", equals![], 0, StorageError::Invalid("a limit of 1 to 10000 rows".to_owned()));
        check("people", equals!["name" => "bo", "size" => 1], 10, place(2, "a column of the view"));
        check("people", equals!["name" => Json::of("bo").unwrap()], 10, place(1, "a value that is no JSON"));
        check("people", &vec![("name", Value::Null); 65], 10, StorageError::Limit("parameters".to_owned()));
    }

    #[test]
    fn an_owner_that_does_not_serve_is_worth_another_try() {
        let check = |answer, wanted: &str| {
            let host = host().with_view("acme.people", "people", answer);
            let error = host.run(|| views::read("acme.people", "people", equals![], 10)).unwrap_err();
            assert_eq!(PluginError::from(error), PluginError::unavailable(wanted));
        };
        check(unavailable(), "storage is not available for the moment");
        check(failure("deadline"), "storage limit `deadline` reached");
    }
}
