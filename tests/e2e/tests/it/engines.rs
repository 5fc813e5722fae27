//! Both engines: the same walk over the host's own tables, the same plugins with tables and keys, the same answers.
//! What a hostile statement meets is for the tests of the database.

use bulkhead_database::{DatabaseConfig, Db};
use bulkhead_testkit::guests::{HELLO, NOTES, ROUTES, hostile};
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
      "audit: 37 entries, broken: null"
    ]
    "#);
}

/// What a plugin with tables, keys and migrations answers two tenants, also after a restart and a kill.
async fn work(builder: Builder) -> Vec<String> {
    let host = builder.tenant("acme").tenant("globex").with(HELLO).with(NOTES).await;
    let mut notes = Notes::default();
    let permissions = ["acme.hello.hello.greet", "acme.notes.notes.view", "acme.notes.notes.edit"];
    for round in 0..2 {
        for tenant in ["acme", "globex", "acme"] {
            let user = host.user(tenant, &permissions);
            notes.add("visit", user.get_route("acme.hello", "/visits").await.expect(200).text());
            let note = json!({ "title": format!("{tenant} {round}"), "body": "b", "tags": ["red", "Ünï"] });
            notes.outcome("write", &user.post_json("/api/plugins/acme.notes/notes", &note).await);
            let stats = user.get_route("acme.notes", "/stats").await.expect(200).json();
            notes.add("stats", &stats);
            notes.add("tags", user.get_route("acme.notes", "/tags").await.expect(200).json());
        }
        host.admin().kill("acme.hello").await.expect(200);
        host.admin().revive("acme.hello").await.expect(200);
    }
    host.admin().delete("/api/v1/tenants/acme").await.expect(204);
    host.admin().create_tenant("acme").await.expect(201);
    host.tenant_admin("acme").enable_here("acme.hello").await.expect(200);
    let host = host.restart().await;
    for tenant in ["acme", "globex"] {
        host.user(tenant, &[]).ready("acme.hello").await;
        let visits = host.user(tenant, &permissions).get_route("acme.hello", "/visits").await;
        notes.add("after", visits.expect(200).text());
    }
    notes.0
}

#[tokio::test]
async fn the_same_plugins_answer_the_same_on_sqlite_and_postgres() {
    let on_sqlite = work(TestHost::new()).await;
    let on_postgres = work(TestHost::on_postgres()).await;

    assert_eq!(on_sqlite, on_postgres);
    assert_eq!(on_sqlite.last().unwrap(), r#"after: {"visitor":"user@globex","count":3,"total":3}"#);
}

#[tokio::test]
async fn a_server_across_a_network_is_reached_through_tls_alone() {
    let host = TestHost::on_postgres_with_tls().tenant("acme").with(HELLO).await;
    let ada = host.user("acme", &["acme.hello.hello.greet"]);

    // The plugin's own tables: its login came through TLS as well.
    assert_eq!(ada.get_route("acme.hello", "/visits").await.expect(200).json()["total"], 1);

    let url = &host.config().database.url;
    let refused = async |url: String| Db::open(&DatabaseConfig::new(url)).await.is_err();
    assert!(refused(url.replace("sslmode=verify-full", "sslmode=disable")).await, "in clear");
    let stranger = url.split("&sslrootcert").next().unwrap();
    assert!(refused(stranger.to_owned()).await, "a certificate that nobody vouches for");
    assert!(refused(url.replace("@localhost", "@127.0.0.1")).await, "a certificate of another name");
    assert!(!refused(url.clone()).await);
}
