//! The types that a plugin may name, in a column or a cast, and how each is written.
//! PostgreSQL takes them for types, SQLite for words that say how to store; `regclass` and its kin are on no list.

use sqlparser::ast::{CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

use super::denied::{Denied, Reason};
use super::warnings::Note;

/// Longest text that a column's type can demand, in characters, and most digits of a decimal.
const LENGTH_MAX: u64 = 10_485_760;
const DIGITS_MAX: u64 = 1_000;
const TIME_DIGITS_MAX: u64 = 6;

/// The word for a type and what stands behind it in parentheses.
pub(super) fn check(data_type: &DataType) -> Result<(&'static str, String), Denied> {
    let plain = |name| Ok((name, String::new()));
    match data_type {
        DataType::Bool => plain("BOOL"),
        DataType::Boolean => plain("BOOLEAN"),
        DataType::SmallInt(None) => plain("SMALLINT"),
        DataType::Int2(None) => plain("INT2"),
        DataType::Int(None) => plain("INT"),
        DataType::Int4(None) => plain("INT4"),
        DataType::Integer(None) => plain("INTEGER"),
        DataType::BigInt(None) => plain("BIGINT"),
        DataType::Int8(None) => plain("INT8"),
        DataType::Real => plain("REAL"),
        DataType::Float4 => plain("FLOAT4"),
        DataType::Float8 => plain("FLOAT8"),
        DataType::DoublePrecision => plain("DOUBLE PRECISION"),
        DataType::Numeric(digits) => Ok(("NUMERIC", exact(digits)?)),
        DataType::Decimal(digits) => Ok(("DECIMAL", exact(digits)?)),
        DataType::Text => plain("TEXT"),
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            Ok(("VARCHAR", characters(length.as_ref())?))
        }
        DataType::Char(length) | DataType::Character(length) => Ok(("CHAR", characters(length.as_ref())?)),
        DataType::Bytea => plain("BYTEA"),
        DataType::Blob(None) => plain("BLOB"),
        DataType::Uuid => plain("UUID"),
        DataType::JSON => plain("JSON"),
        DataType::JSONB => plain("JSONB"),
        DataType::Date => plain("DATE"),
        DataType::Time(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            Ok(("TIME", bounded(*digits, TIME_DIGITS_MAX)?))
        }
        DataType::Timestamp(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            Ok(("TIMESTAMP", bounded(*digits, TIME_DIGITS_MAX)?))
        }
        DataType::Timestamp(digits, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            Ok(("TIMESTAMPTZ", bounded(*digits, TIME_DIGITS_MAX)?))
        }
        DataType::Interval { fields: None, precision: None } => plain("INTERVAL"),
        _ => Err(Denied::new(Reason::Type, &shown(data_type))),
    }
}

/// What is to be said about a type that one engine alone reads as such.
pub(super) fn note(name: &str) -> Option<Note> {
    match name {
        "BLOB" => Some(Note::SqliteType),
        "BYTEA" => Some(Note::PostgresType),
        "INTERVAL" => Some(Note::Interval),
        "JSONB" => Some(Note::JsonbText),
        _ => None,
    }
}

fn characters(length: Option<&CharacterLength>) -> Result<String, Denied> {
    match length {
        None => Ok(String::new()),
        Some(CharacterLength::IntegerLength { length, unit: None }) => bounded(Some(*length), LENGTH_MAX),
        Some(_) => Err(Denied::new(Reason::Type, "length")),
    }
}

fn exact(digits: &ExactNumberInfo) -> Result<String, Denied> {
    match digits {
        ExactNumberInfo::None => Ok(String::new()),
        ExactNumberInfo::Precision(precision) => bounded(Some(*precision), DIGITS_MAX),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => {
            bounded(Some(*precision), DIGITS_MAX)?;
            match u64::try_from(*scale) {
                Ok(scale) if scale <= *precision => Ok(format!("({precision}, {scale})")),
                _ => Err(Denied::new(Reason::Type, "scale")),
            }
        }
    }
}

fn bounded(number: Option<u64>, max: u64) -> Result<String, Denied> {
    match number {
        None => Ok(String::new()),
        Some(number) if number <= max => Ok(format!("({number})")),
        Some(_) => Err(Denied::new(Reason::Type, "length")),
    }
}

/// The author's word for a type that has no parts; a type with parts is not written out.
fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::Custom(name, _) => name.to_string().to_ascii_lowercase(),
        DataType::Regclass => "regclass".to_owned(),
        DataType::Array(_) => "array".to_owned(),
        DataType::Datetime(_) => "datetime".to_owned(),
        _ => String::new(),
    }
}
