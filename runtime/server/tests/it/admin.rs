//! The administration API without plugins: tenants, hooks, policy, audit, and what it says of wrong input.

use bulkhead_model::Role;
use serde_json::json;

use crate::client::{Answer, TestServer};

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_tenant_is_created_suspended_resumed_and_deleted() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);

    let created = server.post("/api/v1/tenants", &admin, r#"{"id": "globex"}"#).await;
    assert_eq!((created.status, &created.json()["status"]), (201, &json!("active")));
    assert!(created.json()["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(server.post("/api/v1/tenants", &admin, r#"{"id": "globex"}"#).await.problem(), problem(409, "conflict"));
    let suspended = server.ask("POST", "/api/v1/tenants/globex/suspend", &admin, "", "").await;
    assert_eq!((suspended.status, &suspended.json()["status"]), (200, &json!("suspended")));
    assert_eq!(server.post("/api/v1/tenants/globex/resume", &admin, "{}").await.json()["status"], "active");
    assert_eq!(server.ask("DELETE", "/api/v1/tenants/globex", &admin, "", "").await.status, 204);
    assert_eq!(server.get("/api/v1/tenants/globex", &admin).await.problem(), problem(404, "not-found"));
    assert_eq!(server.get("/api/v1/tenants/NO%20NAME", &admin).await.problem(), problem(404, "not-found"));
}

#[tokio::test]
async fn lists_come_in_pages_to_their_end() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);
    for tenant in ["a", "b", "c", "d", "e"] {
        server.post("/api/v1/tenants", &admin, &format!(r#"{{"id": "{tenant}"}}"#)).await;
    }

    let mut seen = Vec::new();
    let mut path = "/api/v1/tenants?limit=2".to_owned();
    for _ in 0..3 {
        let page = server.get(&path, &admin).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|tenant| tenant["id"].as_str().unwrap().to_owned()));
        path = format!("/api/v1/tenants?limit=2&cursor={}", page["next_cursor"].as_str().unwrap_or("end"));
    }

    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    assert!(path.ends_with("end"));
    assert_eq!(server.get("/api/v1/tenants?limit=100000", &admin).await.status, 200);
    for query in ["limit=0", "limit=-1", "limit=x", "limt=1"] {
        assert_eq!(
            server.get(&format!("/api/v1/tenants?{query}"), &admin).await.problem(),
            problem(422, "invalid-input"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn wrong_input_is_named_by_pointer_and_wrong_media_refused() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);
    let check = async |json: &str, pointer: &str| {
        let answer = server.post("/api/v1/tenants", &admin, json).await;
        assert_eq!(answer.problem(), problem(422, "invalid-input"), "{json:.80}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{json:.80}");
    };

    check(r#"{"id": "UPPER"}"#, "/id").await;
    check(r#"{"id": 7}"#, "/id").await;
    check(r#"{"id": "a", "colour": "red"}"#, "/colour").await;
    check(r#"{}"#, "").await;
    check(r#"{"id": "a""#, "").await;
    check(&"[".repeat(100_000), "").await;
    for media in ["Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n", ""] {
        let answer = server.ask("POST", "/api/v1/tenants", &admin, media, r#"{"id": "a"}"#).await;
        assert_eq!(answer.problem(), problem(415, "unsupported-media-type"), "{media}");
    }
    let long = format!(r#"{{"id": "{}"}}"#, "a".repeat(4 << 20));
    assert_eq!(server.post("/api/v1/tenants", &admin, &long).await.problem(), problem(413, "body-too-large"));
}

#[tokio::test]
async fn what_is_not_there_and_methods_that_are_not_are_told_apart() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);

    assert_eq!(server.get("/api/v1/nothing", &admin).await.problem(), problem(404, "not-found"));
    assert_eq!(server.get("/api/v1/plugins/acme.none", &admin).await.problem(), problem(404, "not-found"));
    assert_eq!(server.get("/api/v1/operations/none", &admin).await.problem(), problem(404, "not-found"));
    let refused = server.ask("PUT", "/api/v1/tenants", &admin, "", "").await;
    assert_eq!(refused.problem(), problem(405, "method-not-allowed"));
    let allowed = refused.header("allow").unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST") && !allowed.contains("PUT"), "{allowed}");
}

#[tokio::test]
async fn a_problem_names_the_plugin_and_the_tenant_of_its_request() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);
    let globex = server.token(Role::TenantAdmin, Some("globex"));
    let check = async |request: &str, token: &str, plugin: Option<&str>, tenant: Option<&str>| {
        let (method, path) = request.split_once(' ').unwrap();
        let problem = server.ask(method, path, token, "", "").await.json();
        assert_eq!((problem["plugin"].as_str(), problem["tenant"].as_str()), (plugin, tenant), "{request}: {problem}");
    };

    let plugin = Some("acme.none");
    check("GET /api/v1/plugins/acme.none", &admin, plugin, None).await;
    check("GET /api/v1/plugins/acme.none", "", plugin, None).await;
    check("POST /api/v1/plugins/acme.none/kill?tenant=globex", &admin, plugin, Some("globex")).await;
    check("PUT /api/v1/plugins/acme.none/install", &admin, plugin, None).await;
    check("DELETE /api/v1/tenants/nobody", &admin, None, Some("nobody")).await;
    check("GET /api/v1/tenant/plugins/acme.none/config", &globex, plugin, Some("globex")).await;
    check("GET /api/v1/tenant/plugins/acme.none/config?tenant=initech", &admin, plugin, Some("initech")).await;
    check("POST /api/v1/tenant/plugins/acme.none/enable", &admin, plugin, None).await;
    check("GET /api/v1/nothing", &admin, None, None).await;
}

async fn declare(server: &TestServer, token: &str, name: &str, json: &str) -> Answer {
    let path = format!("/api/v1/hooks/{name}");
    server.ask("PUT", &path, token, "Content-Type: application/json\r\n", json).await
}

#[tokio::test]
async fn a_hook_is_declared_applied_and_removed() {
    let server = TestServer::start().await;
    let host = server.token(Role::Host, Some("globex"));
    server.post("/api/v1/tenants", &server.token(Role::SuperAdmin, None), r#"{"id": "globex"}"#).await;

    let filter = r#"{"kind": "filter", "schema": {"type": "object", "required": ["id"]}, "on_failure": "closed"}"#;
    let declared = declare(&server, &host, "deal.saved", filter).await.json();
    let schema = json!({ "type": "object", "required": ["id"] });
    assert_eq!(
        declared,
        json!({ "name": "deal.saved", "kind": "filter", "schema": schema, "on_failure": "closed", "declared_by": "host" })
    );
    let applied = server.post("/api/v1/hooks/deal.saved/apply", &host, r#"{"value": {"id": 7}, "args": ["x"]}"#).await;
    assert_eq!(applied.json(), json!({ "value": { "id": 7 }, "failures": [] }));
    assert_eq!(declare(&server, &host, "told.once", r#"{"kind": "action"}"#).await.status, 200);
    let told = server.post("/api/v1/hooks/told.once/dispatch", &host, r#"{"args": [1]}"#).await;
    assert_eq!(told.json(), json!({ "failures": [] }));
    assert_eq!(server.ask("DELETE", "/api/v1/hooks/told.once", &host, "", "").await.status, 204);
    let gone = server.ask("DELETE", "/api/v1/hooks/told.once", &host, "", "").await;
    assert_eq!(gone.problem(), problem(404, "unknown-hook"));
}

#[tokio::test]
async fn a_hook_takes_only_what_its_declaration_says() {
    let server = TestServer::start().await;
    let host = server.token(Role::Host, Some("globex"));
    server.post("/api/v1/tenants", &server.token(Role::SuperAdmin, None), r#"{"id": "globex"}"#).await;
    declare(&server, &host, "deal.saved", r#"{"kind": "filter", "schema": {"type": "object", "required": ["id"]}}"#)
        .await;

    for refused in [r#"{"value": {}}"#, r#"{"value": {"id": 7}, "args": {}}"#, r#"{"args": []}"#] {
        let answer = server.post("/api/v1/hooks/deal.saved/apply", &host, refused).await;
        assert_eq!(answer.problem(), problem(422, "invalid-input"), "{refused}");
    }
    let other_kind = server.post("/api/v1/hooks/deal.saved/dispatch", &host, "{}").await;
    assert_eq!(other_kind.problem(), problem(404, "unknown-hook"));
    for (name, declaration) in [
        ("Not.A.Name", r#"{"kind": "filter"}"#),
        ("a.b", r#"{"kind": "other"}"#),
        ("a.b", r#"{"kind": "action", "schema": {"type": 7}}"#),
        ("a.b", r#"{}"#),
    ] {
        let answer = declare(&server, &host, name, declaration).await;
        assert_eq!(answer.problem(), problem(422, "invalid-input"), "{name} {declaration}");
    }
}

#[tokio::test]
async fn every_act_is_in_the_audit_log_and_the_chain_holds() {
    let server = TestServer::start().await;
    let security = server.token(Role::Security, None);
    server.post("/api/v1/tenants", &server.token(Role::SuperAdmin, None), r#"{"id": "globex"}"#).await;

    let entries = server.get("/api/v1/audit", &security).await.json();
    let last = entries["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["actor"], &last["tenant"], &last["plugin"]), (&json!("anna"), &json!("globex"), &json!(null)));
    let proof = server.get("/api/v1/audit/verify", &security).await.json();
    assert_eq!((&proof["intact"], &proof["first_broken"]), (&json!(true), &json!(null)));
    assert_eq!(proof["head"], last["hash"]);
    assert_eq!(server.get("/api/v1/audit?cursor=x", &security).await.problem(), problem(422, "invalid-input"));
}

#[tokio::test]
async fn the_audit_log_is_read_from_either_end() {
    let server = TestServer::start().await;
    let (admin, security) = (server.token(Role::SuperAdmin, None), server.token(Role::Security, None));
    for tenant in ["a", "b", "c", "d"] {
        server.post("/api/v1/tenants", &admin, &format!(r#"{{"id": "{tenant}"}}"#)).await;
    }
    let sequences = async |order: &str| {
        let (mut sequences, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/api/v1/audit?limit=2{order}{cursor}"), &security).await.json();
            let items = page["items"].as_array().unwrap().clone();
            sequences.extend(items.iter().map(|entry| entry["sequence"].as_u64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return sequences,
            }
        }
    };

    let forward = sequences("").await;
    let mut backward = sequences("&order=desc").await;

    assert!(forward.len() >= 4 && forward.is_sorted(), "{forward:?}");
    assert_eq!(sequences("&order=asc").await, forward);
    backward.reverse();
    assert_eq!(backward, forward);
    for wrong in ["order=newest", "order=", "order=desc&cursor=x"] {
        let refused = server.get(&format!("/api/v1/audit?{wrong}"), &security).await;
        assert_eq!(refused.problem(), problem(422, "invalid-input"), "{wrong}");
    }
    assert_eq!(server.get("/api/v1/audit?order=desc", &admin).await.problem(), problem(403, "role-required"));
}

#[tokio::test]
async fn the_first_policy_denies_all_and_a_forged_one_is_refused() {
    let server = TestServer::start().await;
    let security = server.token(Role::Security, None);

    assert_eq!(server.get("/api/v1/policy", &security).await.json()["version"], 0);
    let forged = server.ask("PUT", "/api/v1/policy", &security, "Content-Type: application/json\r\n", "{}").await;
    assert_eq!(forged.problem(), problem(422, "policy-invalid"));
    assert_eq!(server.get("/api/v1/policy/explain", &security).await.problem(), problem(422, "invalid-input"));
    assert_eq!(
        server.get("/api/v1/policy/explain?plugin=acme.none", &security).await.problem(),
        problem(404, "not-found")
    );
}

#[tokio::test]
async fn an_administrator_beyond_the_rate_waits_and_others_do_not() {
    let server = TestServer::with(|config| config.limits.admin_requests_per_minute = 20).await;
    let admin = server.token(Role::SuperAdmin, None);

    for _ in 0..2 {
        assert_eq!(server.get("/api/v1/plugins", &admin).await.status, 200);
    }
    let refused = server.get("/api/v1/plugins", &admin).await;

    assert_eq!(refused.problem(), problem(429, "rate-limited"));
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() <= 3);
    // One of a tenant who bears the same name.
    let other = server.token(Role::TenantAdmin, Some("globex"));
    assert_eq!(server.get("/api/v1/plugins", &other).await.problem(), problem(403, "role-required"));
    assert_eq!(server.get("/health", "").await.status, 200);
}

#[tokio::test]
async fn the_kill_switch_is_for_plugins_that_exist_and_for_all() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);

    assert_eq!(server.post("/api/v1/plugins/acme.none/kill", &admin, "{}").await.problem(), problem(404, "not-found"));
    let killed = server.ask("POST", "/api/v1/kill", &admin, "", "").await;
    assert_eq!((killed.status, killed.json()), (200, json!({ "plugin_id": null, "tenant_id": null, "killed": true })));
    assert_eq!(server.post("/api/v1/revive", &admin, r#"{"reason": "over"}"#).await.json()["killed"], false);
    assert_eq!(
        server.post("/api/v1/kill", &admin, r#"{"tenant": "globex"}"#).await.problem(),
        problem(422, "invalid-input")
    );
}
