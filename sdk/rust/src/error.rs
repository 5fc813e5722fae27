//! What a plugin answers when it cannot do what was asked, and what the storage answers it.
//! Nothing here holds text of the host or of a database: only what the plugin said or may know.

use std::fmt;

use crate::imports::{storage, types};

pub use crate::imports::storage::{ConstraintKind, Violation};

/// What a plugin answers when it cannot do what was asked. On a route the host turns it into
/// problem+json; the texts reach the caller, except that of `Internal`.
///
/// `?` makes one of a [`StorageError`] and of a [`serde_json::Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginError {
    /// The caller sent something that cannot be used: 422 on a route.
    InvalidInput(String),
    /// The caller may not do this: 403 on a route.
    Denied(String),
    /// There is no such thing: 404 on a route.
    NotFound(String),
    /// It clashes with what is already there: 409 on a route.
    Conflict(String),
    /// Not possible for the moment, worth another try: 503 on a route.
    Unavailable(String),
    /// The plugin's own fault: logged, the caller sees a code and a trace id alone. 500 on a route.
    Internal(String),
    /// A code (lower case, `-` between words) and a text, for what the others do not name.
    Other {
        /// Stable code for programs.
        code: String,
        /// Text for people.
        message: String,
    },
}

impl PluginError {
    /// [`PluginError::InvalidInput`] with this text.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::InvalidInput(message.into())
    }

    /// [`PluginError::Denied`] with this text.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::Denied(message.into())
    }

    /// [`PluginError::NotFound`] with this text.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }

    /// [`PluginError::Conflict`] with this text.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict(message.into())
    }

    /// [`PluginError::Unavailable`] with this text.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable(message.into())
    }

    /// [`PluginError::Internal`] with this text.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal(message.into())
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidInput(message) => write!(f, "invalid input: {message}"),
            Self::Denied(message) => write!(f, "denied: {message}"),
            Self::NotFound(message) => write!(f, "not found: {message}"),
            Self::Conflict(message) => write!(f, "conflict: {message}"),
            Self::Unavailable(message) => write!(f, "unavailable: {message}"),
            Self::Internal(message) => write!(f, "internal: {message}"),
            Self::Other { code, message } => write!(f, "{code}: {message}"),
        }
    }
}

impl std::error::Error for PluginError {}

/// A broken constraint is the caller's conflict or input, a lost race or a limit is worth another
/// try, and all else is a fault of the plugin that its caller need not see.
impl From<StorageError> for PluginError {
    fn from(error: StorageError) -> Self {
        let text = error.to_string();
        match error {
            StorageError::Violation(Violation { kind, .. }) => match kind {
                ConstraintKind::Unique | ConstraintKind::ForeignKey => Self::Conflict(text),
                ConstraintKind::Check | ConstraintKind::NotNull | ConstraintKind::Other => Self::InvalidInput(text),
            },
            StorageError::Retry | StorageError::Limit(_) | StorageError::Unavailable => Self::Unavailable(text),
            StorageError::NotFound => Self::NotFound(text),
            StorageError::Denied(_)
            | StorageError::Invalid(_)
            | StorageError::Parameter { .. }
            | StorageError::Decode { .. }
            | StorageError::Ended
            | StorageError::Internal(_)
            | StorageError::Other { .. } => Self::Internal(text),
        }
    }
}

/// JSON that a plugin parses by hand came from its caller; what it stored or made itself goes
/// through [`crate::kv`], [`crate::config`] and [`crate::Response::json`], which answer `Internal`.
impl From<serde_json::Error> for PluginError {
    fn from(error: serde_json::Error) -> Self {
        Self::InvalidInput(error.to_string())
    }
}

impl From<PluginError> for types::PluginError {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::InvalidInput(message) => Self::InvalidInput(message),
            PluginError::Denied(message) => Self::Denied(message),
            PluginError::NotFound(message) => Self::NotFound(message),
            PluginError::Conflict(message) => Self::Conflict(message),
            PluginError::Unavailable(message) => Self::Unavailable(message),
            PluginError::Internal(message) => Self::Internal(message),
            PluginError::Other { code, message } => Self::Other((code, message)),
        }
    }
}

/// Why a statement, a key or a row could not be used.
#[derive(Clone, Debug, PartialEq)]
pub enum StorageError {
    /// Refused before any engine saw it; a stable code such as `function:set_config`.
    Denied(String),
    /// The engine could not read the statement, or a key or name is malformed.
    Invalid(String),
    /// A parameter does not fit its place in the statement.
    Parameter {
        /// The parameter's number, from 1.
        position: u32,
        /// What the statement wanted there.
        wanted: String,
    },
    /// A constraint of the plugin's own tables.
    Violation(Violation),
    /// Lost a race (serialization, deadlock): do the whole unit again.
    Retry,
    /// A limit, by its stable code: `rows`, `bytes`, `deadline`, `lock-wait`, `quota` and others.
    Limit(String),
    /// This transaction was ended by the host or by an earlier error.
    Ended,
    /// The database does not answer for the moment.
    Unavailable,
    /// The host's fault; an id to look up in the plugin's log.
    Internal(String),
    /// A code and a text, for what this version does not name.
    Other {
        /// Stable code.
        code: String,
        /// Text for the plugin's author.
        message: String,
    },
    /// A statement that had to answer a row answered none.
    NotFound,
    /// A cell, a key's value or a row is not of the wanted type.
    Decode {
        /// The column or the key.
        name: String,
        /// The type that was asked for.
        wanted: &'static str,
        /// What was there instead.
        found: String,
    },
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(code) => write!(f, "statement denied: `{code}`"),
            Self::Invalid(reason) => write!(f, "statement or key not understood: {reason}"),
            Self::Parameter { position, wanted } => {
                write!(f, "parameter ${position} does not fit: wanted {wanted}")
            }
            Self::Violation(Violation { kind, name }) => {
                write!(f, "{} violated", constraint(*kind))?;
                name.iter().try_for_each(|name| write!(f, ": `{name}`"))
            }
            Self::Retry => f.write_str("lost a race with another writer, try again"),
            Self::Limit(code) => write!(f, "storage limit `{code}` reached"),
            Self::Ended => f.write_str("the transaction has already ended"),
            Self::Unavailable => f.write_str("storage is not available for the moment"),
            Self::Internal(id) => write!(f, "storage failed, see `{id}` in the plugin's log"),
            Self::Other { code, message } => write!(f, "{code}: {message}"),
            Self::NotFound => f.write_str("no such row"),
            Self::Decode { name, wanted, found } => {
                write!(f, "`{name}` is {found}, wanted {wanted}")
            }
        }
    }
}

impl std::error::Error for StorageError {}

fn constraint(kind: ConstraintKind) -> &'static str {
    match kind {
        ConstraintKind::Unique => "unique constraint",
        ConstraintKind::ForeignKey => "foreign key",
        ConstraintKind::Check => "check constraint",
        ConstraintKind::NotNull => "not-null constraint",
        ConstraintKind::Other => "constraint",
    }
}

impl From<storage::StorageError> for StorageError {
    fn from(error: storage::StorageError) -> Self {
        use storage::StorageError as Wire;
        match error {
            Wire::Denied(code) => Self::Denied(code),
            Wire::Invalid(reason) => Self::Invalid(reason),
            Wire::Parameter((position, wanted)) => Self::Parameter { position, wanted },
            Wire::Violation(violation) => Self::Violation(violation),
            Wire::Retry => Self::Retry,
            Wire::Limit(code) => Self::Limit(code),
            Wire::Ended => Self::Ended,
            Wire::Unavailable => Self::Unavailable,
            Wire::Internal(id) => Self::Internal(id),
            Wire::Other((code, message)) => Self::Other { code, message },
        }
    }
}
