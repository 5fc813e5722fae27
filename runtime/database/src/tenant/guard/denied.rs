//! What a refusal of the guard says: a stable reason, and what was refused in the author's own words.
//! It names nothing that the author did not write.

use std::fmt;

use sqlparser::ast::Ident;

use crate::tenant::{StorageError, limit_codes};

/// Longest text of a refusal, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is too long.
    Size,
    /// It has too many words and signs.
    Tokens,
    /// It is nested too deep.
    Depth,
    /// It holds NUL or another character that has no place in SQL.
    Character,
    /// It is no SQL that the guard reads.
    Syntax,
    /// It is more than one statement.
    Statements,
    /// It is a statement of another kind.
    Statement,
    /// A parameter is not one of `$1` to `$n`.
    Parameter,
    /// There are too many parameters.
    Parameters,
    /// A table that is not the plugin's to name.
    Table,
    /// A name with a schema, or with more parts than `table.column`.
    Schema,
    /// Another name that is not allowed.
    Name,
    /// A function that is not offered.
    Function,
    /// A type that is not offered.
    Type,
    /// An operator that is not offered.
    Operator,
    /// A form of constant that is not offered.
    Literal,
    /// A part of a statement that is not offered.
    Clause,
}

impl Reason {
    /// Its stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Tokens => "tokens",
            Self::Depth => "depth",
            Self::Character => "character",
            Self::Syntax => "syntax",
            Self::Statements => "multiple-statements",
            Self::Statement => "statement",
            Self::Parameter => "parameter",
            Self::Parameters => "parameters",
            Self::Table => "table",
            Self::Schema => "schema",
            Self::Name => "name",
            Self::Function => "function",
            Self::Type => "type",
            Self::Operator => "operator",
            Self::Literal => "literal",
            Self::Clause => "clause",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// What: a name, a clause, or the reader's complaint; at most 200 characters, empty if the reason says all.
    pub what: String,
    /// Line and column from 1, where known.
    pub place: Option<(u64, u64)>,
}

impl Denied {
    pub(super) fn new(reason: Reason, what: &str) -> Self {
        let shown = what.chars().map(|c| if c.is_control() { '?' } else { c }).take(TEXT_CHARS_MAX);
        Self { reason, what: shown.collect(), place: None }
    }

    pub(super) fn name(reason: Reason, name: &Ident) -> Self {
        let start = name.span.start;
        let place = (start.line > 0).then_some((start.line, start.column));
        Self { place, ..Self::new(reason, &name.value) }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.code())?;
        if !self.what.is_empty() {
            write!(f, ":{}", self.what)?;
        }
        if let Some((line, column)) = self.place {
            write!(f, " at line {line}, column {column}")?;
        }
        Ok(())
    }
}

impl From<Denied> for StorageError {
    fn from(denied: Denied) -> Self {
        match denied.reason {
            Reason::Size => Self::Limit(limit_codes::STATEMENT_BYTES),
            Reason::Parameters => Self::Limit(limit_codes::PARAMETERS),
            Reason::Syntax => Self::Invalid(denied.what),
            Reason::Tokens
            | Reason::Depth
            | Reason::Character
            | Reason::Statements
            | Reason::Statement
            | Reason::Parameter
            | Reason::Table
            | Reason::Schema
            | Reason::Name
            | Reason::Function
            | Reason::Type
            | Reason::Operator
            | Reason::Literal
            | Reason::Clause => Self::Denied(denied.to_string()),
        }
    }
}
