-- Versions that may do more than the one before and wait for a reviewer, and what was decided about them.
CREATE TABLE reviews (
    review_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    plugin_id TEXT COLLATE "C" NOT NULL REFERENCES plugins (plugin_id),
    version TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    base_version TEXT COLLATE "C" NOT NULL,
    base_digest TEXT COLLATE "C" NOT NULL,
    diff_digest TEXT COLLATE "C" NOT NULL,
    -- What was added, JSON text.
    wider TEXT NOT NULL,
    registered_by TEXT NOT NULL,
    installed_by TEXT NOT NULL,
    operation_id TEXT COLLATE "C" NOT NULL,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    decided_by TEXT,
    decided_at BIGINT,
    reason TEXT,
    UNIQUE (digest, base_digest)
);
CREATE INDEX reviews_by_age ON reviews (created_at, review_id);

-- When the version was last installed: the latest is the one that a newer version is compared with, also after an uninstall.
ALTER TABLE plugin_versions ADD COLUMN installed_at BIGINT;
UPDATE plugin_versions SET installed_at = created_at WHERE EXISTS (
    SELECT 1 FROM plugins p WHERE p.plugin_id = plugin_versions.plugin_id AND p.version = plugin_versions.version
    AND p.status IN ('installed', 'active', 'disabled', 'uninstalling')
);

-- A policy that is only observed stands beside the one in force.
ALTER TABLE policies ADD COLUMN observed BOOLEAN NOT NULL DEFAULT FALSE;
