//! Trust levels as people see them, and what a rule's storage bound really bounds.

use bulkhead_model::Digest;
use bulkhead_testkit::guests::{HELLO, NOTES, ROUTES};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{Client, TestHost};
use reqwest::Method;
use serde_json::{Value, json};

use crate::capabilities::wide;

/// [`STANDARD`] with a line added to its rule.
fn with(line: &str) -> String {
    STANDARD.replace("version = \"*\"", &format!("version = \"*\"\n{line}"))
}

async fn get(client: &Client, path: &str) -> Value {
    client.get(path).await.expect(200).json()
}

#[tokio::test]
async fn the_level_that_policy_gives_is_shown_wherever_a_plugin_is() {
    let host = TestHost::new().policy(&with("trust = \"verified\"")).tenant("acme").with(HELLO).await;
    let shown = async |host: &TestHost| {
        let (admin, tenant) = (host.admin(), host.tenant_admin("acme"));
        let explained = get(&host.security(), "/api/v1/policy/explain?plugin=acme.hello").await;
        [
            get(&admin, "/api/v1/plugins/acme.hello").await["trust"].clone(),
            get(&admin, "/api/v1/plugins").await["items"][0]["trust"].clone(),
            get(&admin, "/api/v1/plugins/acme.hello/versions").await["items"][0]["trust"].clone(),
            get(&tenant, "/api/v1/tenant/plugins").await["items"][0]["trust"].clone(),
            explained["trust"].clone(),
        ]
    };

    let verified = shown(&host).await;
    let rules = get(&host.security(), "/api/v1/policy/explain?plugin=acme.hello").await["rules"].clone();
    host.install_policy(STANDARD).await;
    let unsaid = shown(&host).await;
    host.install_policy(&with("trust = \"core\"\nreason = \"RISK-1\"\nauthor = \"ann\"\napproved_by = \"bea\"")).await;
    let core = shown(&host).await;
    let accounted = get(&host.security(), "/api/v1/policy/explain?plugin=acme.hello").await["rules"][0].clone();
    host.install_policy(&STANDARD.replace("plugin = \"*\"", "plugin = \"other.*\"")).await;
    let gone = shown(&host).await;

    assert_eq!(verified, ["verified"; 5].map(|level| json!(level)));
    assert_eq!(
        (&rules[0]["id"], &rules[0]["trust"], &rules[0]["refusals"]),
        (&json!("everything-by-alice"), &json!("verified"), &json!([]))
    );
    assert_eq!(unsaid, ["untrusted"; 5].map(|level| json!(level)));
    assert_eq!(core, ["core"; 5].map(|level| json!(level)));
    let account = ["reason", "author", "approved_by"].map(|name| accounted[name].clone());
    assert_eq!(account, ["RISK-1", "ann", "bea"].map(|text| json!(text)));
    assert_eq!(gone, [const { Value::Null }; 5]);
}

#[tokio::test]
async fn a_rule_for_one_tenant_gives_its_level_there() {
    let elsewhere = STANDARD
        .replace("tenants = [\"*\"]", "tenants = [\"globex\"]\ntrust = \"core\"")
        .replace("everything-by-alice", "at-globex");
    let rule = &elsewhere[elsewhere.find("[[allow]]").unwrap()..];
    let policy =
        format!("{}\n{rule}", STANDARD.replace("tenants = [\"*\"]", "tenants = [\"acme\"]\ntrust = \"community\""));
    let host = TestHost::new().policy(&policy).tenant("acme").tenant("globex").with(HELLO).await;

    let level = async |tenant: &str| {
        get(&host.tenant_admin(tenant), "/api/v1/tenant/plugins").await["items"][0]["trust"].clone()
    };

    assert_eq!((level("acme").await, level("globex").await), (json!("community"), json!("core")));
}

#[tokio::test]
async fn a_review_shows_the_level_of_what_waits() {
    let host =
        TestHost::new().policy(&with("trust = \"community\"\nreview_wider = true")).tenant("acme").with(ROUTES).await;
    let admin = host.admin();
    admin.disable("test.routes").await.expect(200);
    admin.uninstall("test.routes", "").await.expect(200);
    admin.publish(&wide("0.2.0")).await.expect(201);
    admin.install("test.routes").await.expect(200);

    let review = get(&host.security(), "/api/v1/reviews").await["items"][0].clone();

    assert_eq!((&review["version"], &review["trust"]), (&json!("0.2.0"), &json!("community")));
}

#[tokio::test]
async fn a_rule_without_a_ceiling_allows_what_its_level_allows() {
    let (head, _) = STANDARD.split_once("[allow.limits]").unwrap();
    let level = |level: &str| head.replace("version = \"*\"", &format!("version = \"*\"\ntrust = \"{level}\""));
    let outcome = async |policy: &str| {
        let host = TestHost::new().policy(policy).await;
        host.admin().publish(&HELLO.signed_by(ALICE)).await.outcome()
    };

    assert_eq!(outcome(head).await, (403, "capability-over-ceiling".to_owned()), "hello uses sql");
    assert_eq!(outcome(&level("untrusted")).await, (403, "capability-over-ceiling".to_owned()));
    assert_eq!(outcome(&level("community")).await.0, 201);
    assert_eq!(outcome(&level("core")).await.0, 201);
}

/// Writes a note of 16 KiB that no engine makes smaller.
async fn write(host: &TestHost, number: usize) -> u16 {
    let body: String = (0..256).map(|part| Digest::of(format!("{number} {part}").as_bytes()).hex()).collect();
    let note = json!({ "title": "large", "body": body });
    let user = host.user("acme", &["acme.notes.notes.view", "acme.notes.notes.edit"]);
    bulkhead_testkit::client::send(user.route(Method::POST, "acme.notes", "/notes").json(&note)).await.status
}

#[tokio::test]
async fn the_storage_of_a_rule_bounds_what_a_plugin_keeps_in_a_tenant() {
    let storage =
        |megabytes: u64| STANDARD.replace("[allow.ceiling]", &format!("[allow.ceiling]\nstorage_mb = {megabytes}"));
    for builder in [TestHost::new(), TestHost::on_postgres()] {
        let host = builder.policy(&storage(1)).tenant("acme").with(NOTES).await;
        let mut kept = 0;
        while kept < 100 && write(&host, kept).await == 201 {
            kept += 1;
        }
        let usage = get(&host.admin(), "/api/v1/plugins/acme.notes/usage").await["items"][0].clone();
        let reader = host.user("acme", &["acme.notes.notes.view"]);
        let read = reader.get_route("acme.notes", "/notes").await.status;

        host.install_policy(&storage(2)).await;
        host.user("acme", &[]).ready("acme.notes").await;
        let more = write(&host, kept).await;
        let raised = get(&host.admin(), "/api/v1/plugins/acme.notes/usage").await["items"][0].clone();

        assert!((1..80).contains(&kept), "{kept} notes of 16 KiB fit into 1 MiB");
        assert_eq!(usage["storage_bytes_max"], 1 << 20);
        assert_eq!((read, more), (200, 201), "reads go on, and a higher bound takes more");
        assert_eq!(raised["storage_bytes_max"], 2 << 20);
    }
}
