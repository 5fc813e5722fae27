//! Work that nobody asked for: starting what is enabled, taking up what a crash interrupted, upkeep.

pub(crate) mod boot;
mod sweep;
mod upkeep;
