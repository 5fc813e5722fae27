//! The tenant's configuration of this plugin.
//! It was checked against the plugin's schema, with defaults applied, before the call began.

use serde::de::DeserializeOwned;

use crate::{JsonText, PluginError, imports};

/// The configuration, read as `T`.
///
/// # Errors
/// `Internal` when `T` does not fit the plugin's own schema.
pub fn get<T: DeserializeOwned>() -> Result<T, PluginError> {
    serde_json::from_str(&imports::config::get())
        .map_err(|error| PluginError::internal(format!("configuration: {error}")))
}

/// The configuration as JSON text.
#[must_use]
pub fn text() -> JsonText {
    JsonText::from_text(imports::config::get())
}

/// The version of the schema that the configuration has, from the manifest's `config.version`.
#[must_use]
pub fn version() -> u32 {
    imports::config::version()
}
