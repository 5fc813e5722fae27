//! The nouns of Bulkhead and the rules between them: ids, manifest, capabilities, grants, limits,
//! states, error codes. It does no I/O, reads no clock, spawns nothing, and knows no sibling crate.

pub mod actor;
pub mod audit;
pub mod capability;
pub mod code;
pub mod digest;
pub mod id;
pub mod limits;
pub mod log;
pub mod manifest;
pub mod object;
pub mod route;
pub mod state;
pub mod trace;
pub mod trust;

pub use actor::{Actor, Role};
pub use capability::{Grants, Interface};
pub use code::{Code, Coded, Kind};
pub use digest::Digest;
pub use id::{HookName, PermissionName, PluginId, TenantId, Version, ViewName};
pub use limits::{Entry, Limits, Reuse};
pub use manifest::{Issue, Manifest};
pub use state::{PluginStatus, TenantPluginStatus, Transition};
pub use trace::TraceId;
pub use trust::TrustLevel;

/// Version of the WIT package `bulkhead:plugin` that this host serves.
pub const CONTRACT_VERSION: semver::Version = semver::Version::new(0, 1, 0);
