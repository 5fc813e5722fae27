//! Remembers: the host's own tables on `SQLite` or PostgreSQL, and what each plugin keeps in each tenant.
//! It knows no HTTP, no wasm and no policy; the only crate that names an SQL driver.

mod audit;
mod db;
mod dialect;
mod error;
mod host_hooks;
mod kills;
mod operations;
mod plugins;
mod policies;
mod reach;
pub mod registry;
mod releases;
mod reviews;
mod revocations;
mod roots;
pub mod tenant;
mod tenant_plugins;
mod tenants;
mod usage;

pub use audit::{Act, AuditProof, AuditRow};
pub use db::{DatabaseConfig, Db, Tx};
pub use error::Error;
pub use host_hooks::HookRow;
pub use kills::KillRow;
pub use operations::{NewOperation, OperationEnd, OperationResult, OperationRow};
pub use plugins::PluginRow;
pub use policies::PolicyRow;
pub use reach::{Pair, ReachCandidate, ReachChange, ReachFilter, ReachPass, ReachRow};
pub use releases::{NewRelease, PluginVersionRow, StoredRelease};
pub use reviews::{NewReview, ReviewRow};
pub use revocations::RevocationRow;
pub use roots::RootsRow;
pub use tenant::{
    BlobInfo, BlobPage, BlobWriter, ConstraintKind, Cursor, Isolation, KvCondition, KvEntry, KvOutcome, KvPage,
    PluginStore, PluginTx, Statement, StorageError, Table, Value,
};
pub use tenant_plugins::{ConfigurationRow, TenantPluginRow};
pub use tenants::{TenantRow, TenantStatus};
pub use usage::FuelRow;
