//! `/api/plugins/{id}/health`, `/ready`, `/openapi.json`, `/metrics`: the host's pages below each plugin, of the
//! caller's tenant alone.

use bulkhead_model::Role;
use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::{HELLO, NOTES, ROUTES, hostile};
use bulkhead_testkit::{Client, TestHost};
use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn health_is_what_the_plugin_says_of_itself_in_this_tenant() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).with(ROUTES).await;
    host.user("acme", &["acme.hello.hello.greet"]).get_route("acme.hello", "/visits").await.expect(200);

    let mut health = host.user("acme", &[]).get_route("acme.hello", "/health").await.expect(200).json();
    let elsewhere = host.user("globex", &[]).get_route("acme.hello", "/health").await.expect(200).json();
    let silent = host.user("acme", &[]).get_route("test.routes", "/health").await.expect(200).json();

    assert!(health.as_object_mut().unwrap().remove("checked_at").unwrap().as_str().unwrap().ends_with('Z'));
    assert_json_snapshot!(health, @r#"
    {
      "details": {
        "visits": "1"
      },
      "plugin_id": "acme.hello",
      "ready": true,
      "status": "healthy",
      "tenant_id": "acme"
    }
    "#);
    assert_eq!(elsewhere["details"], json!({ "visits": "0" }));
    assert_eq!((&silent["status"], &silent["details"]), (&json!("healthy"), &json!({})));
}

#[tokio::test]
async fn a_plugin_that_was_stopped_is_neither_healthy_nor_ready() {
    let host = TestHost::new().tenant("acme").with(hostile("echo")).await;
    let user = host.user("acme", &[]);
    assert_eq!(user.get_route("hostile.echo", "/ready").await.expect(200).json(), json!({ "ready": true }));

    host.admin().kill("hostile.echo").await.expect(200);

    assert_eq!(user.get_route("hostile.echo", "/health").await.expect(503).json()["status"], "unhealthy");
    assert_eq!(user.get_route("hostile.echo", "/ready").await.expect(503).json(), json!({ "ready": false }));
    assert_eq!(host.admin().plugin("hostile.echo").await.json()["health"], "unhealthy");
}

#[tokio::test]
async fn the_routes_are_described() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;

    let document = host.user("acme", &[]).get_route("acme.hello", "/openapi.json").await.expect(200).json();

    assert_json_snapshot!(document, @r#"
    {
      "info": {
        "title": "Hello",
        "version": "0.1.0"
      },
      "openapi": "3.1.0",
      "paths": {
        "/hello": {
          "get": {
            "responses": {
              "default": {
                "description": "the plugin's answer, or a problem"
              }
            },
            "x-permission": "acme.hello.hello.greet"
          }
        },
        "/visits": {
          "get": {
            "responses": {
              "default": {
                "description": "the plugin's answer, or a problem"
              }
            },
            "x-permission": "acme.hello.hello.greet"
          }
        }
      },
      "servers": [
        {
          "url": "/api/plugins/acme.hello"
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn metrics_are_of_this_plugin_in_this_tenant() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(ROUTES).with(NOTES).await;
    for _ in 0..3 {
        host.user("globex", &[]).get_route("test.routes", "/").await.expect(200);
    }
    host.user("acme", &[]).get_route("test.routes", "/").await.expect(200);
    host.user("acme", &[]).get_route("test.routes", "/trap").await;

    let metrics = host.user("acme", &[]).get_route("test.routes", "/metrics").await.expect(200);

    assert!(metrics.header("content-type").starts_with("text/plain"), "{:?}", metrics.headers);
    let text = metrics.text();
    let calls: Vec<&str> = text.lines().filter(|line| line.starts_with("bulkhead_calls_total{")).collect();
    assert!(calls.iter().all(|line| line.contains(r#"plugin="test.routes",tenant="acme""#)), "{text}");
    let count: u64 = calls.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(count, 2, "{text}");
    assert!(!metrics.text().contains("globex") && !metrics.text().contains("acme.notes"), "{}", metrics.text());
}

#[tokio::test]
async fn any_token_of_the_tenant_may_look_and_nobody_else() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    host.admin().create_tenant("globex").await.expect(201);

    for page in ["/health", "/ready", "/openapi.json", "/metrics"] {
        host.user("acme", &[]).get_route("acme.hello", page).await.expect(200);
        assert_eq!(
            host.anyone().get_route("acme.hello", page).await.outcome(),
            (401, "unauthenticated".to_owned()),
            "{page}"
        );
        assert_eq!(
            host.user("globex", &[]).get_route("acme.hello", page).await.outcome(),
            (404, "not-found".to_owned()),
            "{page}"
        );
        host.client("root", None, &[Role::SuperAdmin], &[])
            .get_route("acme.hello", &format!("{page}?tenant=acme"))
            .await
            .expect(200);
        let posted = send(host.user("acme", &[]).route(Method::POST, "acme.hello", page)).await;
        assert_eq!(posted.outcome(), (405, "method-not-allowed".to_owned()), "{page}");
        assert_eq!(posted.header("allow"), "GET, HEAD", "{page}");
        let head = send(host.user("acme", &[]).route(Method::HEAD, "acme.hello", page)).await.expect(200);
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn the_operators_page_has_every_series_with_its_labels() {
    // A cache of its own: what another host compiled before would not be compiled here.
    let host = TestHost::new().own_cache().tenant("acme").with(NOTES).with(ROUTES).await;
    let user = host.user("acme", &["acme.notes.notes.view"]);
    user.get_route("acme.notes", "/stats").await.expect(200);
    user.get_route("test.routes", "/trap").await.expect(500);
    host.admin().publish(&ROUTES.source().version("0.2.0").pack()).await.expect(403);

    let page =
        Client::new(&format!("http://{}", host.metrics_address()), None).get("/metrics").await.expect(200).text();

    let has = |name: &str, labels: &[&str]| {
        let mut lines = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let found = lines.any(|line| labels.iter().all(|label| line.contains(label)));
        assert!(found, "no `{name}` with {labels:?} in\n{page}");
    };
    let plugin = r#"plugin="test.routes""#;
    has("bulkhead_calls_total", &[plugin, r#"tenant="acme""#, r#"entry="route""#, r#"outcome="plugin-failed""#]);
    has("bulkhead_calls_total", &[r#"plugin="acme.notes""#, r#"tenant="acme""#, r#"entry="route""#, r#"outcome="ok""#]);
    has("bulkhead_call_duration_seconds_count", &[plugin, r#"entry="route""#]);
    has("bulkhead_fuel_total", &[plugin, r#"tenant="acme""#, r#"entry="route""#]);
    has("bulkhead_memory_peak_bytes", &[plugin]);
    has("bulkhead_host_calls_total", &[r#"plugin="acme.notes""#, r#"interface="sql""#, r#"outcome="ok""#]);
    has("bulkhead_instances", &[plugin, "state="]);
    has("bulkhead_denied_total", &[r#"reason="unsigned""#]);
    assert!(page.contains("bulkhead_instantiate_seconds") && page.contains("bulkhead_compile_seconds"), "{page}");
    assert_eq!(host.anyone().get("/metrics").await.status, 404, "metrics are on a listener of their own");
}
