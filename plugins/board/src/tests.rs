//! The board against the SDK's mock host. That a host gives what a view says is shown where the component runs.

use bulkhead_sdk::sql::Value;
use bulkhead_sdk::{PluginError, Request, Response, Routes, mock};
use serde_json::{Value as Json, json};

use super::Board;

fn host() -> mock::Host {
    let note = |id: &str, author: &str| -> [Value; 4] { [id.into(), "Buy milk".into(), author.into(), 7.into()] };
    let notes =
        mock::rows(["id", "title", "author", "updated_at"], [note("1", "ada"), note("2", "bo"), note("3", "ada")]);
    mock::Host::new().with_view("acme.notes", "notes", notes)
}

fn ask(host: &mock::Host, request: &Request) -> Result<Response, PluginError> {
    host.run(|| Board::handle(&host.context(), request))
}

fn body(answer: Result<Response, PluginError>) -> Json {
    serde_json::from_slice(&answer.unwrap().body).unwrap()
}

#[test]
fn the_board_shows_what_all_or_one_wrote() {
    let check = |query: &str, wanted: &[&str]| {
        let board = body(ask(&host(), &Request::get("/board").with_query(query)));
        let ids: Vec<_> = board.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
        assert_eq!(ids, wanted, "{query}");
    };
    check("", &["1", "2", "3"]);
    check("author=ada", &["1", "3"]);
    check("author=ada&limit=1", &["1"]);
    check("author=nobody", &[]);
}

#[test]
fn a_board_without_notes_is_worth_another_try() {
    let host = host().with_view("acme.notes", "notes", mock::unavailable());

    let answer = ask(&host, &Request::get("/board"));

    assert_eq!(answer, Err(PluginError::unavailable("storage is not available for the moment")));
}

#[test]
fn who_explores_sees_rows_or_the_reason() {
    let read = |view: &str, equals: Json| {
        let wanted = json!({ "plugin": "acme.notes", "view": view, "equals": equals, "limit": 5 });
        body(ask(&host(), &Request::of("POST", "/read").with_body(wanted.to_string())))
    };

    assert_eq!(read("notes", json!([["id", "2"]]))["rows"], json!([["2", "Buy milk", "bo", 7]]));
    assert_eq!(read("notes", json!([["id", null]]))["rows"], json!([]));
    assert_eq!(read("other", json!([])), json!({ "error": "statement denied: `view`" }));
}
