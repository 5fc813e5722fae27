//! The notes in the tenant's own tables: every statement of the plugin stands here.
//! Each text runs on SQLite and PostgreSQL alike; it checks nothing that `draft` and `list` did.

use std::collections::BTreeMap;

use bulkhead_sdk::random::Uuid;
use bulkhead_sdk::sql::{self, Transaction, Value};
use bulkhead_sdk::{FromRow, PluginError, StorageError, params};
use serde::Serialize;

use crate::draft::Draft;
use crate::list::Search;

/// Most tags in the list of tags.
const TAGS_LISTED_MAX: i64 = 200;

/// A note without its tags. Times are microseconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq, FromRow, Serialize)]
pub(crate) struct Note {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) author: String,
    /// From 1, one more with each change.
    pub(crate) revision: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

/// A tag, and how many notes have it.
#[derive(Debug, PartialEq, FromRow, Serialize)]
pub(crate) struct TagCount {
    tag: String,
    note_count: i64,
}

#[derive(FromRow)]
struct NoteTag {
    note_id: String,
    tag: String,
}

impl Note {
    pub(crate) fn new(draft: &Draft, author: &str, now_us: i64) -> Self {
        Self {
            id: Uuid::new().to_string(),
            title: draft.title.clone(),
            body: draft.body.clone(),
            author: author.to_owned(),
            revision: 1,
            created_at: now_us,
            updated_at: now_us,
        }
    }
}

/// The notes of a page, and whether there are more behind it.
pub(crate) fn list(search: &Search) -> Result<(Vec<Note>, bool), StorageError> {
    const LIST: &str = "SELECT id, title, body, author, revision, created_at, updated_at FROM notes
        WHERE ($1 = '' OR LOWER(title) LIKE $1 ESCAPE '!' OR LOWER(body) LIKE $1 ESCAPE '!')
          AND ($2 = '' OR id IN (SELECT note_id FROM note_tags WHERE tag = $2))
          AND (updated_at < $3 OR (updated_at = $3 AND id < $4))
        ORDER BY updated_at DESC, id DESC
        LIMIT $5";

    let Search { pattern, tag, after, limit } = search;
    let one_more = i64::from(*limit) + 1;
    let params = params![pattern, tag, after.updated_at, &after.id, one_more];
    let mut notes: Vec<Note> = sql::query(LIST, params)?.all()?;
    let has_more = notes.len() > usize::try_from(*limit).unwrap_or(usize::MAX);
    if has_more {
        notes.pop();
    }
    Ok((notes, has_more))
}

/// The note of this id, if there is one.
pub(crate) fn find(id: &str) -> Result<Option<Note>, StorageError> {
    sql::query(FIND, params![id])?.optional()
}

/// [`find`] within a transaction.
pub(crate) fn find_in(tx: &Transaction, id: &str) -> Result<Option<Note>, StorageError> {
    tx.query(FIND, params![id])?.optional()
}

const FIND: &str = "SELECT id, title, body, author, revision, created_at, updated_at FROM notes WHERE id = $1";

pub(crate) fn count() -> Result<i64, StorageError> {
    sql::query("SELECT COUNT(*) AS note_count FROM notes", params![])?.scalar()
}

pub(crate) fn insert(tx: &Transaction, note: &Note, tags: &[String]) -> Result<(), PluginError> {
    const INSERT: &str = "INSERT INTO notes (id, title, body, author, revision, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";

    let Note { id, title, body, author, revision, created_at, updated_at } = note;
    tx.execute(INSERT, params![id, title, body, author, *revision, *created_at, *updated_at])?;
    insert_tags(tx, id, tags)
}

/// Changes the note if it still has this revision. Answers the changed one.
pub(crate) fn update(
    tx: &Transaction,
    id: &str,
    revision: i64,
    draft: &Draft,
    now_us: i64,
) -> Result<Option<Note>, PluginError> {
    const UPDATE: &str = "UPDATE notes SET title = $1, body = $2, revision = revision + 1, updated_at = $3
        WHERE id = $4 AND revision = $5
        RETURNING id, title, body, author, revision, created_at, updated_at";

    let params = params![&draft.title, &draft.body, now_us, id, revision];
    let note = tx.execute(UPDATE, params)?.optional()?;
    if note.is_some() {
        tx.execute(DELETE_TAGS, params![id])?;
        insert_tags(tx, id, &draft.tags)?;
    }
    Ok(note)
}

/// Deletes the note and its tags. Answers whether it was there.
pub(crate) fn delete(id: &str) -> Result<bool, StorageError> {
    let statements =
        [sql::statement(DELETE_TAGS, params![id]), sql::statement("DELETE FROM notes WHERE id = $1", params![id])];
    Ok(sql::batch(&statements)?.last().is_some_and(|note| note.affected() == 1))
}

const DELETE_TAGS: &str = "DELETE FROM note_tags WHERE note_id = $1";

fn insert_tags(tx: &Transaction, id: &str, tags: &[String]) -> Result<(), PluginError> {
    for tag in tags {
        tx.execute("INSERT INTO note_tags (note_id, tag) VALUES ($1, $2)", params![id, tag])?;
    }
    Ok(())
}

pub(crate) fn tags_of(id: &str) -> Result<Vec<String>, StorageError> {
    const TAGS: &str = "SELECT tag FROM note_tags WHERE note_id = $1 ORDER BY tag";

    sql::query(TAGS, params![id])?.iter().map(|row| row.get("tag")).collect()
}

/// The tags of all these notes by note id: one statement for a page.
pub(crate) fn tags_of_all(notes: &[Note]) -> Result<BTreeMap<String, Vec<String>>, StorageError> {
    let mut tags = BTreeMap::<_, Vec<_>>::new();
    if notes.is_empty() {
        return Ok(tags);
    }
    let places: Vec<_> = (1..=notes.len()).map(|number| format!("${number}")).collect();
    let text =
        format!("SELECT note_id, tag FROM note_tags WHERE note_id IN ({}) ORDER BY note_id, tag", places.join(", "));
    let ids: Vec<_> = notes.iter().map(|note| Value::from(&note.id)).collect();
    for NoteTag { note_id, tag } in sql::query(&text, &ids)?.all()? {
        tags.entry(note_id).or_default().push(tag);
    }
    Ok(tags)
}

/// The tags that the most notes have.
pub(crate) fn tags() -> Result<Vec<TagCount>, StorageError> {
    const TAGS: &str = "SELECT tag, COUNT(*) AS note_count FROM note_tags
        GROUP BY tag ORDER BY note_count DESC, tag LIMIT $1";

    sql::query(TAGS, params![TAGS_LISTED_MAX])?.all()
}
