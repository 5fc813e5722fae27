//! Every hostile guest at once, beside another tenant's ordinary work: each ends its own call with its own code, and
//! the work goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bulkhead_testkit::guests::{NOTES, hostile};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Client, TestHost};
use reqwest::Method;
use serde_json::{Value, json};

/// Each guest, and the codes by which its call may end; none: it succeeds.
const GUESTS: [(&str, &[&str]); 11] = [
    ("echo", &[]),
    ("loop", &["fuel-exhausted", "deadline-exceeded"]),
    ("memory", &["memory-exceeded"]),
    ("table", &["memory-exceeded"]),
    ("recursion", &["stack-exhausted"]),
    ("host_call_flood", &["host-calls-exceeded"]),
    ("handle_flood", &["handles-exceeded", "host-calls-exceeded"]),
    ("random_flood", &["host-calls-exceeded"]),
    ("huge_response", &["response-too-large"]),
    ("log_flood", &[]),
    ("panic", &["plugin-failed"]),
];
/// Guests that misbehave before any call: their trial when they are registered ends by this code.
const AT_START: [(&str, &str); 3] =
    [("memory_at_start", "memory-exceeded"), ("many_memories", "memory-exceeded"), ("trap_in_start", "plugin-failed")];
/// Time between two rounds of ordinary work: within the tenant's rate.
const PACE: Duration = Duration::from_millis(60);
/// Rounds in which all of them are called at once.
const ROUNDS: usize = 3;

#[tokio::test]
async fn hostile_guests_end_their_own_calls_while_others_work() {
    let host = TestHost::new().tenant("acme").with(NOTES).await;
    host.admin().create_tenant("villains").await.expect(201);
    let mut hooks = Vec::new();
    for (name, codes) in GUESTS {
        let hook = format!("villain.{name}");
        let guest = hostile(name).source().edit(|manifest| manifest.hooks[0].name = hook.parse().unwrap());
        host.admin().install_release(&guest.signed_by(ALICE)).await;
        host.tenant_admin("villains").enable_here(&hostile(name).id()).await.expect(200);
        host.app("villains").declare_filter(&hook).await.expect(200);
        hooks.push((name, hook, codes));
    }

    let is_over = Arc::new(AtomicBool::new(false));
    let honest = tokio::spawn(work(
        host.user("acme", &["acme.notes.notes.view", "acme.notes.notes.edit"]),
        Arc::clone(&is_over),
    ));
    for (name, code) in AT_START {
        let answer = host.admin().publish(&hostile(name).signed_by(ALICE)).await;
        assert_eq!(answer.code(), code, "{name}: {}", answer.text());
        assert_eq!(host.admin().plugin(&hostile(name).id()).await.status, 404, "{name}");
    }
    for _ in 0..ROUNDS {
        let calls: Vec<_> = hooks
            .iter()
            .map(|(name, hook, codes)| tokio::spawn(attack(host.app("villains"), name, hook.clone(), codes)))
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    }
    is_over.store(true, Ordering::Release);

    let notes = honest.await.unwrap();
    assert!(notes > 0);
    assert_eq!(log_lines_dropped(&host).await, Some(true), "the flood of log lines was not cut and counted");
    assert!(host.tenant_admin("acme").errors_here("acme.notes").await.is_empty());
    host.user("acme", &["acme.notes.notes.view"]).get_route("acme.notes", "/health").await.expect(200);
}

async fn attack(app: Client, name: &'static str, hook: String, codes: &'static [&'static str]) {
    let answer = app.apply(&hook, &json!("value")).await.expect(200).json();

    assert_eq!(answer["value"], "value", "{name}: {answer}");
    let failures: Vec<&Value> = answer["failures"].as_array().unwrap().iter().map(|failure| &failure["code"]).collect();
    let fits = match failures.as_slice() {
        [] => codes.is_empty(),
        [code] => codes.iter().any(|wanted| *code == wanted),
        _ => false,
    };
    assert!(fits, "{name}: wanted one of {codes:?}, got {answer}");
}

/// Writes, reads and deletes notes until it is over; answers how often.
async fn work(user: Client, is_over: Arc<AtomicBool>) -> usize {
    let mut pace = tokio::time::interval(PACE);
    let mut count = 0;
    while !is_over.load(Ordering::Acquire) {
        pace.tick().await;
        let request =
            user.route(Method::POST, "acme.notes", "/notes").json(&json!({ "title": format!("note {count}") }));
        let written = bulkhead_testkit::client::send(request).await.expect(201).json();
        let path = format!("/notes/{}", written["id"].as_str().unwrap());
        let read = user.get_route("acme.notes", &path).await.expect(200).json();
        assert_eq!(read["title"], format!("note {count}"));
        bulkhead_testkit::client::send(user.route(Method::DELETE, "acme.notes", &path)).await.expect(204);
        count += 1;
    }
    count
}

/// Whether the plugin's own metrics say that lines were dropped.
async fn log_lines_dropped(host: &TestHost) -> Option<bool> {
    let metrics = host.user("villains", &[]).get_route("hostile.log-flood", "/metrics").await.expect(200).text();
    let line = metrics.lines().find(|line| line.starts_with("bulkhead_log_dropped_total{"))?.to_owned();
    line.rsplit(' ').next()?.parse::<u64>().ok().map(|count| count > 0)
}

#[tokio::test]
async fn a_guest_that_fails_again_and_again_rests_and_comes_back() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(hostile("panic")).await;
    host.app("acme").declare_filter("demo.value").await.expect(200);
    let code = async |tenant: &str| {
        host.app(tenant).apply("demo.value", &json!(1)).await.expect(200).json()["failures"][0]["code"].clone()
    };

    let mut codes = Vec::new();
    for _ in 0..30 {
        codes.push(code("acme").await);
    }

    assert_eq!(codes.first(), Some(&json!("plugin-failed")));
    assert_eq!(codes.last(), Some(&json!("breaker-open")));
    assert_eq!(code("globex").await, "plugin-failed", "one tenant's breaker is not another's");
}
