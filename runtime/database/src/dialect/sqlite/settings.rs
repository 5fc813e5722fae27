//! How a plugin's file is opened: limits and switches of the engine, settings, and the host's own tables in it.
//! It sets nothing itself.

use libsqlite3_sys as ffi;

/// Virtual machine steps between two looks at the clock and the working memory.
pub(super) const STEPS_PER_LOOK: i32 = 200;
/// How long the engine itself waits for a lock of the file, in milliseconds. Writers of this host queue
/// before the engine, so this only covers another process.
pub(super) const BUSY_MS: i32 = 500;

/// Bytes of one value, and of one stored row.
pub(super) const VALUE_BYTES_MAX: usize = 2 << 20;

/// Engine limits: identifier and value. Sizes in bytes.
pub(super) const LIMITS: [(i32, i32); 11] = [
    // One value, and one stored row.
    (ffi::SQLITE_LIMIT_LENGTH, 2 << 20),
    // A statement; the host allows a guest 64 KiB, a migration file 1 MiB.
    (ffi::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
    (ffi::SQLITE_LIMIT_COLUMN, 256),
    (ffi::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (ffi::SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (ffi::SQLITE_LIMIT_VDBE_OP, 100_000),
    (ffi::SQLITE_LIMIT_FUNCTION_ARG, 64),
    (ffi::SQLITE_LIMIT_ATTACHED, 0),
    // The time of one LIKE or GLOB, which nothing interrupts, is the product of pattern and text.
    (ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 128),
    (ffi::SQLITE_LIMIT_VARIABLE_NUMBER, 64),
    (ffi::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// Engine switches: identifier and state.
pub(super) const SWITCHES: [(i32, i32); 11] = [
    (ffi::SQLITE_DBCONFIG_DEFENSIVE, 1),
    (ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0),
    (ffi::SQLITE_DBCONFIG_DQS_DML, 0),
    (ffi::SQLITE_DBCONFIG_DQS_DDL, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_VIEW, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_FKEY, 1),
];

/// Bytes of a page of the file.
pub(super) const PAGE_BYTES: u64 = 4_096;
/// Fewest pages of a file: room for the host's own tables.
pub(super) const PAGES_MIN: u64 = 32;
/// Version of the host's own tables in a plugin's file, kept in `user_version`.
pub(super) const LAYOUT: i64 = 3;

/// Set when a file is opened, in the host's name.
pub(super) const SETTINGS: &[&str] = &[
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -512",
    "PRAGMA mmap_size = 0",
    "PRAGMA wal_autocheckpoint = 256",
    "PRAGMA journal_size_limit = 1048576",
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA cell_size_check = ON",
];

/// The host's own tables in a plugin's file, by the layout that they came with. Names that begin with `__` are
/// invisible to the plugin.
pub(super) const HOST_TABLES: &[(i64, &str)] = &[
    (
        1,
        "CREATE TABLE __kv (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID",
    ),
    (1, "CREATE INDEX __kv_expiry ON __kv (expires_at) WHERE expires_at IS NOT NULL"),
    (
        1,
        "CREATE TABLE __kv_state (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), last_version INTEGER NOT NULL, key_count INTEGER NOT NULL)",
    ),
    (1, "INSERT INTO __kv_state (only, last_version, key_count) VALUES (1, 0, 0)"),
    (
        1,
        "CREATE TABLE __migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)",
    ),
    (
        2,
        "CREATE TABLE __migration_failure (number INTEGER NOT NULL, name TEXT NOT NULL, error TEXT NOT NULL, failed_at INTEGER NOT NULL)",
    ),
    (
        3,
        "CREATE TABLE __blobs (name TEXT NOT NULL PRIMARY KEY, upload_id INTEGER NOT NULL, size_bytes INTEGER NOT NULL, sha256 BLOB NOT NULL, media_type TEXT NOT NULL, modified_at INTEGER NOT NULL) WITHOUT ROWID",
    ),
    (3, "CREATE TABLE __blob_uploads (upload_id INTEGER NOT NULL PRIMARY KEY, started_at INTEGER NOT NULL)"),
    (
        3,
        "CREATE TABLE __blob_chunks (upload_id INTEGER NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (upload_id, number))",
    ),
    (3, "PRAGMA user_version = 3"),
];
