//! What crosses between a plugin and its storage: cells, statements, results, refusals.
//! It knows no engine; how a value becomes a column is the engine's file.

use std::fmt;

use bulkhead_model::{Code, Coded};

use super::limits;

/// One cell or one parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// True or false.
    Boolean(bool),
    /// A signed 64-bit integer.
    Int64(i64),
    /// A binary fraction; never NaN as a parameter.
    Float64(f64),
    /// UTF-8 without NUL.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// JSON text.
    Json(String),
    /// Microseconds since 1970, UTC.
    Timestamp(i64),
    /// High and low half of a UUID.
    Uuid(u64, u64),
    /// Decimal digits. `SQLite` keeps them exactly in a column whose type has `TEXT` in its name and to 15
    /// digits in a `numeric` one.
    Decimal(String),
}

impl Value {
    /// Bytes that the value counts in the budget of a result.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Boolean(_) => 1,
            Self::Int64(_) | Self::Float64(_) | Self::Timestamp(_) => 8,
            Self::Uuid(_, _) => 16,
            Self::Text(text) | Self::Json(text) | Self::Decimal(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A statement of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// One SQL statement with parameters `$1` to `$n`.
    pub text: String,
    /// The parameters in order.
    pub params: Vec<Value>,
}

/// The bytes of a batch's results with those of `table`, unless that is too much for one result.
pub(crate) fn within_result_bytes(bytes: usize, table: &Table) -> Result<usize, StorageError> {
    let bytes = bytes.saturating_add(table.rows.iter().flatten().map(Value::size_bytes).sum());
    if bytes > limits::RESULT_BYTES_MAX { Err(StorageError::Limit(limit_codes::BYTES)) } else { Ok(bytes) }
}

/// The answer of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Column names in order.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
    /// Rows changed by a statement that writes.
    pub affected: u64,
}

/// How much a transaction is kept apart from others. On `SQLite` every level is serializable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see one snapshot.
    RepeatableRead,
    /// As if one transaction ran after another.
    Serializable,
}

/// Kind of a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// A unique index or primary key.
    Unique,
    /// A reference to a row that is not there.
    ForeignKey,
    /// A CHECK.
    Check,
    /// A NULL where none may be.
    NotNull,
    /// Any other.
    Other,
}

/// Why storage did not do what a plugin asked. Its texts are safe to show to the plugin: codes, the plugin's
/// own names, byte positions; never the engine's text, a path, or a name of another tenant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StorageError {
    /// Refused by the host's rules; a stable code such as `function:load_extension`.
    #[error("refused: {0}")]
    Denied(String),
    /// The engine could not read the statement, or a key or name is malformed.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A parameter does not fit: its position from 1, and what was wanted.
    #[error("parameter {0}: wanted {1}")]
    Parameter(u32, String),
    /// A constraint of the plugin's own tables.
    #[error("a {kind} constraint was violated")]
    Violation {
        /// Kind of the constraint.
        kind: ConstraintKind,
        /// The plugin's own constraint, or its `table.column` list.
        name: Option<String>,
    },
    /// Lost a race: do the whole unit again.
    #[error("lost a race, try the whole unit again")]
    Retry,
    /// A bound was reached; a stable code, one of [`limit_codes`].
    #[error("limit `{0}` reached")]
    Limit(&'static str),
    /// This transaction or cursor was ended by the host or by an earlier error.
    #[error("ended by the host or by an earlier error")]
    Ended,
    /// The database does not answer.
    #[error("storage is unavailable")]
    Unavailable,
    /// The host failed; an id to look up in its log.
    #[error("internal failure `{0}`")]
    Internal(String),
}

/// The codes of [`StorageError::Limit`].
pub mod limit_codes {
    /// Too many rows in one result.
    pub const ROWS: &str = "rows";
    /// Too many bytes in one result, row, key or value.
    pub const BYTES: &str = "bytes";
    /// The statement's, transaction's or call's time is up.
    pub const DEADLINE: &str = "deadline";
    /// Another writer of the same plugin held the file for too long.
    pub const LOCK_WAIT: &str = "lock-wait";
    /// The plugin's storage in this tenant is full.
    pub const QUOTA: &str = "quota";
    /// Too many transactions and cursors open at once.
    pub const OPEN_TRANSACTIONS: &str = "open-transactions";
    /// The statement needed too much working memory.
    pub const MEMORY: &str = "memory";
    /// The statement's text is too long.
    pub const STATEMENT_BYTES: &str = "statement-bytes";
    /// Too many parameters.
    pub const PARAMETERS: &str = "parameters";
    /// Too many statements in a batch.
    pub const STATEMENTS: &str = "statements";
    /// Too many keys in the key-value store, or in one request.
    pub const KEYS: &str = "keys";
    /// Too many blobs.
    pub const BLOBS: &str = "blobs";
    /// More isolation than the transaction of a scope has.
    pub const ISOLATION: &str = "isolation";
    /// Not in a scope of the host application: it could not be undone with the rest.
    pub const SCOPE: &str = "scope";
    /// Too many blobs being written at once.
    pub const OPEN_WRITERS: &str = "open-writers";
}

impl Coded for StorageError {
    fn code(&self) -> Code {
        match self {
            Self::Denied(_) | Self::Invalid(_) | Self::Parameter(_, _) => Code::InvalidInput,
            Self::Violation { .. } | Self::Retry | Self::Ended => Code::Conflict,
            Self::Limit(limit_codes::QUOTA) => Code::StorageFull,
            Self::Limit(limit_codes::DEADLINE) => Code::DeadlineExceeded,
            Self::Limit(_) => Code::InvalidInput,
            Self::Unavailable => Code::DatabaseUnavailable,
            Self::Internal(_) => Code::Internal,
        }
    }
}

impl fmt::Display for ConstraintKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unique => "unique",
            Self::ForeignKey => "foreign-key",
            Self::Check => "check",
            Self::NotNull => "not-null",
            Self::Other => "table",
        })
    }
}

/// A value of the key-value store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvEntry {
    /// The bytes.
    pub value: Vec<u8>,
    /// Never used twice for one key, also not after a delete.
    pub version: u64,
    /// Milliseconds until it expires, if it does.
    pub ttl_ms: Option<u64>,
}

/// When a write of the key-value store happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvCondition {
    /// In any case.
    Always,
    /// If the key is absent.
    Absent,
    /// If the key has this version.
    Version(u64),
}

/// What came of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvOutcome {
    /// Done, with this version.
    Done(u64),
    /// The condition did not hold; what is there instead.
    Stale(Option<KvEntry>),
}

/// A page of keys in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvPage {
    /// The keys.
    pub keys: Vec<String>,
    /// Token for the next page, if there is more.
    pub next: Option<String>,
}
