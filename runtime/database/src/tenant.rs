//! What plugins keep: SQL tables and a key-value store per (tenant, plugin), reached by hostile SQL.
//! It checks and bounds what a plugin asks; the wall between two plugins is the engine's, in `dialect/`.
//! Nothing here knows the host's own tables.

pub(crate) mod admission;
pub(crate) mod blobs;
pub(crate) mod export;
pub mod guard;
pub(crate) mod held;
pub(crate) mod kv;
pub mod limits;
pub(crate) mod migrate;
pub(crate) mod ongoing;
mod scope;
mod store;
mod transaction;
pub(crate) mod value;
mod views;

pub use blobs::{BlobInfo, BlobPage, BlobWriter};
pub use export::TablePiece;
pub use migrate::{Applied, Drift, FailedMigration, MigrationError, Phase, PluginMigration, Run, select_migrations};
pub use scope::{PluginScope, SealedScope};
pub use store::{Finding, Kept, PluginStorage, PluginStore, StorageConfig};
pub use transaction::{Cursor, PluginTx};
pub use value::{
    ConstraintKind, Isolation, KvCondition, KvEntry, KvOutcome, KvPage, Statement, StorageError, Table, Value,
    limit_codes,
};
pub use views::{BrokenView, PluginView, PluginViews, ViewSelect};
