-- Policies, stops, hooks of the host application, and the log of every decision.
CREATE TABLE policies (
    version INTEGER NOT NULL PRIMARY KEY,
    envelope BLOB NOT NULL,
    json TEXT NOT NULL,
    installed_by TEXT NOT NULL,
    installed_at INTEGER NOT NULL
);

-- `*` stands for every plugin, or every tenant.
CREATE TABLE kills (
    plugin_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    killed_by TEXT NOT NULL,
    killed_at INTEGER NOT NULL,
    PRIMARY KEY (plugin_id, tenant_id)
);

CREATE TABLE host_hooks (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    schema TEXT,
    on_failure TEXT NOT NULL,
    updated_at INTEGER NOT NULL
);

CREATE TABLE audit (
    sequence INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- The end of the chain. Whoever appends takes this row first, so that two writers never fork the chain; it
-- also gives away a cut end.
CREATE TABLE audit_head (
    head_id INTEGER NOT NULL PRIMARY KEY CHECK (head_id = 1),
    sequence INTEGER NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (head_id, sequence, hash)
VALUES (1, 0, 'sha256:0000000000000000000000000000000000000000000000000000000000000000');

-- Rises with every change of what hosts serve from, so that each host notices what another changed.
CREATE TABLE change_counter (
    counter_id INTEGER NOT NULL PRIMARY KEY CHECK (counter_id = 1),
    changes INTEGER NOT NULL
);
INSERT INTO change_counter (counter_id, changes) VALUES (1, 0);
