-- Plugins of the fleet, their releases and the bytes of those.
CREATE TABLE plugins (
    plugin_id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    version TEXT NOT NULL,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

-- Bytes of an artifact under the digest that names them: stored once, never changed.
CREATE TABLE artifacts (
    digest TEXT NOT NULL PRIMARY KEY,
    bytes BLOB NOT NULL
);

CREATE TABLE plugin_versions (
    plugin_id TEXT NOT NULL REFERENCES plugins (plugin_id),
    version TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES artifacts (digest),
    facts TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    registered_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    held_reason TEXT,
    PRIMARY KEY (plugin_id, version)
);
CREATE INDEX plugin_versions_newest ON plugin_versions (plugin_id, created_at);
CREATE INDEX plugin_versions_sequence ON plugin_versions (plugin_id, sequence);

-- Signature bundles of an artifact, in the order in which they came.
CREATE TABLE bundles (
    digest TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (digest, ordinal)
);

-- Long work, so that a crashed step is taken up again.
CREATE TABLE operations (
    operation_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL,
    steps TEXT NOT NULL,
    error_code TEXT,
    error_detail TEXT,
    started_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX operations_running ON operations (created_at) WHERE status = 'running';
