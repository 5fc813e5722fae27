//! Turns plugin values into the server's binary form, for the type that the server wants and never by the value's
//! own, and the server's cells into plugin values.
//! It runs nothing.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};
use uuid::Uuid;

use super::numeric;
use crate::tenant::value::{StorageError, Value};

/// Microseconds from 1970 to 2000, where the server counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// A type of the server that values cross as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytes,
    Json,
    Jsonb,
    Timestamp,
    Date,
    Uuid,
}

impl Kind {
    /// The kind of a type; `None` for one that does not cross.
    pub(super) fn of(kind: &PgTypeInfo) -> Option<Self> {
        Some(match kind.oid()?.0 {
            16 => Self::Boolean,
            17 => Self::Bytes,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            // text, bpchar, varchar, name, and the literal whose type nobody asked for.
            25 | 1042 | 1043 | 19 | 705 => Self::Text,
            114 => Self::Json,
            700 => Self::Float4,
            701 => Self::Float8,
            1082 => Self::Date,
            1114 | 1184 => Self::Timestamp,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => return None,
        })
    }

    /// What a parameter of the kind wants, in words.
    fn wanted(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Int2 => "an integer of 16 bits",
            Self::Int4 => "an integer of 32 bits",
            Self::Int8 => "an integer",
            Self::Float4 | Self::Float8 => "a number",
            Self::Numeric => "decimal digits",
            Self::Text => "text without NUL",
            Self::Bytes => "bytes",
            Self::Json | Self::Jsonb => "JSON text",
            Self::Timestamp => "a timestamp",
            Self::Date => "a timestamp at midnight",
            Self::Uuid => "a UUID",
        }
    }
}

/// A parameter in the server's form.
#[derive(Debug)]
pub(super) struct Parameter {
    kind: Oid,
    bytes: Option<Vec<u8>>,
}

impl Parameter {
    /// Encodes `value` for a parameter of this type; `position` from 1 names it in a refusal.
    pub(super) fn of(value: Value, kind: &PgTypeInfo, position: usize) -> Result<Self, StorageError> {
        let refused =
            |wanted: &str| StorageError::Parameter(u32::try_from(position).unwrap_or(u32::MAX), wanted.to_owned());
        let oid = kind.oid().ok_or_else(|| refused("a cast to text"))?;
        let wanted = Kind::of(kind).ok_or_else(|| refused("a cast to text"))?;
        if value == Value::Null {
            return Ok(Self { kind: oid, bytes: None });
        }
        let bytes = encode(value, wanted).ok_or_else(|| refused(wanted.wanted()))?;
        Ok(Self { kind: oid, bytes: Some(bytes) })
    }
}

impl Type<Postgres> for Parameter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(705))
    }
}

impl Encode<'_, Postgres> for Parameter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.bytes {
            None => Ok(IsNull::Yes),
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
        }
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.kind))
    }
}

fn encode(value: Value, wanted: Kind) -> Option<Vec<u8>> {
    Some(match (wanted, value) {
        (Kind::Boolean, Value::Boolean(value)) => vec![u8::from(value)],
        (Kind::Int2, Value::Int64(value)) => i16::try_from(value).ok()?.to_be_bytes().to_vec(),
        (Kind::Int4, Value::Int64(value)) => i32::try_from(value).ok()?.to_be_bytes().to_vec(),
        (Kind::Int8, Value::Int64(value)) => value.to_be_bytes().to_vec(),
        (Kind::Float4, value) => narrow(float(&value)?)?.to_be_bytes().to_vec(),
        (Kind::Float8, value) => float(&value)?.to_be_bytes().to_vec(),
        (Kind::Numeric, Value::Decimal(text)) => numeric::encode(&text)?,
        (Kind::Numeric, Value::Int64(value)) => numeric::encode(&value.to_string())?,
        (Kind::Text, Value::Text(text)) if !text.contains('\0') => text.into_bytes(),
        (Kind::Bytes, Value::Bytes(bytes)) => bytes,
        (Kind::Json, Value::Json(text)) if is_json(&text) => text.into_bytes(),
        // The binary form of jsonb is its version and the text.
        (Kind::Jsonb, Value::Json(text)) if is_json(&text) => [&[1], text.as_bytes()].concat(),
        (Kind::Timestamp, Value::Timestamp(micros)) => {
            finite(micros.checked_sub(EPOCH_MICROS)?)?.to_be_bytes().to_vec()
        }
        (Kind::Date, Value::Timestamp(micros)) if micros.rem_euclid(DAY_MICROS) == 0 => {
            let days = micros.checked_sub(EPOCH_MICROS)?.div_euclid(DAY_MICROS);
            i32::try_from(days).ok().filter(|days| *days != i32::MAX && *days != i32::MIN)?.to_be_bytes().to_vec()
        }
        (Kind::Uuid, Value::Uuid(high, low)) => Uuid::from_u64_pair(high, low).as_bytes().to_vec(),
        // Ids travel as text in many plugins.
        (Kind::Uuid, Value::Text(text)) => Uuid::try_parse(&text).ok()?.as_bytes().to_vec(),
        _ => return None,
    })
}

/// The server's extremes stand for infinity.
fn finite(micros: i64) -> Option<i64> {
    (micros != i64::MAX && micros != i64::MIN).then_some(micros)
}

/// A number as a fraction, if nothing of it is lost.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "integers of at most 53 bits are floats exactly"
)]
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float64(value) if !value.is_nan() => Some(*value),
        Value::Int64(value) if value.unsigned_abs() <= 1 << 53 => Some(*value as f64),
        _ => None,
    }
}

/// The nearest shorter fraction, unless it would be infinite.
#[expect(
    clippy::cast_possible_truncation,
    clippy::as_conversions,
    reason = "rounds to the nearest, which is what is wanted"
)]
fn narrow(value: f64) -> Option<f32> {
    let narrow = value as f32;
    (narrow.is_finite() || value.is_infinite()).then_some(narrow)
}

fn is_json(text: &str) -> bool {
    !text.contains('\0') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Reads a cell of a kind; `None` where it holds what no value can, such as infinity.
pub(super) fn decode(bytes: &[u8], kind: Kind) -> Option<Value> {
    Some(match kind {
        Kind::Boolean => Value::Boolean(bytes.first().is_some_and(|byte| *byte != 0)),
        Kind::Int2 => Value::Int64(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Int4 => Value::Int64(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Int8 => Value::Int64(i64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Float4 => Value::Float64(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Float8 => Value::Float64(f64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Numeric => Value::Decimal(numeric::decode(bytes)?),
        Kind::Text => Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
        Kind::Bytes => Value::Bytes(bytes.to_vec()),
        Kind::Json => Value::Json(std::str::from_utf8(bytes).ok()?.to_owned()),
        Kind::Jsonb => Value::Json(std::str::from_utf8(bytes.strip_prefix(&[1])?).ok()?.to_owned()),
        Kind::Timestamp => {
            let micros = finite(i64::from_be_bytes(bytes.try_into().ok()?))?;
            Value::Timestamp(micros.checked_add(EPOCH_MICROS)?)
        }
        Kind::Date => {
            let days = i32::from_be_bytes(bytes.try_into().ok()?);
            if days == i32::MAX || days == i32::MIN {
                return None;
            }
            Value::Timestamp(i64::from(days).checked_mul(DAY_MICROS)?.checked_add(EPOCH_MICROS)?)
        }
        Kind::Uuid => {
            let (high, low) = Uuid::from_slice(bytes).ok()?.as_u64_pair();
            Value::Uuid(high, low)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(oid: u32) -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid))
    }

    #[test]
    fn a_value_goes_as_the_type_that_is_wanted_and_comes_back() {
        let check = |oid: u32, value: Value| {
            let sent = Parameter::of(value.clone(), &info(oid), 1).unwrap();
            assert_eq!(decode(&sent.bytes.unwrap(), Kind::of(&info(oid)).unwrap()), Some(value), "{oid}");
        };
        check(16, Value::Boolean(true));
        check(21, Value::Int64(-32_768));
        check(23, Value::Int64(2_147_483_647));
        check(20, Value::Int64(i64::MIN));
        check(700, Value::Float64(0.5));
        check(701, Value::Float64(f64::NEG_INFINITY));
        check(1700, Value::Decimal("-12345678901234567890.0100".into()));
        check(25, Value::Text("ü\u{10ffff}".into()));
        check(17, Value::Bytes(vec![0, 255]));
        check(114, Value::Json("{\"a\": [1.10]}".into()));
        check(3802, Value::Json("[]".into()));
        check(1184, Value::Timestamp(-1));
        check(1082, Value::Timestamp(-86_400_000_000));
        check(2950, Value::Uuid(1, u64::MAX));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_position() {
        let check = |oid: u32, value: Value, wanted: &str| {
            let refused = Parameter::of(value.clone(), &info(oid), 3).unwrap_err();
            assert_eq!(refused, StorageError::Parameter(3, wanted.into()), "{value:?} for {oid}");
        };
        check(23, Value::Text("abcd".into()), "an integer of 32 bits");
        check(23, Value::Int64(1 << 31), "an integer of 32 bits");
        check(21, Value::Int64(40_000), "an integer of 16 bits");
        check(25, Value::Int64(1), "text without NUL");
        check(25, Value::Text("a\0b".into()), "text without NUL");
        check(701, Value::Float64(f64::NAN), "a number");
        check(701, Value::Int64((1 << 53) + 1), "a number");
        check(700, Value::Float64(1e300), "a number");
        check(114, Value::Json("{".into()), "JSON text");
        check(3802, Value::Json("\"\\u0000".into()), "JSON text");
        check(1700, Value::Decimal("1e5".into()), "decimal digits");
        check(1082, Value::Timestamp(1), "a timestamp at midnight");
        check(1184, Value::Timestamp(i64::MIN), "a timestamp");
        check(2950, Value::Text("x".into()), "a UUID");
        check(1007, Value::Int64(1), "a cast to text");
    }

    #[test]
    fn infinity_in_time_is_no_value() {
        assert_eq!(decode(&i64::MAX.to_be_bytes(), Kind::Timestamp), None);
        assert_eq!(decode(&i64::MIN.to_be_bytes(), Kind::Timestamp), None);
        assert_eq!(decode(&i32::MAX.to_be_bytes(), Kind::Date), None);
        assert_eq!(decode(&[1, 2], Kind::Int8), None);
    }
}
