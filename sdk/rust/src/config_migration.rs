//! The extension point `config-migration`: brings a tenant's configuration to a newer version.
//! It is pure: the host calls it with no capability linked.

use crate::bindings::config_migration::exports::bulkhead::plugin::config_migration as wire;
use crate::imports::types;
use crate::{Export, JsonText, PluginError};

/// Changes a configuration from the shape of one version to that of another.
pub trait ConfigMigration: 'static {
    /// Answers the configuration of `to_version`; the host checks it against that version's schema.
    ///
    /// # Errors
    /// Any [`PluginError`]: the tenant keeps the old version, with the text as its last error.
    fn migrate(from_version: u32, to_version: u32, config: &JsonText) -> Result<JsonText, PluginError>;
}

impl<T: ConfigMigration> wire::Guest for Export<T> {
    fn migrate(from_version: u32, to_version: u32, config: String) -> Result<String, types::PluginError> {
        Ok(T::migrate(from_version, to_version, &JsonText::from_text(config))?.into_string())
    }
}
