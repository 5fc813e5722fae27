-- Plugins' blobs. No login that runs plugin SQL has any right here. The bytes of keys and of blobs are counted together
-- in storage_key_totals, which every write takes first.

CREATE TABLE storage_blobs (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    -- Whose chunks are its bytes.
    upload_id BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    media_type TEXT NOT NULL,
    modified_at BIGINT NOT NULL,
    -- What it counts in the totals.
    bytes BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id, name)
);

-- What is being written: no blob yet.
CREATE TABLE storage_blob_uploads (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    upload_id BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id, upload_id)
);

CREATE TABLE storage_blob_chunks (
    tenant_id TEXT COLLATE "C" NOT NULL,
    plugin_id TEXT COLLATE "C" NOT NULL,
    upload_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, plugin_id, upload_id, number)
);
-- Files are mostly compressed already.
ALTER TABLE storage_blob_chunks ALTER COLUMN bytes SET STORAGE EXTERNAL;
