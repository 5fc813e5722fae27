//! Times as policies write them: an instant in UTC, or a day.
//! It reads no clock.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::statement::utc;

/// TOML's own date is a table with this key to a generic reader.
const TOML_DATE: &str = "$__toml_private_datetime";

/// An instant from which something holds: a day begins at midnight UTC.
pub(super) fn start(value: &Value) -> Result<Timestamp, String> {
    let text = text(value).ok_or_else(wanted)?;
    utc(text).or_else(|| midnight(text)).ok_or_else(wanted)
}

/// An instant at which something ends, exclusive: a day is counted in full.
pub(super) fn end(value: &Value) -> Result<Timestamp, String> {
    let text = text(value).ok_or_else(wanted)?;
    utc(text).or_else(|| midnight(text)?.checked_add(SignedDuration::from_hours(24)).ok()).ok_or_else(wanted)
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get(TOML_DATE)?.as_str())
}

fn midnight(text: &str) -> Option<Timestamp> {
    if text.len() == 10 { utc(&format!("{text}T00:00:00Z")) } else { None }
}

fn wanted() -> String {
    "a time is `2027-01-31T00:00:00Z` or a day `2027-01-31`, in UTC".to_owned()
}
