-- The Merkle log of registry events. Whoever appends takes the row of the audit log's end first.
CREATE TABLE registry_log (
    leaf_index BIGINT NOT NULL PRIMARY KEY,
    -- The bytes that are hashed.
    leaf TEXT NOT NULL,
    event TEXT NOT NULL,
    -- The artifact that came with it, or empty.
    digest TEXT COLLATE "C" NOT NULL
);
CREATE INDEX registry_log_of_digest ON registry_log (digest, leaf_index) WHERE digest <> '';

-- Hashes of complete subtrees, which never change; a leaf has level 0.
CREATE TABLE registry_log_nodes (
    level BIGINT NOT NULL,
    node_index BIGINT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (level, node_index)
);

-- begun_at is null until releases that were there before the log have their leaves.
CREATE TABLE registry_log_head (
    head_id BIGINT NOT NULL PRIMARY KEY CHECK (head_id = 1),
    size BIGINT NOT NULL,
    begun_at BIGINT
);
INSERT INTO registry_log_head (head_id, size, begun_at) VALUES (1, 0, NULL);

-- What proved, when a version was installed last, that the log has its release.
CREATE TABLE install_proofs (
    plugin_id TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    -- JSON text: leaf, place, size, hashes, signed checkpoint.
    proof TEXT NOT NULL,
    proven_at BIGINT NOT NULL,
    PRIMARY KEY (plugin_id, version)
);
