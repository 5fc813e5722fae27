-- The gate of releases: what a version waits for, and why; and manifests that nobody leads to any more.

-- `released`, `pending-signatures`, `pending-review`, `rejected` or `revoked`. What was pushed before there was a gate is
-- released.
ALTER TABLE registry_releases ADD COLUMN state TEXT NOT NULL DEFAULT 'released';
-- Why it is not released, JSON text.
ALTER TABLE registry_releases ADD COLUMN reasons TEXT NOT NULL DEFAULT '[]';
-- When it was first released.
ALTER TABLE registry_releases ADD COLUMN released_at INTEGER;
-- What the host judges it by without its bytes, JSON text; empty where it was pushed before there was a gate.
ALTER TABLE registry_releases ADD COLUMN judged_by TEXT NOT NULL DEFAULT '';
UPDATE registry_releases SET released_at = created_at;
CREATE INDEX registry_releases_of_state ON registry_releases (state, repository, version);

-- The artifact that a manifest in a namespace of plugins is, or that it signs.
ALTER TABLE registry_manifests ADD COLUMN artifact_digest TEXT;
UPDATE registry_manifests SET artifact_digest = (
    SELECT registry_releases.artifact_digest FROM registry_releases
    JOIN registry_manifest_blobs ON registry_manifest_blobs.repository = registry_releases.repository
        AND registry_manifest_blobs.blob_digest = registry_releases.artifact_digest
    WHERE registry_manifest_blobs.repository = registry_manifests.repository
        AND registry_manifest_blobs.manifest_digest = registry_manifests.digest LIMIT 1);
UPDATE registry_manifests SET artifact_digest = (
    SELECT registry_bundles.artifact_digest FROM registry_bundles
    JOIN registry_manifest_blobs ON registry_manifest_blobs.repository = registry_bundles.repository
        AND registry_manifest_blobs.blob_digest = registry_bundles.blob_digest
    WHERE registry_manifest_blobs.repository = registry_manifests.repository
        AND registry_manifest_blobs.manifest_digest = registry_manifests.digest LIMIT 1)
WHERE artifact_digest IS NULL;
-- Since when nothing leads to it: its last tag moved, or what named it went.
ALTER TABLE registry_manifests ADD COLUMN loose_at INTEGER;
CREATE INDEX registry_manifests_loose ON registry_manifests (loose_at) WHERE loose_at IS NOT NULL;

-- Manifests that an index names.
CREATE TABLE registry_manifest_children (
    repository TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    child_digest TEXT NOT NULL,
    PRIMARY KEY (repository, manifest_digest, child_digest)
);
CREATE INDEX registry_manifest_children_of_child ON registry_manifest_children (repository, child_digest);
CREATE INDEX registry_tags_of_manifest ON registry_tags (repository, digest);
