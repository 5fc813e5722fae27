//! A table of a document, read field by field, every mistake collected at its pointer.
//! It knows no policy; it is how `read` asks for fields.

use std::fmt;
use std::str::FromStr;

use bulkhead_model::Issue;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::policy::LIST_MAX;

/// Longest free text in bytes.
const TEXT_BYTES_MAX: usize = 2_000;
/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A table and which of its fields were asked for.
pub(in crate::policy) struct Fields<'a> {
    at: String,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The table at `at`, or an issue.
    pub(in crate::policy) fn open(value: &'a Value, at: String, issues: &mut Vec<Issue>) -> Option<Self> {
        let map = value.as_object();
        if map.is_none() {
            issues.push(Issue::new(at.clone(), "a table is wanted here"));
        }
        map.map(|map| Self { at, map, known: Vec::new() })
    }

    /// JSON pointer of a field, or of the table itself for an empty name.
    pub(in crate::policy) fn pointer(&self, name: &str) -> String {
        if name.is_empty() {
            self.at.clone()
        } else {
            format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"))
        }
    }

    /// Whether the field is there.
    pub(in crate::policy) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// The raw field. Null is a value, and nowhere the wanted one: an end of `nan` must not read as no end.
    pub(in crate::policy) fn find(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map.get(name)
    }

    /// A field that may be absent.
    pub(in crate::policy) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&Value) -> Result<T, String>,
        issues: &mut Vec<Issue>,
    ) -> Option<T> {
        let value = self.find(name)?;
        read(value).map_err(|message| issues.push(Issue::new(self.pointer(name), message))).ok()
    }

    /// A field that must be there.
    pub(in crate::policy) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&Value) -> Result<T, String>,
        issues: &mut Vec<Issue>,
    ) -> Option<T> {
        if !self.has(name) {
            issues.push(Issue::new(self.pointer(name), format!("the field `{name}` is required")));
        }
        self.optional(name, read, issues)
    }

    /// A list of values; absent is empty.
    pub(in crate::policy) fn list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        issues: &mut Vec<Issue>,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<T> {
        let at = self.pointer(name);
        let mut values = Vec::new();
        for (index, value) in self.items(name, most, issues).iter().enumerate() {
            match read(value) {
                Ok(value) => values.push(value),
                Err(message) => issues.push(Issue::new(format!("{at}/{index}"), message)),
            }
        }
        values
    }

    /// A list of values that stands in the place of `values`; absent leaves them.
    pub(in crate::policy) fn list_over<T>(
        &mut self,
        name: &'static str,
        values: &mut Vec<T>,
        issues: &mut Vec<Issue>,
        read: impl Fn(&Value) -> Result<T, String>,
    ) {
        if self.has(name) {
            *values = self.list(name, LIST_MAX, issues, read);
        } else {
            self.known.push(name);
        }
    }

    /// A list of tables; absent is empty. A table with mistakes is `None`.
    pub(in crate::policy) fn tables<T>(
        &mut self,
        name: &'static str,
        most: usize,
        issues: &mut Vec<Issue>,
        read: impl Fn(Fields<'a>, &mut Vec<Issue>) -> Option<T>,
    ) -> Vec<Option<T>> {
        let at = self.pointer(name);
        let items = self.items(name, most, issues);
        let open = |(index, value)| read(Fields::open(value, format!("{at}/{index}"), issues)?, issues);
        items.iter().enumerate().map(open).collect()
    }

    fn items(&mut self, name: &'static str, most: usize, issues: &mut Vec<Issue>) -> &'a [Value] {
        let Some(value) = self.find(name) else { return &[] };
        match value.as_array() {
            Some(items) if items.len() <= most => items,
            Some(items) => {
                issues.push(Issue::new(
                    self.pointer(name),
                    format!("{} entries, at most {most} are allowed", items.len()),
                ));
                &[]
            }
            None => {
                issues.push(Issue::new(self.pointer(name), "a list is wanted here"));
                &[]
            }
        }
    }

    /// Reports every field that nobody asked for.
    pub(in crate::policy) fn close(self, issues: &mut Vec<Issue>) {
        for name in self.map.keys().filter(|name| !self.known.contains(&name.as_str())) {
            issues.push(Issue::new(self.pointer(name), format!("there is no field `{name}` here")));
        }
    }
}

pub(in crate::policy) fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().filter(|text| text.len() <= TEXT_BYTES_MAX);
    text.map(str::to_owned).ok_or_else(|| format!("a text of at most {TEXT_BYTES_MAX} bytes is wanted here"))
}

pub(in crate::policy) fn name(value: &Value) -> Result<String, String> {
    let legal =
        |text: &&str| !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    let name = value.as_str().filter(legal);
    name.map(str::to_owned)
        .ok_or_else(|| format!("a name of 1 to {NAME_BYTES_MAX} printable characters without spaces is wanted here"))
}

pub(in crate::policy) fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "`true` or `false` is wanted here".to_owned())
}

pub(in crate::policy) fn integer(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| "a whole number from 0 is wanted here".to_owned())
}

pub(in crate::policy) fn parsed<T: FromStr<Err: fmt::Display>>(value: &Value) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

pub(in crate::policy) fn version_range(value: &Value) -> Result<semver::VersionReq, String> {
    // Versions have no build metadata; a range that names some would silently mean another range.
    if text(value)?.contains('+') {
        return Err("a version range has no build metadata".to_owned());
    }
    parsed(value).map_err(|error| format!("not a version range such as `>=1.2.0, <2.0.0`: {error}"))
}

/// JSON in which no field stands twice.
pub(in crate::policy) struct Strict(pub(in crate::policy) Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
