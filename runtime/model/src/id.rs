//! Names that are parsed once at the edge and valid ever after.
//! It does not know whether a name exists, nor who may use it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest tenant id in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 63;
/// Longest permission, hook or topic name in bytes.
pub const DOTTED_NAME_BYTES_MAX: usize = 128;
/// Longest name of a view in bytes.
pub const VIEW_NAME_BYTES_MAX: usize = 63;
/// Longest version text in bytes.
pub const VERSION_BYTES_MAX: usize = 64;

/// Text that is no valid name; says what was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct InvalidName {
    text: String,
    wanted: &'static str,
}

impl InvalidName {
    fn new(text: &str, wanted: &'static str) -> Self {
        // Hostile input may be long: an error never repeats more than a line of it.
        Self { text: text.chars().take(80).collect(), wanted }
    }
}

/// In a JSON Schema a parsed type is a string with a format of its own, checked by the same parser.
macro_rules! named_schema {
    ($name:ident, $format:literal) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $format })
            }
        }
    };
}

/// Gives a parsed text type its conversions: it is shown, compared, stored and sent as its text.
macro_rules! text_type {
    ($name:ident, $format:literal) => {
        named_schema!($name, $format);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }
    };
}

/// Name of a plugin, `namespace.name`: each part `[a-z][a-z0-9]*(-[a-z0-9]+)*`, the namespace 2 to 32
/// bytes, the name 2 to 40.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginId(std::sync::Arc<str>);

impl PluginId {
    /// The part before the dot.
    pub fn namespace(&self) -> &str {
        self.0.split_once('.').map_or("", |(namespace, _)| namespace)
    }

    /// The part after the dot.
    pub fn name(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, name)| name)
    }

    /// The form that SQL names and file names use: `acme.my-crm` is `acme__my_crm`. A hyphen and an
    /// underscore cannot meet, because an id has no underscore: the mapping is one to one.
    pub fn sql_name(&self) -> String {
        format!("{}__{}", self.namespace(), self.name()).replace('-', "_")
    }
}

impl FromStr for PluginId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wanted = "a plugin id such as `acme.crm`: two parts of `a-z`, `0-9` and single hyphens, \
                      2 to 32 and 2 to 40 bytes long";
        match text.split_once('.') {
            Some((namespace, name)) if is_part(namespace, '-', 2..=32) && is_part(name, '-', 2..=40) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidName::new(text, wanted)),
        }
    }
}
text_type!(PluginId, "plugin-id");

/// Name of a tenant: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(std::sync::Arc<str>);

impl FromStr for TenantId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > TENANT_ID_BYTES_MAX || text.starts_with('-') || !text.bytes().all(legal) {
            let wanted = "a tenant id: 1 to 63 bytes of `a-z`, `0-9` and `-`, not beginning with `-`";
            return Err(InvalidName::new(text, wanted));
        }
        Ok(Self(text.into()))
    }
}
text_type!(TenantId, "tenant-id");

/// Permission as a manifest declares it: parts of `[a-z][a-z0-9]*(_[a-z0-9]+)*` joined by dots.
/// Its full form has the plugin id before it: [`PermissionName::full`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PermissionName(Box<str>);

impl PermissionName {
    /// The form that tokens and roles carry, for example `acme.crm.deals.view`.
    pub fn full(&self, plugin: &PluginId) -> String {
        format!("{plugin}.{self}")
    }
}

impl FromStr for PermissionName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        parse_dotted(text, "a permission name such as `deals.view`").map(Self)
    }
}
text_type!(PermissionName, "dotted-name");

/// Name of a hook or a topic: lower case, dots between parts, `_` inside a part.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HookName(Box<str>);

impl FromStr for HookName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        parse_dotted(text, "a hook or topic name such as `order.validate`").map(Self)
    }
}
text_type!(HookName, "dotted-name");

/// Name of a view that a plugin publishes: parts of `[a-z][a-z0-9]*` joined by `_`, at most 63 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ViewName(Box<str>);

impl FromStr for ViewName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wanted = "the name of a view, such as `open_deals`: 1 to 63 bytes of `a-z`, `0-9` and single `_`";
        if is_part(text, '_', 1..=VIEW_NAME_BYTES_MAX) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(text, wanted))
        }
    }
}
text_type!(ViewName, "view-name");

/// Version of a plugin: semver without build metadata, because an OCI tag has no `+`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

impl Version {
    /// The version for comparison with a range.
    pub fn semver(&self) -> &semver::Version {
        &self.0
    }
}

impl FromStr for Version {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName::new(text, "a semantic version without build metadata, such as `1.2.0`");
        if text.len() > VERSION_BYTES_MAX {
            return Err(invalid());
        }
        match semver::Version::parse(text) {
            Ok(version) if version.build.is_empty() => Ok(Self(version)),
            Ok(_) | Err(_) => Err(invalid()),
        }
    }
}

named_schema!(Version, "version");

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.0.to_string()
    }
}

fn parse_dotted(text: &str, wanted: &'static str) -> Result<Box<str>, InvalidName> {
    let legal = text.len() <= DOTTED_NAME_BYTES_MAX
        && text.split('.').all(|part| is_part(part, '_', 1..=DOTTED_NAME_BYTES_MAX));
    if legal { Ok(text.into()) } else { Err(InvalidName::new(text, wanted)) }
}

/// `[a-z][a-z0-9]*(<joint>[a-z0-9]+)*` within `length` bytes.
fn is_part(text: &str, joint: char, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .split(joint)
            .all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "`{text}` must parse");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "`{text}` must be refused");
        }
    }

    #[test]
    fn a_plugin_id_has_two_plain_parts() {
        check::<PluginId>(
            &["acme.crm", "a1.b2", "my-org.my-plugin-2"],
            &[
                "",
                "acme",
                "acme.",
                ".crm",
                "a.crm",
                "acme.c",
                "Acme.crm",
                "acme.crm.x",
                "acme.-crm",
                "acme.crm-",
                "acme.my--crm",
                "acme.my_crm",
                "1acme.crm",
                "acme.сrm",
                "acme.crm\n",
                "acme/crm",
                "../etc.passwd",
            ],
        );
        check::<PluginId>(&[], &[&format!("{}.crm", "a".repeat(33)), &format!("acme.{}", "a".repeat(41))]);
    }

    #[test]
    fn the_sql_form_of_two_ids_never_meets() {
        let id: PluginId = "my-org.my-crm".parse().unwrap();

        assert_eq!(id.sql_name(), "my_org__my_crm");
        assert_eq!((id.namespace(), id.name()), ("my-org", "my-crm"));
    }

    #[test]
    fn a_tenant_id_is_lower_case_and_short() {
        check::<TenantId>(
            &["a", "0", "bank-1", &"a".repeat(63)],
            &["", "-a", "A", "a_b", "a.b", "a/b", "..", &"a".repeat(64)],
        );
    }

    #[test]
    fn dotted_names_keep_dots_between_parts() {
        check::<PermissionName>(
            &["view", "deals.view", "deals.view_all"],
            &["", "Deals", "deals.", ".view", "a-b", "a..b", "a._b"],
        );
        check::<HookName>(
            &["auth.logged_in", "order.validate"],
            &["order validate", "order.Validate", &"a".repeat(129)],
        );
    }

    #[test]
    fn a_view_has_a_plain_lower_case_name() {
        check::<ViewName>(
            &["a", "notes", "open_deals_2", &"a".repeat(63)],
            &["", "Notes", "1a", "_a", "a_", "a__b", "a-b", "a.b", "a b", "a\"", "a\0", "ä", &"a".repeat(64)],
        );
    }

    #[test]
    fn a_version_carries_no_build_metadata() {
        check::<Version>(&["1.0.0", "0.1.0-rc.1"], &["1", "1.0", "v1.0.0", "1.0.0+b1", ""]);
    }
}
