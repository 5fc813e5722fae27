//! The extension point `hooks`: filters change a value, actions are told.
//! Order, deadlines and what a failure means for the chain are the host's.

use crate::bindings::hooks::exports::bulkhead::plugin::hooks as wire;
use crate::imports::types;
use crate::{Context, Export, JsonText, PluginError};

/// Answers the hooks that the manifest declares.
pub trait Hooks: 'static {
    /// Changes a value, or answers `None` to leave it as it is. `args` is a JSON array. By default
    /// 2 s of wall time; a failure passes the earlier value on, unless the hook fails closed.
    ///
    /// # Errors
    /// Any [`PluginError`]: reported with the plugin's name and the hook's.
    #[expect(unused_variables, reason = "the names are for those who implement it")]
    fn apply_filter(
        ctx: &Context,
        name: &str,
        value: &JsonText,
        args: &JsonText,
    ) -> Result<Option<JsonText>, PluginError> {
        Ok(None)
    }

    /// Is told that something happened. `args` is a JSON array. By default 2 s of wall time.
    ///
    /// # Errors
    /// Any [`PluginError`]: reported, and the next plugin is told all the same.
    #[expect(unused_variables, reason = "the names are for those who implement it")]
    fn on_action(ctx: &Context, name: &str, args: &JsonText) -> Result<(), PluginError> {
        Ok(())
    }
}

impl<T: Hooks> wire::Guest for Export<T> {
    fn apply_filter(
        ctx: Context,
        name: String,
        value: String,
        args: String,
    ) -> Result<Option<String>, types::PluginError> {
        let (value, args) = (JsonText::from_text(value), JsonText::from_text(args));
        Ok(T::apply_filter(&ctx, &name, &value, &args)?.map(JsonText::into_string))
    }

    fn on_action(ctx: Context, name: String, args: String) -> Result<(), types::PluginError> {
        Ok(T::on_action(&ctx, &name, &JsonText::from_text(args))?)
    }
}
