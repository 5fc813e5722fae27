-- The plugin registry: who may push where, what was pushed, and the bytes of it.

CREATE TABLE registry_namespaces (
    namespace TEXT NOT NULL PRIMARY KEY,
    -- What the name looks like: no two namespaces look alike.
    normal_form TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    is_public INTEGER NOT NULL,
    owner TEXT NOT NULL,
    granted_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE registry_repositories (
    repository TEXT NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL REFERENCES registry_namespaces (namespace),
    normal_form TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
);
CREATE INDEX registry_repositories_of_namespace ON registry_repositories (namespace);

-- A secret is kept as its SHA-256.
CREATE TABLE registry_tokens (
    token_id TEXT NOT NULL PRIMARY KEY,
    secret_hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    repositories TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

-- Bytes under the digest that names them: stored once, never changed.
CREATE TABLE registry_blobs (
    digest TEXT NOT NULL PRIMARY KEY,
    -- Whose chunks are its bytes.
    content_id TEXT NOT NULL UNIQUE,
    size_bytes INTEGER NOT NULL,
    -- When somebody last pushed or mounted it: collecting spares what is young.
    touched_at INTEGER NOT NULL
);

CREATE TABLE registry_chunks (
    content_id TEXT NOT NULL,
    start_bytes INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (content_id, start_bytes)
);

-- Which repository holds which blob. The reference keeps a held blob from being removed, whoever tries.
CREATE TABLE registry_links (
    repository TEXT NOT NULL REFERENCES registry_repositories (repository),
    digest TEXT NOT NULL REFERENCES registry_blobs (digest),
    touched_at INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
);
CREATE INDEX registry_links_of_blob ON registry_links (digest);

CREATE TABLE registry_uploads (
    upload_id TEXT NOT NULL PRIMARY KEY,
    repository TEXT NOT NULL,
    token_id TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX registry_uploads_of_token ON registry_uploads (token_id);

CREATE TABLE registry_manifests (
    repository TEXT NOT NULL REFERENCES registry_repositories (repository),
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    subject TEXT,
    artifact_type TEXT,
    -- JSON text of its descriptor, as a list of referrers shows it.
    descriptor TEXT NOT NULL,
    pushed_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
);
CREATE INDEX registry_manifests_of_subject ON registry_manifests (repository, subject, digest) WHERE subject IS NOT NULL;

CREATE TABLE registry_manifest_blobs (
    repository TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    blob_digest TEXT NOT NULL,
    PRIMARY KEY (repository, manifest_digest, blob_digest)
);
CREATE INDEX registry_manifest_blobs_of_blob ON registry_manifest_blobs (repository, blob_digest);

CREATE TABLE registry_tags (
    repository TEXT NOT NULL REFERENCES registry_repositories (repository),
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
);

-- Versions of plugins. A row is never removed and its artifact never replaced.
CREATE TABLE registry_releases (
    repository TEXT NOT NULL REFERENCES registry_repositories (repository),
    version TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    artifact_digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    -- What the artifact says of itself, JSON text.
    facts TEXT NOT NULL,
    downloads INTEGER NOT NULL,
    pushed_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    yanked_at INTEGER,
    yanked_by TEXT,
    yank_reason TEXT,
    PRIMARY KEY (repository, version)
);
CREATE INDEX registry_releases_of_artifact ON registry_releases (repository, artifact_digest);

-- Signature bundles, by what they speak for.
CREATE TABLE registry_bundles (
    repository TEXT NOT NULL REFERENCES registry_repositories (repository),
    artifact_digest TEXT NOT NULL,
    blob_digest TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (repository, artifact_digest, blob_digest)
);
