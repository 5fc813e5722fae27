-- Tenants, and each plugin's record in each of them.
CREATE TABLE tenants (
    tenant_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE tenant_plugins (
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    plugin_id TEXT COLLATE "C" NOT NULL REFERENCES plugins (plugin_id),
    enabled BOOLEAN NOT NULL,
    configuration TEXT NOT NULL,
    configuration_version BIGINT NOT NULL,
    original_version BIGINT NOT NULL,
    configured_at BIGINT,
    desired_version TEXT,
    current_version TEXT,
    status TEXT NOT NULL,
    last_error TEXT,
    last_health_at BIGINT,
    granted TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id)
);
CREATE INDEX tenant_plugins_by_plugin ON tenant_plugins (plugin_id, tenant_id);
CREATE INDEX tenant_plugins_enabled ON tenant_plugins (tenant_id, plugin_id) WHERE enabled;

CREATE TABLE configuration_history (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    data TEXT NOT NULL,
    schema_version BIGINT NOT NULL,
    original_version BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id, revision)
);
