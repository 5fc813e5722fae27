//! `health`: what a plugin says of itself.
//! It caches nothing and draws no conclusion.

use bulkhead_bindings::bulkhead::plugin::types;
use bulkhead_model::Entry;

use crate::component::Exports;
use crate::exports::{Export, pairs_bytes};
use crate::instance::Instance;

/// A plugin's own report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Whether it works.
    pub healthy: bool,
    /// Whether it wants traffic.
    pub ready: bool,
    /// Names and values.
    pub details: Vec<(String, String)>,
}

/// `health.check`.
pub(crate) struct Check;

impl Export for Check {
    type Answer = HealthReport;

    fn entry(&self) -> Entry {
        Entry::Health
    }

    fn missing(&self, exports: &Exports) -> Option<&'static str> {
        exports.health.is_none().then_some("health")
    }

    fn request_bytes(&self) -> usize {
        0
    }

    async fn call(
        self,
        instance: &mut Instance,
        context: types::CallContext<'_>,
    ) -> wasmtime::Result<Result<HealthReport, types::PluginError>> {
        let (guest, store) = instance.health()?;
        let report = guest.call_check(store, context).await?;
        Ok(Ok(HealthReport { healthy: report.healthy, ready: report.ready, details: report.details }))
    }

    fn response_bytes(answer: &HealthReport) -> usize {
        pairs_bytes(&answer.details)
    }
}
