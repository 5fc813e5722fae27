//! The other ways in, and what the baseline imports answer.
//! It knows no router.

use std::sync::Arc;

use bulkhead_engine::{CallError, HealthReport, RouteRequest};
use bulkhead_model::Code;

use crate::guests::{asker, web};
use crate::host::{Host, code, context, filter, filter_value};

fn request(body: &[u8]) -> RouteRequest {
    RouteRequest {
        method: "POST".to_owned(),
        path: "/deals".to_owned(),
        route: "/deals".to_owned(),
        params: vec![("id".to_owned(), "7".to_owned())],
        query: Some("q=1".to_owned()),
        headers: vec![("accept".to_owned(), "*/*".to_owned())],
        body: body.to_vec(),
    }
}

#[tokio::test]
async fn a_route_answers_with_status_headers_and_body() {
    let host = Host::new();
    let cell = host.cell(&web(201, "yes")).await;

    let response = cell.handle_route(&context(), request(b"hello")).await.result.unwrap();

    assert_eq!((response.status, response.body.as_slice()), (201, b"hello".as_slice()));
    assert_eq!(response.headers, [("x-test".to_owned(), "yes".to_owned())]);
}

#[tokio::test]
async fn an_illegal_response_is_the_plugins_failure() {
    let host = Host::new();

    for (status, header) in [(42, "yes"), (200, "a\\0d\\0aset-cookie: b")] {
        let cell = host.cell(&web(status, header)).await;
        let outcome = cell.handle_route(&context(), request(b"")).await;
        assert!(matches!(outcome.result, Err(CallError::ResponseInvalid(_))), "{:?}", outcome.result);
        assert_eq!(code(&outcome), Some(Code::PluginFailed));
        assert_eq!(cell.counters().failures, 1);
    }
}

#[tokio::test]
async fn lifecycle_and_health_are_entered_like_any_call() {
    let host = Host::new();
    let cell = host.cell(&web(200, "yes")).await;

    let steps = [cell.init(&context()).await, cell.ready(&context()).await, cell.shutdown(&context()).await];
    let health = cell.check_health(&context()).await;

    for step in steps {
        assert_eq!(step.result, Ok(()));
        assert!(step.usage.fuel_units > 0);
    }
    assert_eq!(health.result, Ok(HealthReport { healthy: true, ready: false, details: Vec::new() }));
}

#[tokio::test]
async fn a_closed_cell_still_hears_of_its_end() {
    let host = Host::new();
    let cell = host.cell(&web(200, "yes")).await;

    cell.close();

    assert_eq!(code(&cell.init(&context()).await), Some(Code::Draining));
    assert_eq!(cell.shutdown(&context()).await.result, Ok(()));
}

#[tokio::test]
async fn a_guest_reads_its_tenants_configuration() {
    let host = Host::new();
    let cell = host.cell_with(&asker(), |config| config.configuration.json = r#"{"color":"red"}"#.into()).await;

    assert_eq!(filter(&cell).await.result, Ok(Some(r#"{"color":"red"}"#.to_owned())));
}

#[tokio::test]
async fn a_guest_asks_about_the_user_of_its_own_call() {
    let host = Host::new();
    let cell = host.cell(&asker()).await;
    let mut stranger = context();
    let mut actor = stranger.actor.as_ref().clone();
    actor.permissions = ["acme.other.deals.view".to_owned(), "other.test.deals.view".to_owned()].into();
    actor.roles.clear();
    stranger.actor = Arc::new(actor);

    let has = filter_value(&cell, "11").await;
    let has_not = cell.apply_filter(&stranger, "order.total", "11", "[]").await;
    let roles = filter_value(&cell, "111").await;
    let no_roles = cell.apply_filter(&stranger, "order.total", "111", "[]").await;

    let answers = [has, has_not, roles, no_roles].map(|outcome| outcome.result.unwrap().unwrap());
    assert_eq!(answers, ["1", "0", "1", "0"]);
}
