-- What a plugin burnt in a tenant in a calendar month (UTC, YYYY-MM), by the way it was entered.
CREATE TABLE fuel_usage (
    plugin_id TEXT COLLATE "C" NOT NULL,
    month TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    entry TEXT COLLATE "C" NOT NULL,
    calls BIGINT NOT NULL,
    fuel_units BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (plugin_id, month, tenant_id, entry)
);
CREATE INDEX fuel_usage_of_tenant ON fuel_usage (tenant_id);
