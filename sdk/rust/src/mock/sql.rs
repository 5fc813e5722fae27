//! The mock of `sql`: scripted answers, recorded statements, one transaction at a time.
//! It reads no SQL: whether a statement is right is shown by a real database alone.

use crate::bindings::bulkhead::plugin::storage_types::{ConstraintKind, StorageError, Table, Value, Violation};

use super::{State, with_state};
use crate::bindings::bulkhead::plugin::sql::Statement;

/// What a scripted statement answers; made by [`rows`], [`affected`], [`violation`], [`failure`], [`unavailable`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(pub(super) Result<Table, StorageError>);

/// Rows of these columns.
pub fn rows<const COLUMNS: usize>(
    columns: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [Value; COLUMNS]>,
) -> Answer {
    let columns = columns.map(str::to_owned).to_vec();
    let rows = rows.into_iter().map(Vec::from).collect();
    Answer(Ok(Table { columns, rows, affected: 0 }))
}

/// No rows, and so many changed.
#[must_use]
pub fn affected(rows: u64) -> Answer {
    Answer(Ok(Table { columns: Vec::new(), rows: Vec::new(), affected: rows }))
}

/// A broken constraint.
#[must_use]
pub fn violation(kind: ConstraintKind) -> Answer {
    Answer(Err(StorageError::Violation(Violation { kind, name: None })))
}

/// A limit that was reached, by its code: `quota`, `deadline` and others.
#[must_use]
pub fn failure(code: &str) -> Answer {
    Answer(Err(StorageError::Limit(code.to_owned())))
}

/// A database that does not answer, or the owner of a view that does not serve.
#[must_use]
pub fn unavailable() -> Answer {
    Answer(Err(StorageError::Unavailable))
}

impl State {
    fn answer(&mut self, text: &str, params: &[Value]) -> Result<Table, StorageError> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let position = self.answers.iter().position(|(fragment, _)| text.contains(fragment));
        let unscripted = || StorageError::Invalid(format!("no answer is scripted for `{text}`"));
        let scripted = position.and_then(|position| self.answers.remove(position)).ok_or_else(unscripted);
        self.record(&text, params);
        scripted.and_then(|(_, Answer(answer))| answer)
    }

    fn record(&mut self, text: &str, params: &[Value]) {
        self.statements.push(Statement { text: text.to_owned(), params: params.to_vec() });
    }
}

/// `bulkhead:plugin/sql`.
pub(crate) mod imports {
    use std::cell::RefCell;

    use super::{State, StorageError, Table, Value, with_state};
    use crate::sql::{Isolation, Statement};

    pub(crate) fn query(text: &str, params: &[Value]) -> Result<Table, StorageError> {
        with_state(|state| state.answer(text, params))
    }

    pub(crate) fn execute(text: &str, params: &[Value]) -> Result<Table, StorageError> {
        with_state(|state| state.answer(text, params))
    }

    pub(crate) fn batch(statements: &[Statement]) -> Result<Vec<Table>, StorageError> {
        with_state(|state| statements.iter().map(|one| state.answer(&one.text, &one.params)).collect())
    }

    pub(crate) fn open(text: &str, params: &[Value]) -> Result<Cursor, StorageError> {
        let table = with_state(|state| state.answer(text, params))?;
        Ok(Cursor(RefCell::new(table)))
    }

    /// A scripted answer, read piece by piece.
    #[derive(Debug)]
    pub(crate) struct Cursor(RefCell<Table>);

    impl Cursor {
        pub(crate) fn columns(&self) -> Vec<String> {
            self.0.borrow().columns.clone()
        }

        pub(crate) fn next(&self, max_rows: u32) -> Result<Vec<Vec<Value>>, StorageError> {
            let rows = &mut self.0.borrow_mut().rows;
            let count = usize::try_from(max_rows).map_or(rows.len(), |max| max.min(rows.len()));
            Ok(rows.drain(..count).collect())
        }
    }

    pub(crate) fn begin(_isolation: Isolation) -> Result<Transaction, StorageError> {
        with_state(|state| {
            if state.has_transaction {
                return Err(StorageError::Limit("open-transactions".to_owned()));
            }
            state.has_transaction = true;
            state.record("BEGIN", &[]);
            Ok(Transaction { is_open: true })
        })
    }

    /// Records what happens in it; nothing is undone, for nothing was done.
    #[derive(Debug)]
    pub(crate) struct Transaction {
        is_open: bool,
    }

    impl Transaction {
        pub(crate) fn query(&self, text: &str, params: &[Value]) -> Result<Table, StorageError> {
            with_state(|state| state.answer(text, params))
        }

        pub(crate) fn execute(&self, text: &str, params: &[Value]) -> Result<Table, StorageError> {
            with_state(|state| state.answer(text, params))
        }

        pub(crate) fn publish(&self, topic: &str, key: &str, payload: &str) -> Result<String, StorageError> {
            let params = [topic, key, payload].map(Value::from);
            with_state(|state| state.record("PUBLISH", &params));
            Ok("event-1".to_owned())
        }

        pub(crate) fn commit(mut this: Self) -> Result<(), StorageError> {
            this.is_open = false;
            with_state(|state| end(state, "COMMIT"));
            Ok(())
        }
    }

    impl Drop for Transaction {
        fn drop(&mut self) {
            if self.is_open {
                with_state(|state| end(state, "ROLLBACK"));
            }
        }
    }

    fn end(state: &mut State, how: &str) {
        state.has_transaction = false;
        state.record(how, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::Host;
    use crate::{PluginError, params, sql};

    #[test]
    fn a_transaction_that_fails_is_rolled_back() {
        let host = Host::new().with_sql("INSERT", affected(1)).with_sql("UPDATE", failure("quota"));

        let error = host.run(|| {
            sql::transaction(|tx| {
                tx.execute("INSERT INTO notes\n (id) VALUES ($1)", params![1])?;
                tx.execute("UPDATE tags SET count = $1", params![2])?;
                Ok(())
            })
        });

        assert_eq!(error, Err(PluginError::unavailable("storage limit `quota` reached")));
        let texts = ["BEGIN", "INSERT INTO notes (id) VALUES ($1)", "UPDATE tags SET count = $1", "ROLLBACK"];
        assert_eq!(host.statement_texts(), texts);
        assert_eq!(host.statements()[1].params, [Value::Int64(1)]);
    }

    #[test]
    fn a_transaction_that_succeeds_is_committed() {
        let host = Host::new();

        let answer = host.run(|| sql::transaction(|tx| Ok(tx.publish("a.b", "k", &crate::JsonText::of("v")?)?)));

        assert_eq!(answer.as_deref(), Ok("event-1"));
        assert_eq!(host.statement_texts(), ["BEGIN", "PUBLISH", "COMMIT"]);
    }

    #[test]
    fn a_second_open_transaction_is_refused() {
        let host = Host::new();

        let answer = host.run(|| sql::transaction(|_| sql::transaction(|_| Ok(()))));

        assert_eq!(answer, Err(PluginError::unavailable("storage limit `open-transactions` reached")));
        assert_eq!(host.statement_texts(), ["BEGIN", "ROLLBACK"]);
    }

    #[test]
    fn an_answer_serves_once_and_an_unscripted_statement_is_quoted() {
        let host =
            Host::new().with_sql("FROM a", rows(["n"], [[1.into()]])).with_sql("FROM a", rows(["n"], [[2.into()]]));

        host.run(|| {
            assert_eq!(sql::query("SELECT n FROM a", params![]).unwrap().scalar::<i64>(), Ok(1));
            assert_eq!(sql::query("SELECT n FROM a", params![]).unwrap().scalar::<i64>(), Ok(2));
            let error = sql::query("SELECT n  FROM a", params![]).unwrap_err();
            assert!(error.to_string().contains("`SELECT n FROM a`"), "{error}");
        });
    }

    #[test]
    fn a_cursor_reads_to_its_end() {
        let host = Host::new().with_sql("FROM a", rows(["n"], [[1.into()], [2.into()], [3.into()]]));

        host.run(|| {
            let cursor = sql::open("SELECT n FROM a", params![]).unwrap();
            assert_eq!([2, 1, 0], [(); 3].map(|()| cursor.next(2).unwrap().len()));
        });
    }

    #[test]
    fn a_batch_answers_for_each_statement() {
        let host = Host::new().with_sql("DELETE", affected(2)).with_sql("SELECT", rows(["n"], [[1.into()]]));

        let statements = [sql::statement("DELETE FROM a", params![]), sql::statement("SELECT n FROM a", params![])];
        let answers = host.run(|| sql::batch(&statements)).unwrap();

        assert_eq!((answers[0].affected(), answers[1].len()), (2, 1));
    }

    #[test]
    fn a_broken_constraint_is_the_callers_conflict() {
        let host = Host::new().with_sql("INSERT", violation(ConstraintKind::Unique));

        let error = host.run(|| sql::execute("INSERT INTO a VALUES ($1)", params![1])).unwrap_err();

        assert_eq!(PluginError::from(error), PluginError::conflict("unique constraint violated"));
    }
}
