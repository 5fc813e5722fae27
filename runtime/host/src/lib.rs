//! The application: one file per use case, and the workers behind them. A Rust program that embeds Bulkhead uses
//! this crate; the server puts HTTP before it. It names no HTTP framework, no wasm engine and no SQL.

mod acts;
mod archive;
pub mod auth;
mod calls;
mod cells;
mod clock;
mod config;
mod denials;
pub mod doctor;
mod error;
mod fan;
pub mod fetch;
mod hooks;
mod host;
mod host_keys;
mod in_force;
mod ledgers;
mod log_watch;
mod month;
pub mod node_token;
mod observations;
mod reach;
pub mod registry;
mod release;
mod routes;
mod scope;
mod snapshot;
pub mod sources;
pub mod sql;
mod start;
mod usecase;
pub mod view;
mod views;
mod worker;

pub use bulkhead_database::DatabaseConfig;
pub use bulkhead_database::tenant::Run;
pub use bulkhead_engine::{RouteRequest, RouteResponse};
pub use bulkhead_trust::capabilities::{Area, Difference};
pub use bulkhead_trust::log::{ConsistencyProof, InclusionProof};
pub use bulkhead_trust::policy::Pattern as TenantPattern;
pub use bulkhead_trust::{Capabilities, CapabilityDiff, Refusal, SigningKey};
pub use calls::{Caller, random_trace};
pub use config::{HostConfig, Mode};
pub use error::{Error, Located};
pub use hooks::{Applied, Failure};
pub use host::{Host, Readiness};
pub use month::{InvalidMonth, Month};
pub use routes::{AdmittedRoute, RouteHead};
pub use scope::{CommitStopped, Committed, HookScope};
pub use usecase::{
    AuditExport, BATCH_SIZE_DEFAULT, BATCH_SIZE_MAX, DataChoice, Export, MigrationRequest, NewRevocation, RELEASES_MAX,
    ReachRequest, RegistryActor, Together, WantedLeaf,
};
