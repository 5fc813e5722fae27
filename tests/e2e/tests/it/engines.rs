//! The host's own tables on both engines: the same walk, the same answers.
//! Plugins' data is not in it: the guest here needs none.

use bulkhead_testkit::guests::{ROUTES, hostile};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Answer, Builder, TestHost, policies};
use serde_json::json;

const ECHO: &str = "hostile.echo";
const HOOK: &str = "demo.value";

/// What was answered on a walk, to be compared.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, what: &str, text: impl std::fmt::Display) {
        self.0.push(format!("{what}: {text}"));
    }

    fn outcome(&mut self, what: &str, answer: &Answer) {
        self.add(what, format!("{} {}", answer.status, answer.outcome().1));
    }
}

/// A walk through every table of the host.
async fn walk(builder: Builder) -> Vec<String> {
    let host = builder.tenant("acme").tenant("globex").await;
    let mut notes = Notes::default();
    install(&host, &mut notes).await;
    act(&host, &mut notes).await;
    let host = host.restart().await;
    look_back(&host, &mut notes).await;
    leave(&host, &mut notes).await;
    notes.0
}

async fn install(host: &TestHost, notes: &mut Notes) {
    let admin = host.admin();
    for version in ["0.1.0", "0.2.0"] {
        let release = hostile("echo").source().version(version).signed_by(ALICE);
        notes.outcome("publish", &admin.publish(&release).await);
        notes.outcome("again", &admin.publish(&release).await);
    }
    notes.outcome("too early", &admin.enable(ECHO).await);
    notes.add("install", &admin.install(ECHO).await.json()["status"]);
    admin.install_release(&ROUTES.signed_by(ALICE)).await;
    for (tenant, plugin) in [("acme", ECHO), ("acme", "test.routes"), ("globex", ECHO), ("globex", "test.routes")] {
        notes.add("enable", &host.tenant_admin(tenant).enable_here(plugin).await.json()["status"]);
    }
}

async fn act(host: &TestHost, notes: &mut Notes) {
    let (admin, app) = (host.admin(), host.app("acme"));
    app.declare(HOOK, &json!({ "kind": "filter", "schema": { "type": "integer" } })).await.expect(200);
    notes.add("apply", app.apply(HOOK, &json!(1)).await.json());
    notes.outcome("call", &host.user("acme", &[]).get_route("test.routes", "/").await);
    notes.add("kill", admin.kill_in(ECHO, "acme").await.json());
    notes.add("killed", &app.apply(HOOK, &json!(1)).await.json()["failures"][0]["code"]);
    admin.revive_in(ECHO, "acme").await.expect(200);
    notes.add("disable", &host.tenant_admin("globex").disable_here("test.routes").await.json()["status"]);
    notes.add("suspend", &admin.post("/api/v1/tenants/globex/suspend").await.json()["status"]);
    notes.outcome("stale", &host.security().put_policy(&policies::signed(1, policies::STANDARD)).await);
}

async fn look_back(host: &TestHost, notes: &mut Notes) {
    let call = async |tenant: &str| host.user(tenant, &[]).get_route("test.routes", "/").await;
    for plugin in host.admin().plugins().await {
        notes.add("after", format!("{} {} {}", plugin["id"], plugin["version"], plugin["status"]));
    }
    notes.outcome("call", &call("acme").await);
    notes.outcome("suspended", &call("globex").await);
    host.admin().post("/api/v1/tenants/globex/resume").await.expect(200);
    notes.outcome("disabled", &call("globex").await);
    notes.outcome("apply", &host.app("acme").apply(HOOK, &json!("x")).await);
}

async fn leave(host: &TestHost, notes: &mut Notes) {
    let admin = host.admin();
    notes.outcome("delete", &admin.delete("/api/v1/tenants/globex").await);
    admin.disable(ECHO).await.expect(200);
    notes.add("uninstall", &admin.uninstall(ECHO, "?data=drop").await.json()["status"]);
    notes.add("in the end", admin.status_of(ECHO).await);
    let proof = host.security().get("/api/v1/audit/verify").await.json();
    notes.add("audit", format!("{} entries, broken: {}", proof["entries"], proof["first_broken"]));
}

#[tokio::test]
async fn the_same_walk_has_the_same_answers_on_sqlite_and_postgres() {
    let on_sqlite = walk(TestHost::new()).await;
    let on_postgres = walk(TestHost::on_postgres()).await;

    assert_eq!(on_sqlite, on_postgres);
    insta::assert_json_snapshot!(on_sqlite, @r#"
    [
      "publish: 201 ",
      "again: 200 ",
      "publish: 201 ",
      "again: 200 ",
      "too early: 409 refused-transition",
      "install: \"succeeded\"",
      "enable: \"ready\"",
      "enable: \"ready\"",
      "enable: \"ready\"",
      "enable: \"ready\"",
      "apply: {\"failures\":[],\"value\":1}",
      "call: 200 ",
      "kill: {\"killed\":true,\"plugin_id\":\"hostile.echo\",\"tenant_id\":\"acme\"}",
      "killed: \"plugin-killed\"",
      "disable: \"disabled\"",
      "suspend: \"suspended\"",
      "stale: 409 policy-stale",
      "after: \"hostile.echo\" \"0.2.0\" \"active\"",
      "after: \"test.routes\" \"0.1.0\" \"active\"",
      "call: 200 ",
      "suspended: 404 not-found",
      "disabled: 404 not-found",
      "apply: 422 invalid-input",
      "delete: 204 ",
      "uninstall: \"succeeded\"",
      "in the end: uninstalled",
      "audit: 33 entries, broken: null"
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
