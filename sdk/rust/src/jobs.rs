//! The extension point `jobs`: scheduled and delayed work.
//! When a job runs is decided by the manifest's schedule or by the call that asked for it.

use crate::bindings::jobs::exports::bulkhead::plugin::jobs as wire;
use crate::imports::types;
use crate::{Context, Export, PluginError};

pub use wire::Run;

/// Performs the jobs that the manifest declares.
pub trait Jobs: 'static {
    /// Performs one run; 30 s of wall time.
    ///
    /// # Errors
    /// Any [`PluginError`]: it is tried again later.
    fn perform(ctx: &Context, run: &Run) -> Result<(), PluginError>;
}

impl<T: Jobs> wire::Guest for Export<T> {
    fn perform(ctx: Context, run: Run) -> Result<(), types::PluginError> {
        Ok(T::perform(&ctx, &run)?)
    }
}
