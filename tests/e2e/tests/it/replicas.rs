//! Hosts that share a database: a fresh one has everything from there, and trusts nothing that it finds.

use std::time::{Duration, Instant};

use bulkhead_testkit::guests::{HELLO, NOTES};
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{TestHost, eventually};
use serde_json::json;

const PERMISSIONS: [&str; 2] = ["acme.hello.hello.greet", "acme.notes.notes.view"];

async fn visits(host: &TestHost) -> u16 {
    host.user("acme", &PERMISSIONS).get_route("acme.hello", "/visits").await.status
}

async fn serves(host: &TestHost) {
    eventually("the host to have started", || async {
        (host.anyone().get("/ready").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_fresh_host_with_the_database_alone_serves_what_is_installed() {
    let host = TestHost::on_postgres().tenant("acme").with(HELLO).with(NOTES).await;
    host.user("acme", &PERMISSIONS).get_route("acme.hello", "/visits").await.expect(200);

    let fresh = host.another().await;
    serves(&fresh).await;

    let visits = fresh.user("acme", &PERMISSIONS).get_route("acme.hello", "/visits").await.expect(200).json();
    assert_eq!(visits["total"], 2);
    fresh.user("acme", &PERMISSIONS).get_route("acme.notes", "/notes").await.expect(200);
}

#[tokio::test]
async fn a_fresh_host_runs_nothing_that_was_changed_in_the_database() {
    let check = async |statement: &str, wanted: &str| {
        let host = TestHost::on_postgres().tenant("acme").with(HELLO).await;
        assert_eq!(visits(&host).await, 200);
        host.tamper(&[statement]);

        let fresh = host.another().await;
        serves(&fresh).await;

        assert_eq!(visits(&fresh).await, 404, "{statement}");
        let error = fresh.admin().plugin("acme.hello").await.json()["last_error"].clone();
        assert!(error.as_str().is_some_and(|error| error.starts_with(wanted)), "{statement}: {error}");
    };

    check("UPDATE artifacts SET bytes = set_byte(bytes, 5000, get_byte(bytes, 5000) # 1)", "digest-mismatch").await;
    check("UPDATE bundles SET bytes = set_byte(bytes, 400, get_byte(bytes, 400) # 1)", "").await;
    check("DELETE FROM bundles", "unsigned").await;
    check("UPDATE plugin_versions SET facts = replace(facts, 'acme.hello', 'acme.hellx')", "").await;
}

#[tokio::test]
async fn what_is_done_on_one_host_holds_on_the_other() {
    let one = TestHost::on_postgres().tenant("acme").with(HELLO).with(NOTES).await;
    let two = one.another().await;
    serves(&two).await;
    let greet =
        async |host: &TestHost, tenant: &str| host.user(tenant, &PERMISSIONS).get_route("acme.hello", "/hello").await;
    let holds = async |what: &str, tenant: &str, wanted: u16| {
        eventually(what, || async { (greet(&two, tenant).await.status == wanted).then_some(()) }).await;
    };
    let admin = one.admin();

    let began = Instant::now();
    admin.kill("acme.hello").await.expect(200);
    holds("the stop", "acme", 403).await;
    let took = began.elapsed();
    admin.revive("acme.hello").await.expect(200);
    holds("the end of the stop", "acme", 200).await;
    admin.create_tenant("globex").await.expect(201);
    one.tenant_admin("globex").enable_here("acme.hello").await.expect(200);
    holds("a new tenant", "globex", 200).await;
    let configured = json!({ "greeting": "Ciao" });
    one.tenant_admin("globex").configure("acme.hello", &configured).await.expect(200);
    eventually("the configuration", || async { greet(&two, "globex").await.text().contains("Ciao").then_some(()) })
        .await;
    one.tenant_admin("globex").disable_here("acme.hello").await.expect(200);
    holds("a plugin that a tenant disabled", "globex", 404).await;
    admin.post("/api/v1/tenants/acme/suspend").await.expect(200);
    holds("a suspension", "acme", 404).await;
    admin.post("/api/v1/tenants/acme/resume").await.expect(200);
    holds("the end of the suspension", "acme", 200).await;
    admin.disable("acme.hello").await.expect(200);
    holds("a plugin that the fleet disabled", "acme", 404).await;
    admin.enable("acme.hello").await.expect(200);
    holds("a plugin that the fleet enabled", "acme", 200).await;
    one.install_policy(&STANDARD.replace("plugin = \"*\"", "plugin = \"other.*\"")).await;
    holds("a policy", "acme", 404).await;
    one.install_policy(STANDARD).await;
    holds("the next policy", "acme", 200).await;
    admin.delete("/api/v1/tenants/acme").await.expect(204);
    holds("a deletion", "acme", 404).await;

    assert!(took < Duration::from_secs(1), "a stop took {took:?} to reach the other host");
}
