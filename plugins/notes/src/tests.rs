//! The plugin against the SDK's mock host: what it answers, and what it asks of the database.
//! That the statements are right SQL is shown where the component runs on real databases.

use bulkhead_sdk::sql::Value;
use bulkhead_sdk::{ConstraintKind, Health, Lifecycle, PluginError, Request, Response, Routes, mock};
use serde_json::{Value as Json, json};

use super::Notes;

pub(crate) const NOTE_COLUMNS: [&str; 7] = ["id", "title", "body", "author", "revision", "created_at", "updated_at"];

fn host() -> mock::Host {
    mock::Host::new()
        .with_user("ada")
        .with_now_us(5)
        .with_config(json!({ "page_size": 2 }))
        .with_permission("notes.edit")
}

pub(crate) fn note(id: &str, revision: i64, updated_at: i64) -> [Value; 7] {
    [id.into(), "Plan".into(), "".into(), "ada".into(), revision.into(), 1.into(), updated_at.into()]
}

fn handle(host: &mock::Host, request: &Request) -> Result<Response, PluginError> {
    host.run(|| Notes::handle(&host.context(), request))
}

fn body(response: &Response) -> Json {
    serde_json::from_slice(&response.body).unwrap()
}

fn post(draft: &Json) -> Request {
    Request::of("POST", "/notes").with_body(draft.to_string())
}

fn put(id: &str, change: &Json) -> Request {
    Request::of("PUT", "/notes/{id}").with_param("id", id).with_body(change.to_string())
}

#[test]
fn a_written_note_and_its_tags_are_stored_together() {
    let host =
        host().with_sql("INSERT INTO notes", mock::affected(1)).with_sql("INSERT INTO note_tags", mock::affected(1));

    let answer = handle(&host, &post(&json!({ "title": " Plan ", "tags": ["Home"] }))).unwrap();

    let note = body(&answer);
    assert_eq!(answer.status, 201);
    assert_eq!((&note["title"], &note["author"], &note["tags"]), (&json!("Plan"), &json!("ada"), &json!(["home"])));
    let id = note["id"].as_str().unwrap();
    assert!(answer.headers.contains(&("location".to_owned(), format!("notes/{id}"))));
    let statements = host.statements();
    assert_eq!((&statements[0].text[..], &statements[3].text[..]), ("BEGIN", "COMMIT"));
    assert_eq!(statements[2].params, [Value::from(id), Value::from("home")]);
    assert_eq!(host.log()[0].message, "note written");
}

#[test]
fn a_note_whose_tags_cannot_be_stored_is_not_stored_either() {
    let host = host()
        .with_sql("INSERT INTO notes", mock::affected(1))
        .with_sql("INSERT INTO note_tags", mock::failure("quota"));

    let error = handle(&host, &post(&json!({ "title": "Plan", "tags": ["home"] }))).unwrap_err();

    assert_eq!(error, PluginError::unavailable("storage limit `quota` reached"));
    assert_eq!(host.statement_texts().last().map(String::as_str), Some("ROLLBACK"));
    assert_eq!(host.log(), []);
}

#[test]
fn a_note_that_is_not_valid_never_reaches_the_database() {
    check_refused(&json!({ "title": "" }), "title: must not be empty");
    check_refused(&json!({ "title": "t", "tags": ["a b"] }), "tags: each has 1 to 32 letters, digits and hyphens");
    check_refused(&json!({}), "body: missing field `title` at line 1 column 2");
    check_refused(
        &json!({ "title": "t", "id": "x" }),
        "body: unknown field `id`, expected one of `title`, `body`, `tags` at line 1 column 5",
    );
}

fn check_refused(draft: &Json, expected: &str) {
    let host = host();
    assert_eq!(handle(&host, &post(draft)), Err(PluginError::invalid_input(expected)), "{draft}");
    assert_eq!(host.statements(), []);
}

#[test]
fn a_list_shows_a_page_and_where_the_next_begins() {
    let rows = [note("c", 1, 9), note("b", 1, 8), note("a", 1, 7)];
    let host = host()
        .with_sql("FROM notes WHERE", mock::rows(NOTE_COLUMNS, rows))
        .with_sql("IN ($1, $2)", mock::rows(["note_id", "tag"], [["b".into(), "home".into()]]));

    let page = body(&handle(&host, &Request::get("/notes")).unwrap());

    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    assert_eq!((&page["items"][0]["tags"], &page["items"][1]["tags"]), (&json!([]), &json!(["home"])));
    assert_eq!(page["next_cursor"], json!("8.b"));
    assert_eq!(host.statements()[0].params.last(), Some(&Value::Int64(3)));
}

#[test]
fn the_last_page_has_no_next_one() {
    let host = host().with_sql("FROM notes WHERE", mock::rows(NOTE_COLUMNS, []));

    let page = body(&handle(&host, &Request::get("/notes").with_query("cursor=8.b&q=plan")).unwrap());

    assert_eq!(page, json!({ "items": [], "next_cursor": null }));
    let asked = ["%plan%".into(), "".into(), 8_i64.into(), "b".into(), 3_i64.into()];
    assert_eq!(host.statements()[0].params, asked);
}

#[test]
fn a_reader_without_the_permission_sees_that_a_note_is_not_editable() {
    check_editable(host(), true);
    check_editable(mock::Host::new(), false);
}

fn check_editable(host: mock::Host, expected: bool) {
    let host = host
        .with_sql("FROM notes WHERE id", mock::rows(NOTE_COLUMNS, [note("a", 1, 7)]))
        .with_sql("FROM note_tags", mock::rows(["tag"], [["home".into()]]));

    let answer = handle(&host, &Request::get("/notes/{id}").with_param("id", "a")).unwrap();

    assert_eq!(body(&answer)["is_editable"], json!(expected));
}

#[test]
fn a_change_of_the_revision_that_was_read_is_stored() {
    let host = host()
        .with_sql("UPDATE notes", mock::rows(NOTE_COLUMNS, [note("a", 4, 5)]))
        .with_sql("DELETE FROM note_tags", mock::affected(1))
        .with_sql("INSERT INTO note_tags", mock::affected(1));

    let answer = handle(&host, &put("a", &json!({ "revision": 3, "title": "Plan", "tags": ["x"] }))).unwrap();

    assert_eq!((&body(&answer)["revision"], &body(&answer)["tags"]), (&json!(4), &json!(["x"])));
    let update = &host.statements()[1];
    assert_eq!(update.params, ["Plan".into(), "".into(), 5_i64.into(), "a".into(), 3_i64.into()]);
}

#[test]
fn a_change_of_an_older_revision_is_a_conflict_and_of_no_note_not_found() {
    let conflict = PluginError::conflict("the note was changed in the meantime: read it again");
    check_change(vec![note("a", 4, 5)], conflict);
    check_change(vec![], PluginError::not_found("no such note"));
}

fn check_change(stored: Vec<[Value; 7]>, expected: PluginError) {
    let host = host()
        .with_sql("UPDATE notes", mock::rows(NOTE_COLUMNS, []))
        .with_sql("FROM notes WHERE id", mock::rows(NOTE_COLUMNS, stored));

    assert_eq!(handle(&host, &put("a", &json!({ "revision": 3, "title": "Plan" }))), Err(expected));
    assert_eq!(host.statement_texts().last().map(String::as_str), Some("ROLLBACK"));
}

#[test]
fn a_note_is_deleted_once() {
    check_delete(vec![note("a", 4, 5)], 1, Ok(Response::empty(204)));
    check_delete(vec![note("a", 4, 5)], 0, Err(PluginError::not_found("no such note")));
    check_delete(vec![], 0, Err(PluginError::not_found("no such note")));
}

fn check_delete(stored: Vec<[Value; 7]>, affected: u64, expected: Result<Response, PluginError>) {
    let host = host()
        .with_sql("SELECT id", mock::rows(NOTE_COLUMNS, stored))
        .with_sql("DELETE FROM note_tags", mock::affected(2))
        .with_sql("DELETE FROM notes", mock::affected(affected));
    let request = Request::of("DELETE", "/notes/{id}").with_param("id", "a");

    assert_eq!(handle(&host, &request), expected);
}

#[test]
fn statistics_count_what_was_written_and_deleted() {
    let host = host()
        .with_sql("INSERT INTO notes", mock::affected(1))
        .with_sql("SELECT id", mock::rows(NOTE_COLUMNS, [note("a", 4, 5)]))
        .with_sql("DELETE FROM note_tags", mock::affected(0))
        .with_sql("DELETE FROM notes", mock::affected(1))
        .with_sql("COUNT(*)", mock::rows(["note_count"], [[0.into()]]));

    handle(&host, &post(&json!({ "title": "Plan" }))).unwrap();
    handle(&host, &Request::of("DELETE", "/notes/{id}").with_param("id", "a")).unwrap();

    let stats = handle(&host, &Request::get("/stats")).unwrap();
    assert_eq!(body(&stats), json!({ "notes": 0, "written": 1, "deleted": 1 }));
}

#[test]
fn tags_are_listed_with_the_number_of_their_notes() {
    let host = host().with_sql("GROUP BY tag", mock::rows(["tag", "note_count"], [["home".into(), 2.into()]]));

    let tags = handle(&host, &Request::get("/tags")).unwrap();

    assert_eq!(body(&tags), json!([{ "tag": "home", "note_count": 2 }]));
}

#[test]
fn a_start_reads_the_configuration() {
    let host = host();
    assert_eq!(host.run(|| Notes::init(&host.context())), Ok(()));
    assert_eq!(host.log()[0].message, "notes are open");

    let unconfigured = mock::Host::new();
    let error = unconfigured.run(|| Notes::init(&unconfigured.context())).unwrap_err();
    assert!(matches!(error, PluginError::Internal(_)), "{error}");
}

#[test]
fn health_is_that_of_the_table() {
    let well = host().with_sql("COUNT(*)", mock::rows(["note_count"], [[3.into()]]));
    assert!(well.run(|| Notes::check(&well.context())).healthy);

    let ill = host().with_sql("COUNT(*)", mock::violation(ConstraintKind::Other));
    assert!(!ill.run(|| Notes::check(&ill.context())).healthy);
}
