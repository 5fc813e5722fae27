-- One row for each visitor of this tenant. Times are microseconds since 1970, UTC.
CREATE TABLE visits (
    visitor text PRIMARY KEY,
    visit_count bigint NOT NULL,
    last_visit_at bigint NOT NULL
);
