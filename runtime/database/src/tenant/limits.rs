//! The bounds of plugin storage, all in one place. A call's own deadline may shorten each time.
//! It enforces nothing.

use std::time::Duration;

/// Time of one statement.
pub const STATEMENT: Duration = Duration::from_secs(1);
/// Time that a writer waits for the writer before it.
pub const LOCK_WAIT: Duration = Duration::from_millis(500);
/// Time of a transaction or cursor from begin to end.
pub const TRANSACTION: Duration = Duration::from_secs(5);
/// Time between two statements of a transaction, or two reads of a cursor.
pub const IDLE: Duration = Duration::from_secs(1);
/// Time of one migration.
pub const MIGRATION: Duration = Duration::from_secs(30);
/// Migrations of a plugin.
pub const MIGRATIONS_MAX: usize = 1_000;
/// Bytes of one migration.
pub const MIGRATION_BYTES_MAX: usize = 1 << 20;
/// Rows of one result.
pub const RESULT_ROWS_MAX: usize = 10_000;
/// Bytes of one result.
pub const RESULT_BYTES_MAX: usize = 4 << 20;
/// Bytes of one statement.
pub const STATEMENT_BYTES_MAX: usize = 64 << 10;
/// Parameters of one statement.
pub const PARAMETERS_MAX: usize = 64;
/// Statements of one batch.
pub const BATCH_STATEMENTS_MAX: usize = 100;
/// Transactions and cursors open at once for a plugin in a tenant.
pub const OPEN_TRANSACTIONS_MAX: usize = 2;
/// Connections to one file at once.
pub const CONNECTIONS_PER_FILE_MAX: usize = 4;
/// Files open at once in the process, unless configured otherwise.
pub const OPEN_FILES_MAX: usize = 128;
/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 512;
/// Bytes of a value in the key-value store.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Keys in one page or one request.
pub const KEYS_PER_REQUEST_MAX: usize = 1_000;
/// Keys of a plugin in a tenant.
pub const KEYS_MAX: u64 = 100_000;
/// Expired keys that one write or one sweep removes.
pub const SWEEP_KEYS_MAX: u32 = 1_000;
/// Bytes that the write-ahead log of a file may have beyond the quota before writes wait for a checkpoint.
pub const LOG_BYTES_MAX: u64 = 4 << 20;
