//! The host side of what guests import: one file per interface. Each function checks the grant first, then
//! the call's limits, then works. Deny is a value, a broken limit is a trap.

mod authz;
mod blob;
mod config;
mod kv;
mod log;
mod sql;
mod views;
pub(crate) mod wasi;

use bulkhead_bindings::bulkhead::plugin::{storage_types as wit, types};
use bulkhead_database::tenant::{PluginStore, StorageError};
use bulkhead_model::Interface;

use crate::metrics::HostCall;
use crate::state::{CallState, Stop};

pub use views::{NoView, ViewSource};

/// How a storage import ends early.
pub(crate) enum Failure {
    /// The guest gets this answer.
    Answer(wit::StorageError),
    /// The call ends.
    Trap(Stop),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Trap(stop)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Answer(sql::storage_error(error))
    }
}

// Interfaces of types alone.
impl types::Host for CallState {}
impl wit::Host for CallState {}

impl CallState {
    /// The first line of every import of ours: the grant, then the count, the bytes and the time.
    fn admit(&mut self, interface: Interface, bytes: usize) -> Result<bool, Stop> {
        let granted = self.shared.grants.allows(interface);
        // A denied call counts too: asking in vain must not be free.
        self.budget.count_call()?;
        self.check_time()?;
        self.charge(bytes)?;
        Ok(granted)
    }

    /// The first line of the imports that everyone has; without the grant the host broke its own rule.
    fn admit_baseline(&mut self, interface: Interface, bytes: usize) -> wasmtime::Result<()> {
        if !self.admit(interface, bytes)? {
            self.shared.metrics.plugin.host_call(interface, HostCall::Denied);
            return Err(wasmtime::Error::new(bulkhead_model::capability::NotGranted(interface)));
        }
        self.shared.metrics.plugin.host_call(interface, HostCall::Ok);
        Ok(())
    }

    /// The first line of the imports that need storage.
    fn admit_storage(&mut self, interface: Interface, bytes: usize) -> Result<&PluginStore, Failure> {
        if !self.admit(interface, bytes)? {
            return Err(Failure::Answer(wit::StorageError::Denied(format!("grant:{interface}"))));
        }
        let storage = self.call.storage.as_ref().or(self.shared.storage.as_ref());
        storage.ok_or(Failure::Answer(wit::StorageError::Unavailable))
    }

    /// Counts bytes that cross between guest and host.
    fn charge(&mut self, bytes: usize) -> Result<(), Stop> {
        self.budget.charge(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// The last line of a storage import: what the guest gets, counted.
    fn answer<T>(
        &mut self,
        interface: Interface,
        result: Result<T, Failure>,
    ) -> wasmtime::Result<Result<T, wit::StorageError>> {
        let outcome = match &result {
            Ok(_) => HostCall::Ok,
            Err(Failure::Answer(wit::StorageError::Denied(_))) => HostCall::Denied,
            Err(_) => HostCall::Failed,
        };
        self.shared.metrics.plugin.host_call(interface, outcome);
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(Failure::Answer(error)) => Ok(Err(error)),
            Err(Failure::Trap(stop)) => Err(stop.into()),
        }
    }
}
