//! The product as a black box: real hosts over HTTP and the `bulkhead` binary, real guests, real signatures, both
//! database engines. One file for each path of the API or each promise; nothing here looks inside.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test ends where it cannot go on")]

mod attachments;
mod audit;
mod audit_offline;
mod bad_input;
mod capabilities;
mod cli;
mod compile_bombs;
mod config;
mod crash;
mod disk;
mod doctor;
mod engines;
mod evaluated;
mod export;
mod flips;
mod hooks;
mod hostile;
mod isolation;
mod kill;
mod migrations;
mod observe;
mod oidc;
mod operations;
mod plugin_pages;
mod plugins;
mod policy;
mod reach;
mod registry;
mod replicas;
mod reviewers_day;
mod reviews;
mod revocations;
mod rollback;
mod roots;
mod routes;
mod scopes;
mod simulate;
mod sources;
mod tenants;
mod together;
mod trust;
mod usage;
mod views;
