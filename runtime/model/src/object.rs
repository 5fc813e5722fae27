//! JSON objects that are objects. What derives `Deserialize` also takes a list of its fields' values in their order: two
//! spellings of one document, of which other readers know one. It adds nothing else to a type.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value that is read from an object alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads an object; for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Whatever the value's own reading says, and anything that is no object.
pub fn one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// Reads an object or null; for `#[serde(default, deserialize_with)]`.
///
/// # Errors
/// As [`one`].
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer).map(|found| found.map(|Object(value)| value))
}

/// Reads a list of objects.
///
/// # Errors
/// As [`one`].
pub fn many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::deserialize(deserializer).map(plain)
}

/// Reads a list of objects or null; for `#[serde(default, deserialize_with)]`.
///
/// # Errors
/// As [`one`].
pub fn optional_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Option::deserialize(deserializer).map(|found| found.map(plain))
}

fn plain<T>(objects: Vec<Object<T>>) -> Vec<T> {
    objects.into_iter().map(|Object(value)| value).collect()
}

/// Any value, walked through and dropped. A JSON reader counts how deep it walks and gives up at 128; what it only skips,
/// as `IgnoredAny`, may nest without end.
#[derive(Clone, Copy, Debug)]
pub struct Walked;

impl<'de> Deserialize<'de> for Walked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walker)
    }
}

struct Walker;

impl<'de> Visitor<'de> for Walker {
    type Value = Walked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_unit<E>(self) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Walked, A::Error> {
        while items.next_element::<Walked>()?.is_some() {}
        Ok(Walked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Walked, A::Error> {
        while entries.next_entry::<String, Walked>()?.is_some() {}
        Ok(Walked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(deserialize_with = "one")]
        one: Inner,
        #[serde(default, deserialize_with = "optional")]
        optional: Option<Inner>,
        #[serde(default, deserialize_with = "many")]
        many: Vec<Inner>,
        #[serde(default, deserialize_with = "optional_many")]
        optional_many: Option<Vec<Inner>>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(default)]
        a: u8,
    }

    #[test]
    fn what_nests_too_deep_is_not_walked_through() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));

        assert!(serde_json::from_str::<Walked>(&nested(100)).is_ok());
        assert!(serde_json::from_str::<Walked>(&nested(200)).is_err());
        assert!(serde_json::from_str::<Walked>(r#"{"a":[true,-1,1,1.5,"x",null]}"#).is_ok());
    }

    #[test]
    fn an_object_is_read_and_a_list_of_its_fields_is_not() {
        let check = |text: &str, is_read: bool| {
            assert_eq!(serde_json::from_str::<Object<Outer>>(text).is_ok(), is_read, "{text}");
        };

        check(r#"{"one":{"a":1}}"#, true);
        check(r#"{"one":{},"optional":null,"many":[],"optional_many":null}"#, true);
        check(r#"{"one":{},"optional":{},"many":[{}],"optional_many":[{},{"a":2}]}"#, true);
        check(r#"[{"a":1},null,[],null]"#, false);
        check(r#"{"one":[1]}"#, false);
        check(r#"{"one":{},"optional":[1]}"#, false);
        check(r#"{"one":{},"many":[[1]]}"#, false);
        check(r#"{"one":{},"optional_many":[[1]]}"#, false);
        check(r#"{"one":{"a":1,"a":1}}"#, false);
        check(r#"{"one":{"b":1}}"#, false);
        check(r#"{"one":null}"#, false);
    }
}
