//! The plugin against the SDK's mock host: what it answers, and what it asks of the database.
//! Whether the statements are right is shown where the component runs.

use bulkhead_sdk::{Health, PluginError, Request, Response, Routes, mock};
use serde_json::json;

use super::Greeter;

fn call(host: &mock::Host, request: &Request) -> Result<Response, PluginError> {
    host.run(|| Greeter::handle(&host.context(), request))
}

fn body(response: &Response) -> serde_json::Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn a_name_is_greeted_with_the_tenants_word() {
    let host = mock::Host::new()
        .with_config(json!({ "word": "Ciao" }))
        .with_sql("INSERT INTO greetings", mock::rows(["greeting_count"], [[2.into()]]));
    let request = Request::of("POST", "/greetings/{name}").with_param("name", "ada");

    let answer = call(&host, &request).unwrap();

    assert_eq!(body(&answer), json!({ "message": "Ciao, ada!", "count": 2 }));
}

#[test]
fn whoever_was_greeted_is_listed() {
    let rows = mock::rows(["name", "greeting_count"], [["ada".into(), 2.into()]]);
    let host = mock::Host::new().with_sql("FROM greetings", rows);

    let answer = call(&host, &Request::get("/greetings")).unwrap();

    assert_eq!(body(&answer), json!([{ "name": "ada", "greeting_count": 2 }]));
}

#[test]
fn another_route_is_not_found() {
    let answer = call(&mock::Host::new(), &Request::get("/other"));

    assert_eq!(answer, Err(PluginError::not_found("no such route")));
}

#[test]
fn health_is_that_of_the_table() {
    let host = mock::Host::new().with_sql("FROM greetings", mock::failure("deadline"));

    let report = host.run(|| Greeter::check(&host.context()));

    assert!(!report.healthy);
}
