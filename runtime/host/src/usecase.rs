//! What the host does for people and programs: one file per use case.

mod archive;
mod audit;
mod capabilities;
mod configure;
mod dependencies;
mod export;
mod fleet;
mod hooks;
mod install;
mod key_events;
mod kill;
mod migrate;
mod operation;
mod policy;
mod register;
mod registry;
mod registry_log;
mod reviews;
mod revocations;
mod rollback;
mod roots;
mod simulate;
mod status;
mod tenant_plugins;
mod tenants;
mod uninstall;
mod usage;

pub use audit::AuditExport;
pub(crate) use export::EXPORTS_MAX;
pub use export::Export;
pub(crate) use kill::Kill;
pub use migrate::{BATCH_SIZE_DEFAULT, BATCH_SIZE_MAX, MigrationRequest};
pub use registry::RegistryActor;
pub use registry_log::WantedLeaf;
pub use revocations::NewRevocation;
pub use uninstall::DataChoice;
