//! What a caller sees of a guest that fails: its own code and status, a trace id, nothing of the guest's memory.
//! Hooks and many guests at once have files of their own.

use bulkhead_testkit::guests::ROUTES;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Answer, TestHost};
use insta::assert_json_snapshot;

async fn call(path: &str) -> Answer {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let answer = host.user("acme", &[]).get_route("test.routes", path).await;
    host.user("acme", &[]).get_route("test.routes", "/").await.expect(200);
    answer
}

#[tokio::test]
async fn a_trap_tells_a_trace_id_and_nothing_of_the_guest() {
    let answer = call("/trap").await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "plugin-failed",
      "detail": "Look up the trace id in the plugin's errors.",
      "plugin": "test.routes",
      "status": 500,
      "tenant": "acme",
      "title": "The plugin failed",
      "type": "/problems/plugin-failed"
    }
    "#);
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn fuel_is_used_up() {
    let answer = call("/loop").await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "fuel-exhausted",
      "detail": "the call used up its 100000000 units of fuel",
      "plugin": "test.routes",
      "status": 503,
      "tenant": "acme",
      "title": "The call used up its compute budget",
      "type": "/problems/fuel-exhausted"
    }
    "#);
    assert_eq!(answer.header("retry-after"), "", "a retry would not help");
}

#[tokio::test]
async fn time_is_up() {
    let slow = ROUTES.source().edit(|manifest| {
        manifest.limits.fuel_per_call = Some(10_000_000_000);
        manifest.limits.deadline_ms = Some(200);
    });
    let host = TestHost::new().tenant("acme").with_release(slow.signed_by(ALICE)).await;

    let answer = host.user("acme", &[]).get_route("test.routes", "/loop").await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "deadline-exceeded",
      "detail": "the call passed its deadline of 200 ms",
      "plugin": "test.routes",
      "status": 504,
      "tenant": "acme",
      "title": "The call passed its deadline",
      "type": "/problems/deadline-exceeded"
    }
    "#);
}

#[tokio::test]
async fn memory_stack_and_answer_are_bounded() {
    assert_eq!(call("/memory").await.outcome(), (503, "memory-exceeded".to_owned()));
    assert_eq!(call("/recurse").await.outcome(), (503, "stack-exhausted".to_owned()));
    assert_eq!(call("/big").await.outcome(), (502, "response-too-large".to_owned()));
}

#[tokio::test]
async fn a_guests_own_refusal_is_the_callers_answer() {
    assert_json_snapshot!(call("/denied").await.problem(), @r#"
    {
      "code": "plugin-denied",
      "detail": "denied: not today",
      "plugin": "test.routes",
      "status": 403,
      "tenant": "acme",
      "title": "The plugin denied the request",
      "type": "/problems/plugin-denied"
    }
    "#);
}

#[tokio::test]
async fn a_status_that_is_none_is_the_plugins_failure() {
    assert_eq!(call("/status").await.outcome(), (500, "plugin-failed".to_owned()));
}

#[tokio::test]
async fn a_failed_call_is_found_by_its_trace_id() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(ROUTES).await;

    let failed = host.user("acme", &[]).get_route("test.routes", "/trap").await;

    let errors = host.tenant_admin("acme").errors_here("test.routes").await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["trace_id"], failed.header("x-trace-id"));
    assert_eq!((errors[0]["code"].as_str(), errors[0]["entry"].as_str()), (Some("plugin-failed"), Some("route")));
    assert!(errors[0]["message"].as_str().unwrap().contains("unreachable"), "{errors:?}");
    assert!(host.tenant_admin("globex").errors_here("test.routes").await.is_empty());
    let of_all = host.admin().get("/api/v1/plugins/test.routes/errors").await.json();
    assert_eq!(of_all["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_route_has_the_rate_that_its_manifest_names() {
    let narrow = ROUTES.source().edit(|manifest| {
        for route in manifest.routes.iter_mut().filter(|route| route.path == "/echo/{one}") {
            route.rate_per_minute = Some(5);
        }
    });
    let host = TestHost::new().tenant("acme").tenant("globex").with_release(narrow.signed_by(ALICE)).await;
    let ask = async |tenant: &str, path: &str| host.user(tenant, &[]).get_route("test.routes", path).await;

    ask("acme", "/echo/a").await.expect(200);
    let beyond = ask("acme", "/echo/b").await;

    assert_eq!(beyond.outcome(), (429, "rate-limited".to_owned()));
    ask("acme", "/echo/special").await.expect(200);
    ask("globex", "/echo/a").await.expect(200);
}
