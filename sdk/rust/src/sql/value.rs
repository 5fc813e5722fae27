//! Cells and parameters: which Rust type goes into which value and comes out of it.
//! The host encodes a parameter for the type that the statement wants; nothing is guessed here.

use serde::{Serialize, de::DeserializeOwned};

use crate::random::Uuid;
use crate::{JsonText, PluginError};

pub use crate::imports::storage::Value;

/// Microseconds since 1970, UTC, for a column of type `timestamp`. Plugins that keep times in
/// `bigint` columns use a plain `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// Decimal digits for a column of type `numeric`: never a binary fraction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal(pub String);

/// A value kept as JSON in a column.
///
/// ```
/// use bulkhead_sdk::sql::{FromValue, Json, Value};
///
/// let value = Json::of(&["a", "b"]).unwrap();
/// assert_eq!(value, Value::Json(r#"["a","b"]"#.to_owned()));
/// let Some(Json(words)) = Json::<Vec<String>>::from_value(&value) else { panic!() };
/// assert_eq!(words, ["a", "b"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl Json<()> {
    /// The parameter that stores `value`.
    ///
    /// # Errors
    /// `Internal` when `value` has no JSON form.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Value, PluginError> {
        Ok(Value::Json(JsonText::of(value)?.into_string()))
    }
}

/// A type that a cell can be read as.
pub trait FromValue: Sized {
    /// What an error says was wanted.
    const WANTED: &'static str;

    /// The cell as this type, if it is one.
    fn from_value(value: &Value) -> Option<Self>;
}

/// What an error says was found.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Int64(_) => "an integer",
        Value::Float64(_) => "a floating-point number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Json(_) => "JSON",
        Value::Timestamp(_) => "a timestamp",
        Value::Uuid(_) => "a UUID",
        Value::Decimal(_) => "a decimal",
    }
}

macro_rules! from_value {
    ($type:ty, $wanted:literal, $($pattern:pat => $read:expr),+) => {
        impl FromValue for $type {
            const WANTED: &'static str = $wanted;

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $($pattern => $read,)+
                    _ => None,
                }
            }
        }
    };
}

// SQLite has fewer types than PostgreSQL: a boolean may come as 0 or 1, a timestamp as an integer,
// a UUID as text, a whole float as an integer.
from_value!(
    bool, "a boolean",
    Value::Boolean(it) => Some(*it), Value::Int64(0) => Some(false), Value::Int64(1) => Some(true)
);
from_value!(i64, "a 64-bit integer", Value::Int64(it) => Some(*it));
from_value!(i32, "a 32-bit integer", Value::Int64(it) => (*it).try_into().ok());
from_value!(u64, "an integer from 0", Value::Int64(it) => (*it).try_into().ok());
from_value!(u32, "a 32-bit integer from 0", Value::Int64(it) => (*it).try_into().ok());
from_value!(f64, "a number", Value::Float64(it) => Some(*it), Value::Int64(it) => exact(*it));
from_value!(String, "text", Value::Text(it) => Some(it.clone()));
from_value!(Vec<u8>, "bytes", Value::Bytes(it) => Some(it.clone()));
from_value!(Timestamp, "a timestamp", Value::Timestamp(it) | Value::Int64(it) => Some(Self(*it)));
from_value!(
    Uuid, "a UUID",
    Value::Uuid((high, low)) => Some(Self(u128::from(*high) << 64 | u128::from(*low))),
    Value::Text(it) => it.parse().ok()
);
from_value!(
    Decimal, "a decimal",
    Value::Decimal(it) => Some(Self(it.clone())), Value::Int64(it) => Some(Self(it.to_string()))
);

impl<T: DeserializeOwned> FromValue for Json<T> {
    const WANTED: &'static str = "JSON of its field's type";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Json(text) | Value::Text(text) => serde_json::from_str(text).ok().map(Self),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

/// An integer as a float, where none of it is lost.
fn exact(integer: i64) -> Option<f64> {
    i32::try_from(integer).ok().map(f64::from)
}

macro_rules! into_value {
    ($($type:ty, $it:ident => $value:expr);+ $(;)?) => {
        $(impl From<$type> for Value {
            fn from($it: $type) -> Self {
                $value
            }
        })+
    };
}

into_value! {
    bool, it => Self::Boolean(it);
    i64, it => Self::Int64(it);
    i32, it => Self::Int64(it.into());
    u32, it => Self::Int64(it.into());
    f64, it => Self::Float64(it);
    &str, it => Self::Text(it.to_owned());
    String, it => Self::Text(it);
    &String, it => Self::Text(it.clone());
    Vec<u8>, it => Self::Bytes(it);
    &[u8], it => Self::Bytes(it.to_vec());
    Timestamp, it => Self::Timestamp(it.0);
    Uuid, it => Self::Uuid((high(it.0), low(it.0)));
    Decimal, it => Self::Decimal(it.0);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::Null, T::into)
    }
}

fn high(uuid: u128) -> u64 {
    low(uuid >> 64)
}

fn low(uuid: u128) -> u64 {
    u64::try_from(uuid & u128::from(u64::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_the_type_that_it_was_made_from() {
        check(true);
        check(-7_i64);
        check(i32::MIN);
        check(u32::MAX);
        check(0.5_f64);
        check("text".to_owned());
        check(vec![0_u8, 255]);
        check(Timestamp(1));
        check(Uuid(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));
        check(Decimal("0.10".to_owned()));
        check(Some(1_i64));
        check(None::<String>);
    }

    fn check<T: FromValue + Into<Value> + Clone + PartialEq + std::fmt::Debug>(given: T) {
        assert_eq!(T::from_value(&given.clone().into()), Some(given));
    }

    #[test]
    fn a_value_that_does_not_fit_is_not_cut() {
        assert_eq!(i32::from_value(&Value::Int64(i64::from(i32::MAX) + 1)), None);
        assert_eq!(u64::from_value(&Value::Int64(-1)), None);
        assert_eq!(f64::from_value(&Value::Int64(i64::MAX)), None);
        assert_eq!(bool::from_value(&Value::Int64(2)), None);
        assert_eq!(i64::from_value(&Value::Text("7".to_owned())), None);
    }

    #[test]
    fn what_sqlite_has_no_type_for_is_read_all_the_same() {
        assert_eq!(bool::from_value(&Value::Int64(1)), Some(true));
        assert_eq!(f64::from_value(&Value::Int64(3)), Some(3.0));
        assert_eq!(Timestamp::from_value(&Value::Int64(9)), Some(Timestamp(9)));
        let uuid = Value::Text("00000000-0000-0000-0000-000000000009".to_owned());
        assert_eq!(Uuid::from_value(&uuid), Some(Uuid(9)));
    }
}
