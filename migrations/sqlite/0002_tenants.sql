-- Tenants, and each plugin's record in each of them.
CREATE TABLE tenants (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE tenant_plugins (
    tenant_id TEXT NOT NULL REFERENCES tenants (tenant_id),
    plugin_id TEXT NOT NULL REFERENCES plugins (plugin_id),
    enabled BOOLEAN NOT NULL,
    configuration TEXT NOT NULL,
    configuration_version INTEGER NOT NULL,
    original_version INTEGER NOT NULL,
    configured_at INTEGER,
    desired_version TEXT,
    current_version TEXT,
    status TEXT NOT NULL,
    last_error TEXT,
    last_health_at INTEGER,
    granted TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id)
);
CREATE INDEX tenant_plugins_by_plugin ON tenant_plugins (plugin_id, tenant_id);
CREATE INDEX tenant_plugins_enabled ON tenant_plugins (tenant_id, plugin_id) WHERE enabled;

CREATE TABLE configuration_history (
    tenant_id TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    data TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    original_version INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id, revision)
);
