//! The extension point `health`: the plugin's own view of itself.
//! Whether it is mounted, broken or quarantined is the host's view and not told here.

use crate::bindings::health::exports::bulkhead::plugin::health as wire;
use crate::{Context, Export};

pub use wire::Report;

/// Answers how the plugin is doing; asked every `health.interval_s` and before it is mounted.
pub trait Health: 'static {
    /// Looks, and tells. A trap counts as unhealthy.
    fn check(ctx: &Context) -> Report;
}

impl<T: Health> wire::Guest for Export<T> {
    fn check(ctx: Context) -> Report {
        T::check(&ctx)
    }
}

impl Report {
    /// Healthy and ready.
    #[must_use]
    pub fn healthy() -> Self {
        Self { healthy: true, ready: true, details: Vec::new() }
    }

    /// Neither healthy nor ready, and why.
    #[must_use]
    pub fn unhealthy(reason: impl Into<String>) -> Self {
        Self { healthy: false, ready: false, details: Vec::new() }.detail("reason", reason)
    }

    /// The same report with one detail more: shown to administrators, so no personal data.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<String>) -> Self {
        self.details.push((name.to_owned(), value.into()));
        self
    }
}
