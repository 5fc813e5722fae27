//! Runs one text on a connection: described first, its parameters encoded for the types that the server inferred, its
//! rows counted while they come. What is too much is never read to its end: the connection goes with it.
//! It opens and ends no transaction.

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, PgStatement};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Either, Executor as _, Row as _, SqlSafeStr as _, Statement as _,
};
use sqlx::{TypeInfo as _, ValueRef as _};

use super::answer::Failure;
use super::value::{Kind, Parameter, decode};
use crate::tenant::limits;
use crate::tenant::value::{StorageError, Table, Value, limit_codes};

/// The columns of a result.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    pub(super) kinds: Vec<Kind>,
}

/// A text as the server read it.
pub(super) struct Described {
    statement: PgStatement,
    pub(super) columns: Columns,
}

/// Lets the server read `text`, without running it.
pub(super) async fn describe(connection: &mut PgConnection, text: &str) -> Result<Described, Failure> {
    let statement = connection.prepare(AssertSqlSafe(text).into_sql_str()).await?;
    let columns = columns(&statement)?;
    Ok(Described { statement, columns })
}

fn columns(statement: &PgStatement) -> Result<Columns, Failure> {
    let (mut names, mut kinds) = (Vec::new(), Vec::new());
    for column in statement.columns() {
        let kind = Kind::of(column.type_info()).ok_or_else(|| {
            // The names of the server's own types, and none else: a plugin has no types of its own.
            let name = column.type_info().name();
            let shown = if name.chars().all(|c| c.is_ascii_alphanumeric() || "[]_".contains(c)) { name } else { "?" };
            Failure::Refused(StorageError::Invalid(format!("a column of type {shown}: cast it to text")))
        })?;
        names.push(column.name().to_owned());
        kinds.push(kind);
    }
    Ok(Columns { names, kinds })
}

/// Encodes `params` for the parameters of a statement: as many, each fit.
pub(super) fn arguments(described: &Described, params: Vec<Value>) -> Result<PgArguments, Failure> {
    let kinds = match described.statement.parameters() {
        Some(Either::Left(kinds)) => kinds,
        Some(Either::Right(_)) | None => &[],
    };
    let position = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let misfit =
        |index: usize, wanted: &str| Failure::Refused(StorageError::Parameter(position(index), wanted.to_owned()));
    if kinds.len() > limits::PARAMETERS_MAX {
        return Err(Failure::Refused(StorageError::Limit(limit_codes::PARAMETERS)));
    }
    if params.len() < kinds.len() {
        return Err(misfit(params.len() + 1, "a value"));
    }
    if params.len() > kinds.len() {
        return Err(misfit(kinds.len() + 1, "no value"));
    }
    let mut arguments = PgArguments::default();
    for (index, (value, kind)) in params.into_iter().zip(kinds).enumerate() {
        let parameter = Parameter::of(value, kind, index + 1).map_err(Failure::Refused)?;
        arguments.add(parameter).map_err(|_| misfit(index + 1, "a shorter value"))?;
    }
    Ok(arguments)
}

/// Runs `text` and collects its rows within the bounds of a result.
pub(super) async fn run(connection: &mut PgConnection, text: &str, params: Vec<Value>) -> Result<Table, Failure> {
    let described = describe(connection, text).await?;
    let arguments = arguments(&described, params)?;
    let Described { statement, columns } = described;
    let mut stream = connection.fetch_many(statement.query_with(arguments));
    let mut table = Table { columns: columns.names, ..Table::default() };
    let mut bytes = 0;
    while let Some(piece) = stream.try_next().await? {
        match piece {
            Either::Left(done) => table.affected = done.rows_affected(),
            Either::Right(_) if table.rows.len() >= limits::RESULT_ROWS_MAX => {
                return Err(Failure::Broken(StorageError::Limit(limit_codes::ROWS)));
            }
            Either::Right(found) => {
                let (values, row_bytes) = row(&found, &columns.kinds)?;
                bytes += row_bytes;
                if bytes > limits::RESULT_BYTES_MAX {
                    return Err(Failure::Broken(StorageError::Limit(limit_codes::BYTES)));
                }
                table.rows.push(values);
            }
        }
    }
    Ok(table)
}

/// Decodes a row of at most the bytes of a result, and says how many it has. Rows may follow it: a failure leaves the
/// connection in the middle of them.
pub(super) fn row(found: &PgRow, kinds: &[Kind]) -> Result<(Vec<Value>, usize), Failure> {
    let (mut values, mut bytes) = (Vec::with_capacity(kinds.len()), 0_usize);
    for (index, kind) in kinds.iter().enumerate() {
        let cell = found.try_get_raw(index)?;
        if cell.is_null() {
            bytes += 1;
            values.push(Value::Null);
            continue;
        }
        let held = cell.as_bytes().map_err(|_| Failure::Broken(StorageError::Unavailable))?;
        bytes = bytes.saturating_add(held.len());
        // Counted before it is copied.
        if bytes > limits::RESULT_BYTES_MAX {
            return Err(Failure::Broken(StorageError::Limit(limit_codes::BYTES)));
        }
        let unread = || Failure::Broken(StorageError::Invalid("a value without end, such as infinity".to_owned()));
        values.push(decode(held, *kind).ok_or_else(unread)?);
    }
    Ok((values, bytes))
}
