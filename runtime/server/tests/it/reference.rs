//! What the server says about itself: probes, metrics, OpenAPI, schemas, problems.

use bulkhead_model::{Code, Role};

use crate::client::{TestServer, exchange};

#[tokio::test]
async fn probes_need_no_token_and_metrics_have_their_own_listener() {
    let server = TestServer::start().await;

    let health = server.get("/health", "").await.json();
    assert_eq!((health["status"].as_str(), health["mode"].as_str()), (Some("ok"), Some("production")));
    assert_eq!(server.get("/ready", "").await.json()["ready"], true);
    assert_eq!(server.get("/metrics", "").await.status, 404);
    let ask = async |path: &str| {
        exchange(server.metrics_addr, format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").as_bytes())
            .await
    };
    let metrics = ask("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(ask("/api/v1/plugins").await.status, 404);
}

#[tokio::test]
async fn dev_mode_says_so() {
    let server = TestServer::with(|config| config.server.mode = bulkhead_server::config::Mode::Dev).await;

    assert_eq!(server.get("/health", "").await.json()["mode"], "dev");
}

#[tokio::test]
async fn every_operation_of_the_document_exists() {
    let server = TestServer::start().await;
    let document = server.get("/openapi.json", "").await.json();
    assert_eq!(document, bulkhead_server::openapi(None));
    let member = server.token(Role::Member, Some("globex"));

    for (path, methods) in document["paths"].as_object().unwrap() {
        if path.starts_with("/api/plugins") {
            continue;
        }
        let path = path.replace("{id}", "acme.none").replace("{name}", "a.b").replace("{code}", "internal");
        for (method, operation) in methods.as_object().unwrap() {
            let status = server
                .ask(&method.to_uppercase(), &path, &member, "Content-Type: application/json\r\n", "")
                .await
                .status;
            if path.starts_with("/v2/") {
                // The registry has tokens of its own; `HEAD` has no body to look at.
                assert_eq!(status, 401, "{method} {path}");
                continue;
            }
            let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert!(
                if is_open { status == 200 } else { ![200, 201, 202, 204, 401, 405].contains(&status) },
                "{method} {path}: {status}"
            );
            if !is_open {
                assert_eq!(server.ask(&method.to_uppercase(), &path, "", "", "").await.status, 401, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_code_has_a_page() {
    let server = TestServer::start().await;

    for code in Code::ALL {
        let page = server.get(&format!("/problems/{code}"), "").await;
        assert_eq!((page.status, page.json()["code"].as_str()), (200, Some(code.as_str())));
    }
    let read = server.ask("GET", "/problems/breaker-open", "", "Accept: text/html\r\n", "").await;
    assert_eq!(read.header("content-type"), Some("text/markdown; charset=utf-8"));
    assert!(read.text.starts_with("# breaker-open"), "{}", read.text);
    assert_eq!(server.get("/problems/none", "").await.problem(), (404, "not-found".to_owned()));
    assert!(Code::ALL.iter().all(|code| bulkhead_server::problems_reference().contains(&format!("## {code}\n"))));
}

#[tokio::test]
async fn the_schema_of_the_manifest_is_served() {
    let server = TestServer::start().await;

    let schema = server.get("/schemas/manifest.json", "").await;

    assert_eq!(schema.header("content-type"), Some("application/schema+json"));
    assert!(schema.json()["properties"]["plugin"].is_object());
}
