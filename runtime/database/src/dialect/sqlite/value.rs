//! Turns plugin values into `SQLite` parameters and cells, and the engine's errors into what a plugin may learn.
//! It runs nothing.

use libsqlite3_sys as ffi;
use uuid::Uuid;

use super::gate::Stop;
use super::raw::{Bind, Cell, Failure};
use crate::tenant::value::{ConstraintKind, StorageError, Value, limit_codes};

/// A parameter, checked and in the form that the file keeps.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parameter {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Parameter {
    /// Checks `value`; `position` from 1 names it in a refusal.
    pub(super) fn of(value: Value, position: usize) -> Result<Self, StorageError> {
        let wanted = |what: &str| StorageError::Parameter(u32::try_from(position).unwrap_or(u32::MAX), what.to_owned());
        Ok(match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Integer(i64::from(value)),
            Value::Int64(value) | Value::Timestamp(value) => Self::Integer(value),
            Value::Float64(value) if value.is_nan() => return Err(wanted("a number")),
            Value::Float64(value) => Self::Real(value),
            Value::Text(text) if text.contains('\0') => return Err(wanted("text without NUL")),
            Value::Text(text) => Self::Text(text),
            Value::Bytes(bytes) => Self::Blob(bytes),
            Value::Json(text) if !is_json(&text) => return Err(wanted("JSON text")),
            Value::Json(text) => Self::Text(text),
            Value::Uuid(high, low) => Self::Text(Uuid::from_u64_pair(high, low).to_string()),
            Value::Decimal(text) if !is_decimal(&text) => return Err(wanted("decimal digits")),
            Value::Decimal(text) => Self::Text(text),
        })
    }

    /// The form that the engine binds.
    pub(super) fn bind(&self) -> Bind<'_> {
        match self {
            Self::Null => Bind::Null,
            Self::Integer(value) => Bind::Integer(*value),
            Self::Real(value) => Bind::Real(*value),
            Self::Text(text) => Bind::Text(text),
            Self::Blob(bytes) => Bind::Blob(bytes),
        }
    }
}

/// What a column holds, by the type that its table declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// As stored.
    Stored,
    Boolean,
    Float,
    Json,
    Timestamp,
    Uuid,
    Decimal,
}

impl ColumnKind {
    /// The kind of a declared type; `None` is an expression.
    pub(super) fn of(declared: Option<&str>) -> Self {
        let declared = declared.unwrap_or_default().to_ascii_lowercase();
        let begins = |names: &[&str]| names.iter().any(|name| declared.starts_with(name));
        if begins(&["bool"]) {
            Self::Boolean
        } else if begins(&["json"]) {
            Self::Json
        } else if begins(&["timestamp"]) {
            Self::Timestamp
        } else if begins(&["uuid"]) {
            Self::Uuid
        } else if begins(&["numeric", "decimal"]) {
            Self::Decimal
        } else if begins(&["real", "double", "float"]) {
            Self::Float
        } else {
            Self::Stored
        }
    }
}

/// Reads a cell. A stored form that the declared type does not explain is given as it is stored.
pub(super) fn read(cell: Cell<'_>, kind: ColumnKind) -> Result<Value, StorageError> {
    Ok(match (cell, kind) {
        (Cell::Null, _) => Value::Null,
        (Cell::Integer(value), ColumnKind::Boolean) => Value::Boolean(value != 0),
        (Cell::Integer(value), ColumnKind::Timestamp) => Value::Timestamp(value),
        (Cell::Integer(value), ColumnKind::Decimal) => Value::Decimal(value.to_string()),
        (Cell::Integer(value), ColumnKind::Json) => Value::Json(value.to_string()),
        // Whole numbers may be stored in the shorter form in any column.
        #[expect(
            clippy::cast_precision_loss,
            clippy::as_conversions,
            reason = "the engine stores a whole float as an integer only if it converts back"
        )]
        (Cell::Integer(value), ColumnKind::Float) => Value::Float64(value as f64),
        (Cell::Integer(value), ColumnKind::Stored | ColumnKind::Uuid) => Value::Int64(value),
        (Cell::Real(value), ColumnKind::Decimal) => Value::Decimal(value.to_string()),
        (Cell::Real(value), ColumnKind::Json) => Value::Json(value.to_string()),
        (Cell::Real(value), _) => Value::Float64(value),
        (Cell::Blob(bytes), _) => Value::Bytes(bytes.to_vec()),
        (Cell::Text(bytes), kind) => {
            let text =
                std::str::from_utf8(bytes).map_err(|_| StorageError::Invalid("a text is not UTF-8".to_owned()))?;
            read_text(text, kind)
        }
    })
}

fn read_text(text: &str, kind: ColumnKind) -> Value {
    match kind {
        ColumnKind::Json => Value::Json(text.to_owned()),
        ColumnKind::Decimal if is_decimal(text) => Value::Decimal(text.to_owned()),
        ColumnKind::Uuid => match Uuid::try_parse(text) {
            Ok(uuid) => {
                let (high, low) = uuid.as_u64_pair();
                Value::Uuid(high, low)
            }
            Err(_) => Value::Text(text.to_owned()),
        },
        ColumnKind::Stored | ColumnKind::Boolean | ColumnKind::Float | ColumnKind::Timestamp | ColumnKind::Decimal => {
            Value::Text(text.to_owned())
        }
    }
}

fn is_json(text: &str) -> bool {
    !text.contains('\0') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// An optional sign, digits, and at most one point between digits.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    }
}

/// What a plugin may learn of `failure`. `refused` and `stopped` are the gate's reasons, if it had any.
pub(super) fn answer(failure: &Failure, refused: Option<String>, stopped: Option<Stop>) -> StorageError {
    if let Some(code) = refused {
        return StorageError::Denied(code);
    }
    match failure.primary() {
        ffi::SQLITE_INTERRUPT => match stopped {
            Some(Stop::Memory) => StorageError::Limit(limit_codes::MEMORY),
            Some(Stop::Deadline | Stop::Abandoned) | None => StorageError::Limit(limit_codes::DEADLINE),
        },
        ffi::SQLITE_CONSTRAINT => violation(failure),
        ffi::SQLITE_FULL => StorageError::Limit(limit_codes::QUOTA),
        ffi::SQLITE_TOOBIG => StorageError::Limit(limit_codes::BYTES),
        ffi::SQLITE_NOMEM => StorageError::Limit(limit_codes::MEMORY),
        ffi::SQLITE_AUTH => StorageError::Denied("statement".to_owned()),
        ffi::SQLITE_READONLY => StorageError::Denied("write".to_owned()),
        ffi::SQLITE_BUSY if failure.code != ffi::SQLITE_BUSY_SNAPSHOT => StorageError::Limit(limit_codes::LOCK_WAIT),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_SCHEMA => StorageError::Retry,
        ffi::SQLITE_ERROR | ffi::SQLITE_MISMATCH | ffi::SQLITE_RANGE => invalid(failure),
        ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN | ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB | ffi::SQLITE_PROTOCOL => {
            tracing::error!(code = failure.code, "a plugin's storage file cannot be used");
            StorageError::Unavailable
        }
        _ => {
            let id = Uuid::new_v4().to_string();
            tracing::error!(
                code = failure.code,
                error.message = failure.message,
                internal.id = id,
                "a plugin's statement failed in the host"
            );
            StorageError::Internal(id)
        }
    }
}

/// What could not be read, and where, without the engine's text.
fn invalid(failure: &Failure) -> StorageError {
    if failure.message.starts_with("too many SQL variables") {
        return StorageError::Limit(limit_codes::PARAMETERS);
    }
    const KNOWN: [(&str, &str); 9] = [
        ("no such table", "no such table"),
        ("no such column", "no such column"),
        ("no such function", "no such function"),
        ("no such index", "no such index"),
        ("ambiguous column", "ambiguous column"),
        ("near ", "syntax error"),
        ("incomplete input", "incomplete statement"),
        ("unsafe use of", "a function that a table's definition may not use"),
        ("integer overflow", "integer overflow"),
    ];
    let what = KNOWN.iter().find(|(begin, _)| failure.message.starts_with(begin)).map_or("statement", |(_, what)| what);
    StorageError::Invalid(match failure.offset {
        Some(offset) => format!("{what} at byte {offset}"),
        None => what.to_owned(),
    })
}

fn violation(failure: &Failure) -> StorageError {
    let kind = match failure.code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            ConstraintKind::Unique
        }
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ConstraintKind::ForeignKey,
        ffi::SQLITE_CONSTRAINT_CHECK => ConstraintKind::Check,
        ffi::SQLITE_CONSTRAINT_NOTNULL => ConstraintKind::NotNull,
        _ => ConstraintKind::Other,
    };
    // The engine names the plugin's own constraint or columns after this mark.
    let name = failure.message.split_once("constraint failed: ").map(|(_, name)| name.chars().take(200).collect());
    StorageError::Violation { kind, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_its_column_declares_it() {
        let check = |cell: Cell<'_>, declared: Option<&str>, wanted: Value| {
            assert_eq!(read(cell, ColumnKind::of(declared)), Ok(wanted), "{cell:?} as {declared:?}");
        };
        check(Cell::Integer(1), Some("BOOLEAN"), Value::Boolean(true));
        check(Cell::Integer(1), Some("bigint"), Value::Int64(1));
        check(Cell::Integer(1), None, Value::Int64(1));
        check(Cell::Integer(7), Some("timestamptz"), Value::Timestamp(7));
        check(Cell::Integer(7), Some("double precision"), Value::Float64(7.0));
        check(Cell::Integer(7), Some("numeric(10,2)"), Value::Decimal("7".into()));
        check(Cell::Real(1.5), Some("numeric"), Value::Decimal("1.5".into()));
        check(Cell::Text(b"{}"), Some("jsonb"), Value::Json("{}".into()));
        check(Cell::Text(b"{}"), Some("text"), Value::Text("{}".into()));
        check(Cell::Text(b"00000000-0000-0001-0000-000000000002"), Some("uuid"), Value::Uuid(1, 2));
        check(Cell::Text(b"x"), Some("uuid"), Value::Text("x".into()));
        check(Cell::Text(b"1.10"), Some("decimal_text"), Value::Decimal("1.10".into()));
        check(Cell::Null, Some("boolean"), Value::Null);
    }

    #[test]
    fn a_parameter_that_does_not_fit_is_refused_by_position() {
        let check = |value: Value, wanted: Option<&str>| {
            let found = Parameter::of(value.clone(), 3).err();
            assert_eq!(found, wanted.map(|what| StorageError::Parameter(3, what.to_owned())), "{value:?}");
        };
        check(Value::Float64(f64::NAN), Some("a number"));
        check(Value::Float64(f64::INFINITY), None);
        check(Value::Text("a\0b".into()), Some("text without NUL"));
        check(Value::Json("{".into()), Some("JSON text"));
        check(Value::Json("[1]".into()), None);
        check(Value::Json("[".repeat(100_000)), Some("JSON text"));
        for bad in ["", "-", "1.", ".1", "1e5", "1,0", "NaN", "--1"] {
            check(Value::Decimal(bad.into()), Some("decimal digits"));
        }
        check(Value::Decimal("-12345678901234567890.000000001".into()), None);
    }
}
