-- What a plugin burnt in a tenant in a calendar month (UTC, YYYY-MM), by the way it was entered.
CREATE TABLE fuel_usage (
    plugin_id TEXT NOT NULL,
    month TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    entry TEXT NOT NULL,
    calls INTEGER NOT NULL,
    fuel_units INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (plugin_id, month, tenant_id, entry)
);
CREATE INDEX fuel_usage_of_tenant ON fuel_usage (tenant_id);
