//! The host's own tables on both engines: the same walk, the same answers.
//! Plugins' data is not in it: the guest here needs none.

use bulkhead_testkit::guests::{ROUTES, hostile};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Builder, TestHost, policies};
use serde_json::json;

/// A walk through every table of the host: what was answered on the way.
async fn walk(builder: Builder) -> Vec<String> {
    let host = builder.tenant("acme").tenant("globex").await;
    let admin = host.admin();
    let mut seen = Vec::new();
    let mut note = |what: &str, text: String| seen.push(format!("{what}: {text}"));
    for version in ["0.1.0", "0.2.0"] {
        let release = hostile("echo").source().version(version).signed_by(ALICE);
        note("publish", format!("{:?}", admin.publish(&release).await.outcome()));
        note("again", format!("{:?}", admin.publish(&release).await.outcome()));
    }
    note("too early", format!("{:?}", admin.enable("hostile.echo").await.outcome()));
    note("install", admin.install("hostile.echo").await.json()["status"].to_string());
    admin.install_release(&ROUTES.signed_by(ALICE)).await;
    for tenant in ["acme", "globex"] {
        note("enable", host.tenant_admin(tenant).enable_here("hostile.echo").await.json()["status"].to_string());
        note("enable", host.tenant_admin(tenant).enable_here("test.routes").await.json()["status"].to_string());
    }
    let app = host.app("acme");
    app.declare("demo.value", &json!({ "kind": "filter", "schema": { "type": "integer" } })).await.expect(200);
    note("apply", app.apply("demo.value", &json!(1)).await.json().to_string());
    note("call", host.user("acme", &[]).get_route("test.routes", "/").await.status.to_string());
    note("kill", admin.kill_in("hostile.echo", "acme").await.json().to_string());
    note("killed", app.apply("demo.value", &json!(1)).await.json()["failures"][0]["code"].to_string());
    admin.revive_in("hostile.echo", "acme").await.expect(200);
    note("disable", host.tenant_admin("globex").disable_here("test.routes").await.json()["status"].to_string());
    note("suspend", admin.post("/api/v1/tenants/globex/suspend").await.json()["status"].to_string());
    note(
        "stale",
        format!("{:?}", host.security().put_policy(&policies::signed(1, policies::STANDARD)).await.outcome()),
    );

    let host = host.restart().await;
    let admin = host.admin();
    note(
        "after",
        admin
            .plugins()
            .await
            .iter()
            .map(|plugin| format!("{} {} {}; ", plugin["id"], plugin["version"], plugin["status"]))
            .collect(),
    );
    note("call", host.user("acme", &[]).get_route("test.routes", "/").await.status.to_string());
    note("suspended", format!("{:?}", host.user("globex", &[]).get_route("test.routes", "/").await.outcome()));
    admin.post("/api/v1/tenants/globex/resume").await.expect(200);
    note("disabled", format!("{:?}", host.user("globex", &[]).get_route("test.routes", "/").await.outcome()));
    note("apply", host.app("acme").apply("demo.value", &json!("x")).await.status.to_string());
    note("delete", admin.delete("/api/v1/tenants/globex").await.status.to_string());
    admin.disable("hostile.echo").await.expect(200);
    note("uninstall", admin.uninstall("hostile.echo", "?data=drop").await.json()["status"].to_string());
    note("in the end", admin.status_of("hostile.echo").await);
    let proof = host.security().get("/api/v1/audit/verify").await.json();
    note("audit", format!("{} broken: {}", proof["entries"], proof["first_broken"]));
    seen
}

#[tokio::test]
async fn the_same_walk_has_the_same_answers_on_sqlite_and_postgres() {
    let on_sqlite = walk(TestHost::new()).await;
    let on_postgres = walk(TestHost::on_postgres()).await;

    assert_eq!(on_sqlite, on_postgres);
    insta::assert_json_snapshot!(on_sqlite, @r#"
    [
      "publish: (201, \"\")",
      "again: (200, \"\")",
      "publish: (201, \"\")",
      "again: (200, \"\")",
      "too early: (409, \"refused-transition\")",
      "install: \"succeeded\"",
      "enable: \"ready\"",
      "enable: \"ready\"",
      "enable: \"ready\"",
      "enable: \"ready\"",
      "apply: {\"failures\":[],\"value\":1}",
      "call: 200",
      "kill: {\"killed\":true,\"plugin_id\":\"hostile.echo\",\"tenant_id\":\"acme\"}",
      "killed: \"plugin-killed\"",
      "disable: \"disabled\"",
      "suspend: \"suspended\"",
      "stale: (409, \"policy-stale\")",
      "after: \"hostile.echo\" \"0.2.0\" \"active\"; \"test.routes\" \"0.1.0\" \"active\"; ",
      "call: 200",
      "suspended: (404, \"not-found\")",
      "disabled: (404, \"not-found\")",
      "apply: 422",
      "delete: 204",
      "uninstall: \"succeeded\"",
      "in the end: uninstalled",
      "audit: 33 broken: null"
    ]
    "#);
}

#[tokio::test]
async fn on_postgres_a_plugin_that_needs_storage_is_told_so() {
    let host = TestHost::on_postgres().tenant("acme").await;
    host.admin().install_release(&bulkhead_testkit::guests::HELLO.signed_by(ALICE)).await;

    let answer = host.tenant_admin("acme").enable_here("acme.hello").await;

    assert!((400..600).contains(&answer.status) && answer.status != 500, "{}", answer.text());
    insta::assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "invalid-host-configuration",
      "detail": "plugin storage needs `database.url = \"sqlite:<folder>\"`",
      "status": 422,
      "title": "The host's configuration is not valid",
      "type": "/problems/invalid-host-configuration"
    }
    "#);
}
