-- What a release may reach where it is enabled: who signed it, the rule, and what is granted. Named by the digest of its
-- text, so that a thousand tenants share one row.
CREATE TABLE reach_sets (
    set_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

-- Since when, and until when, a set held for a plugin in a tenant. Rows outlive plugin and tenant.
CREATE TABLE reach (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    since_at BIGINT NOT NULL,
    until_at BIGINT,
    set_id TEXT COLLATE "C" NOT NULL REFERENCES reach_sets (set_id),
    policy_version BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id, since_at)
);
CREATE UNIQUE INDEX reach_open ON reach (tenant_id, plugin_id) WHERE until_at IS NULL;
CREATE INDEX reach_closed ON reach (until_at) WHERE until_at IS NOT NULL;
CREATE INDEX reach_by_set ON reach (set_id);

-- How far the record is: the change that its last writer knew and the time of the last writing, both of which only rise;
-- and the same of the last pass over everything.
CREATE TABLE reach_turn (
    turn_id INTEGER NOT NULL PRIMARY KEY CHECK (turn_id = 1),
    changes BIGINT NOT NULL,
    written_at BIGINT NOT NULL,
    passed_changes BIGINT NOT NULL,
    passed_at BIGINT NOT NULL
);
INSERT INTO reach_turn (turn_id, changes, written_at, passed_changes, passed_at) VALUES (1, 0, 0, 0, 0);
