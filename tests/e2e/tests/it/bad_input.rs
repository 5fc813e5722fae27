//! Input that nobody should send: each gets a typed problem below 500 and changes nothing.

use bulkhead_model::Role;
use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::{Answer, Client, TestHost, raw, tokens};
use reqwest::Method;
use serde_json::{Value, json};

/// Every path of the administration API that takes JSON, and who may call it.
const JSON_PATHS: [(&str, &str, Role); 9] = [
    ("POST", "/api/v1/plugins/hostile.echo/install", Role::SuperAdmin),
    ("POST", "/api/v1/plugins/hostile.echo/kill", Role::SuperAdmin),
    ("POST", "/api/v1/kill", Role::SuperAdmin),
    ("POST", "/api/v1/tenants", Role::SuperAdmin),
    ("PUT", "/api/v1/policy", Role::Security),
    ("PUT", "/api/v1/hooks/demo.other", Role::Host),
    ("POST", "/api/v1/hooks/demo.value/apply", Role::Host),
    ("POST", "/api/v1/hooks/demo.value/dispatch", Role::Host),
    ("PUT", "/api/v1/tenant/plugins/hostile.echo/config", Role::TenantAdmin),
];

async fn host() -> TestHost {
    let host = TestHost::new().tenant("acme").with(hostile("echo")).await;
    host.app("acme").declare_filter("demo.value").await.expect(200);
    host
}

fn client(host: &TestHost, role: Role) -> Client {
    host.client("tester", Some("acme"), &[role], &[])
}

/// A typed problem that blames the caller.
fn blames_the_caller(what: &str, answer: &Answer) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    let code = answer.code();
    assert!(bulkhead_model::Code::find(&code).is_some(), "{what}: `{code}` is no code of the table");
}

/// What must not change, whatever is sent.
async fn state(host: &TestHost) -> Vec<Value> {
    let plugin = host.admin().plugin("hostile.echo").await.json()["status"].clone();
    let tenants = host.admin().get("/api/v1/tenants").await.json()["items"].as_array().unwrap().len();
    let hooks = host.app("acme").get("/api/v1/hooks").await.json()["items"].as_array().unwrap().len();
    let policy = host.security().get("/api/v1/policy").await.json()["version"].clone();
    vec![
        plugin,
        json!(tenants),
        json!(hooks),
        policy,
        host.user("acme", &[]).get_route("hostile.echo", "/ready").await.json(),
    ]
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let host = host().await;
    let before = state(&host).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!("{{{}}}", (0..10_000).map(|index| format!("\"k{index}\":1")).collect::<Vec<_>>().join(","));
    let bodies: [&[u8]; 12] = [
        b"{",
        b"[]",
        b"null",
        b"1e999",
        b"\"text\"",
        b"{\"colour\": 1}",
        b"{} {}",
        b"\xff\xfe",
        b"{\"id\": \"\\ud800\"}",
        deep.as_bytes(),
        wide.as_bytes(),
        b"\0",
    ];

    for (method, path, role) in JSON_PATHS {
        for body in bodies {
            let request =
                client(&host, role).request(method.parse().unwrap(), path).header("content-type", "application/json");
            let answer = send(request.body(body.to_vec())).await;
            blames_the_caller(
                &format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(40)])),
                &answer,
            );
        }
    }

    assert_eq!(state(&host).await, before);
}

#[tokio::test]
async fn bodies_of_another_type_or_beyond_every_bound() {
    let host = host().await;
    let before = state(&host).await;

    for (method, path, role) in JSON_PATHS {
        let request = |media_type: &'static str| {
            client(&host, role).request(method.parse::<Method>().unwrap(), path).header("content-type", media_type)
        };
        for media_type in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "json", ""]
        {
            let answer = send(request(media_type).body("{}")).await;
            assert_eq!(
                answer.outcome(),
                (415, "unsupported-media-type".to_owned()),
                "{method} {path} {media_type}: {}",
                answer.text()
            );
        }
        let huge = bulkhead_testkit::client::try_send(request("application/json").body(vec![b' '; 4 << 20])).await;
        if let Some(huge) = huge {
            assert_eq!(huge.outcome(), (413, "body-too-large".to_owned()), "{method} {path}");
        }
    }

    assert_eq!(state(&host).await, before);
}

#[tokio::test]
async fn names_in_paths_that_cannot_be() {
    let host = host().await;
    let long = "a".repeat(5_000);

    for name in [
        "..",
        "%2e%2e",
        "%00",
        "%2F",
        "a%2Fb.c",
        "A.B",
        "acme.",
        ".crm",
        "acme..crm",
        "acme.crm%0d%0a",
        "%ff",
        "'%20OR%201=1",
        "*",
        &long,
    ] {
        for path in [
            "/api/v1/plugins/NAME",
            "/api/v1/plugins/NAME/versions",
            "/api/v1/plugins/NAME/errors",
            "/api/v1/tenants/NAME",
        ] {
            let path = path.replace("NAME", name);
            let head = format!("GET {path} HTTP/1.1\nauthorization: Bearer {}", host.admin().token());
            let answer = raw::exchange(host.address(), &head, b"").await;
            // A name that is legal for a tenant is one that is not there.
            assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn cursors_limits_and_queries_that_mean_nothing() {
    let host = host().await;
    let admin = host.admin();
    let check = async |client: &Client, path: &str| blames_the_caller(path, &client.get(path).await);

    for path in ["/api/v1/plugins", "/api/v1/tenants"] {
        for query in ["limit=0", "limit=-1", "limit=x", "limit=99999999999", "colour=blue", "limit=1&limit=2"] {
            check(&admin, &format!("{path}?{query}")).await;
        }
        // Any text may be a place in an ordered list; nothing is behind most of them.
        for cursor in ["", "zzz", "%00", "'; DROP TABLE plugins --", "%F0%9F%98%80"] {
            let answer = admin.get(&format!("{path}?cursor={cursor}")).await;
            assert!(answer.status < 500, "{path} {cursor}: {}", answer.text());
        }
    }
    for query in ["cursor=x", "cursor=-1", "cursor=99999999999999999999", "limit=0"] {
        check(&host.security(), &format!("/api/v1/audit?{query}")).await;
    }
    for query in ["plugin=A", "plugin=acme.crm&version=x", "plugin=acme.crm&tenant=A", "", "colour=1"] {
        check(&host.security(), &format!("/api/v1/policy/explain?{query}")).await;
    }
    for query in ["data=burn", "force=maybe", "colour=1"] {
        blames_the_caller(query, &admin.delete(&format!("/api/v1/plugins/hostile.echo?{query}")).await);
    }
    check(&admin, "/api/v1/tenant/plugins?tenant=NO").await;
    assert_eq!(admin.status_of("hostile.echo").await, "active");
}

#[tokio::test]
async fn tokens_that_are_none() {
    let host = host().await;
    let good = host.admin().token().to_owned();
    let (head, rest) = good.split_once('.').unwrap();
    let claims = |change: fn(&mut bulkhead_testkit::tokens::Claims)| {
        let mut claims = tokens::claims("root", None, &[Role::SuperAdmin], &[]);
        change(&mut claims);
        tokens::sign(&claims)
    };
    let foreign = bulkhead_testkit::tokens::sign_with(
        bulkhead_testkit::keys::MALLORY,
        &tokens::claims("root", None, &[Role::SuperAdmin], &[]),
    );

    let bad = [
        String::new(),
        "x".to_owned(),
        "..".to_owned(),
        rest.to_owned(),
        format!("{head}.{rest}x"),
        format!("{head}x.{rest}"),
        format!("eyJhbGciOiJub25lIn0.{}.", rest.split('.').next().unwrap()),
        "a".repeat(20_000),
        claims(|claims| claims.exp = 1),
        claims(|claims| claims.aud = "other".to_owned()),
        claims(|claims| claims.roles = vec!["emperor".to_owned()]),
        claims(|claims| claims.sub = String::new()),
        claims(|claims| claims.sub = "x".repeat(300)),
        foreign,
    ];

    for token in bad {
        let answer = host.anyone().with_token(token.clone()).get("/api/v1/plugins").await;
        assert_eq!(answer.outcome(), (401, "unauthenticated".to_owned()), "{token:.80}: {}", answer.text());
    }
    for header in ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", &good, &format!("Token {good}")] {
        let request = host.anyone().request(Method::GET, "/api/v1/plugins").header("authorization", header);
        assert_eq!(send(request).await.outcome(), (401, "unauthenticated".to_owned()), "{header:.20}");
    }
    let twice = host.admin().request(Method::GET, "/api/v1/plugins").header("authorization", format!("Bearer {good}"));
    assert_eq!(send(twice).await.outcome(), (401, "unauthenticated".to_owned()));
}

#[tokio::test]
async fn requests_that_are_no_http_or_lead_nowhere() {
    let host = host().await;
    let token = host.admin().token().to_owned();

    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/plugins",
        "/.env",
        "/api/v1/plugins/",
        "//api/v1/plugins",
        "/health/x",
    ] {
        let answer =
            raw::exchange(host.address(), &format!("GET {path} HTTP/1.1\nauthorization: Bearer {token}"), b"").await;
        assert_eq!(answer.outcome(), (404, "not-found".to_owned()), "{path}");
    }
    for (method, path) in
        [("PATCH", "/api/v1/plugins"), ("DELETE", "/api/v1/policy"), ("TRACE", "/health"), ("BREW", "/api/v1/tenants")]
    {
        let answer =
            raw::exchange(host.address(), &format!("{method} {path} HTTP/1.1\nauthorization: Bearer {token}"), b"")
                .await;
        assert_eq!(answer.outcome(), (405, "method-not-allowed".to_owned()), "{method} {path}");
        assert_ne!(answer.header("allow"), "", "{method} {path}");
    }
    let long_header =
        raw::exchange(host.address(), &format!("GET /health HTTP/1.1\nx-long: {}", "x".repeat(400_000)), b"").await;
    assert_eq!(long_header.status, 431);
    let lying = raw::exchange(host.address(), &format!("POST /api/v1/tenants HTTP/1.1\nauthorization: Bearer {token}\ncontent-type: application/json\ncontent-length: 5"), b"{\"id\": \"x\"}").await;
    blames_the_caller("a body longer than announced", &lying);
    host.anyone().get("/health").await.expect(200);
    host.anyone().get("/ready").await.expect(200);
}
