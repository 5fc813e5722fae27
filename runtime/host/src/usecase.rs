//! What the host does for people and programs: one file per use case.

mod audit;
mod configure;
mod fleet;
mod hooks;
mod install;
mod kill;
mod operation;
mod policy;
mod register;
mod status;
mod tenant_plugins;
mod tenants;
mod uninstall;

pub use uninstall::DataChoice;
