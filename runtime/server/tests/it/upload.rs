//! Uploads that are no artifacts, malformed, or too large: each is refused with its reason and leaves nothing.
//! What is an artifact and may be shipped is proven where it is decided.

use bulkhead_model::Role;
use serde_json::json;

use crate::client::{Answer, TestServer, exchange};

const FORM: &str = "Content-Type: multipart/form-data; boundary=b\r\n";
const WASM: &str = "Content-Type: application/wasm\r\n";

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn form(parts: &[(&str, &str)]) -> String {
    let part = |(name, body): &(&str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n{body}\r\n")
    };
    format!("{}--b--\r\n", parts.iter().map(part).collect::<String>())
}

async fn upload(server: &TestServer, role: Role, headers: &str, body: &str) -> Answer {
    let token = server.token(role, Some("globex"));
    server.ask("POST", "/api/v1/plugins", &token, headers, body).await
}

#[tokio::test]
async fn what_is_no_artifact_is_refused_and_leaves_nothing() {
    let server = TestServer::start().await;

    let parts = upload(&server, Role::SuperAdmin, FORM, &form(&[("artifact", "no wasm"), ("bundle", "{}")])).await;
    assert_eq!(parts.problem(), problem(422, "malformed"));
    assert!(!parts.json()["errors"].as_array().unwrap().is_empty());
    let raw = upload(&server, Role::SuperAdmin, WASM, "no wasm").await;
    assert_eq!(raw.problem(), problem(422, "malformed"));

    let plugins = server.get("/api/v1/plugins", &server.token(Role::SuperAdmin, None)).await;
    assert_eq!(plugins.json(), json!({ "items": [], "next_cursor": null }));
}

#[tokio::test]
async fn a_form_has_artifacts_and_their_bundles() {
    let server = TestServer::start().await;
    let many = vec![("bundle", "{}"); 65];
    let check = async |body: &str| {
        let answer = upload(&server, Role::SuperAdmin, FORM, body).await;
        assert_eq!(answer.problem(), problem(422, "invalid-input"), "{body:.200}");
    };

    check(&form(&[("bundle", "{}")])).await;
    check(&form(&[("artifact", "a"); 33])).await;
    check(&form(&[("artifact", "a"), ("other", "b")])).await;
    check(&form(&[])).await;
    check(&form(&many)).await;
    check("--b\r\nContent-Disposition: form-data; name=\"artifact\"\r\n\r\nhalf").await;
    check("no form").await;
}

#[tokio::test]
async fn an_upload_beyond_its_limits_is_refused() {
    let server = TestServer::start().await;
    let large = "x".repeat(65 << 10);

    let bundle = upload(&server, Role::SuperAdmin, FORM, &form(&[("artifact", "a"), ("bundle", &large)])).await;
    assert_eq!(bundle.problem(), problem(413, "body-too-large"));
    let token = server.token(Role::SuperAdmin, None);
    let announced = format!(
        "POST /api/v1/plugins HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{WASM}Content-Length: 33554433\r\n\r\n"
    );
    let raw = exchange(server.addr, announced.as_bytes()).await;
    assert_eq!(raw.problem(), problem(413, "body-too-large"));
}

#[tokio::test]
async fn who_may_not_register_is_told_before_the_upload_is_read() {
    let server = TestServer::start().await;

    let member = upload(&server, Role::Member, WASM, "no wasm").await;
    assert_eq!(member.problem(), problem(403, "role-required"));
    let json = "Content-Type: application/json\r\n";
    let source = upload(&server, Role::SuperAdmin, json, r#"{"source": {"kind": "url"}}"#).await;
    assert_eq!(source.problem(), problem(422, "invalid-input"), "a source is read by its own rules");
}
