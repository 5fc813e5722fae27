//! Turns the server's errors into what a plugin may learn: a kind, its own constraint's name, never the server's text.
//! It runs nothing.

use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;

use crate::tenant::value::{ConstraintKind, StorageError, limit_codes};

/// Longest name in an answer, in bytes: the server's own bound.
const NAME_BYTES_MAX: usize = 63;

/// How a piece of work on a connection ended badly, and what is left of the connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// Refused before the server saw it: the transaction goes on.
    Refused(StorageError),
    /// Refused by the server: the transaction is lost, the connection is sound.
    Failed(StorageError),
    /// The connection is of no use any more.
    Broken(StorageError),
}

impl Failure {
    /// What the plugin learns.
    pub(super) fn into_answer(self) -> StorageError {
        match self {
            Self::Refused(error) | Self::Failed(error) | Self::Broken(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => of_server(error),
                None => Self::Broken(StorageError::Unavailable),
            },
            error => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection to plugins' data broke");
                Self::Broken(StorageError::Unavailable)
            }
        }
    }
}

fn of_server(error: &PgDatabaseError) -> Failure {
    let code = error.code();
    match code {
        // A statement that is gone, a plan whose result changed its shape: what this side remembers is stale.
        "26000" | "0A000" if code == "26000" || error.message().starts_with("cached plan") => {
            Failure::Broken(StorageError::Retry)
        }
        // Ended by the server: idle for too long, shut down, killed.
        "25P03" => Failure::Broken(StorageError::Ended),
        _ if code.starts_with("57P") || code.starts_with("08") || code.starts_with("58") => {
            Failure::Broken(StorageError::Unavailable)
        }
        _ => Failure::Failed(answer(error)),
    }
}

fn answer(error: &PgDatabaseError) -> StorageError {
    let limit = StorageError::Limit;
    let denied = |code: &str| StorageError::Denied(code.to_owned());
    match error.code() {
        "23505" => violation(error, ConstraintKind::Unique),
        "23503" => violation(error, ConstraintKind::ForeignKey),
        "23514" => violation(error, ConstraintKind::Check),
        "23502" => violation(error, ConstraintKind::NotNull),
        "40001" | "40P01" => StorageError::Retry,
        "57014" => limit(limit_codes::DEADLINE),
        "55P03" => limit(limit_codes::LOCK_WAIT),
        "53200" | "53400" => limit(limit_codes::MEMORY),
        "54000" => limit(limit_codes::BYTES),
        "25006" => denied("write"),
        "25P02" => StorageError::Ended,
        "42501" => denied("privilege"),
        "25001" | "25P01" | "2D000" | "0A000" => denied("statement"),
        code if code.starts_with("23") => violation(error, ConstraintKind::Other),
        code if code.starts_with("53") => unavailable(error),
        code => match invalid(code) {
            Some(what) => StorageError::Invalid(what.to_owned()),
            None => internal(error),
        },
    }
}

/// What could not be read or computed.
fn invalid(code: &str) -> Option<&'static str> {
    Some(match code {
        "42601" => "syntax error",
        "42P01" | "3F000" => "no such table",
        "42703" => "no such column",
        "42883" => "no such function",
        "42704" => "no such type or index",
        "42702" | "42725" => "ambiguous column",
        "42804" | "42846" | "42P18" => "types do not match",
        "42803" | "42P20" => "grouping",
        "42P07" | "42701" | "42710" => "the name is taken",
        "22012" => "division by zero",
        "22003" => "integer overflow",
        "2BP01" => "something else depends on it",
        "54001" | "54011" | "54023" => "the statement is too complex",
        _ if code.starts_with("22") => "a value that cannot be read or computed",
        _ if code.starts_with("42") => "statement",
        _ if code.starts_with("21") || code.starts_with("44") => "statement",
        _ => return None,
    })
}

/// The constraint is the plugin's own: it reaches no other table.
fn violation(error: &PgDatabaseError, kind: ConstraintKind) -> StorageError {
    let column = || Some(format!("{}.{}", error.table()?, error.column()?));
    let name = error.constraint().map(str::to_owned).or_else(column);
    StorageError::Violation { kind, name: name.filter(|name| name.len() <= 2 * NAME_BYTES_MAX + 1) }
}

fn unavailable(error: &PgDatabaseError) -> StorageError {
    tracing::error!(code = error.code(), "the server of plugins' data is short of something");
    StorageError::Unavailable
}

fn internal(error: &PgDatabaseError) -> StorageError {
    let id = Uuid::new_v4().to_string();
    tracing::error!(
        code = error.code(),
        error.message = error.message(),
        internal.id = id,
        "a plugin's statement failed in the host"
    );
    StorageError::Internal(id)
}
