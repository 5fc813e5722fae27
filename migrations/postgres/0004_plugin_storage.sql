-- Where plugins' data is: a schema and a role per (tenant, plugin) that uses SQL, and the key-value store.
-- No login that runs plugin SQL has any right here but one: those that migrate keep the ledger.

-- Made at random, once: the name keeps the roles of two databases of one server apart, the secret makes the passwords of the
-- logins where the hosts are configured with no key of their own.
CREATE TABLE storage_installation (
    installation_id BIGINT NOT NULL PRIMARY KEY CHECK (installation_id = 1),
    random_name TEXT NOT NULL,
    login_secret BYTEA NOT NULL
);
INSERT INTO storage_installation (installation_id, random_name, login_secret) VALUES
    (1, gen_random_uuid()::text, decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- Logins that run plugin SQL. The fingerprint tells whether the password is the one of the host's key.
CREATE TABLE storage_logins (
    login TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL
);

-- The schema, and the role of the same name, of a plugin in a tenant.
CREATE TABLE storage_schemas (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    shard BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id)
);
CREATE INDEX storage_schemas_by_shard ON storage_schemas (shard);

-- The ledger of plugins' migrations. A row with an error is of a migration that failed and was undone.
CREATE TABLE storage_migrations (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    error TEXT,
    applied_at BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id, number)
);

CREATE TABLE storage_keys (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL,
    version BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (tenant_id, plugin_id, key)
);
CREATE INDEX storage_keys_expiry ON storage_keys (tenant_id, plugin_id, expires_at) WHERE expires_at IS NOT NULL;

-- Taken first by every write of a plugin's keys in a tenant, so that versions rise and counts are exact.
CREATE TABLE storage_key_totals (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    last_version BIGINT NOT NULL,
    key_count BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id)
);
