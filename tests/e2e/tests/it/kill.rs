//! Stops by operators: of one plugin, in one tenant, of all; they reach calls that run and outlive the process.

use std::time::{Duration, Instant};

use bulkhead_testkit::guests::{HELLO, NOTES, ROUTES, hostile};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{TestHost, eventually};
use insta::assert_json_snapshot;
use serde_json::json;

const GREET: &str = "acme.hello.hello.greet";
const VIEW: &str = "acme.notes.notes.view";

/// Statuses of a greeting in each of two tenants, and of a list of notes in the first.
async fn statuses(host: &TestHost) -> (u16, u16, u16) {
    let greet = async |tenant: &str| host.user(tenant, &[GREET]).get_route("acme.hello", "/hello").await.status;
    let notes = host.user("acme", &[VIEW]).get_route("acme.notes", "/notes").await.status;
    (greet("acme").await, greet("globex").await, notes)
}

#[tokio::test]
async fn a_stop_hits_what_it_names_and_nothing_else() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).with(NOTES).await;
    let admin = host.admin();
    assert_eq!(statuses(&host).await, (200, 200, 200));

    admin.kill("acme.hello").await.expect(200);
    assert_eq!(statuses(&host).await, (403, 403, 200));
    admin.revive("acme.hello").await.expect(200);
    assert_eq!(statuses(&host).await, (200, 200, 200));

    admin.kill_in("acme.hello", "globex").await.expect(200);
    assert_eq!(statuses(&host).await, (200, 403, 200));
    admin.revive_in("acme.hello", "globex").await.expect(200);
    assert_eq!(statuses(&host).await, (200, 200, 200));

    admin.post_json("/api/v1/kill", &json!({ "reason": "all" })).await.expect(200);
    assert_eq!(statuses(&host).await, (403, 403, 403));
    admin.post_json("/api/v1/revive", &json!({})).await.expect(200);
    assert_eq!(statuses(&host).await, (200, 200, 200));
}

#[tokio::test]
async fn stops_of_all_and_of_one_end_each_by_its_own() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).with(NOTES).await;
    let admin = host.admin();
    admin.kill("acme.hello").await.expect(200);
    admin.post_json("/api/v1/kill", &json!({})).await.expect(200);

    admin.post_json("/api/v1/revive", &json!({})).await.expect(200);

    assert_eq!(statuses(&host).await, (403, 403, 200));
    let killed = host.user("acme", &[GREET]).get_route("acme.hello", "/hello").await;
    assert_json_snapshot!(killed.problem(), @r#"
    {
      "code": "plugin-killed",
      "detail": "the plugin was stopped by an operator",
      "plugin": "acme.hello",
      "status": 403,
      "tenant": "acme",
      "title": "An operator stopped this plugin",
      "type": "/problems/plugin-killed"
    }
    "#);
}

#[tokio::test]
async fn a_stop_reaches_a_loop_that_runs() {
    let endless = ROUTES.source().edit(|manifest| {
        manifest.limits.fuel_per_call = Some(10_000_000_000);
        manifest.limits.deadline_ms = Some(5_000);
    });
    let host = TestHost::new().tenant("acme").with_release(endless.signed_by(ALICE)).await;
    let user = host.user("acme", &[]);
    let began = Instant::now();
    let call = tokio::spawn(async move { user.get_route("test.routes", "/loop").await });
    eventually("the call in the metrics", || async { is_running(&host).await.then_some(()) }).await;

    host.admin().kill("test.routes").await.expect(200);

    let answer = call.await.unwrap();
    assert_eq!(answer.outcome(), (403, "plugin-killed".to_owned()), "{}", answer.text());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// Whether an instance is busy, as the operator's metrics say.
pub(crate) async fn is_running(host: &TestHost) -> bool {
    let metrics =
        bulkhead_testkit::Client::new(&format!("http://{}", host.metrics_address()), None).get("/metrics").await.text();
    metrics
        .lines()
        .any(|line| line.starts_with("bulkhead_instances{") && line.contains("test.routes") && !line.ends_with(" 0"))
}

#[tokio::test]
async fn a_stop_outlives_the_process() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).with(NOTES).await;
    host.admin().kill_in("acme.hello", "globex").await.expect(200);
    host.admin().kill("acme.notes").await.expect(200);

    let host = host.restart().await;

    let user = host.user("acme", &[GREET]);
    user.ready("acme.hello").await;
    eventually("both stops after the restart", || async { (statuses(&host).await == (200, 403, 403)).then_some(()) })
        .await;
    host.admin().revive("acme.notes").await.expect(200);
    assert_eq!(statuses(&host).await, (200, 403, 200));
}

#[tokio::test]
async fn a_host_can_start_with_every_plugin_stopped() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).with(NOTES).await;

    let host = host.restart_with(|config| config.plugins_disabled = true).await;

    eventually("every plugin stopped", || async { (statuses(&host).await == (403, 403, 403)).then_some(()) }).await;
    let host = host.restart_with(|config| config.plugins_disabled = false).await;
    eventually("every plugin back", || async { (statuses(&host).await == (200, 200, 200)).then_some(()) }).await;
}

#[tokio::test]
async fn a_core_plugin_is_spared_by_a_stop_of_all_where_policy_says_that_it_is_core() {
    let policy = |core: &str| {
        format!(
            "[[principal]]\nname = \"alice\"\nkeys = [\"alice\"]\n[[allow]]\nid = \"a\"\nplugin = \"*\"\n{core}\
            signers = [{{ role = \"author\", of = [\"alice\"], threshold = 1 }}]\ntenants = [\"*\"]\n"
        )
    };
    let source =
        hostile("echo").source().edit(|manifest| manifest.plugin.category = bulkhead_model::manifest::Category::Core);
    let failures = async |host: &TestHost| {
        host.app("acme").apply("demo.value", &json!(1)).await.expect(200).json()["failures"].clone()
    };
    let start = async |text: String| {
        let host = TestHost::new().tenant("acme").policy(&text).with_release(source.signed_by(ALICE)).await;
        host.app("acme").declare_filter("demo.value").await.expect(200);
        host.admin().post_json("/api/v1/kill", &json!({})).await.expect(200);
        host
    };

    let granted = start(policy("category = \"core\"\n")).await;
    let merely_claimed = start(policy("")).await;

    assert_eq!(failures(&granted).await, json!([]));
    assert_eq!(failures(&merely_claimed).await[0]["code"], "plugin-killed");
}

#[tokio::test]
async fn a_stop_is_for_platform_admins_and_for_plugins_that_exist() {
    let host = TestHost::new().tenant("acme").with(hostile("echo")).await;

    for client in [host.tenant_admin("acme"), host.security(), host.app("acme")] {
        assert_eq!(client.kill("hostile.echo").await.outcome(), (403, "role-required".to_owned()));
        assert_eq!(client.post_json("/api/v1/kill", &json!({})).await.outcome(), (403, "role-required".to_owned()));
    }
    assert_eq!(host.admin().kill("acme.nothing").await.outcome(), (404, "not-found".to_owned()));
    let long_reason =
        host.admin().post_json("/api/v1/plugins/hostile.echo/kill", &json!({ "reason": "x".repeat(2_000) })).await;
    assert_eq!(long_reason.outcome(), (422, "invalid-input".to_owned()));
}

#[tokio::test]
async fn a_stop_needs_no_database_that_takes_writes() {
    let host = TestHost::on_postgres().tenant("acme").with(hostile("echo")).await;
    let app = host.app("acme");
    app.declare_filter("demo.value").await.expect(200);
    app.apply("demo.value", &json!("value")).await.expect(200);

    let unstorable = json!({ "reason": "a\u{0}b" });
    let refused = host.admin().post_json("/api/v1/plugins/hostile.echo/kill", &unstorable).await;
    assert_eq!(refused.outcome(), (422, "invalid-input".to_owned()));
    app.apply("demo.value", &json!("value")).await.expect(200);

    host.database_takes_writes(false);
    let unrecorded = host.admin().kill("hostile.echo").await;
    let stopped = app.apply("demo.value", &json!("value")).await.expect(200).json();
    host.database_takes_writes(true);
    host.admin().kill("hostile.echo").await.expect(200);
    let host = host.restart().await;
    let still_stopped = host.app("acme").apply("demo.value", &json!("value")).await.expect(200).json();

    // The operator learns that it is not on record.
    assert_eq!(unrecorded.outcome(), (503, "database-unavailable".to_owned()));
    assert_eq!(stopped["failures"][0]["code"], "plugin-killed");
    assert_eq!(still_stopped["failures"][0]["code"], "plugin-killed");
}
