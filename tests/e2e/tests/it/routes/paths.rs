//! How a path finds its route, what of it reaches the guest, and paths that try to climb.

use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::ROUTES;
use bulkhead_testkit::{TestHost, raw};
use reqwest::Method;

#[tokio::test]
async fn an_empty_path_is_the_root_with_and_without_a_slash() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let user = host.user("acme", &[]);

    for path in ["", "/", "?a=b", "/?a=b"] {
        user.get_route("test.routes", path).await.expect(200);
    }
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let user = host.user("acme", &[]);

    let head = send(user.route(Method::HEAD, "test.routes", "/echo/x").header("x-own", "kept")).await.expect(200);
    let nowhere = send(user.route(Method::HEAD, "test.routes", "/nowhere")).await;

    assert_eq!(head.header("x-own"), "kept");
    assert!(head.body.is_empty());
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.body.is_empty());
}

#[tokio::test]
async fn parameters_are_decoded_once_and_reach_the_guest_as_data() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let user = host.user("acme", &[]);
    let check = async |path: &str, template: &str, wanted: &[&str]| {
        let told = user.get_route("test.routes", path).await.expect(200).text();
        assert!(told.contains(template), "{path}: {told}");
        for text in wanted {
            assert!(told.contains(text), "{path}: no `{text}` in {told}");
        }
    };

    check("/echo/plain", "/echo/{one}", &["plain"]).await;
    check("/echo/special", "/echo/special", &[]).await;
    check("/echo/a%20b", "/echo/{one}", &["a b", "/echo/a%20b"]).await;
    check("/echo/a%2Fb", "/echo/{one}", &["a/b"]).await;
    check("/echo/100%2525", "/echo/{one}", &["100%25"]).await;
    check("/echo/%E2%82%AC/%C3%A9?q=%20x&q=y", "/echo/{one}/{two}", &["€", "é", "q=%20x&q=y"]).await;
    check("/echo/...", "/echo/{one}", &["..."]).await;
}

#[tokio::test]
async fn a_path_that_climbs_or_breaks_is_no_route() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let token = host.user("acme", &[]).token().to_owned();
    let long = format!("/echo/{}", "a".repeat(3_000));
    let deep = "/a".repeat(100);

    for path in [
        "/echo/..",
        "/echo/../echo/x",
        "/./echo/x",
        "/echo/%2e%2e",
        "/echo/%2E%2e/x",
        "/echo/.",
        "/echo/%00",
        "/echo/a%00b",
        "/echo/a\\b",
        "/echo/a%5Cb",
        "//",
        "//echo/x",
        "/echo//",
        "/echo/",
        "/ECHO/x",
        "/echo/%ff",
        "/echo/%",
        "/echo/%zz",
        &long,
        &deep,
    ] {
        let head = format!("GET /api/plugins/test.routes{path} HTTP/1.1\nauthorization: Bearer {token}");
        let answer = raw::exchange(host.address(), &head, b"").await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {} {}", answer.status, answer.text());
        if answer.status == 404 {
            assert_eq!(answer.code(), "route-not-found", "{path}");
        }
    }
}

#[tokio::test]
async fn a_path_cannot_leave_its_plugin() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let token = host.user("acme", &[]).token().to_owned();

    for path in [
        "/api/plugins/test.routes/../../v1/plugins",
        "/api/plugins/../v1/plugins",
        "/api/plugins/%2e%2e/v1/plugins",
        "/api/plugins//",
        "/api/plugins/",
        "/api/plugins",
        "/api/plugins/test.routes%2Fecho/x",
        "/api/plugins/TEST.ROUTES/",
    ] {
        let head = format!("GET {path} HTTP/1.1\nauthorization: Bearer {token}");
        let answer = raw::exchange(host.address(), &head, b"").await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}
