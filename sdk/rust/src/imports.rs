//! The one place that chooses who answers an import: the host in a component, the mock on the
//! author's own machine. Both have the same functions and types; nothing else differs.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::bulkhead::plugin::{authz, blob, config, kv, log, sql, views};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::mock::imports::{authz, blob, config, kv, log, sql, views};

pub(crate) use crate::bindings::bulkhead::plugin::{storage_types as storage, types};
