//! What can go wrong with the host's own tables, named after the operation that failed.
//! What a plugin may learn about its storage is [`crate::StorageError`].

use bulkhead_model::state::RefusedTransition;
use bulkhead_model::{Code, Coded};

use crate::dialect::{Fault, fault};

/// A failure of the host's database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL in the configuration is not understood.
    #[error("`database.url` is neither `sqlite:<folder>` nor `postgres://...`")]
    Url,
    /// The database could not be reached.
    #[error("failed to open the database")]
    Open(#[source] sqlx::Error),
    /// The folder of an embedded database could not be made or locked.
    #[error("failed to use the database's folder")]
    Folder(#[source] std::io::Error),
    /// The host's tables could not be brought to this version.
    #[error("failed to migrate the host's tables")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A migration of the host that was applied differs from the one in this binary.
    #[error("migration {number} of the host's tables has changed since it was applied")]
    Drift {
        /// Number of the migration.
        number: i64,
    },
    /// No transaction could be begun.
    #[error("failed to begin a transaction")]
    Begin(#[source] sqlx::Error),
    /// A query failed.
    #[error("failed to run `{query}`")]
    Query {
        /// Name of the query.
        query: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A transaction could not be committed; whether it was is unknown if the connection broke.
    #[error("failed to commit a transaction")]
    Commit(#[source] sqlx::Error),
    /// The disk is full.
    #[error("no space left for `{query}`")]
    Full {
        /// Name of the query.
        query: &'static str,
        /// The engine's words.
        #[source]
        source: sqlx::Error,
    },
    /// Another writer was first, or the row exists: read again and decide again.
    #[error("`{query}` met a change by somebody else")]
    Conflict {
        /// Name of the query.
        query: &'static str,
    },
    /// A text that came from outside has a character that this engine does not keep.
    #[error("a text has a character that the database does not keep, such as NUL")]
    Text(#[source] sqlx::Error),
    /// There is no such row.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The state does not allow the step.
    #[error(transparent)]
    RefusedTransition(#[from] RefusedTransition),
    /// A stored value cannot be read.
    #[error("a stored `{column}` cannot be read")]
    Corrupt {
        /// The column.
        column: &'static str,
    },
    /// An act on plugins' storage failed.
    #[error("failed to run `{query}`")]
    Storage {
        /// Name of the act.
        query: &'static str,
        /// Why.
        #[source]
        source: crate::StorageError,
    },
}

impl Error {
    /// Names the query that failed and tells a full disk and a lost race from the rest.
    pub(crate) fn query(query: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| match fault(&source) {
            Some(Fault::Full) => Self::Full { query, source },
            Some(Fault::Conflict) => Self::Conflict { query },
            Some(Fault::Text) => Self::Text(source),
            None => Self::Query { query, source },
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Url => Code::InvalidHostConfiguration,
            Self::Open(source) | Self::Begin(source) | Self::Query { source, .. } | Self::Commit(source) => {
                match fault(source) {
                    Some(Fault::Full) => Code::StorageFull,
                    Some(Fault::Conflict | Fault::Text) | None => Code::DatabaseUnavailable,
                }
            }
            Self::Folder(_) | Self::Migrate(_) | Self::Corrupt { .. } => Code::Internal,
            Self::Drift { .. } => Code::MigrationDrift,
            Self::Full { .. } => Code::StorageFull,
            Self::Conflict { .. } => Code::Conflict,
            Self::Text(_) => Code::InvalidInput,
            Self::NotFound { .. } => Code::NotFound,
            Self::RefusedTransition(_) => Code::RefusedTransition,
            Self::Storage { source, .. } => source.code(),
        }
    }
}
