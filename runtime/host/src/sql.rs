//! How plugins' SQL is read, for commands that look at it before a host does.
//! It adds nothing to the database's own guard.

pub use bulkhead_database::tenant::guard::{
    Checked, Denied, Engines, FUNCTIONS, Function, Verb, Warning, check_script, check_view, lint, portability,
};
pub use bulkhead_database::tenant::{MigrationError, Phase, PluginMigration, select_migrations};
