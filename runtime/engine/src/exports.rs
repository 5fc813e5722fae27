//! The typed ways into a guest: one file per exported interface, one value per call.
//! It sets no limit and admits nobody; `cell.rs` runs these values.

mod health;
mod hooks;
mod lifecycle;
mod routes;

use std::future::Future;

use bulkhead_bindings::bulkhead::plugin::types;
use bulkhead_model::Entry;

use crate::call::{CallError, PluginError};
use crate::component::Exports;
use crate::instance::Instance;

pub use health::HealthReport;
pub use routes::{RouteRequest, RouteResponse};

pub(crate) use health::Check;
pub(crate) use hooks::{ApplyFilter, OnAction};
pub(crate) use lifecycle::Lifecycle;
pub(crate) use routes::Handle;

/// One call of an exported function.
pub(crate) trait Export: Send {
    type Answer: Send;

    /// How the guest is entered.
    fn entry(&self) -> Entry;

    /// Name of the interface, if the component lacks it.
    fn missing(&self, exports: &Exports) -> Option<&'static str>;

    /// Bytes that go in.
    fn request_bytes(&self) -> usize;

    /// Enters the guest.
    fn call(
        self,
        instance: &mut Instance,
        context: types::CallContext<'_>,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Answer, types::PluginError>>> + Send;

    /// Bytes that came out.
    fn response_bytes(answer: &Self::Answer) -> usize;

    /// What is wrong with the answer beyond its size.
    fn check(_answer: &Self::Answer) -> Result<(), CallError> {
        Ok(())
    }
}

/// A plugin's error, and how many bytes it has.
pub(crate) fn plugin_error(error: types::PluginError) -> (PluginError, usize) {
    use types::PluginError as Wit;
    let bytes = match &error {
        Wit::InvalidInput(text)
        | Wit::Denied(text)
        | Wit::NotFound(text)
        | Wit::Conflict(text)
        | Wit::Unavailable(text)
        | Wit::Internal(text) => text.len(),
        Wit::Other((code, text)) => code.len().saturating_add(text.len()),
    };
    let error = match error {
        Wit::InvalidInput(text) => PluginError::InvalidInput(text),
        Wit::Denied(text) => PluginError::Denied(text),
        Wit::NotFound(text) => PluginError::NotFound(text),
        Wit::Conflict(text) => PluginError::Conflict(text),
        Wit::Unavailable(text) => PluginError::Unavailable(text),
        Wit::Internal(text) => PluginError::Internal(text),
        Wit::Other((code, message)) => PluginError::Other { code, message },
    };
    (error, bytes)
}

/// Bytes of pairs of texts.
fn pairs_bytes(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum()
}
