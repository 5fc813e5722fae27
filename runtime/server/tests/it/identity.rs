//! Who may: tokens, roles, the tenant of a request, and the order of answers before a plugin.

use bulkhead_model::Role;

use crate::client::TestServer;

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn without_a_good_token_nothing_is_told() {
    let server = TestServer::start().await;
    let good = server.token(Role::SuperAdmin, None);
    let headers = |lines: &str| lines.to_owned();

    for path in [
        "/api/v1/plugins",
        "/api/v1/tenants",
        "/api/v1/audit",
        "/api/plugins/acme.none/x",
        "/api/plugins/acme.none/health",
        "/api/v1/hooks",
    ] {
        for header in [
            String::new(),
            headers("Authorization: Bearer nonsense\r\n"),
            format!("Authorization: Basic {good}\r\n"),
            format!("Authorization: {good}\r\n"),
            format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n"),
            format!("Cookie: token={good}\r\n"),
        ] {
            let answer = server.ask("GET", path, "", &header, "").await;

            assert_eq!(answer.problem(), problem(401, "unauthenticated"), "{path} {header}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"bulkhead\""));
        }
    }
    assert_eq!(server.get("/api/v1/plugins", &good).await.status, 200);
    assert_eq!(
        server.ask("GET", "/api/v1/plugins", "", &format!("authorization: bearer {good}\r\n"), "").await.status,
        200
    );
}

#[tokio::test]
async fn each_path_wants_its_role() {
    let server = TestServer::start().await;
    server.post("/api/v1/tenants", &server.token(Role::SuperAdmin, None), r#"{"id": "globex"}"#).await;
    let check = async |path: &str, wanted: &[Role]| {
        for role in Role::ALL {
            let status = server.get(path, &server.token(role, Some("globex"))).await.status;
            assert_eq!(status, if wanted.contains(&role) { 200 } else { 403 }, "{path} as {role}");
        }
    };

    check("/api/v1/plugins", &[Role::SuperAdmin]).await;
    check("/api/v1/tenants", &[Role::SuperAdmin]).await;
    check("/api/v1/audit", &[Role::Security]).await;
    check("/api/v1/audit/verify", &[Role::Security]).await;
    check("/api/v1/policy", &[Role::Security]).await;
    check("/api/v1/tenant/plugins", &[Role::TenantAdmin, Role::SuperAdmin]).await;
    check("/api/v1/hooks", &[Role::Host, Role::SuperAdmin]).await;
}

#[tokio::test]
async fn a_tenant_comes_from_the_token_and_from_nowhere_else() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);
    for tenant in ["globex", "initech"] {
        server.post("/api/v1/tenants", &admin, &format!(r#"{{"id": "{tenant}"}}"#)).await;
    }
    let declared = server
        .ask("PUT", "/api/v1/hooks/deal.saved", &admin, "Content-Type: application/json\r\n", r#"{"kind": "filter"}"#)
        .await;
    assert_eq!(declared.status, 200);
    let apply = async |token: &str, query: &str, header: &str| {
        let path = format!("/api/v1/hooks/deal.saved/apply{query}");
        let headers = format!("Content-Type: application/json\r\n{header}");
        server.ask("POST", &path, token, &headers, r#"{"value": 1}"#).await.status
    };

    let roaming = server.token(Role::Host, None);
    assert_eq!(apply(&roaming, "", "X-Tenant-ID: globex\r\n").await, 200);
    assert_eq!(apply(&roaming, "", "").await, 422);
    assert_eq!(apply(&roaming, "?tenant=globex", "").await, 422);
    assert_eq!(apply(&roaming, "", "X-Tenant-ID: nobody\r\n").await, 404);
    assert_eq!(apply(&roaming, "", "X-Tenant-ID: Not A Name\r\n").await, 422);
    // A token with a tenant of its own: what the request says besides is not heard.
    let bound = server.token(Role::Host, Some("globex"));
    assert_eq!(apply(&bound, "", "X-Tenant-ID: nobody\r\n").await, 200);
    assert_eq!(apply(&bound, "?tenant=nobody", "").await, 200);
    assert_eq!(apply(&admin, "?tenant=initech", "").await, 200);
    assert_eq!(apply(&admin, "", "X-Tenant-ID: initech\r\n").await, 422);
    let other = server.token(Role::TenantAdmin, Some("globex"));
    assert_eq!(
        server.get("/api/v1/tenant/plugins?tenant=initech", &other).await.problem(),
        problem(403, "role-required")
    );
}

#[tokio::test]
async fn hooks_are_for_the_host_application_alone() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);
    server.post("/api/v1/tenants", &admin, r#"{"id": "globex"}"#).await;

    for role in [Role::Member, Role::TenantAdmin, Role::Security] {
        let token = server.token(role, Some("globex"));
        assert_eq!(
            server.post("/api/v1/hooks/x.y/apply", &token, r#"{"value": 1}"#).await.problem(),
            problem(403, "role-required")
        );
        assert_eq!(
            server.post("/api/v1/hooks/x.y/dispatch", &token, "{}").await.problem(),
            problem(403, "role-required")
        );
    }
    let host = server.token(Role::Host, Some("globex"));
    assert_eq!(
        server.post("/api/v1/hooks/x.y/apply", &host, r#"{"value": 1}"#).await.problem(),
        problem(404, "unknown-hook")
    );
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_404_after_401_whatever_is_asked_of_it() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);
    server.post("/api/v1/tenants", &admin, r#"{"id": "globex"}"#).await;
    let member = server.token(Role::Member, Some("globex"));

    for path in [
        "/api/plugins/acme.none",
        "/api/plugins/acme.none/",
        "/api/plugins/acme.none/deals/7",
        "/api/plugins/acme.none/health",
        "/api/plugins/acme.none/openapi.json",
        "/api/plugins/",
        "/api/plugins/acme.none/../../v1/plugins",
        "/api/plugins/acme.none/%2e%2e/x",
        "/api/plugins/%00/x",
    ] {
        assert_eq!(server.get(path, &member).await.problem(), problem(404, "not-found"), "{path}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        assert_eq!(
            server.ask(method, "/api/plugins/acme.none/x", &member, "", "").await.problem(),
            problem(404, "not-found"),
            "{method}"
        );
    }
    for page in ["health", "ready", "openapi.json", "metrics"] {
        let path = format!("/api/plugins/acme.none/{page}");
        assert_eq!(server.post(&path, &member, "{}").await.problem(), problem(404, "not-found"), "{path}");
        assert_eq!(server.post(&path, "", "{}").await.problem(), problem(401, "unauthenticated"), "{path}");
    }
    let nowhere = server.token(Role::Member, Some("nobody"));
    assert_eq!(server.get("/api/plugins/acme.none/x", &nowhere).await.problem(), problem(404, "not-found"));
    assert_eq!(
        server.get("/api/plugins/acme.none/x", &server.token(Role::Member, None)).await.problem(),
        problem(422, "tenant-required")
    );
}
