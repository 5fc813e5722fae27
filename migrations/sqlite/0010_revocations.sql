-- What never runs again: by key, by release, by plugin and versions. Rows are added and never removed.
CREATE TABLE revocations (
    epoch INTEGER NOT NULL PRIMARY KEY,
    key TEXT,
    digest TEXT,
    plugin TEXT,
    version TEXT,
    from_at INTEGER,
    reason TEXT NOT NULL,
    revoked_by TEXT NOT NULL,
    revoked_at INTEGER NOT NULL
);
