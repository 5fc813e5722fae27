-- What never runs again: by key, by release, by plugin and versions. Rows are added and never removed.
CREATE TABLE revocations (
    epoch BIGINT NOT NULL PRIMARY KEY,
    key TEXT,
    digest TEXT COLLATE "C",
    plugin TEXT COLLATE "C",
    version TEXT,
    from_at BIGINT,
    reason TEXT NOT NULL,
    revoked_by TEXT NOT NULL,
    revoked_at BIGINT NOT NULL
);
