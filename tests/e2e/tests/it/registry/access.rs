//! Who may do what: tokens, namespaces, anonymous callers, and the bounds of each.

use bulkhead_testkit::{Client, TestHost, eventually};
use reqwest::Method;
use serde_json::json;

use super::{OPEN, ask, everything, get, grant, holder, image, is, on_both, push, push_blob, sha256, told};

#[tokio::test]
async fn nobody_gets_in_without_a_token_that_is_one() {
    on_both(async |host| {
        let digest = push_blob(&everything(host).await, OPEN, b"x").await;
        let paths = ["/v2/", "/v2", &format!("/v2/{OPEN}/blobs/{digest}"), &format!("/v2/{OPEN}/tags/list"), "/v2/NO"];
        let known = everything(host).await.token().to_owned();
        let damaged = format!("{}0", &known[..known.len() - 1]);
        let callers = [
            host.anyone(),
            host.anyone().with_token("bkr_0000"),
            host.anyone().with_token(damaged.replace("bkr_", "bkr_f")),
            // The host's own tokens are for another door.
            host.admin(),
        ];
        for client in &callers {
            for path in paths {
                let refused = get(client, path).await;
                is(&refused, 401, "UNAUTHORIZED");
                assert_eq!(refused.header("www-authenticate"), "Basic realm=\"bulkhead registry\"");
            }
        }

        let client = everything(host).await;
        assert_eq!(get(&client, "/v2/").await.expect(200).json(), json!({}));
        let request = host.anyone().request(Method::GET, "/v2/").basic_auth("anybody", Some(client.token()));
        bulkhead_testkit::client::send(request).await.expect(200);
        let malformed = ask(&host.anyone(), Method::GET, "/v2/", &[("authorization", "Basic ???")], "").await;
        is(&malformed, 401, "UNAUTHORIZED");
    })
    .await;
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say_where_its_patterns_say() {
    on_both(async |host| {
        let all = everything(host).await;
        let manifest = image(&all, "free/a", ("a/b", b"{}"), &[]).await;
        push(&all, "free/a", "t", &manifest).await.expect(201);
        image(&all, "free/b", ("a/b", b"{}"), &[]).await;
        push(&all, "free/b", "t", &manifest).await.expect(201);
        let check = async |client: &Client, repository: &str, pull: u16, upload: u16, push_it: u16, delete: u16| {
            let found = [
                get(client, &format!("/v2/{repository}/manifests/t")).await,
                ask(
                    client,
                    Method::POST,
                    &format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(b"y")),
                    &[],
                    "y",
                )
                .await,
                push(client, repository, "u", &manifest).await,
                ask(client, Method::DELETE, &format!("/v2/{repository}/manifests/u"), &[], "").await,
            ];
            let statuses = found.each_ref().map(|answer| answer.status);
            assert_eq!(statuses, [pull, upload, push_it, delete], "{repository}");
            for refused in found.iter().filter(|answer| answer.status == 403) {
                is(refused, 403, "DENIED");
            }
        };

        check(&holder(host, &["free/a"], &["pull"]).await, "free/a", 200, 403, 403, 403).await;
        check(&holder(host, &["free/a"], &["push"]).await, "free/a", 403, 201, 201, 202).await;
        check(&holder(host, &["free"], &["push", "pull"]).await, "free/a", 200, 201, 201, 202).await;
        check(&holder(host, &["free/a"], &["push", "pull"]).await, "free/b", 403, 403, 403, 403).await;
        check(&holder(host, &["acme"], &["admin"]).await, "free/a", 403, 403, 403, 403).await;
        // A bundle may be uploaded by who signs; a release is pushed by who pushes.
        check(&holder(host, &["free"], &["sign"]).await, "free/a", 403, 201, 403, 403).await;
        check(&holder(host, &["free"], &["yank"]).await, "free/a", 403, 403, 403, 403).await;
        let stranger = holder(host, &["nobody"], &["admin"]).await;
        is(&get(&stranger, "/v2/nobody/x/tags/list").await, 404, "NAME_UNKNOWN");
        is(&get(&stranger, "/v2/free/x/tags/list").await, 403, "DENIED");
    })
    .await;
}

#[tokio::test]
async fn everybody_pulls_from_a_public_namespace_and_nobody_pushes() {
    on_both(async |host| {
        grant(host, &json!({ "namespace": "public", "kind": "open", "public": true })).await.expect(201);
        let digest = push_blob(&everything(host).await, "public/a", b"for all").await;
        let elsewhere = holder(host, &["free"], &["pull"]).await;

        for client in [host.anyone(), elsewhere] {
            get(&client, &format!("/v2/public/a/blobs/{digest}")).await.expect(200);
            get(&client, "/v2/public/a/tags/list").await.expect(200);
            let refused = ask(&client, Method::POST, "/v2/public/a/blobs/uploads/", &[], "").await;
            assert!(matches!(told(&refused), (401 | 403, _)), "{}", refused.text());
            let refused = ask(&client, Method::DELETE, &format!("/v2/public/a/blobs/{digest}"), &[], "").await;
            assert!(matches!(told(&refused), (401 | 403, _)), "{}", refused.text());
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_ends_when_it_is_revoked_and_when_its_time_is_over() {
    on_both(async |host| {
        let admin = host.admin();
        let made = async |ttl_s: u64| {
            let body = json!({ "name": "ci", "repositories": ["free"], "scopes": ["pull"], "ttl_s": ttl_s });
            let made = admin.post_json("/api/v1/registry/tokens", &body).await.expect(201).json();
            (made["id"].as_str().unwrap().to_owned(), host.anyone().with_token(made["token"].as_str().unwrap()))
        };
        let (id, client) = made(600).await;
        let (_, short) = made(1).await;
        get(&client, "/v2/").await.expect(200);
        let listed = admin.get("/api/v1/registry/tokens").await.expect(200).json();
        let found = listed["items"].as_array().unwrap().iter().find(|token| token["id"] == json!(id)).unwrap();
        assert_eq!((&found["name"], &found["scopes"]), (&json!("ci"), &json!(["pull"])));
        assert!(!listed.to_string().contains("bkr_"), "{listed}");

        admin.delete(&format!("/api/v1/registry/tokens/{id}")).await.expect(204);

        is(&get(&client, "/v2/").await, 401, "UNAUTHORIZED");
        assert_eq!(
            admin.delete(&format!("/api/v1/registry/tokens/{id}")).await.outcome(),
            (404, "not-found".to_owned())
        );
        eventually("a token to end with its time", || async {
            (get(&short, "/v2/").await.status == 401).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn names_that_look_alike_are_granted_once() {
    on_both(async |host| {
        let check = async |namespace: &str, kind: &str, status: u16, code: &str| {
            let answer = grant(host, &json!({ "namespace": namespace, "kind": kind })).await;
            assert_eq!(answer.outcome(), (status, code.to_owned()), "{namespace} {kind}");
        };

        for taken in ["acme", "acrne", "ac-me", "a-c-m-e"] {
            check(taken, "plugin", 409, "conflict").await;
        }
        check("acme", "open", 409, "conflict").await;
        check("ac.me", "open", 409, "conflict").await;
        check("goog1e", "plugin", 201, "").await;
        check("google", "plugin", 409, "conflict").await;
        check("g00gle", "plugin", 409, "conflict").await;
        for wrong in ["a", "Acme", "acme.x", "äcme", "-x", "x_y", "", &"x".repeat(33)] {
            check(wrong, "plugin", 422, "invalid-input").await;
        }
        check("x_y", "open", 201, "").await;
        check("free2", "closed", 422, "invalid-input").await;
        let listed = host.admin().get("/api/v1/registry/namespaces?limit=2").await.expect(200).json();
        let names: Vec<&str> =
            listed["items"].as_array().unwrap().iter().map(|one| one["namespace"].as_str().unwrap()).collect();
        assert_eq!((names, &listed["next_cursor"]), (vec!["acme", "free"], &json!("free")));
    })
    .await;
}

#[tokio::test]
async fn administration_is_for_administrators_and_on_the_record() {
    on_both(async |host| {
        let bodies = [
            ("/api/v1/registry/namespaces", json!({ "namespace": "globex" })),
            ("/api/v1/registry/tokens", json!({ "name": "n", "repositories": ["*"], "scopes": ["admin"] })),
            ("/api/v1/registry/gc", json!({})),
        ];
        let token = everything(host).await;
        for (path, body) in &bodies {
            assert_eq!(host.anyone().post_json(path, body).await.code(), "unauthenticated", "{path}");
            assert_eq!(host.security().post_json(path, body).await.code(), "role-required", "{path}");
            assert_eq!(token.post_json(path, body).await.code(), "unauthenticated", "{path}");
        }
        let wrong = [
            json!({ "name": "", "repositories": ["*"], "scopes": ["pull"] }),
            json!({ "name": "n", "repositories": [], "scopes": ["pull"] }),
            json!({ "name": "n", "repositories": ["acme*"], "scopes": ["pull"] }),
            json!({ "name": "n", "repositories": ["*"], "scopes": [] }),
            json!({ "name": "n", "repositories": ["*"], "scopes": ["fly"] }),
            json!({ "name": "n", "repositories": ["*"], "scopes": ["pull"], "ttl_s": 0 }),
            json!({ "name": "n", "repositories": ["*"], "scopes": ["pull"], "ttl_s": 100_000_000 }),
        ];
        for body in &wrong {
            let refused = host.admin().post_json("/api/v1/registry/tokens", body).await;
            assert_eq!(refused.outcome(), (422, "invalid-input".to_owned()), "{body}");
        }

        let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
        let actions: Vec<&str> =
            audit["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        assert_eq!(actions.iter().filter(|action| **action == "registry.namespace.grant").count(), 2);
        assert_eq!(actions.iter().filter(|action| **action == "registry.token.create").count(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_asks_too_often_waits_and_others_do_not() {
    let host = TestHost::new().configured(|config| config.registry.requests_per_minute = 10).await;
    let (eager, other) = (everything(&host).await, everything(&host).await);
    let mut refused = None;
    for _ in 0..20 {
        let answer = get(&eager, "/v2/").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }

    let refused = refused.unwrap();

    is(&refused, 429, "TOOMANYREQUESTS");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    get(&other, "/v2/").await.expect(200);
    let guesses = async || get(&host.anyone().with_token("bkr_guess"), "/v2/").await.status;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(guesses().await);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn wasms_own_clients_find_the_registry() {
    let host = TestHost::new().await;

    let found = host.anyone().get("/.well-known/wasm-pkg/registry.json").await.expect(200).json();

    assert_eq!(
        found,
        json!({
            "preferredProtocol": "oci",
            "oci": { "registry": host.address().to_string(), "namespacePrefix": "" }
        })
    );
    let host = host
        .restart_with(|config| config.server.public_url = Some("https://plugins.example.com:8443/x".to_owned()))
        .await;
    let found = host.anyone().get("/.well-known/wasm-pkg/registry.json").await.expect(200).json();
    assert_eq!(found["oci"]["registry"], "plugins.example.com:8443");
}
