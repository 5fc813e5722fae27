-- Whom this tenant has greeted, and how often. An applied migration never changes: the next one changes it.
CREATE TABLE greetings (
    name text PRIMARY KEY,
    greeting_count bigint NOT NULL
);
