//! Tests of the database crate against the real engines: the host's tables on both, plugin storage on files.
//! They look at what callers see; pure rules are tested beside their code.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that fails panics; helpers are part of the tests"
)]

mod attacks;
mod audit;
mod blob_limits;
mod blobs;
mod crash;
mod decisions;
mod engines;
mod export;
mod guard;
mod guard_cases;
mod guard_live;
mod host_tables;
mod isolation;
mod kv;
mod many_tenants;
mod migrations;
mod operations;
mod postgres;
mod reach;
mod registry;
mod registry_log;
mod scope_ends;
mod scopes;
mod server;
mod sql;
mod sqlite_sql;
mod stores;
mod transactions;
mod usage;
mod views;
