//! The bounds of plugin storage, all in one place. A call's own deadline may shorten each time.
//! It enforces nothing.

use std::time::Duration;

/// Time of one statement.
pub const STATEMENT: Duration = Duration::from_secs(1);
/// Time to log in to a server and find the plugin's place there, before any call does.
pub const REACH: Duration = Duration::from_secs(5);
/// Time that a writer waits for the writer before it.
pub const LOCK_WAIT: Duration = Duration::from_millis(500);
/// Time of a transaction or cursor from begin to end.
pub const TRANSACTION: Duration = Duration::from_secs(5);
/// Time between two statements of a transaction, or two reads of a cursor.
pub const IDLE: Duration = Duration::from_secs(1);
/// Time of one migration.
pub const MIGRATION: Duration = Duration::from_secs(30);
/// Time of a host application's scope, from begin to end.
pub const SCOPE: Duration = Duration::from_secs(30);
/// What a statement in a scope leaves of its call's time.
pub const SCOPE_MARGIN: Duration = Duration::from_millis(50);
/// Connections to a database server for the keys that plugins write in scopes.
pub const SCOPE_KEYS_CONNECTIONS_MAX: u32 = 16;
/// Connections of a tenant that its scopes leave to its other calls.
pub const CONNECTIONS_BESIDE_SCOPES: usize = 2;
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
/// Reads of a plugin's views by others at once, in a process: fewer than there are connections for the plugin itself.
pub const VIEW_READERS_MAX: usize = 2;
/// Time in which the start of a plugin looks at one of its views.
pub const VIEW_LOOK: Duration = Duration::from_secs(5);
/// Bytes of the name of a view's column.
pub const VIEW_COLUMN_BYTES_MAX: usize = 63;
/// Bytes that a read adds to the SELECT of a view: a condition for each parameter, and what stands around them.
pub const VIEW_FRAME_BYTES_MAX: usize = 8 << 10;
/// Statements of one batch.
pub const BATCH_STATEMENTS_MAX: usize = 100;
/// Transactions and cursors open at once for a plugin in a tenant.
pub const OPEN_TRANSACTIONS_MAX: usize = 2;
/// Connections to one file at once.
pub const CONNECTIONS_PER_FILE_MAX: usize = 4;
/// Files open at once in the process, unless configured otherwise.
pub const OPEN_FILES_MAX: usize = 128;
/// Connections to a database server for plugins' SQL, unless configured otherwise.
pub const CONNECTIONS_MAX: u32 = 32;
/// Connections to a database server for key-value stores, quotas and provisioning, unless configured otherwise.
pub const HOST_CONNECTIONS_MAX: u32 = 8;
/// Logins over which tenants are spread on a database server, unless configured otherwise.
pub const SHARDS: u16 = 16;
/// Most logins over which tenants can be spread.
pub const SHARDS_MAX: u16 = 1_024;
/// (Tenant, plugin) pairs of one login: its first use of a role takes time with the number of its roles.
pub const ROLES_PER_SHARD_MAX: u32 = 1_000;
/// Time in which all tables of a plugin in a tenant are read for an archive.
pub const EXPORT: Duration = Duration::from_secs(60 * 60);
/// Bytes of rows that such a read hands on at once, unless one row has more.
pub const EXPORT_PIECE_BYTES: usize = 256 << 10;
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
/// Bytes of a blob's name.
pub const BLOB_NAME_BYTES_MAX: usize = 512;
/// Bytes of a blob's media type.
pub const BLOB_MEDIA_TYPE_BYTES_MAX: usize = 255;
/// Bytes of one piece of a blob, written or read.
pub const BLOB_PIECE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a blob.
pub const BLOB_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a blob that are stored in one row.
pub const BLOB_CHUNK_BYTES: usize = 256 << 10;
/// Blobs of a plugin in a tenant.
pub const BLOBS_MAX: u64 = 10_000;
/// Blobs in one page.
pub const BLOBS_PER_PAGE_MAX: usize = 1_000;
/// Blobs being written at once for a plugin in a tenant, in a process.
pub const BLOB_WRITERS_MAX: usize = 2;
/// Time that the removal of an unfinished blob may take.
pub const BLOB_DISCARD: Duration = Duration::from_secs(5);
/// Age at which a blob that is still unfinished is taken for one whose process has died. No call lasts as long.
pub const BLOB_UPLOAD: Duration = Duration::from_secs(60 * 60);
/// Bytes that the write-ahead log of a file may have beyond the quota before writes wait for a checkpoint.
pub const LOG_BYTES_MAX: u64 = 4 << 20;
