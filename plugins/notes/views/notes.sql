-- What other plugins of the tenant may read of a note: not its text.
SELECT id, title, author, revision, created_at, updated_at
FROM notes
ORDER BY updated_at DESC, id
