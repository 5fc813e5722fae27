-- Ids are UUIDs as text, times are microseconds since 1970, UTC. `revision` grows with each change,
-- so that two people who edit the same note do not overwrite each other.
CREATE TABLE notes (
    id text PRIMARY KEY,
    title text NOT NULL CHECK (title <> ''),
    body text NOT NULL,
    author text NOT NULL,
    revision bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);

-- The list shows the last changed first and goes on from there.
CREATE INDEX notes_by_change ON notes (updated_at, id);
