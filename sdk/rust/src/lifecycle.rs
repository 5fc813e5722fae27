//! The extension point `lifecycle`: start and end of an enabled plugin, once for each tenant.
//! Migrations are not its business: the host ran them before `init`.

use crate::bindings::lifecycle::exports::bulkhead::plugin::lifecycle as wire;
use crate::imports::types;
use crate::{Context, Export, PluginError};

/// Is told of start and end. Each has 5 s; an error leaves the plugin failed with its text.
pub trait Lifecycle: 'static {
    /// Runs in dependency order and may not call other plugins.
    ///
    /// # Errors
    /// Any [`PluginError`]: the plugin is not started for this tenant.
    #[expect(unused_variables, reason = "the names are for those who implement it")]
    fn init(ctx: &Context) -> Result<(), PluginError> {
        Ok(())
    }

    /// Runs when every plugin has passed `init`, and may call others.
    ///
    /// # Errors
    /// Any [`PluginError`]: the plugin is not ready for this tenant.
    #[expect(unused_variables, reason = "the names are for those who implement it")]
    fn ready(ctx: &Context) -> Result<(), PluginError> {
        Ok(())
    }

    /// Runs before the plugin is stopped; it is stopped whatever the answer.
    ///
    /// # Errors
    /// Any [`PluginError`]: logged.
    #[expect(unused_variables, reason = "the names are for those who implement it")]
    fn shutdown(ctx: &Context) -> Result<(), PluginError> {
        Ok(())
    }
}

impl<T: Lifecycle> wire::Guest for Export<T> {
    fn init(ctx: Context) -> Result<(), types::PluginError> {
        Ok(T::init(&ctx)?)
    }

    fn ready(ctx: Context) -> Result<(), types::PluginError> {
        Ok(T::ready(&ctx)?)
    }

    fn shutdown(ctx: Context) -> Result<(), types::PluginError> {
        Ok(T::shutdown(&ctx)?)
    }
}
