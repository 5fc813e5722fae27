-- Policies, stops, hooks of the host application, and the log of every decision.
CREATE TABLE policies (
    version BIGINT NOT NULL PRIMARY KEY,
    envelope BYTEA NOT NULL,
    json TEXT NOT NULL,
    installed_by TEXT NOT NULL,
    installed_at BIGINT NOT NULL
);

-- `*` stands for every plugin, or every tenant.
CREATE TABLE kills (
    plugin_id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    reason TEXT NOT NULL,
    killed_by TEXT NOT NULL,
    killed_at BIGINT NOT NULL,
    PRIMARY KEY (plugin_id, tenant_id)
);

CREATE TABLE host_hooks (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    schema TEXT,
    on_failure TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE audit (
    sequence BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    detail TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- The end of the chain. Whoever appends takes this row first, so that two writers never fork the chain; it
-- also gives away a cut end.
CREATE TABLE audit_head (
    head_id BIGINT NOT NULL PRIMARY KEY CHECK (head_id = 1),
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (head_id, sequence, hash)
VALUES (1, 0, 'sha256:0000000000000000000000000000000000000000000000000000000000000000');

-- Rises with every change of what hosts serve from, so that each host notices what another changed.
CREATE TABLE change_counter (
    counter_id BIGINT NOT NULL PRIMARY KEY CHECK (counter_id = 1),
    changes BIGINT NOT NULL
);
INSERT INTO change_counter (counter_id, changes) VALUES (1, 0);
