//! Work that nobody asked for: starting what is enabled, keeping what runs in line with what is stored, taking up what a
//! crash interrupted, upkeep.

pub(crate) mod boot;
mod follow;
mod issuers;
pub(crate) mod ledger;
mod log;
pub(crate) mod observe;
pub(crate) mod reach;
mod reconcile;
mod registry;
mod sweep;
mod upkeep;
