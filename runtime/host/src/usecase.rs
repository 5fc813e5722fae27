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
mod kill;
mod migrate;
mod operation;
mod policy;
mod register;
mod registry;
mod reviews;
mod revocations;
mod simulate;
mod status;
mod tenant_plugins;
mod tenants;
mod uninstall;
mod usage;

pub(crate) use export::EXPORTS_MAX;
pub use export::Export;
pub(crate) use kill::Kill;
pub use migrate::{BATCH_SIZE_DEFAULT, BATCH_SIZE_MAX, MigrationRequest};
pub use registry::RegistryActor;
pub use revocations::NewRevocation;
pub use uninstall::DataChoice;
