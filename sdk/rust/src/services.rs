//! The extension point `services`: operations for other plugins of the same tenant.
//! Who may call is decided by the manifests and the host.

use crate::bindings::services::exports::bulkhead::plugin::services as wire;
use crate::imports::types;
use crate::{Context, Export, JsonText, PluginError};

/// Answers the services that the manifest provides.
pub trait Services: 'static {
    /// Answers one call of the plugin `caller`; 5 s of wall time, at most 8 calls deep.
    ///
    /// # Errors
    /// Any [`PluginError`]: given to the caller.
    fn invoke(ctx: &Context, caller: &str, operation: &str, payload: &JsonText) -> Result<JsonText, PluginError>;
}

impl<T: Services> wire::Guest for Export<T> {
    fn invoke(ctx: Context, caller: String, operation: String, payload: String) -> Result<String, types::PluginError> {
        Ok(T::invoke(&ctx, &caller, &operation, &JsonText::from_text(payload))?.into_string())
    }
}
