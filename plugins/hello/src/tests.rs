//! The plugin against the SDK's mock host: what it answers, and what it asks of the database.
//! That the statements are right SQL is shown where the component runs on real databases.

use bulkhead_sdk::sql::Value;
use bulkhead_sdk::{ConstraintKind, Context, Health, Hooks, JsonText, PluginError, Request, Response, Routes, mock};
use serde_json::json;

use super::Hello;

fn host() -> mock::Host {
    mock::Host::new().with_user("ada").with_config(json!({ "greeting": "Ciao" }))
}

fn get(host: &mock::Host, route: &str) -> Result<Response, PluginError> {
    host.run(|| Hello::handle(&host.context(), &Request::get(route)))
}

fn body(response: &Response) -> serde_json::Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn a_user_is_greeted_with_the_tenants_greeting() {
    let answer = get(&host(), "/hello").unwrap();

    assert_eq!(answer.status, 200);
    assert_eq!(body(&answer), json!({ "message": "Ciao, ada!" }));
}

#[test]
fn a_call_without_a_user_greets_a_stranger() {
    let host = mock::Host::new().with_config(json!({ "greeting": "Hello" }));

    assert_eq!(body(&get(&host, "/hello").unwrap()), json!({ "message": "Hello, stranger!" }));
}

#[test]
fn a_visit_is_counted_under_the_users_name_at_the_time_of_the_call() {
    let host = host()
        .with_now_us(7)
        .with_sql("INSERT INTO visits", mock::rows(["visit_count"], [[3.into()]]))
        .with_sql("SUM(visit_count)", mock::rows(["total"], [[12.into()]]));

    let answer = get(&host, "/visits").unwrap();

    assert_eq!(body(&answer), json!({ "visitor": "ada", "count": 3, "total": 12 }));
    assert_eq!(host.statements()[0].params, [Value::from("ada"), Value::Int64(7)]);
    assert_eq!(host.log()[0].message, "visit counted");
}

#[test]
fn a_visit_that_the_database_refuses_is_not_told_as_counted() {
    let host = host().with_sql("INSERT INTO visits", mock::violation(ConstraintKind::Check));

    assert_eq!(get(&host, "/visits"), Err(PluginError::invalid_input("check constraint violated")));
    assert_eq!(host.log(), []);
}

#[test]
fn another_route_is_not_found() {
    assert_eq!(get(&host(), "/other"), Err(PluginError::not_found("no such route")));
}

#[test]
fn the_filter_greets_a_name_and_leaves_other_hooks_alone() {
    check_filter("demo.greeting", r#""world""#, Ok(Some(r#""Ciao, world!""#)));
    check_filter("demo.other", r#""world""#, Ok(None));
    check_filter("demo.greeting", "7", Err("invalid type: integer `7`, expected a string at line 1 column 1"));
}

fn check_filter(hook: &str, value: &str, expected: Result<Option<&str>, &str>) {
    let (value, args) = (JsonText::from_text(value), JsonText::from_text("[]"));
    let host = host();

    let answer = host.run(|| Hello::apply_filter(&host.context(), hook, &value, &args));

    let expected = expected.map(|value| value.map(JsonText::from_text)).map_err(PluginError::invalid_input);
    assert_eq!(answer, expected, "{hook} {value:?}");
}

#[test]
fn health_is_that_of_the_table() {
    let total = mock::rows(["total"], [[12.into()]]);
    let well = check_health(&host().with_sql("SUM(visit_count)", total));
    assert_eq!(well, (true, vec![("visits".to_owned(), "12".to_owned())]));

    let ill = check_health(&host().with_sql("SUM(visit_count)", mock::failure("deadline")));
    assert_eq!(ill, (false, vec![("reason".to_owned(), "storage limit `deadline` reached".to_owned())]));
}

fn check_health(host: &mock::Host) -> (bool, Vec<(String, String)>) {
    let context: Context = host.context();
    let report = host.run(|| Hello::check(&context));
    (report.healthy && report.ready, report.details)
}
