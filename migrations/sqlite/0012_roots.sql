-- Documents of root keys, each signed by enough keys of the one before. The configured keys begin a chain and name it: a host
-- that is configured with others begins another.
CREATE TABLE policy_roots (
    anchor TEXT NOT NULL,
    version INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    installed_by TEXT NOT NULL,
    installed_at INTEGER NOT NULL,
    PRIMARY KEY (anchor, version)
);
