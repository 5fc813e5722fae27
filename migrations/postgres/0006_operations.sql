-- What an operation was asked to do, JSON; who works at it, and until when nobody else may take it up.
ALTER TABLE operations ADD COLUMN request TEXT NOT NULL DEFAULT '{}';
ALTER TABLE operations ADD COLUMN holder TEXT;
ALTER TABLE operations ADD COLUMN held_until BIGINT NOT NULL DEFAULT 0;

-- How an operation over many tenants went in each of them.
CREATE TABLE operation_results (
    operation_id TEXT COLLATE "C" NOT NULL REFERENCES operations (operation_id) ON DELETE CASCADE,
    tenant_id TEXT COLLATE "C" NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (operation_id, tenant_id)
);
