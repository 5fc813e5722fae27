//! Which headers cross between clients and guests, and who a guest is told that it serves.
//! The guest here answers everything that it was told: see the test kit's `guests/routes.wat`.

use bulkhead_model::Role;
use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::{HELLO, ROUTES};
use bulkhead_testkit::{TestHost, raw};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn identity_comes_from_the_token_alone() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(ROUTES).await;
    let user = host.user("acme", &[]);

    let request = user
        .route(Method::GET, "test.routes", "/echo/x?tenant=globex")
        .header("x-tenant-id", "globex")
        .header("x-user-id", "mallory")
        .header("x-trace-id", "forged-trace")
        .header("x-bulkhead-role", "forged-role")
        .header("cookie", "session=forged-cookie")
        .header("x-own", "kept");
    let told = send(request).await.expect(200).text();

    assert!(told.contains("user@acme") && told.contains("x-own") && told.contains("kept"), "{told}");
    for secret in ["mallory", "forged-trace", "forged-role", "forged-cookie", user.token(), "Bearer"] {
        assert!(!told.contains(secret), "the guest was told `{secret}`");
    }
    // The query is the client's own text; nothing else names the other tenant.
    assert_eq!(told.matches("globex").count(), told.matches("tenant=globex").count());
}

#[tokio::test]
async fn a_user_cannot_choose_a_tenant_and_the_host_application_can() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let greeting = async |client: bulkhead_testkit::Client, tenant: &str| {
        let request = client.route(Method::GET, "acme.hello", "/visits").header("x-tenant-id", tenant);
        send(request).await.json()["total"].clone()
    };
    let permission = ["acme.hello.hello.greet"];
    let app = host.client("app", None, &[Role::Host], &permission);
    let bound_app = host.client("app", Some("acme"), &[Role::Host], &permission);

    // Visits of acme: three by a user, one by an application that is bound to it. Of globex: one.
    for expected in [1, 2, 3] {
        assert_eq!(greeting(host.user("acme", &permission), "globex").await, expected);
    }
    assert_eq!(greeting(bound_app, "globex").await, 4);
    assert_eq!(greeting(app.clone(), "globex").await, 1);
    assert_eq!(greeting(app.clone(), "acme").await, 5);

    assert_eq!(app.get_route("acme.hello", "/visits").await.outcome(), (422, "tenant-required".to_owned()));
    let nobody = host.client("m", None, &[Role::Member], &permission);
    let request = nobody.route(Method::GET, "acme.hello", "/visits").header("x-tenant-id", "acme");
    assert_eq!(send(request).await.outcome(), (422, "tenant-required".to_owned()));
}

#[tokio::test]
async fn a_platform_admin_names_a_tenant_in_the_query() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let admin = host.client("root", None, &[Role::SuperAdmin], &["acme.hello.hello.greet"]);

    let answer = admin.get_route("acme.hello", "/hello?tenant=globex").await.expect(200);

    assert_eq!(answer.json(), json!({ "message": "Hello, root!" }));
    assert_eq!(
        host.admin().get_route("acme.hello", "/hello?tenant=globex").await.outcome(),
        (403, "permission-denied".to_owned())
    );
    assert_eq!(admin.get_route("acme.hello", "/hello?tenant=nowhere").await.outcome(), (404, "not-found".to_owned()));
    assert_eq!(admin.get_route("acme.hello", "/hello?tenant=NO").await.outcome(), (422, "invalid-input".to_owned()));
}

#[tokio::test]
async fn a_guest_sets_no_header_that_is_the_hosts() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    // The guest answers with the headers that it is given.
    let mut request = host.user("acme", &[]).route(Method::GET, "test.routes", "/").header("x-own", "kept");
    let owned = [
        "set-cookie",
        "server",
        "www-authenticate",
        "strict-transport-security",
        "access-control-allow-origin",
        "clear-site-data",
        "alt-svc",
        "x-bulkhead-plugin",
    ];
    for name in owned {
        request = request.header(name, "forged");
    }

    let answer = send(request).await.expect(200);

    assert_eq!(answer.header("x-own"), "kept");
    for name in owned {
        assert_ne!(answer.header(name), "forged", "{name}");
    }
    assert!(answer.text().contains("set-cookie"), "the guest did not try");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_connection() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let token = host.user("acme", &[]).token().to_owned();

    let head = format!(
        "GET /api/plugins/test.routes/ HTTP/1.1\nauthorization: Bearer {token}\nconnection: x-hidden\nx-hidden: hop-secret\n\
        te: trailers\nproxy-authorization: Basic hop-secret\nkeep-alive: timeout=5\nx-seen: yes"
    );
    let told = raw::exchange(host.address(), &head, b"").await.expect(200).text();

    assert!(told.contains("x-seen"), "{told}");
    for name in ["hop-secret", "x-hidden", "keep-alive", "proxy-authorization", "trailers"] {
        assert!(!told.contains(name), "the guest was told of `{name}`");
    }
}

#[tokio::test]
async fn the_callers_trace_goes_in_and_comes_out() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let user = host.user("acme", &[]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";

    let request =
        user.route(Method::GET, "test.routes", "/").header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let followed = send(request).await.expect(200);
    let fresh = user.get_route("test.routes", "/").await.expect(200);
    let malformed =
        send(user.route(Method::GET, "test.routes", "/").header("traceparent", "00-xyz-1-1")).await.expect(200);

    assert_eq!(followed.header("x-trace-id"), trace);
    assert!(followed.text().contains(trace));
    for answer in [fresh, malformed] {
        let trace_id = answer.header("x-trace-id").to_owned();
        assert!(
            trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit()) && trace_id != trace,
            "{trace_id}"
        );
        assert!(answer.text().contains(&trace_id), "guest and client see one trace");
    }
}

#[tokio::test]
async fn the_callers_language_reaches_the_guest() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;

    let request =
        host.user("acme", &[]).route(Method::GET, "test.routes", "/").header("accept-language", "it-IT,it;q=0.9");

    assert!(send(request).await.expect(200).text().contains("it-IT"));
}
