//! What plugins keep: one `SQLite` file per (tenant, plugin), reached by hostile SQL and by a key-value store.
//! A file is its own boundary: no statement can name another, and quota, lock and deletion are the file's.
//! Nothing here knows the host's own tables.

mod files;
mod kv;
pub mod limits;
mod migrate;
mod session;
mod sqlite;
mod sqlite_functions;
mod sqlite_gate;
mod sqlite_guard;
mod sqlite_kv;
mod sqlite_migrate;
mod sqlite_rules;
mod sqlite_settings;
mod sqlite_statement;
mod sqlite_value;
mod store;
mod transaction;
mod value;

pub use migrate::{Applied, Drift, MigrationError, PluginMigration, Run, select_migrations};
pub use store::{PluginStorage, PluginStore, StorageConfig};
pub use transaction::{Cursor, PluginTx};
pub use value::{
    ConstraintKind, Isolation, KvCondition, KvEntry, KvOutcome, KvPage, Statement, StorageError, Table, Value,
    limit_codes,
};
