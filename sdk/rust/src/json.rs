//! JSON that travels between plugins and the host as text, parsed only when somebody asks.
//! It does not check a schema: the host does, before a plugin is called and after it answers.

use serde::{Serialize, de::DeserializeOwned};

use crate::PluginError;

/// A JSON text: a hook's value or arguments, an event's payload, a service's answer.
///
/// ```
/// use bulkhead_sdk::JsonText;
///
/// let args = JsonText::from_text(r#"["ada", 3]"#);
/// let (user, count): (String, u32) = args.parse().unwrap();
/// assert_eq!((user.as_str(), count), ("ada", 3));
/// assert_eq!(JsonText::of(&"hi").unwrap().as_str(), "\"hi\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonText(String);

impl JsonText {
    /// The JSON text of `value`.
    ///
    /// # Errors
    /// `Internal` when `value` has no JSON form (a map with keys that are not text).
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, PluginError> {
        serde_json::to_string(value).map(Self).map_err(|error| PluginError::internal(error.to_string()))
    }

    /// Takes a text that is JSON already, as the host gives it; it is not checked here.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads it as `T`. A hook's arguments are a JSON array: a tuple takes them apart.
    ///
    /// # Errors
    /// `InvalidInput` when the text is not a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, PluginError> {
        Ok(serde_json::from_str(&self.0)?)
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself, taken out.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}
