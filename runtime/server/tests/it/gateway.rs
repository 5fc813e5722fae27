//! A plugin behind the gateway, as far as the server has the word: what it may tell caches, its pages, and its trial.

use bulkhead_model::Role;
use bulkhead_server::config::Mode;
use bulkhead_testkit::eventually;
use bulkhead_testkit::guests::{Guest, ROUTES, hostile};

use crate::client::{Answer, TestServer, exchange};

/// A server that takes unsigned plugins.
async fn dev() -> TestServer {
    TestServer::with(|config| config.server.mode = Mode::Dev).await
}

async fn publish(server: &TestServer, guest: Guest) -> Answer {
    let admin = server.token(Role::SuperAdmin, None);
    let artifact = guest.source().pack().bytes;
    let head = format!(
        "POST /api/v1/plugins HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {admin}\r\nContent-Type: application/wasm\r\nContent-Length: {}\r\n\r\n",
        artifact.len()
    );
    exchange(server.addr, &[head.as_bytes(), &artifact].concat()).await
}

/// A server on which `globex` uses the guest with routes.
async fn with_routes() -> TestServer {
    add_routes(dev().await).await
}

async fn add_routes(server: TestServer) -> TestServer {
    let admin = server.token(Role::SuperAdmin, None);
    assert_eq!(publish(&server, ROUTES).await.status, 201);
    assert_eq!(server.post("/api/v1/plugins/test.routes/install", &admin, "{}").await.status, 202);
    eventually("the installed plugin", async || {
        let plugin = server.get("/api/v1/plugins/test.routes", &admin).await.json();
        (plugin["status"] == "installed").then_some(())
    })
    .await;
    server.post("/api/v1/tenants", &admin, r#"{"id": "globex"}"#).await;
    let enabled = server.post("/api/v1/tenant/plugins/test.routes/enable?tenant=globex", &admin, "{}").await;
    assert_eq!(enabled.status, 200, "{enabled:?}");
    server
}

#[tokio::test]
async fn an_answer_of_a_plugin_is_kept_by_no_cache_that_others_share() {
    let server = with_routes().await;
    let member = server.token(Role::Member, Some("globex"));

    let answer = server.get("/api/plugins/test.routes/", &member).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("private"));
    assert_eq!(answer.header("vary"), Some("Authorization, X-Tenant-Id"));
    for of_the_host in ["/api/plugins/test.routes/health", "/api/plugins/test.routes/none"] {
        let answer = server.get(of_the_host, &member).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{of_the_host}");
    }
}

#[tokio::test]
async fn a_page_of_a_plugin_refuses_a_method_after_all_that_comes_before() {
    let server = with_routes().await;
    let member = server.token(Role::Member, Some("globex"));
    let path = "/api/plugins/test.routes/health";

    let refused = server.post(path, &member, "{}").await;
    assert_eq!(refused.problem(), (405, "method-not-allowed".to_owned()));
    assert_eq!((refused.header("allow"), &refused.json()["plugin"]), (Some("GET, HEAD"), &"test.routes".into()));
    assert_eq!(server.ask("HEAD", path, &member, "", "").await.status, 200);

    server.post("/api/v1/plugins/test.routes/kill", &server.token(Role::SuperAdmin, None), "{}").await;
    assert_eq!(server.post(path, &member, "{}").await.problem(), (403, "plugin-killed".to_owned()));
    assert_eq!(server.get(path, &member).await.status, 503);
}

#[tokio::test]
async fn tenants_beyond_the_configured_number_share_a_label() {
    let server = add_routes(
        TestServer::with(|config| {
            config.server.mode = Mode::Dev;
            config.telemetry.tenants_labelled_max = 1;
        })
        .await,
    )
    .await;
    let admin = server.token(Role::SuperAdmin, None);
    server.post("/api/v1/tenants", &admin, r#"{"id": "initech"}"#).await;
    server.post("/api/v1/tenant/plugins/test.routes/enable?tenant=initech", &admin, "{}").await;

    for tenant in ["globex", "initech"] {
        let member = server.token(Role::Member, Some(tenant));
        assert_eq!(server.get("/api/plugins/test.routes/", &member).await.status, 200);
    }

    let page = "GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let text = exchange(server.metrics_addr, page.as_bytes()).await.text;
    assert!(text.contains(r#"tenant="_other""#) && !text.contains(r#"tenant="initech""#), "{text}");
}

#[tokio::test]
async fn a_component_that_fails_its_trial_is_wrong_input() {
    let server = dev().await;

    for (name, code) in [("memory_at_start", "memory-exceeded"), ("trap_in_start", "plugin-failed")] {
        let refused = publish(&server, hostile(name)).await;

        assert_eq!(refused.problem(), (422, code.to_owned()), "{name}");
        assert_eq!(refused.header("retry-after"), None, "{name}");
    }
}
