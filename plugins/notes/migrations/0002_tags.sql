CREATE TABLE note_tags (
    note_id text NOT NULL REFERENCES notes (id),
    tag text NOT NULL,
    PRIMARY KEY (note_id, tag)
);

CREATE INDEX note_tags_by_tag ON note_tags (tag, note_id);
