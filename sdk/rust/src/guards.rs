//! The extension point `guards`: authorisation checks that routes name.
//! A guard sees the head of a request, never its body.

use crate::bindings::guards::exports::bulkhead::plugin::guards as wire;
use crate::imports::types;
use crate::{Context, Export, PluginError};

pub use wire::{RequestHead, Verdict};

/// Answers the guards that the manifest declares.
pub trait Guards: 'static {
    /// Lets a request pass, or denies it with a text for its caller.
    ///
    /// # Errors
    /// Any [`PluginError`] denies.
    fn check(ctx: &Context, guard: &str, head: &RequestHead) -> Result<Verdict, PluginError>;
}

impl<T: Guards> wire::Guest for Export<T> {
    fn check(ctx: Context, guard: String, head: RequestHead) -> Result<Verdict, types::PluginError> {
        Ok(T::check(&ctx, &guard, &head)?)
    }
}
