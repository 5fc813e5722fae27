//! The order of answers: 401, 404, 403 kill, 503, 404 and 405 route, 403 permission, 429, 413. Each test makes
//! everything wrong that comes after the answer that it wants.

use bulkhead_testkit::client::{send, try_send};
use bulkhead_testkit::guests::{HELLO, ROUTES};
use bulkhead_testkit::{Answer, Client, TestHost};
use insta::assert_json_snapshot;
use reqwest::Method;

/// A body beyond every limit.
fn huge() -> Vec<u8> {
    vec![b'x'; (1 << 20) + 1]
}

/// `PUT` of a route that takes `GET` alone, with a body that is too large.
async fn everything_wrong(client: &Client, plugin: &str, path: &str) -> Answer {
    send(client.route(Method::PUT, plugin, path).body(huge())).await
}

#[tokio::test]
async fn without_a_token_nothing_else_is_told() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;

    let existing = everything_wrong(&host.anyone(), "test.routes", "/guarded").await;
    let missing = everything_wrong(&host.anyone(), "test.missing", "/guarded").await;
    let bad = everything_wrong(&host.anyone().with_token("a.b.c"), "test.routes", "/guarded").await;

    assert_json_snapshot!(existing.problem(), @r#"
    {
      "code": "unauthenticated",
      "detail": "the request carries no bearer token",
      "status": 401,
      "title": "No valid token",
      "type": "/problems/unauthenticated"
    }
    "#);
    assert_eq!(existing.header("www-authenticate"), "Bearer realm=\"bulkhead\"");
    assert_eq!(existing.problem(), missing.problem());
    assert_eq!(bad.outcome(), (401, "unauthenticated".to_owned()));
}

#[tokio::test]
async fn a_plugin_that_is_unknown_looks_like_one_that_is_not_enabled_here() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    host.admin().create_tenant("globex").await.expect(201);
    let user = host.user("globex", &[]);

    let not_enabled = everything_wrong(&user, "acme.hello", "/hello").await;
    let unknown = everything_wrong(&user, "acme.other", "/hello").await;

    assert_json_snapshot!(not_enabled.problem(), @r#"
    {
      "code": "not-found",
      "detail": "there is no plugin `acme.hello`",
      "status": 404,
      "title": "There is no such thing here",
      "type": "/problems/not-found"
    }
    "#);
    assert_eq!(
        unknown.text().replace("acme.other", "acme.hello").replace(unknown.header("x-trace-id"), ""),
        not_enabled.text().replace(not_enabled.header("x-trace-id"), "")
    );
}

#[tokio::test]
async fn a_kill_comes_before_the_route() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    host.admin().kill("test.routes").await.expect(200);

    let answer = everything_wrong(&host.user("acme", &[]), "test.routes", "/nowhere").await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "plugin-killed",
      "detail": "the plugin was stopped by an operator",
      "plugin": "test.routes",
      "status": 403,
      "tenant": "acme",
      "title": "An operator stopped this plugin",
      "type": "/problems/plugin-killed"
    }
    "#);
}

#[tokio::test]
async fn an_open_breaker_comes_before_the_route_and_says_when_to_come_back() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let user = host.user("acme", &[]);
    for _ in 0..40 {
        user.get_route("test.routes", "/trap").await;
    }

    let answer = everything_wrong(&user, "test.routes", "/nowhere").await;

    assert_eq!(answer.outcome(), (503, "breaker-open".to_owned()), "{}", answer.text());
    let retry_after_s: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&retry_after_s), "{retry_after_s}");
    assert_eq!(answer.problem()["plugin"], "test.routes");
    assert_eq!(answer.problem()["tenant"], "acme");
}

#[tokio::test]
async fn a_route_comes_before_its_permission() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let user = host.user("acme", &[]);

    let nowhere = everything_wrong(&user, "test.routes", "/nowhere").await;
    let wrong_method = everything_wrong(&user, "test.routes", "/guarded").await;

    assert_json_snapshot!(nowhere.problem(), @r#"
    {
      "code": "route-not-found",
      "detail": "the plugin has no route for this path",
      "plugin": "test.routes",
      "status": 404,
      "tenant": "acme",
      "title": "The plugin has no such route",
      "type": "/problems/route-not-found"
    }
    "#);
    assert_json_snapshot!(wrong_method.problem(), @r#"
    {
      "code": "method-not-allowed",
      "detail": "the route does not take this method",
      "plugin": "test.routes",
      "status": 405,
      "tenant": "acme",
      "title": "The route has no such method",
      "type": "/problems/method-not-allowed"
    }
    "#);
    assert_eq!(wrong_method.header("allow"), "GET");
}

#[tokio::test]
async fn every_method_of_a_path_is_allowed_by_name() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;

    let answer = send(host.user("acme", &[]).route(Method::DELETE, "test.routes", "/")).await;

    assert_eq!(answer.outcome(), (405, "method-not-allowed".to_owned()));
    assert_eq!(answer.header("allow"), "GET, POST");
}

#[tokio::test]
async fn a_permission_is_checked_before_the_guest_and_before_the_body() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let guarded = |client: Client| async move { client.get_route("test.routes", "/guarded").await };

    let without = guarded(host.user("acme", &["test.routes.other", "acme.hello.secret.see", "secret.see"])).await;
    let admin = guarded(host.tenant_admin("acme")).await;
    let with = guarded(host.user("acme", &["test.routes.secret.see"])).await;

    assert_json_snapshot!(without.problem(), @r#"
    {
      "code": "permission-denied",
      "detail": "the user needs the permission `test.routes.secret.see`",
      "plugin": "test.routes",
      "status": 403,
      "tenant": "acme",
      "title": "The user lacks the route's permission",
      "type": "/problems/permission-denied"
    }
    "#);
    assert_eq!(admin.outcome(), (403, "permission-denied".to_owned()), "no role implies a plugin's permission");
    with.expect(200);
    let metrics = host.user("acme", &[]).get_route("test.routes", "/metrics").await.text();
    let calls: Vec<&str> = metrics.lines().filter(|line| line.starts_with("bulkhead_calls_total{")).collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].ends_with(" 1"), "the guest ran for those who may not: {calls:?}");
}

#[tokio::test]
async fn a_rate_that_is_passed_says_when_to_come_back() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(ROUTES).await;
    let user = host.user("acme", &[]);
    let answers = futures_of(&user, 260).await;

    let limited: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();

    assert!(limited.len() > 20, "{}", limited.len());
    assert_eq!(limited[0].code(), "rate-limited");
    assert!(limited.iter().all(|answer| answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1)));
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 429)));
    host.user("globex", &[]).get_route("test.routes", "/").await.expect(200);
}

async fn futures_of(client: &Client, count: usize) -> Vec<Answer> {
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get_route("test.routes", "/").await })
        })
        .collect();
    let mut answers = Vec::with_capacity(count);
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let user = host.user("acme", &[]);

    let announced = send(user.route(Method::POST, "test.routes", "/").body(huge())).await;
    let chunks = reqwest::Body::wrap_stream(chunks());
    let unannounced = try_send(user.route(Method::POST, "test.routes", "/").body(chunks)).await;
    let at_the_limit = send(user.route(Method::POST, "test.routes", "/").body(vec![b'x'; 1_000_000])).await;

    assert_json_snapshot!(announced.problem(), @r#"
    {
      "code": "body-too-large",
      "detail": "the body is larger than 1048576 bytes",
      "plugin": "test.routes",
      "status": 413,
      "tenant": "acme",
      "title": "The request body is too large",
      "type": "/problems/body-too-large"
    }
    "#);
    // The host closes while pieces still come: the client may fail to send before it reads the answer.
    assert!(unannounced.is_none_or(|answer| answer.outcome() == (413, "body-too-large".to_owned())));
    assert_ne!(at_the_limit.status, 413);
}

/// More than 1 MiB, in pieces that nobody announced.
fn chunks() -> impl futures_util::Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static {
    futures_util::stream::iter((0..20).map(|_| Ok(vec![b'x'; 64 * 1024])))
}
